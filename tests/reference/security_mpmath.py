"""Key length of single-photon BB84 in fifty digits, written down from the formulas alone; nothing of ``common.security`` is used."""

from dataclasses import dataclass
from math import comb

from mpmath import mp, mpf

mp.dps = 50


def entropy(x):
    return mpf(0) if x <= 0 or x >= 1 else -x * mp.log(x, 2) - (1 - x) * mp.log(1 - x, 2)


def hypergeometric_lower_tail(most, total, marked, drawn):
    """P[X <= most], term by term from the edge, until terms are below 1e-40 of the sum."""
    least = max(0, drawn - (total - marked))
    if most < least:
        return mpf(0)
    start = min(most, marked, drawn)
    term = mp.exp(log_choose(marked, start) + log_choose(total - marked, drawn - start) - log_choose(total, drawn))
    tail, x = mpf(0), start
    mode = (drawn + 1) * (marked + 1) // (total + 2)
    while x >= least:
        tail += term
        if x < mode and term < tail * mpf(10) ** -40:
            break
        term = term * x * (total - marked - drawn + x) / ((marked - x + 1) * (drawn - x + 1))
        x -= 1
    return tail


def log_choose(n, k):
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def untested_errors(tested, errors, untested, epsilon):
    """max{K : P[Hyp(N, K, tested) <= errors] > epsilon} - errors."""
    possible, excluded = errors, untested + errors + 1
    while excluded - possible > 1:
        middle = (possible + excluded) // 2
        if hypergeometric_lower_tail(errors, tested + untested, middle, tested) > epsilon:
            possible = middle
        else:
            excluded = middle
    return possible - errors


def binomial_quantile(trials, probability, epsilon):
    """The smallest K with P[Bin(trials, probability) > K] <= epsilon."""
    p = mpf(probability)
    if p == 0 or trials == 0:
        return 0
    low, high = int(mp.floor(trials * p)) - 2, trials
    while high - low > 1:
        middle = (low + high) // 2
        if binomial_above(middle, trials, p) <= epsilon:
            high = middle
        else:
            low = middle
    return high


def binomial_above(k, trials, p):
    if k < 0:
        return mpf(1)
    x = k + 1
    if x > trials:
        return mpf(0)
    term = mp.exp(log_choose(trials, x) + x * mp.log(p) + (trials - x) * mp.log(1 - p))
    tail = mpf(0)
    while x <= trials:
        tail += term
        if x > trials * p and term < tail * mpf(10) ** -40:
            break
        term = term * (trials - x) * p / ((x + 1) * (1 - p))
        x += 1
    return tail


def multi_clicks(cross_clicks, q, epsilon):
    """Ville's line through ln(42/epsilon), lambda best at the powers of two around the count."""
    c = 2 * mpf(q) * (1 - mpf(q))
    level = mp.log(42 / mpf(epsilon))
    steepest = -mp.log(1 - c)
    if cross_clicks == 0:
        return int(mp.floor(level / steepest))

    def mu(rate):
        return -mp.log((1 - (1 - c) * mp.exp(rate)) / c)

    def slope(rate):
        return (1 - c) * mp.exp(rate) / (1 - (1 - c) * mp.exp(rate))

    bounds = []
    below = 1
    while 2 * below <= cross_clicks:
        below *= 2
    for predicted in (below, 2 * below):
        low, high = mpf(0), steepest
        for _ in range(150):
            rate = (low + high) / 2
            if predicted * (rate * slope(rate) - mu(rate)) > level:
                high = rate
            else:
                low = rate
        bounds.append(int(mp.floor((mu(low) * cross_clicks + level) / low)))
    return min(bounds)


@dataclass(frozen=True)
class Reference:
    secret_bits: int
    terms: dict
    phase_error_bound: dict
    share_tagged: object


def key_length(counts, leaked_bits, setting, epsilon_secrecy):
    """Section by section: events, tagged clicks, phase errors, entropy, length."""
    key_bases = ["Z"] if setting.key_bases == "z" else ["Z", "X"]
    passive = setting.basis_choice == "passive"
    acceptance, amplification = mpf(epsilon_secrecy) / 4, mpf(epsilon_secrecy) / 2
    event = acceptance**2 / (3 * len(key_bases) + (1 if passive else 0))
    inside = multi_clicks(counts.cross_clicks, setting.probability_z_bob, event) if passive else 0
    basis = {"Z": counts.z, "X": counts.x}
    prepared = {"Z": mpf(setting.probability_z_alice), "X": 1 - mpf(setting.probability_z_alice)}
    measured = {"Z": mpf(setting.probability_z_bob), "X": 1 - mpf(setting.probability_z_bob)}
    tested = {"Z": mpf(setting.test_fraction_z), "X": mpf(setting.test_fraction_x)}

    def tagged(name, share):
        probability = prepared[name] * measured[name] * mpf(setting.probability_multi_photon) * share
        return binomial_quantile(counts.pulses, probability, event / setting.maximum_frames) + inside

    terms: dict = {}
    phases: dict = {}
    all_tagged = 0
    total = mpf(0)
    for name in key_bases:
        other = "X" if name == "Z" else "Z"
        bad = min(basis[name].key, tagged(name, 1 - tested[name]))
        all_tagged += bad
        sample = basis[other].tested - tagged(other, tested[other])
        left = max(0, basis[name].kept - bad)
        terms[f"multi-photon {name}"] = left - basis[name].kept
        if left == 0:
            phases[name] = None
            terms[f"phase errors {name}"] = mpf(0)
            continue
        if sample <= 0:
            return Reference(0, terms, phases, None)
        phase_errors = untested_errors(sample, min(basis[other].errors, sample), basis[name].key - bad, event)
        ratio = mpf(phase_errors) / left
        phases[name] = ratio
        terms[f"phase errors {name}"] = -left * (entropy(ratio) if ratio < mpf(1) / 2 else 1)
        total += left + terms[f"phase errors {name}"]
        if ratio >= mpf(1) / 2:
            return Reference(0, terms, phases, None)
    terms["privacy amplification"] = -2 * mp.log(1 / (2 * amplification), 2)
    length = int(mp.floor(total - leaked_bits + terms["privacy amplification"]))
    share = mpf(all_tagged) / sum(basis[name].key for name in key_bases)
    return Reference(max(0, length), terms, phases, share)


def coverage_of_sampling(bound, total, marked, drawn):
    """Exact probability that marked ones left behind exceed ``bound(shown)``, as numerator and denominator."""
    failing = sum(
        comb(marked, shown) * comb(total - marked, drawn - shown)
        for shown in range(max(0, drawn - (total - marked)), min(marked, drawn) + 1)
        if marked - shown > bound(shown)
    )
    return failing, comb(total, drawn)
