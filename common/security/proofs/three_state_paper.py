"""Key lengths of the three-state publications, for their figures: loss-tolerant form, ideal states, Chernoff bounds.

Chernoff's bounds are applied to a combination of events that an eavesdropper may correlate, and failure probabilities are added
linearly; ``three_state`` is the composable form. Counts in, ``PaperKeyLength`` or ``AsymptoticRate`` out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.security.checks import check_number
from common.security.entropy import binary_entropy, saturated_entropy
from common.security.inequalities import chernoff_count_upper, chernoff_expectation_lower, chernoff_expectation_upper
from common.security.proofs.paper_length import AsymptoticRate, PaperEpsilons, PaperKeyLength, paper_length, paper_rate
from common.security.proofs.three_state import x_clicks

if TYPE_CHECKING:
    from common.blocks import BlockCounts
    from common.security.proofs.three_state_setting import ThreeStateSetting

_SOURCE = "Zhang2025"


def asymptotic_rate(
    click: float, multi: float, qber: float, efficiency: float, sifted: float = 1.0, qber_x: float | None = None
) -> AsymptoticRate:
    """Secret bits a pulse with endless statistics and almost all pulses in Z.

    Parameters
    ----------
    click, multi : float
        Probability per pulse of a click, and of two photons or more in the channel.
    qber : float
        Probability that a click in the right basis is wrong, at most 1/2.
    efficiency : float
        Leaked bits over ``n h(qber)``, 1 or more.
    sifted : float
        Share of the clicks that make key: both in Z.
    qber_x : float | None
        The same in X where it is another one, as with time bins.

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
    The limit of :func:`three_state_length`: ``phi = (e + p_m/(2 p_c))/(1 - p_m/p_c)``; [Zhang2025], summary read; status: paper.
    """
    check_number("click probability", click, 0.0, 1.0)
    check_number("multi-photon probability", multi, 0.0, 1.0)
    check_number("qber", qber, 0.0, 0.5)
    check_number("reconciliation efficiency", efficiency, 1.0, float("inf"))
    check_number("sifted share", sifted, 0.0, 1.0)
    wrong = qber if qber_x is None else qber_x
    check_number("qber of X", wrong, 0.0, 0.5)
    single = max(0.0, click - multi)
    ratio = (wrong + multi / (2.0 * click)) / (1.0 - multi / click) if single else 0.5
    return paper_rate(sifted * single, ratio, sifted * efficiency * click * binary_entropy(qber), _SOURCE)


def three_state_length(counts: BlockCounts, setting: ThreeStateSetting, leakage_bits: float, epsilons: PaperEpsilons) -> PaperKeyLength:
    """Secret length of a block by Chernoff bounds of each class of clicks.

    Parameters
    ----------
    counts : BlockCounts
        ``z.key`` and the table of clicks in X.
    setting : ThreeStateSetting
        Its states are taken as ideal whatever it says.
    leakage_bits : float
        Bits of error correction.
    epsilons : PaperEpsilons
        Published: 11e-10/12 over all estimation events, amplification 1e-10/24, correctness 1e-15.

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
    [Zhang2025], summary read; the loss-tolerant identity ``rho0 + rho1 = rho+ + rho-`` after [Tamaki2014]; multi-photons may hide as
    right clicks only; status: paper.
    """
    check_number("leakage_bits", leakage_bits, 0.0, float("inf"))
    clicks, epsilon = x_clicks(counts, setting), epsilons.event
    p_z, p_x = setting.probability_z_alice, 1.0 - setting.probability_z_alice
    q_z, q_x = setting.probability_z_bob, 1.0 - setting.probability_z_bob
    multi = counts.pulses * setting.probability_multi_photon
    single = counts.z.key - chernoff_count_upper(multi * p_z * q_z * (1.0 - setting.test_fraction_z), epsilon)
    if single < 1.0:
        return PaperKeyLength(0.0, {"single-photon bits": max(0.0, single)}, 0.5, _SOURCE)
    wrong = chernoff_expectation_upper(clicks["X0", 1], epsilon)
    mixed = chernoff_expectation_upper(clicks["Z0", 0] + clicks["Z1", 0], epsilon)
    right = max(0.0, chernoff_expectation_lower(clicks["X0", 0], epsilon) - multi * p_x * q_x)
    key = p_z * q_z * (1.0 - setting.test_fraction_z) / 2.0
    expected = max(0.0, key * ((wrong - right) / (p_x * q_x) + mixed / (p_z * q_x / 2.0)))
    ratio = chernoff_count_upper(expected, epsilon) / single
    terms = {
        "single-photon bits": single,
        "phase errors": -single * saturated_entropy(ratio),
        "leakage": -leakage_bits,
        **epsilons.deductions,
    }
    return paper_length(terms, ratio, _SOURCE)
