"""Key lengths of the single-photon BB84 publications, for their figures.

``niedersachsen``: one key basis, Chernoff bounds, the gamma of Yin and others, failure probabilities added linearly; its printed
equation (2) multiplies bit counts by n once too often, this is the form that is meant. ``hbn``: collective attacks, pooled bases.
What is not rigorous in them is listed in ``docs/explanation/proofs``. Counts in, ``PaperKeyLength`` or ``AsymptoticRate`` out.
"""

from __future__ import annotations

from math import log2, sqrt
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.security.checks import check_epsilon, check_number
from common.security.entropy import binary_entropy, saturated_entropy
from common.security.inequalities import chernoff_count_upper
from common.security.paper import yin_gamma
from common.security.proofs.paper_length import AsymptoticRate, PaperEpsilons, PaperKeyLength, paper_length, paper_rate

if TYPE_CHECKING:
    from common.blocks import BlockCounts
    from common.security.proofs.bb84_setting import Bb84Setting


def asymptotic_rate(click: float, multi: float, qber: float, efficiency: float, sifted: float = 0.5) -> AsymptoticRate:
    """Secret bits a pulse with endless statistics, both bases making key.

    Parameters
    ----------
    click, multi : float
        Probability per pulse of a click, and of two photons or more in the channel.
    qber : float
        Probability that a sifted click is wrong, at most 1/2.
    efficiency : float
        Leaked bits over ``n h(qber)``, 1 or more.
    sifted : float
        Share of the clicks in equal bases, ``pX^2 + (1 - pX)^2``.

    Returns
    -------
    AsymptoticRate
        0 where all clicks may stem from several photons.

    Raises
    ------
    ConfigurationError
        If a parameter is out of range; the message names it.

    References
    ----------
    [Yang2024], recalled: ``p_sift (p_c1 (1 - h(e1)) - f p_c h(e))`` with ``p_c1 = p_c - p_m`` and ``e1 = e p_c/p_c1``; status: paper.
    """
    check_number("click probability", click, 0.0, 1.0)
    check_number("multi-photon probability", multi, 0.0, 1.0)
    check_number("qber", qber, 0.0, 0.5)
    check_number("reconciliation efficiency", efficiency, 1.0, float("inf"))
    check_number("sifted share", sifted, 0.0, 1.0)
    single = max(0.0, click - multi)
    ratio = qber * click / single if single else 0.5
    return paper_rate(sifted * single, ratio, sifted * efficiency * click * binary_entropy(qber), "Yang2024")


def niedersachsen_length(counts: BlockCounts, setting: Bb84Setting, leakage_bits: float, epsilons: PaperEpsilons) -> PaperKeyLength:
    """Secret length of a block as the publication computes it: Z makes key, X is disclosed.

    Parameters
    ----------
    counts : BlockCounts
        ``z.key`` and ``x.tested`` are the detected bits of the bases.
    setting : Bb84Setting
        Its multi-photon probability and the probabilities of the bases.
    leakage_bits : float
        Bits of error correction.
    epsilons : PaperEpsilons
        Published: 1e-10/6 for each event and for amplification, correctness 1e-15.

    Returns
    -------
    PaperKeyLength
        With its terms.

    Raises
    ------
    ConfigurationError
        If the leakage is negative.

    References
    ----------
    [Yang2024] eq. (2) as meant, recalled, after [Morrison2023]; the gamma of [Yin2020]; status: paper.
    """
    check_number("leakage_bits", leakage_bits, 0.0, float("inf"))

    def single(detected: int, basis: str) -> float:
        expected = counts.pulses * setting.probability_matched(basis) * setting.probability_multi_photon
        return detected - chernoff_count_upper(expected, epsilons.event)

    key, tested = single(counts.z.key, "Z"), single(counts.x.tested, "X")
    if key < 1.0 or tested < 1.0:
        return PaperKeyLength(0.0, {"single-photon bits": max(0.0, key)}, 0.5, "Yang2024")
    errors = min(counts.x.errors, int(tested))
    ratio = errors / tested + yin_gamma(int(tested), errors, int(key), epsilons.event).value
    terms = {
        "single-photon bits": key,
        "phase errors": -key * saturated_entropy(ratio),
        "leakage": -leakage_bits,
        **epsilons.deductions,
    }
    return paper_length(terms, ratio, "Yang2024")


def hbn_length(
    count_key: int, count_tested: int, qber: float, single_share: float, code_rate: float, epsilon: float = 2.5e-11
) -> PaperKeyLength:
    """Secret length of a run as the publication computes it, both bases pooled.

    Parameters
    ----------
    count_key, count_tested : int
        Bits that make key, and disclosed ones.
    qber : float
        Error ratio of the disclosed ones, at most 1/2.
    single_share : float
        ``(p_det - P_m)/p_det``, above 0 and at most 1.
    code_rate : float
        Rate of the code, above 0 and at most 1.
    epsilon : float
        Each of the four equal parts of 1e-10.

    Returns
    -------
    PaperKeyLength
        With its terms.

    Raises
    ------
    ConfigurationError
        If a parameter is out of range; the message names it.

    References
    ----------
    The publication's eqs. (A1) and (A2), after [Scarani2008] and [Cai2009] (collective attacks):
    ``r = A (1 - h(Q_u/A)) - (1 - R) - Delta`` with
    ``Q_u = Q + sqrt((2 log2(1/eps) + 2 log2(m+1))/m)/2`` and
    ``Delta = 7 sqrt(log2(2/eps)/n) + 2/n log2(1/eps) + 1/n log2(2/eps)``; status: paper.
    """
    check_number("qber", qber, 0.0, 0.5)
    check_epsilon("epsilon", epsilon)
    for name, value in (("single_share", single_share), ("code_rate", code_rate)):
        check_number(name, value, 0.0, 1.0)
    if single_share == 0.0 or count_key < 1 or count_tested < 1:
        raise ConfigurationError(f"count_key {count_key}, count_tested {count_tested}, single_share {single_share}: none may be 0")
    n, m = float(count_key), float(count_tested)
    bounded = qber + 0.5 * sqrt((2.0 * log2(1.0 / epsilon) + 2.0 * log2(m + 1.0)) / m)
    ratio = bounded / single_share
    terms = {
        "single-photon bits": n * single_share,
        "phase errors": -n * single_share * saturated_entropy(ratio),
        "leakage": -n * (1.0 - code_rate),
        "finite size": -7.0 * sqrt(n * log2(2.0 / epsilon)),
        "privacy amplification": -2.0 * log2(1.0 / epsilon),
        "error correction": -log2(2.0 / epsilon),
    }
    return paper_length(terms, ratio, "Scarani2008")


def hbn_asymptotic_rate(key: float, qber: float, single_share: float, code_rate: float) -> AsymptoticRate:
    """Secret bits a pulse of the ``hbn`` publication with endless statistics.

    Parameters
    ----------
    key : float
        Key bits a pulse, both bases, disclosed ones not counted.
    qber : float
        Error ratio, at most 1/2.
    single_share : float
        ``(p_det - P_m)/p_det``, 0 to 1.
    code_rate : float
        Rate of the code, 0 to 1.

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
    The limit of :func:`hbn_length`: ``A (1 - h(Q/A)) - (1 - R)``; status: paper.
    """
    check_number("qber", qber, 0.0, 0.5)
    for name, value in (("key", key), ("single_share", single_share), ("code_rate", code_rate)):
        check_number(name, value, 0.0, 1.0)
    ratio = qber / single_share if single_share else 0.5
    return paper_rate(key * single_share, ratio, key * (1.0 - code_rate), "Scarani2008")
