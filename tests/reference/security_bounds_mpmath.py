"""Kato, martingale lines, binomial and entropic intervals and the publications' gammas in fifty digits, from the formulas alone."""

from mpmath import mp, mpf

from tests.reference.security_mpmath import binomial_above, log_choose

mp.dps = 50


def bisect(holds, inside, outside, steps=140):
    """The edge between a value where ``holds`` and one where it does not."""
    inside, outside = mpf(inside), mpf(outside)
    for _ in range(steps):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return outside


def binomial_at_most(count, trials, p):
    """P[Bin <= count], summed downwards from the edge until terms are below 1e-40 of the sum."""
    p, k, tail = mpf(p), count, mpf(0)
    term = mp.exp(log_choose(trials, k) + k * mp.log(p) + (trials - k) * mp.log(1 - p))
    while k >= 0:
        tail += term
        if k < trials * p and term < tail * mpf(10) ** -40:
            break
        term = term * k * (1 - p) / ((trials - k + 1) * p)
        k -= 1
    return tail


def binomial_lower_quantile(trials, probability, epsilon):
    """The largest K with P[Bin < K] <= epsilon, summed from 0."""
    p = mpf(probability)
    if p in {0, 1}:
        return trials if p == 1 else 0
    tail, k = mpf(0), 0
    while k < trials:
        tail += mp.exp(log_choose(trials, k) + k * mp.log(p) + (trials - k) * mp.log(1 - p))
        if tail > epsilon:
            return k
        k += 1
    return trials


def probability_upper(count, trials, epsilon):
    if count == trials:
        return mpf(1)
    return bisect(lambda p: binomial_at_most(count, trials, p) > epsilon, mpf(count) / trials, 1, 60)


def probability_lower(count, trials, epsilon):
    if count == 0:
        return mpf(0)
    return bisect(lambda p: binomial_above(count - 1, trials, p) > epsilon, mpf(count) / trials, 0, 150)


def relative_entropy(count, trials, mean):
    """N D(c/N || E/N), nats."""
    c, n, e = mpf(count), mpf(trials), mpf(mean)
    first = c * mp.log(c / e) if c else mpf(0)
    return first + ((n - c) * mp.log((n - c) / (n - e)) if n > c else mpf(0))


def mean_upper(count, trials, epsilon):
    if count == trials:
        return mpf(trials)
    return bisect(lambda e: relative_entropy(count, trials, e) < -mp.log(epsilon), count or mpf(10) ** -40, trials)


def mean_lower(count, trials, epsilon):
    if count == 0:
        return mpf(0)
    start = count if count < trials else trials * (1 - mpf(10) ** -45)
    return bisect(lambda e: relative_entropy(count, trials, e) < -mp.log(epsilon), start, 0)


def kato_margin(trials, predicted, epsilon, direction):
    """Margin at the predicted count for the a that is best there, found by golden-section search; direction 1 or -1."""
    n, seen, level = mpf(trials), mpf(predicted), -mp.log(epsilon)

    def margin(a):
        b = mp.sqrt(a * a + (1 + direction * 4 * a / (3 * mp.sqrt(n))) ** 2 * level / 2)
        return (b + a * (2 * seen / n - 1)) * mp.sqrt(n)

    low, high = -mp.sqrt(n) / 2, mp.sqrt(n) / 2
    ratio = (mp.sqrt(5) - 1) / 2
    for _ in range(220):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if margin(left) < margin(right) else (left, high)
    return margin((low + high) / 2)


def rates(level):
    return [mp.log(1 + mp.sqrt(2 * level / mpf(2) ** power)) for power in (-20, *range(45))]


def compensator_upper(count, epsilon):
    level = mp.log(46 / mpf(epsilon))
    return min((r * count + level) / (1 - mp.exp(-r)) for r in rates(level))


def compensator_lower(count, epsilon):
    level = mp.log(46 / mpf(epsilon))
    return max(mpf(0), *((r * count - level) / (mp.exp(r) - 1) for r in rates(level)))


def count_upper(compensator, epsilon):
    level = mp.log(46 / mpf(epsilon))
    return min(((mp.exp(r) - 1) * compensator + level) / r for r in rates(level))


def yin_gamma(tested, errors, untested, epsilon):
    n, k, q = mpf(untested), mpf(tested), mpf(errors) / tested
    a = max(n, k)
    g = (n + k) / (n * k) * mp.log((n + k) / (2 * mp.pi * n * k * q * (1 - q) * mpf(epsilon) ** 2))
    root = mp.sqrt(a**2 * g**2 / (n + k) ** 2 + 4 * q * (1 - q) * g)
    return ((1 - 2 * q) * a * g / (n + k) + root) / (2 + 2 * a**2 * g / (n + k) ** 2)


def fung_gamma(tested, ratio, untested, epsilon):
    c, d, b = mpf(untested), mpf(tested), mpf(ratio)
    return mp.sqrt((c + d) * (1 - b) * b / (c * d * mp.log(2)) * mp.log((c + d) / (c * d * (1 - b) * b) / mpf(epsilon) ** 2, 2))


def one_way_leakage(count, qber, epsilon):
    n, q = mpf(count), mpf(qber)
    entropy = -q * mp.log(q, 2) - (1 - q) * mp.log(1 - q, 2)
    # right bits have a quantile of n minus that of the wrong ones, which are few and quick to sum
    share, wrong, above = mpf(epsilon) * (1 + 1 / mp.sqrt(n)), 0, mpf(1)
    term = (1 - q) ** count
    while True:
        above -= term
        if above <= share:
            break
        term = term * (n - wrong) / (wrong + 1) * q / (1 - q)
        wrong += 1
    right = n - wrong
    return n * entropy + (n * (1 - q) - right - 1) * mp.log((1 - q) / q, 2) - mp.log(n, 2) / 2 + mp.log(epsilon, 2)
