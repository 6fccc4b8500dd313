"""The report of a distillation: what happened to every block, counted in one place from what one end knows.

Nothing here is secret, and nothing is a constant that stands for a measurement: every number comes from the blocks'
counts, ledgers and accounts.
"""

from __future__ import annotations

from collections import Counter
from math import fsum
from typing import Any

from common.channel.codec import Party
from common.channel.transcript import forgery_bound
from common.cli.offline import OfflineRun
from common.distillation.values import BlockOutcome
from common.errors import AbortReason, BlockAborted
from common.profiles.link import LinkProfile
from common.security.entropy import binary_entropy

MASK_BITS = 256
"""Bits of the authentication reserve a block of key uses: one 128-bit mask in each direction."""

RECONCILIATION_ITEMS = ("parities", "syndromes", "increments", "segment tags")
"""Items of the leakage account that reconciliation charges."""


def link_report(profile: LinkProfile, run: OfflineRun, *, seeded: bool) -> dict[str, Any]:
    """Add up a run.

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
        The fields of the report, ready for JSON.
    """
    outcomes = run.outcomes[Party.BOB]
    kept = [outcome for outcome in outcomes if outcome.secret_bits]
    closed = [outcome.block for outcome in outcomes if outcome.block]
    secret_bits = sum(outcome.secret_bits for outcome in outcomes)
    pulses = sum(block.counts.pulses for block in closed)
    sifted = sum(basis.key + basis.tested for block in closed for basis in (block.counts.z, block.counts.x))
    clock = run.reception.clock
    return {
        "link": profile.name,
        "title": profile.title,
        "link_seconds": pulses / profile.source.clock_hz,
        "pulses": pulses,
        "detections": sum(block.counts.detections for block in closed),
        "cross_clicks": sum(block.counts.cross_clicks for block in closed),
        "sifted_bits": sifted,
        "qber": qber_by_basis(outcomes),
        "blocks_kept": len(kept),
        "blocks_discarded": dict(Counter(reason.label for reason in _reasons(run))),
        "reconciliation": _reconciliation(profile, outcomes),
        "epsilon": kept[-1].length.epsilon if kept and kept[-1].length else _first_epsilon(outcomes),
        "epsilon_session": _session_epsilon(kept),
        "ledger": _summed_ledgers(outcomes),
        "secret_bits": secret_bits,
        "authentication_bits": MASK_BITS * len(kept),
        "net_secret_bits": secret_bits - MASK_BITS * len(kept),
        "secret_bits_per_pulse": secret_bits / pulses if pulses else None,
        "clock": {
            "offset_ppm": clock.offset_ppm,
            "residual_rms_ps": clock.quality.residual_rms_ps,
            "lock_losses": clock.quality.lock_losses,
        },
        "gate": {"centre_ps": run.reception.gate.gate.centre_ps, "width_ps": run.reception.gate.gate.width_ps},
        "randomness": "seeded" if seeded else "system",
        "settings_randomness": run.settings_randomness,
        "leakage_rule": "reference half only: the proof gives an eavesdropper the whole error pattern",
        "blinking": "not included" if profile.source.on_fraction == 1.0 else f"on-fraction {profile.source.on_fraction:g}",
        "blocks": [block_entry(profile, outcome) for outcome in outcomes],
        "failures": {party.name.lower(): str(error) for party, error in run.failures.items() if error},
    }


def block_entry(profile: LinkProfile, outcome: BlockOutcome) -> dict[str, Any]:
    """Describe one block.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    outcome : BlockOutcome
        How the block ended.

    Returns
    -------
    dict
        Number, length, reason and failed bound, counts, leakage and bounds.
    """
    entry: dict[str, Any] = {
        "number": outcome.number,
        "secret_bits": outcome.secret_bits,
        "reason": outcome.reason.label if outcome.reason else None,
        "bound": outcome.length.bound if outcome.length else "",
        "leakage": outcome.leakage.items,
    }
    if outcome.block:
        counts = outcome.block.counts
        entry |= {
            "link_seconds": counts.pulses / profile.source.clock_hz,
            "qber": qber_by_basis([outcome]),
            "counts": {
                "pulses": counts.pulses,
                "frames": counts.frames,
                "detections": counts.detections,
                "cross_clicks": counts.cross_clicks,
                "Z": {"key": counts.z.key, "kept": counts.z.kept, "tested": counts.z.tested, "errors": counts.z.errors},
                "X": {"key": counts.x.key, "kept": counts.x.kept, "tested": counts.x.tested, "errors": counts.x.errors},
                "table": counts.table,
            },
            "corrected": {"Z": outcome.block.corrected[0], "X": outcome.block.corrected[1]},
        }
    if outcome.length:
        entry |= {
            "ledger": outcome.length.ledger,
            "phase_error_bound": outcome.length.phase_error_bound,
            "multi_photon_bound": outcome.length.multi_photon_bound,
        }
    return entry


def qber_by_basis(outcomes: list[BlockOutcome]) -> dict[str, float | None]:
    """Measure the QBER of each basis over blocks.

    Parameters
    ----------
    outcomes : list[BlockOutcome]
        Blocks.

    Returns
    -------
    dict[str, float | None]
        Errors among disclosed bits and errors corrected, over the bits disclosed and reconciled; None without bits.
    """
    blocks = [outcome.block for outcome in outcomes if outcome.block]
    measured: dict[str, float | None] = {}
    for index, (name, bases) in enumerate({"Z": [b.counts.z for b in blocks], "X": [b.counts.x for b in blocks]}.items()):
        bits = sum(basis.tested + basis.kept for basis in bases)
        errors = sum(basis.errors for basis in bases) + sum(block.corrected[index] for block in blocks)
        measured[name] = errors / bits if bits else None
    return measured


def _reconciliation(profile: LinkProfile, outcomes: list[BlockOutcome]) -> dict[str, Any]:
    blocks = [outcome.block for outcome in outcomes if outcome.block]
    bits = sum(block.counts.z.kept + block.counts.x.kept for block in blocks)
    errors = sum(sum(block.corrected) for block in blocks)
    leaked = sum(block.leakage.items.get(item, 0) for block in blocks for item in RECONCILIATION_ITEMS)
    segments = sum(block.count_segments for block in blocks)
    entropy = binary_entropy(errors / bits) if bits else 0.0
    return {
        "method": profile.reconciliation.method,
        "direction": profile.reconciliation.direction,
        "efficiency": leaked / (bits * entropy) if entropy else None,
        "leaked_bits": leaked,
        "frame_error_ratio": sum(block.count_failed for block in blocks) / segments if segments else None,
        "segments": segments,
    }


def _summed_ledgers(outcomes: list[BlockOutcome]) -> dict[str, float | int]:
    """Add ledgers item by item; a block discarded before its length was computed takes back what it brought in."""
    items: dict[str, list[float | int]] = {}
    for outcome in outcomes:
        if outcome.length and outcome.secret_bits == outcome.length.secret_bits:
            ledger = outcome.length.ledger
        elif outcome.block:
            brought = outcome.block.counts.z.key + outcome.block.counts.x.key
            ledger = {"sifted key bits": brought, "not distilled": -brought}
        else:
            continue
        for item, amount in ledger.items():
            items.setdefault(item, []).append(amount)
    return {item: sum(amounts) if all(isinstance(a, int) for a in amounts) else fsum(amounts) for item, amounts in items.items()}


def _reasons(run: OfflineRun) -> list[AbortReason]:
    """Why blocks were discarded, or why none ever began: slots that could not be matched."""
    failure = run.failures[Party.BOB]
    before = [failure.reason] if isinstance(failure, BlockAborted) else []
    return before + [outcome.reason for outcome in run.outcomes[Party.BOB] if outcome.reason]


def _first_epsilon(outcomes: list[BlockOutcome]) -> dict[str, float]:
    return next((outcome.length.epsilon for outcome in outcomes if outcome.length), {})


def _session_epsilon(kept: list[BlockOutcome]) -> dict[str, float]:
    """Add up what was promised for every block of key, and the forgery bounds of the tags really sent."""
    names = ("secrecy", "correctness", "authentication")
    promised = {name: fsum(outcome.length.epsilon.get(name, 0.0) for outcome in kept if outcome.length) for name in names}
    return promised | {"forgery_bound_of_tags": fsum(2 * forgery_bound(outcome.authenticated_bytes) for outcome in kept)}
