"""What a composable proof says about a block: so many bits untagged, so many phase errors among them.

Every composable proof ends in an ``Estimate``, and ``key_length`` takes nothing else: what a publication's formula gives is of
another type (``paper_length``) and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import AbortReason
from common.security.checks import refuse_paper

OTHER_BASIS = {"Z": "X", "X": "Z"}
"""The basis that bounds the phase errors of a basis."""


@dataclass(frozen=True, slots=True)
class BasisEstimate:
    """What is known of one key basis.

    Attributes
    ----------
    basis : str
        ``Z`` or ``X``.
    count_key, count_kept : int
        Sifted undisclosed bits, and those of them that were reconciled.
    count_tagged : int
        Most key bits the eavesdropper may know in full, 0 to ``count_key``.
    count_tested : int
        Fewest disclosed bits of the other basis from single photons.
    phase_errors : int | None
        Most phase errors among the untagged key bits; None where nothing bounds them.

    Raises
    ------
    ConfigurationError
        If a number is a ``PaperValue``.
    """

    basis: str
    count_key: int
    count_kept: int
    count_tagged: int
    count_tested: int
    phase_errors: int | None

    def __post_init__(self) -> None:
        for name in ("count_tagged", "count_tested", "phase_errors"):
            refuse_paper(name, getattr(self, name))

    @property
    def count_untagged(self) -> int:
        """Fewest reconciled bits from single photons."""
        return max(0, self.count_kept - self.count_tagged)

    @property
    def phase_error_ratio(self) -> float | None:
        """Bound of the phase-error ratio within the untagged bits, at most 1; None where undefined."""
        if self.phase_errors is None or self.count_untagged == 0:
            return None
        return min(1.0, self.phase_errors / self.count_untagged)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the proof says about a block.

    Attributes
    ----------
    bases : tuple[BasisEstimate, ...]
        One entry a key basis.
    count_multi_clicks : int
        Most single-basis clicks from slots with several photons; 0 for an active receiver.
    reason : AbortReason | None
        Why the block makes no key whatever its leakage, or None.
    bound : str
        The bound that failed and by how much, in words; empty without a reason.
    """

    bases: tuple[BasisEstimate, ...]
    count_multi_clicks: int = 0
    reason: AbortReason | None = None
    bound: str = ""


def failure(bases: list[BasisEstimate], tested: dict[str, int]) -> tuple[AbortReason | None, str]:
    """Find the bound that leaves a block without key before any leakage is charged.

    Parameters
    ----------
    bases : list of BasisEstimate
        One entry a key basis.
    tested : dict[str, int]
        Disclosed bits of the bases that bound them, for the message.

    Returns
    -------
    tuple[AbortReason | None, str]
        Reason and words; None and nothing where no bound failed.

    References
    ----------
    ``docs/explanation/finite-key``; status: rigorous.
    """
    if not any(entry.count_kept for entry in bases):
        return AbortReason.RECONCILIATION_FAILED, f"none of {sum(entry.count_key for entry in bases)} sifted key bits was reconciled"
    usable = [entry for entry in bases if entry.count_untagged]
    if not usable:
        words = ", ".join(f"{entry.count_tagged} of {entry.count_kept} reconciled {entry.basis} bits" for entry in bases)
        return AbortReason.MULTI_PHOTON_BOUND, f"multi-photon bound: {words} may stem from several photons; none is left"
    for entry in usable:
        other = OTHER_BASIS[entry.basis]
        if entry.phase_errors is None:
            return (
                AbortReason.TOO_FEW_TESTED,
                f"phase errors of {entry.basis}: all {tested[other]} disclosed {other} bits may stem from several photons",
            )
        ratio = entry.phase_error_ratio
        if ratio is not None and 2 * entry.phase_errors >= entry.count_untagged:
            words = (
                f"{entry.phase_errors} errors in {entry.count_untagged} bits, ratio {ratio:.4f}, {ratio - 0.5:.4f} above the limit of 0.5"
            )
            return AbortReason.PHASE_ERROR_BOUND, f"phase-error bound of {entry.basis}: {words}"
    return None, ""
