"""What a mean block of a link should yield: expected counts through the very formula that decides live keys.

No statistics are drawn. Serves reports, the page of a running link and the tests that compare obtained with expected keys; ``rate``
answers wider questions.

References
----------
``docs/explanation/finite-key``; status: planning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.planning.counts import expected_counts, pulses_for_block
from common.planning.leakage import answer_share, expected_efficiency, expected_leakage
from common.planning.lengths import composable_length
from common.planning.link_model import link_model
from common.security.proofs.registry import require_composable

if TYPE_CHECKING:
    from common.blocks import BlockCounts
    from common.leakage import Leakage
    from common.profiles.link import LinkProfile
    from common.security.key_length import KeyLength


@dataclass(frozen=True, slots=True)
class ExpectedBlock:
    """A mean block and what it should yield.

    Attributes
    ----------
    counts : BlockCounts
        Expected counts, rounded; all intensities together.
    leakage : Leakage
        Assumed reconciliation leakage, verification tag and verdict.
    key : KeyLength
        What the live formula makes of them.
    seconds : float
        Wall-clock time the block takes, duty cycle included.
    """

    counts: BlockCounts
    leakage: Leakage
    key: KeyLength
    seconds: float

    @property
    def secret_bits_per_pulse(self) -> float:
        """Secret bits over pulses, pulses counted by the block rule."""
        return self.key.secret_bits / self.counts.pulses if self.counts.pulses else 0.0


def expected_block(
    profile: LinkProfile,
    count_pulses: int | None = None,
    *,
    reconciliation_efficiency: float | None = None,
) -> ExpectedBlock:
    """Predict the secret length of a mean block by the live formula.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    count_pulses : int | None
        Pulses of the block; None takes what the profile's ``block_bits`` needs.
    reconciliation_efficiency : float | None
        Bits said about the reference over ``n h(QBER)``, 1 or more; None for what the profile's method is expected to need.

    Returns
    -------
    ExpectedBlock
        Counts, assumed leakage and key length.

    Raises
    ------
    ConfigurationError
        If the efficiency is below the Shannon limit, or the profile's proof makes no live key.

    References
    ----------
    :func:`common.planning.lengths.composable_length` on :func:`expected_counts`; status: planning.
    """
    proof, model = require_composable(profile.protocol, profile.security.proof), link_model(profile)
    pulses = pulses_for_block(profile, model) if count_pulses is None else count_pulses
    counts = expected_counts(profile, pulses, model)
    if reconciliation_efficiency is None:
        reconciliation_efficiency = expected_efficiency(profile, model, counts)
    if reconciliation_efficiency < 1.0:
        raise ConfigurationError(
            f"reconciliation efficiency {reconciliation_efficiency}: no code leaks less than n h(QBER), give 1 or more"
        )
    leakage = expected_leakage(counts, model, reconciliation_efficiency, answer_share(profile, proof))
    key = composable_length(profile, counts, leakage)
    return ExpectedBlock(counts, leakage, key, pulses / profile.source.clock_hz / profile.source.duty_cycle)
