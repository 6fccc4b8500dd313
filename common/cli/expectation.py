"""What the planner says before a link runs, and what it says afterwards for the pulses that were really used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.planning.expected import expected_block
from common.planning.link_model import link_model
from common.profiles.link import LinkProfile

PATIENCE = 3.0
"""A link is given up after so many times the planner's expectation."""

HOPELESS_SECONDS = 30.0
"""Link time shown where the planner expects no key at all."""

MOST_BLOCKS = 1_000_000
"""Blocks beyond which the planner does not look."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """The planner's word before a link runs.

    Attributes
    ----------
    secret_bits : int
        Bits wanted.
    seconds : float | None
        Link time they should take; None if the planner expects no such key.
    limit_seconds : float
        When to give up.
    """

    secret_bits: int
    seconds: float | None
    limit_seconds: float


def expectation(profile: LinkProfile, secret_bits: int, most_seconds: float | None = None) -> Expectation:
    """Ask the planner how long a link takes.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    secret_bits : int
        Bits wanted.
    most_seconds : float | None
        Link time at most, at which the last block is closed early; None gives three times the expectation.

    Returns
    -------
    Expectation
        What to plan for.
    """
    seconds = expected_seconds(profile, secret_bits)
    if most_seconds is None:
        return Expectation(secret_bits, seconds, PATIENCE * seconds if seconds else HOPELESS_SECONDS)
    if seconds is None or seconds > most_seconds:
        cut_short = expected_secret_bits(profile, round(most_seconds * profile.source.clock_hz)) >= secret_bits
        seconds = most_seconds if cut_short else None
    return Expectation(secret_bits, seconds, most_seconds)


def expected_seconds(profile: LinkProfile, secret_bits: int) -> float | None:
    """Predict how long a link takes for so many secret bits: whole blocks, for key comes at the end of a block.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    secret_bits : int
        Bits wanted.

    Returns
    -------
    float | None
        Seconds of sending; None if the planner expects no key of a whole block, or too little of very many.
    """
    block = expected_block(profile)
    count = -(-secret_bits // block.key.secret_bits) if block.key.secret_bits else MOST_BLOCKS + 1
    return None if count > MOST_BLOCKS else count * block.counts.pulses / profile.source.clock_hz


def expected_secret_bits(profile: LinkProfile, count_pulses: int) -> int:
    """Predict the key of a run: full blocks, and one cut short.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    count_pulses : int
        Pulses of the run.

    Returns
    -------
    int
        Secret bits by the planner.
    """
    full = expected_block(profile)
    count_full, rest = divmod(count_pulses, full.counts.pulses)
    return count_full * full.key.secret_bits + (expected_block(profile, rest).key.secret_bits if rest else 0)


def compared(profile: LinkProfile, report: dict[str, Any], expected: Expectation) -> dict[str, Any]:
    """Set expected beside obtained.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    report : dict
        Of the run.
    expected : Expectation
        The planner's word beforehand.

    Returns
    -------
    dict
        Lengths and times, for the report; the planner's length is for the pulses of the blocks that were closed.
    """
    model = link_model(profile)
    pulses = [block["counts"]["pulses"] for block in report["blocks"] if "counts" in block]
    return {
        "wanted_secret_bits": expected.secret_bits,
        "seconds_for_wanted_bits": expected.seconds,
        "limit_seconds": expected.limit_seconds,
        "secret_bits": sum(expected_block(profile, count).key.secret_bits for count in pulses),
        "qber": {"Z": model.z.qber, "X": model.x.qber},
        "detections": round(model.probability_detection * report["pulses"]),
    }
