"""Key lengths of decoy-state publications, for comparison: two decoys, one decoy, three states with two decoys, and their limits.

The bounds of photon numbers are those of the composable proofs; what differs is the spread of a count (Hoeffding, Chernoff), the
sampling term, the empty pulses (counted as key here) and that failure probabilities add linearly. Counts in, ``PaperKeyLength`` or
``AsymptoticRate`` out.
"""

from __future__ import annotations

from math import exp, log2
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.security.checks import check_epsilon, check_number
from common.security.entropy import binary_entropy, saturated_entropy
from common.security.inequalities import chernoff_count_upper
from common.security.paper import fung_gamma, hoeffding_margin
from common.security.proofs.decoy_bounds import (
    single_lower_one_decoy,
    single_lower_two_decoys,
    single_upper,
    vacuum_errors_upper,
    vacuum_lower,
)
from common.security.proofs.decoy_setting import Chernoff, Exact, Hoeffding, scaled
from common.security.proofs.paper_length import AsymptoticRate, PaperEpsilons, PaperKeyLength, paper_length, paper_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.security.proofs.decoy_setting import DecoyCounts, DecoySetting, Spread
    from common.security.proofs.three_state_decoys import ThreeStateDecoyCounts
    from common.security.proofs.three_state_setting import ThreeStateSetting


def decoy_length(
    counts: DecoyCounts, setting: DecoySetting, leakage_bits: float, epsilon_secrecy: float, epsilon_correctness: float
) -> PaperKeyLength:
    """Secret length of decoy BB84 as published, with one decoy or two.

    Parameters
    ----------
    counts : DecoyCounts
        Of the block; with one decoy the errors of the key bits too.
    setting : DecoySetting
        Two intensities stand for one decoy, three for two.
    leakage_bits : float
        Bits of error correction.
    epsilon_secrecy, epsilon_correctness : float
        Shared out linearly, over 21 terms with two decoys and 19 with one.

    Returns
    -------
    PaperKeyLength
        With its terms.

    Raises
    ------
    ConfigurationError
        If a parameter is out of range, or one decoy comes without the errors of the key bits.

    References
    ----------
    [Lim2014] eqs. (1) to (5), full text read; [Rusca2018] eq. (1), through two independent implementations; status: paper.
    """
    check_epsilon("security.epsilon_secrecy", epsilon_secrecy)
    check_epsilon("security.epsilon_correctness", epsilon_correctness)
    check_number("leakage_bits", leakage_bits, 0.0, float("inf"))
    two = len(setting.intensities) == 3
    if not two and not counts.key_errors:
        raise ConfigurationError("key_errors: with one decoy the errors of the key bits bound the empty pulses, count them by intensity")
    parts, source = (21, "Lim2014") if two else (19, "Rusca2018")
    epsilon = epsilon_secrecy / parts
    spread = Hoeffding(epsilon)
    low, high = scaled(setting, counts.key, spread)
    vacuum = vacuum_lower(setting, low, high)
    single = _single(setting, counts.key, counts.key_errors, spread)
    tested = _single(setting, counts.tested, counts.errors, spread)
    if single <= 0.0 or tested <= 0.0:
        return PaperKeyLength(0.0, {"empty pulses": vacuum, "single-photon bits": single}, 0.5, source)
    wrong = single_upper(setting, *scaled(setting, counts.errors, spread))
    rate = min(1.0, wrong / tested)
    ratio = rate + fung_gamma(tested, rate, single, epsilon).value
    terms = {
        "empty pulses": vacuum,
        "single-photon bits": single,
        "phase errors": -single * saturated_entropy(ratio),
        "leakage": -leakage_bits,
        "secrecy": -6.0 * log2(parts / epsilon_secrecy),
        "correctness": -log2(2.0 / epsilon_correctness),
    }
    return paper_length(terms, ratio, source)


def decoy_asymptotic_rate(
    setting: DecoySetting, gains: Sequence[float], errors: Sequence[float], efficiency: float, sifted: float = 1.0
) -> AsymptoticRate:
    """Secret bits a pulse of decoy BB84 with endless statistics, empty pulses counted as key.

    Parameters
    ----------
    setting : DecoySetting
        Two intensities stand for one decoy, three for two.
    gains, errors : sequence of float
        Probability of a click, and of a wrong one, for a pulse of each intensity, brightest first; equal in both bases.
    efficiency : float
        Leaked bits over ``n h(qber)``, 1 or more.
    sifted : float
        Share of the clicks that make key.

    Returns
    -------
    AsymptoticRate
        At least 0.

    Raises
    ------
    ConfigurationError
        If a parameter is out of range; the message names it.

    References
    ----------
    The limit of [Lim2014] and [Rusca2018]; status: paper.
    """
    check_number("reconciliation efficiency", efficiency, 1.0, float("inf"))
    check_number("sifted share", sifted, 0.0, 1.0)
    if len(gains) != len(setting.intensities) or any(not 0.0 <= wrong <= gain <= 1.0 for gain, wrong in zip(gains, errors, strict=True)):
        raise ConfigurationError(f"gains {list(gains)}, errors {list(errors)}: give one each per intensity, errors at most gains")
    clicks = [p * gain for p, gain in zip(setting.probabilities, gains, strict=True)]
    wrongs = [p * wrong for p, wrong in zip(setting.probabilities, errors, strict=True)]
    spread, source = Exact(), "Lim2014" if len(gains) == 3 else "Rusca2018"
    single, total = _single(setting, clicks, wrongs, spread), sum(clicks)
    ratio = single_upper(setting, *scaled(setting, wrongs, spread)) / single if single else 0.5
    vacuum = vacuum_lower(setting, *scaled(setting, clicks, spread))
    leak = efficiency * total * binary_entropy(min(0.5, sum(wrongs) / total)) if total else 0.0
    return paper_rate(sifted * single, ratio, sifted * leak, source, sifted * vacuum)


_ByIntensity = tuple[float, ...]


def laser_gains(
    setting: DecoySetting, transmission: float, dark: float, misalignment: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Click and error probabilities of phase-randomised laser light in the textbook channel.

    Parameters
    ----------
    setting : DecoySetting
        Intensities.
    transmission : float
        From channel to click of one photon, 0 to 1.
    dark : float
        Probability of a dark count per pulse, all detectors together.
    misalignment : float
        Probability that a signal click is wrong, at most 1/2.

    Returns
    -------
    (gains, errors)
        Two tuples, one entry an intensity.

    Raises
    ------
    ConfigurationError
        If a parameter is out of range; the message names it.

    References
    ----------
    [Lim2014] section IV without after-pulses: ``1 - (1 - Y0) e^(-eta k)``; status: planning.
    """
    check_number("transmission", transmission, 0.0, 1.0)
    check_number("receiver.dark probability", dark, 0.0, 1.0)
    check_number("channel.misalignment", misalignment, 0.0, 0.5)
    signals = [1.0 - exp(-transmission * k) for k in setting.intensities]
    gains = tuple(1.0 - (1.0 - dark) * (1.0 - signal) for signal in signals)
    return gains, tuple(misalignment * s + 0.5 * (gain - s) for s, gain in zip(signals, gains, strict=True))


def three_state_decoy_length(
    counts: ThreeStateDecoyCounts, decoys: DecoySetting, setting: ThreeStateSetting, leakage_bits: float, epsilons: PaperEpsilons
) -> PaperKeyLength:
    """Secret length of three-state laser light with two decoys, ideal states, Chernoff bounds.

    Parameters
    ----------
    counts : ThreeStateDecoyCounts
        Of the block.
    decoys : DecoySetting
        Three intensities; the publication's third is vacuum.
    setting : ThreeStateSetting
        Probabilities of the bases.
    leakage_bits : float
        Bits of error correction.
    epsilons : PaperEpsilons
        As in ``three_state_paper``.

    Returns
    -------
    PaperKeyLength
        With its terms.

    Raises
    ------
    ConfigurationError
        If the leakage is negative or there are not two decoys.

    References
    ----------
    [Zhang2025], summary read: the comparison with laser light; bounds of [Lim2014], which with vacuum as third intensity are those
    of the publication; status: paper.
    """
    check_number("leakage_bits", leakage_bits, 0.0, float("inf"))
    if len(decoys.intensities) != 3:
        raise ConfigurationError(f"source.intensities {decoys.intensities}: give a signal and two decoys")
    spread = Chernoff(epsilons.event)
    single = single_lower_two_decoys(decoys, *scaled(decoys, counts.key, spread))
    if single < 1.0:
        return PaperKeyLength(0.0, {"single-photon bits": max(0.0, single)}, 0.5, "Zhang2025")
    expected = _phase_errors(counts, decoys, setting, spread)
    ratio = chernoff_count_upper(expected, epsilons.event) / single
    terms = {
        "single-photon bits": single,
        "phase errors": -single * saturated_entropy(ratio),
        "leakage": -leakage_bits,
        **epsilons.deductions,
    }
    return paper_length(terms, ratio, "Zhang2025")


def three_state_decoy_asymptotic_rate(
    setting: DecoySetting, gains: Sequence[float], errors: Sequence[float], efficiency: float, sifted: float = 1.0
) -> AsymptoticRate:
    """Secret bits a pulse of three-state decoy light with endless statistics.

    Ideal states, errors equal in both bases. The loss-tolerant form takes a *difference* of classes, and what two decoys leave open
    about each of them adds up: the phase errors are larger than those of decoy BB84 with the same light.

    Parameters
    ----------
    setting : DecoySetting
        Three intensities.
    gains, errors : sequence of float
        Probability of a click, and of a wrong one, for a pulse of each intensity, brightest first.
    efficiency : float
        Leaked bits over ``n h(qber)``, 1 or more.
    sifted : float
        Share of the clicks that make key.

    Returns
    -------
    AsymptoticRate
        At least 0.

    Raises
    ------
    ConfigurationError
        If there are not two decoys, or a parameter is out of range.

    References
    ----------
    The limit of :func:`three_state_decoy_length` in a symmetric channel; [Zhang2025], summary read; status: paper.
    """
    if len(setting.intensities) != 3:
        raise ConfigurationError(f"source.intensities {setting.intensities}: give a signal and two decoys")
    decoy_asymptotic_rate(setting, gains, errors, efficiency, sifted)  # refuses what makes no sense
    clicks = [p * gain for p, gain in zip(setting.probabilities, gains, strict=True)]
    wrongs = [p * wrong for p, wrong in zip(setting.probabilities, errors, strict=True)]
    rights = [click - wrong for click, wrong in zip(clicks, wrongs, strict=True)]
    spread, total = Exact(), sum(clicks)
    single = single_lower_two_decoys(setting, *scaled(setting, clicks, spread))
    wrong = single_upper(setting, *scaled(setting, wrongs, spread))
    mixed = single_upper(setting, *scaled(setting, clicks, spread))
    right = single_lower_two_decoys(setting, *scaled(setting, rights, spread))
    ratio = max(0.0, wrong + mixed - right) / 2.0 / single if single else 0.5
    leak = efficiency * total * binary_entropy(min(0.5, sum(wrongs) / total)) if total else 0.0
    return paper_rate(sifted * single, ratio, sifted * leak, "Zhang2025")


def _phase_errors(counts: ThreeStateDecoyCounts, decoys: DecoySetting, setting: ThreeStateSetting, spread: Spread) -> float:
    def bounds(*classes: tuple[str, int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return scaled(decoys, [sum(counts.clicks[entry][index] for entry in classes) for index in range(3)], spread)

    p_z, p_x = setting.probability_z_alice, 1.0 - setting.probability_z_alice
    q_z, q_x = setting.probability_z_bob, 1.0 - setting.probability_z_bob
    wrong = single_upper(decoys, *bounds(("X0", 1)))
    mixed = single_upper(decoys, *bounds(("Z0", 0), ("Z1", 0)))
    right = single_lower_two_decoys(decoys, *bounds(("X0", 0)))
    key = p_z * q_z * (1.0 - setting.test_fraction_z) / 2.0
    return max(0.0, key * ((wrong - right) / (p_x * q_x) + mixed / (p_z * q_x / 2.0)))


def _single(setting: DecoySetting, clicks: Sequence[float], errors: Sequence[float], spread: Spread) -> float:
    low, high = scaled(setting, clicks, spread)
    if len(setting.intensities) == 3:
        return single_lower_two_decoys(setting, low, high)
    wrong = vacuum_errors_upper(setting, scaled(setting, errors, spread)[1])
    # [Rusca2018] eq. (A16): a count of coins that is at most v is, except with epsilon, a count of at most 2 (v + margin)
    margin = hoeffding_margin(sum(clicks), spread.epsilon) if isinstance(spread, Hoeffding) else 0.0
    return single_lower_one_decoy(setting, low, high, 2.0 * (wrong + margin))
