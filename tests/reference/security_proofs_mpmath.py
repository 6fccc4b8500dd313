"""Three-state and decoy estimates and the publications' lengths in fifty digits, from the formulas alone.

Real numbers throughout: where the proofs cut to whole clicks, tests allow for one.
"""

from mpmath import matrix, mp, mpf

from tests.reference import security_bounds_mpmath as bounds
from tests.reference.security_mpmath import binomial_quantile, entropy, multi_clicks, untested_errors

mp.dps = 50


def state(angle):
    """Density matrix of a real qubit at this angle on the Bloch sphere."""
    up, down = mp.cos(mpf(angle) / 2), mp.sin(mpf(angle) / 2)
    return matrix([[up * up, up * down], [up * down, down * down]])


def virtual_coefficients(angles, sign):
    """Solve for the state sent with Alice's X outcome, entry by entry of the density matrices."""
    zero, one = mpf(angles[0]) / 2, mpf(angles[1]) / 2
    vector = matrix([mp.cos(zero) + sign * mp.cos(one), mp.sin(zero) + sign * mp.sin(one)]) / 2
    wanted = vector * vector.T
    sent = [state(angle) for angle in angles]
    system = matrix([[rho[i, j] for rho in sent] for i, j in ((0, 0), (0, 1), (1, 1))])
    return list(mp.lu_solve(system, matrix([wanted[0, 0], wanted[0, 1], wanted[1, 1]])))


def three_state_phase_errors(counts, setting, epsilon):
    """Ideal states: (wrong X, mixed, right X), each bounded, added up, bounded again; tagged clicks first. Returns (tagged, errors)."""
    p_z, q_z = mpf(setting.probability_z_alice), mpf(setting.probability_z_bob)
    p_x, q_x, p_m = 1 - p_z, 1 - q_z, mpf(setting.probability_multi_photon)
    key = p_z * q_z * (1 - mpf(setting.test_fraction_z))
    inside = multi_clicks(counts.cross_clicks, setting.probability_z_bob, epsilon) if setting.basis_choice == "passive" else 0
    share = epsilon / setting.maximum_frames
    tagged = min(counts.z.key, binomial_quantile(counts.pulses, key * p_m, share) + inside)
    wrong = counts.table[2][3]
    mixed = counts.table[0][2] + counts.table[1][2]
    right = max(0, counts.table[2][2] - inside - binomial_quantile(counts.pulses, p_x * q_x * p_m, share))
    total = key / (2 * p_x * q_x) * (bounds.compensator_upper(wrong, epsilon) - bounds.compensator_lower(right, epsilon))
    total += key / (p_z * q_x) * bounds.compensator_upper(mixed, epsilon)
    if total < 0:  # a sum of probabilities is not: the counts contradict the setting
        return tagged, counts.z.key - tagged
    return tagged, min(counts.z.key - tagged, int(mp.floor(bounds.count_upper(total, epsilon))))


def tau(setting, n):
    return sum(
        mpf(p) * mp.exp(-mpf(k)) * mpf(k) ** n for p, k in zip(setting.probabilities, setting.intensities, strict=True)
    ) / mp.factorial(n)


def scaled(setting, counts, low, high):
    """e^k/p_k times the bounds of each count; ``low`` and ``high`` take (count, total)."""
    factors = [mp.exp(mpf(k)) / mpf(p) for p, k in zip(setting.probabilities, setting.intensities, strict=True)]
    total = sum(counts)
    return [f * low(c, total) for f, c in zip(factors, counts, strict=True)], [
        f * high(c, total) for f, c in zip(factors, counts, strict=True)
    ]


def entropic(epsilon):
    return lambda c, n: bounds.mean_lower(c, n, epsilon), lambda c, n: bounds.mean_upper(c, n, epsilon)


def hoeffding(epsilon):
    def margin(n):
        return mp.sqrt(mpf(n) / 2 * -mp.log(epsilon))

    return lambda c, n: c - margin(n), lambda c, n: c + margin(n)


def vacuum_lower(setting, counts, spread):
    low, high = scaled(setting, counts, *spread)
    bright, weak = mpf(setting.intensities[-2]), mpf(setting.intensities[-1])
    return max(mpf(0), tau(setting, 0) / (bright - weak) * (bright * low[-1] - weak * high[-2]))


def single_two_decoys(setting, counts, spread):
    low, high = scaled(setting, counts, *spread)
    m1, m2, m3 = map(mpf, setting.intensities)
    inside = low[1] - high[2] - (m2**2 - m3**2) / m1**2 * (high[0] - vacuum_lower(setting, counts, spread) / tau(setting, 0))
    return max(mpf(0), m1 * tau(setting, 1) / (m1 * (m2 - m3) - m2**2 + m3**2) * inside)


def single_one_decoy(setting, counts, vacuum, spread):
    low, high = scaled(setting, counts, *spread)
    m1, m2 = map(mpf, setting.intensities)
    inside = low[1] - m2**2 / m1**2 * high[0] - (m1**2 - m2**2) / m1**2 * vacuum / tau(setting, 0)
    return max(mpf(0), m1 * tau(setting, 1) / (m2 * (m1 - m2)) * inside)


def single_errors(setting, errors, spread):
    low, high = scaled(setting, errors, *spread)
    return max(mpf(0), tau(setting, 1) * (high[-2] - low[-1]) / (mpf(setting.intensities[-2]) - mpf(setting.intensities[-1])))


def coins(errors, most, epsilon):
    """The largest number of coins, at most ``most``, that may show so few heads."""
    low, high = min(errors, most), most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bounds.binomial_at_most(errors, middle, mpf(1) / 2) > epsilon else (low, middle)
    return low


def decoy_bb84(counts, setting, epsilon):
    """Composable: (single-photon key bits, single-photon tests, their errors, phase errors)."""
    spread = entropic(epsilon)
    inside = multi_clicks(counts.cross_clicks, setting.probability_z_bob, epsilon) if setting.basis_choice == "passive" else 0

    def single(clicks, errors):
        if len(setting.intensities) == 3:
            return single_two_decoys(setting, clicks, spread)
        wrong = int(mp.floor(tau(setting, 0) * min(scaled(setting, errors, *spread)[1])))
        return single_one_decoy(setting, clicks, coins(wrong, sum(clicks), epsilon), spread)

    key = max(0, int(mp.floor(single(counts.key, counts.key_errors))) - inside)
    tested = max(0, int(mp.floor(single(counts.tested, counts.errors))) - inside)
    errors = min(int(mp.floor(single_errors(setting, counts.errors, spread))), sum(counts.errors), tested)
    return key, tested, errors, untested_errors(tested, errors, key, epsilon) if tested else None


def decoy_paper(counts, setting, leakage_bits, secrecy, correctness):
    two = len(setting.intensities) == 3
    parts = 21 if two else 19
    epsilon = mpf(secrecy) / parts
    spread = hoeffding(epsilon)

    def single(clicks, errors):
        if two:
            return single_two_decoys(setting, clicks, spread)
        vacuum = 2 * (tau(setting, 0) * min(scaled(setting, errors, *spread)[1]) + mp.sqrt(mpf(sum(clicks)) / 2 * -mp.log(epsilon)))
        return single_one_decoy(setting, clicks, vacuum, spread)

    key, tested = single(counts.key, counts.key_errors), single(counts.tested, counts.errors)
    if key <= 0 or tested <= 0:
        return mpf(0)
    ratio = min(mpf(1), single_errors(setting, counts.errors, spread) / tested)
    phase = ratio + (bounds.fung_gamma(tested, ratio, key, epsilon) if 0 < ratio < 1 else 0)
    if phase >= mpf(1) / 2:
        return mpf(0)
    length = vacuum_lower(setting, counts.key, spread) + key * (1 - entropy(phase)) - leakage_bits
    return max(mpf(0), length - 6 * mp.log(parts / mpf(secrecy), 2) - mp.log(2 / mpf(correctness), 2))


def chernoff_up(expected, epsilon):
    b = -mp.log(epsilon)
    return expected + (b + mp.sqrt(b * b + 8 * b * expected)) / 2


def niedersachsen(counts, setting, leakage_bits, event, amplification, correctness):
    p_z, q_z, p_m = map(mpf, (setting.probability_z_alice, setting.probability_z_bob, setting.probability_multi_photon))
    key = counts.z.key - chernoff_up(counts.pulses * p_z * q_z * p_m, event)
    tested = counts.x.tested - chernoff_up(counts.pulses * (1 - p_z) * (1 - q_z) * p_m, event)
    if key < 1 or tested < 1:
        return mpf(0)
    phase = counts.x.errors / tested + bounds.yin_gamma(int(tested), counts.x.errors, int(key), event)
    if phase >= mpf(1) / 2:
        return mpf(0)
    length = key * (1 - entropy(phase)) - leakage_bits
    return max(mpf(0), length - 2 * mp.log(1 / (2 * mpf(amplification)), 2) - mp.log(2 / mpf(correctness), 2))


def hbn(n, m, qber, share, code_rate, epsilon):
    upper = mpf(qber) + mp.sqrt((2 * mp.log(1 / mpf(epsilon), 2) + 2 * mp.log(m + 1, 2)) / m) / 2
    delta = 7 * mp.sqrt(mp.log(2 / mpf(epsilon), 2) / n) + 2 * mp.log(1 / mpf(epsilon), 2) / n + mp.log(2 / mpf(epsilon), 2) / n
    return max(mpf(0), n * (mpf(share) * (1 - entropy(upper / mpf(share))) - (1 - mpf(code_rate)) - delta))


def hefei(counts, setting, leakage_bits, event, amplification, correctness):
    b = -mp.log(event)
    p_z, q_z, p_m = map(mpf, (setting.probability_z_alice, setting.probability_z_bob, setting.probability_multi_photon))
    p_x, q_x, pulses = 1 - p_z, 1 - q_z, counts.pulses
    key = counts.z.key - chernoff_up(pulses * p_z * q_z * p_m, event)

    def up(x):
        return x + b + mp.sqrt(2 * b * x + b * b)

    def low(x):
        return max(mpf(0), x - b / 2 - mp.sqrt(2 * b * x + b * b / 4))

    right = max(mpf(0), low(counts.table[2][2]) - pulses * p_x * q_x * p_m)
    rate = up(counts.table[2][3]) / (pulses * p_x * q_x) - right / (pulses * p_x * q_x)
    rate += up(counts.table[0][2] + counts.table[1][2]) / (pulses * p_z * q_x / 2)
    phase = chernoff_up(max(mpf(0), pulses * p_z * q_z / 2 * rate), event) / key
    if phase >= mpf(1) / 2:
        return mpf(0)
    length = key * (1 - entropy(phase)) - leakage_bits
    return max(mpf(0), length - 2 * mp.log(1 / (2 * mpf(amplification)), 2) - mp.log(2 / mpf(correctness), 2))
