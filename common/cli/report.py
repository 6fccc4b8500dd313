"""The report of a distillation: what happened to every block, counted in one place from what one end knows.

Blocks come as the dictionaries that a node answers with (``distillation.reporting``), so that a live link and recordings in one process are
reported alike. Nothing here is secret, and nothing is a constant that stands for a measurement: every number comes from the blocks'
counts, ledgers and accounts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import TYPE_CHECKING, Any

from common.channel.codec import Party
from common.channel.transcript import forgery_bound
from common.distillation.reporting import block_report
from common.errors import BlockAborted
from common.profiles.link import LinkProfile
from common.security.entropy import binary_entropy
from common.security.proofs.registry import require_composable

if TYPE_CHECKING:
    from common.cli.offline import OfflineRun

MASK_BITS = 256
"""Bits of the authentication reserve a block of key uses: one 128-bit mask in each direction."""

RECONCILIATION_ITEMS = ("parities", "syndromes", "increments", "segment tags")
"""Items of the leakage account that reconciliation charges."""

LEAKAGE_RULES = {
    "reference half": "reference half only: the proof gives an eavesdropper the whole error pattern",
    "both halves": "what both halves say: the proof does not give the error pattern away",
}
"""What the rules of the proofs mean, in words."""

NO_CLOCK: dict[str, Any] = {"offset_ppm": None, "residual_rms_ps": None, "lock_losses": 0}
"""Where no clock was found."""

Block = dict[str, Any]
"""As ``block_report`` describes one."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run found out beside its blocks.

    Attributes
    ----------
    clock, gate : dict | None
        The receiver's clock and gate, as its station describes them; None where they were not found.
    settings_randomness : str
        Where the sender's settings came from.
    randomness : str
        ``system`` or ``seeded``.
    failures : dict[str, str]
        Why sessions ended early, by end.
    reasons_before : tuple[str, ...]
        Why no block began.
    """

    clock: dict[str, Any] | None
    gate: dict[str, Any] | None
    settings_randomness: str
    randomness: str = "system"
    failures: dict[str, str] = field(default_factory=dict)
    reasons_before: tuple[str, ...] = ()


def offline_report(profile: LinkProfile, run: OfflineRun, *, seeded: bool) -> dict[str, Any]:
    """Report a run on recordings.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    run : OfflineRun
        Both ends' outcomes; the report counts Bob's, which are the same as Alice's wherever key was made.
    seeded : bool
        Whether the randomness was a repeatable stream.

    Returns
    -------
    dict
        As of ``link_report``.
    """
    clock, gate, failure = run.reception.clock, run.reception.gate.gate, run.failures[Party.BOB]
    findings = Findings(
        clock={
            "offset_ppm": clock.offset_ppm,
            "residual_rms_ps": clock.quality.residual_rms_ps,
            "lock_losses": clock.quality.lock_losses,
        },
        gate={"centre_ps": gate.centre_ps, "width_ps": gate.width_ps},
        settings_randomness=run.settings_randomness,
        randomness="seeded" if seeded else "system",
        failures={party.name.lower(): str(error) for party, error in run.failures.items() if error},
        reasons_before=(failure.reason.label,) if isinstance(failure, BlockAborted) else (),
    )
    return link_report(profile, [block_report(outcome) for outcome in run.outcomes[Party.BOB]], findings)


def link_report(profile: LinkProfile, blocks: Sequence[Block], findings: Findings) -> dict[str, Any]:
    """Add up a run.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    blocks : sequence of dict
        As ``block_report`` describes them, in order.
    findings : Findings
        What else was found out.

    Returns
    -------
    dict
        The fields of the report, ready for JSON.
    """
    kept = [block for block in blocks if block["secret_bits"]]
    counts = [block["counts"] for block in blocks if "counts" in block]
    secret_bits = sum(block["secret_bits"] for block in blocks)
    pulses = sum(counted["pulses"] for counted in counts)
    return {
        "link": profile.name,
        "title": profile.title,
        "link_seconds": pulses / profile.source.clock_hz,
        "pulses": pulses,
        "detections": sum(counted["detections"] for counted in counts),
        "cross_clicks": sum(counted["cross_clicks"] for counted in counts),
        "sifted_bits": sum(counted[basis]["key"] + counted[basis]["tested"] for counted in counts for basis in ("Z", "X")),
        "qber": qber_by_basis(blocks),
        "blocks_kept": len(kept),
        "blocks_discarded": dict(Counter((*findings.reasons_before, *(block["reason"] for block in blocks if block["reason"])))),
        "reconciliation": _reconciliation(profile, blocks),
        "epsilon": next((block["epsilon"] for block in [*reversed(kept), *blocks] if "epsilon" in block), {}),
        "epsilon_session": _session_epsilon(kept),
        "ledger": _summed_ledgers(blocks),
        "secret_bits": secret_bits,
        "authentication_bits": MASK_BITS * len(kept),
        "net_secret_bits": secret_bits - MASK_BITS * len(kept),
        "secret_bits_per_pulse": secret_bits / pulses if pulses else None,
        "clock": findings.clock or NO_CLOCK,
        "gate": findings.gate,
        "randomness": findings.randomness,
        "settings_randomness": findings.settings_randomness,
        "leakage_rule": LEAKAGE_RULES[require_composable(profile.protocol, profile.security.proof).leakage_rule],
        "blinking": "not included" if profile.source.on_fraction == 1.0 else f"on-fraction {profile.source.on_fraction:g}",
        "blocks": [_entry(profile, block) for block in blocks],
        "failures": findings.failures,
    }


def qber_by_basis(blocks: Sequence[Block]) -> dict[str, float | None]:
    """Measure the QBER of each basis over blocks.

    Parameters
    ----------
    blocks : sequence of dict
        Blocks.

    Returns
    -------
    dict[str, float | None]
        Errors among disclosed bits and errors corrected, over the bits disclosed and reconciled; None without bits.
    """
    measured: dict[str, float | None] = {}
    closed = [block for block in blocks if "counts" in block]
    for name in ("Z", "X"):
        bits = sum(block["counts"][name]["tested"] + block["counts"][name]["kept"] for block in closed)
        errors = sum(block["counts"][name]["errors"] + block["corrected"][name] for block in closed)
        measured[name] = errors / bits if bits else None
    return measured


def _entry(profile: LinkProfile, block: Block) -> dict[str, Any]:
    """Return a block with its time and QBER."""
    if "counts" not in block:
        return block
    return block | {"link_seconds": block["counts"]["pulses"] / profile.source.clock_hz, "qber": qber_by_basis([block])}


def _reconciliation(profile: LinkProfile, blocks: Sequence[Block]) -> dict[str, Any]:
    closed = [block for block in blocks if "counts" in block]
    bits = sum(block["counts"][basis]["kept"] for block in closed for basis in ("Z", "X"))
    errors = sum(sum(block["corrected"].values()) for block in closed)
    leaked = sum(block["leakage"].get(item, 0) for block in closed for item in RECONCILIATION_ITEMS)
    segments = sum(block["segments"]["count"] for block in closed)
    entropy = binary_entropy(errors / bits) if bits else 0.0
    return {
        "method": profile.reconciliation.method,
        "direction": profile.reconciliation.direction,
        "efficiency": leaked / (bits * entropy) if entropy else None,
        "leaked_bits": leaked,
        "frame_error_ratio": sum(block["segments"]["failed"] for block in closed) / segments if segments else None,
        "segments": segments,
    }


def _summed_ledgers(blocks: Sequence[Block]) -> dict[str, float | int]:
    """Add ledgers item by item; a block discarded before its length was computed takes back what it brought in."""
    items: dict[str, list[float | int]] = {}
    for block in blocks:
        if "ledger" in block and (block["secret_bits"] or not fsum(block["ledger"].values())):
            ledger = block["ledger"]
        elif "counts" in block:
            brought = block["counts"]["Z"]["key"] + block["counts"]["X"]["key"]
            ledger = {"sifted key bits": brought, "not distilled": -brought}
        else:
            continue
        for item, amount in ledger.items():
            items.setdefault(item, []).append(amount)
    return {item: sum(amounts) if all(isinstance(a, int) for a in amounts) else fsum(amounts) for item, amounts in items.items()}


def _session_epsilon(kept: Sequence[Block]) -> dict[str, float]:
    """Add up what was promised for every block of key, and the forgery bounds of the tags really sent for those blocks."""
    names = ("secrecy", "correctness", "authentication")
    promised = {name: fsum(block["epsilon"].get(name, 0.0) for block in kept) for name in names}
    return promised | {"forgery_bound_of_tags": fsum(2 * forgery_bound(block["authenticated_bytes"]) for block in kept)}
