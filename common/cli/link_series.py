"""A link over its time: QBER and key rate in steps shorter than a block, for the plot and the page of ``qkd demo``.

Both ends tell how their blocks come along (``distillation.steps``); the end that corrects errors also knows in which step they were. The
key at a moment is what the live formula would have given, had the block closed there. Goes to ``plots`` and into ``report.json``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from common.blocks import BasisCounts, BlockCounts
from common.cli.expectation import expected_secret_bits
from common.distillation.disclosure import added_tables
from common.leakage import Leakage
from common.planning.link_model import link_model
from common.profiles.link import LinkProfile
from common.profiles.setting import block_setting
from common.security.epsilons import EpsilonBudget
from common.security.key_length import key_length

BASES = ("Z", "X")

CURVE_POINTS = 48
"""Points of the planner's curve."""

Step = dict[str, Any]
"""As ``step_report`` describes one."""


MOST_LOOKS = 4096
"""Looks at clock and actuators that are kept; a longer run keeps every second of them, and so on."""


@dataclass(slots=True)
class Watched:
    """Clock and drift compensation, as Bob's node reported them from look to look.

    Attributes
    ----------
    link_seconds : list[float]
        Time of sending in the steps up to the look.
    lock_losses : list[int]
        How often the clock had lost its lock.
    offset_ppm : list[float | None]
        Of the clock; None where it was not found.
    compensation : list[str | None]
        ``acquiring`` or ``tracking``; None without drift compensation.
    positions : list[dict[str, float]]
        Actuators, by name, radians.
    """

    link_seconds: list[float] = field(default_factory=list)
    lock_losses: list[int] = field(default_factory=list)
    offset_ppm: list[float | None] = field(default_factory=list)
    compensation: list[str | None] = field(default_factory=list)
    positions: list[dict[str, float]] = field(default_factory=list)
    _stride: int = 1
    _passed: int = 0
    _latest_seconds: float = 0.0

    def add(self, link_seconds: float, status: dict[str, Any]) -> None:
        """Note what Bob's node says, unless nothing was sent since the last look.

        Parameters
        ----------
        link_seconds : float
            Time of sending so far.
        status : dict
            Of the node.
        """
        if link_seconds <= self._latest_seconds:
            return
        self._latest_seconds = link_seconds
        self._passed += 1
        if self._passed % self._stride:
            return
        stream, drift = status["stream"], status["drift"] or {}
        self.link_seconds.append(link_seconds)
        self.lock_losses.append(stream.get("counts", {}).get("lock_losses", 0))
        self.offset_ppm.append((stream.get("clock") or {}).get("offset_ppm"))
        self.compensation.append(drift.get("state"))
        self.positions.append(drift.get("positions", {}))
        if len(self.link_seconds) >= MOST_LOOKS:
            self._stride *= 2
            for kept in (self.link_seconds, self.lock_losses, self.offset_ppm, self.compensation, self.positions):
                del kept[::2]

    def report(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {name: getattr(self, name) for name in ("link_seconds", "lock_losses", "offset_ppm", "compensation", "positions")}


@dataclass(frozen=True, slots=True)
class LinkSeries:
    """Steps of a run.

    Attributes
    ----------
    expected_qber : dict[str, float]
        The planner's word for the QBER.
    end_s : list[float]
        End of each step, seconds of link since the first frame.
    qber, qber_deviation : dict[str, list[float | None]]
        QBER of each basis within the step, and its standard deviation from counting; None without bits.
    sifted_bits_per_second : list[float]
        Bits in both bases within the step.
    secret_bits : list[int]
        Key up to the end of the step: blocks closed before, and what the block would have given had it closed there.
    expected_secret_bits : list[int]
        The planner's word for the same moments.
    expected_curve : list[tuple[float, int]]
        The planner's word in more and finer steps: seconds of link, and key up to then.
    watched : Watched
        Clock and actuators meanwhile.
    """

    expected_qber: dict[str, float]
    end_s: list[float] = field(default_factory=list)
    qber: dict[str, list[float | None]] = field(default_factory=lambda: {name: [] for name in BASES})
    qber_deviation: dict[str, list[float | None]] = field(default_factory=lambda: {name: [] for name in BASES})
    sifted_bits_per_second: list[float] = field(default_factory=list)
    secret_bits: list[int] = field(default_factory=list)
    expected_secret_bits: list[int] = field(default_factory=list)
    expected_curve: list[tuple[float, int]] = field(default_factory=list)
    watched: Watched = field(default_factory=Watched)


def latest_steps(*told: Iterable[Step]) -> list[Step]:
    """Join what both ends told about the same steps.

    Parameters
    ----------
    told : iterable of dict
        Reports of one end, in the order in which they came.

    Returns
    -------
    list[dict]
        One report a step, in order: the one that knows most about errors, and of these the newest.
    """
    known: dict[tuple[int, int], Step] = {}
    for step in (step for reports in told for step in reports):
        place = step["block"], step["step"]
        if place not in known or sum(step["compared"]) >= sum(known[place]["compared"]):
            known[place] = step
    return [known[place] for place in sorted(known)]


def link_series(
    profile: LinkProfile, steps: Sequence[Step], blocks: Sequence[dict[str, Any]], watched: Watched | None = None
) -> LinkSeries:
    """Follow a link from step to step.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    steps : sequence of dict
        One report a step, in order.
    blocks : sequence of dict
        Reports of the blocks, as of ``block_report``; steps of others are left out.
    watched : Watched | None
        Clock and actuators meanwhile.

    Returns
    -------
    LinkSeries
        Empty without a block.
    """
    model = link_model(profile)
    series = LinkSeries({"Z": model.z.qber, "X": model.x.qber}, watched=watched or Watched())
    frame_s = profile.security.frame_pulses / profile.source.clock_hz
    frames_before = secret_before = 0
    for block in (block for block in blocks if "counts" in block):
        ours = [step for step in steps if step["block"] == block["number"]]
        frames = 0
        for count, step in enumerate(ours, 1):
            frames += step["frames"]
            _add_qber(series, step)
            series.end_s.append((frames_before + frames) * frame_s)
            sifted = sum((*step["key"], *step["tested"]))
            series.sifted_bits_per_second.append(sifted / (step["frames"] * frame_s) if step["frames"] else 0.0)
            secret = block["secret_bits"] if count == len(ours) else _secret_bits(profile, ours[:count], block)
            series.secret_bits.append(secret_before + secret)
            series.expected_secret_bits.append(expected_secret_bits(profile, (frames_before + frames) * profile.security.frame_pulses))
        frames_before += frames
        secret_before += block["secret_bits"]
    for part in range(1, CURVE_POINTS + 1 if frames_before else 0):
        frames = round(frames_before * (part / CURVE_POINTS) ** 2)  # closer in the beginning, where there is more to see
        series.expected_curve.append((frames * frame_s, expected_secret_bits(profile, frames * profile.security.frame_pulses)))
    return series


def _add_qber(series: LinkSeries, step: Step) -> None:
    for index, name in enumerate(BASES):
        bits = step["tested"][index] + step["compared"][index]
        errors = step["errors"][index] + step["corrected"][index]
        series.qber[name].append(errors / bits if bits else None)
        series.qber_deviation[name].append((max(errors, 1) * max(bits - errors, 1) / bits**3) ** 0.5 if bits else None)


def _secret_bits(profile: LinkProfile, steps: Sequence[Step], block: dict[str, Any]) -> int:
    """What the live formula gives for a block that closes behind these steps; leakage in proportion."""
    z, x = (
        BasisCounts(
            key=sum(step["key"][basis] for step in steps),
            kept=sum(step["key"][basis] for step in steps),
            tested=sum(step["tested"][basis] for step in steps),
            errors=sum(step["errors"][basis] for step in steps),
        )
        for basis in (0, 1)
    )
    frames = sum(step["frames"] for step in steps)
    counts = BlockCounts(
        pulses=frames * profile.security.frame_pulses,
        frames=frames,
        detections=sum(step["detections"] for step in steps),
        cross_clicks=sum(step["cross_clicks"] for step in steps),
        z=z,
        x=x,
        table=added_tables([step["table"] for step in steps]),
        key_by_intensity=tuple(sum(counts) for counts in zip(*(step["key_by_intensity"] for step in steps), strict=True)),
    )
    whole = sum(block["counts"][name]["key"] for name in BASES)
    leaked = sum(block["leakage"].values())
    leakage = Leakage({"so far": round(leaked * (z.key + x.key) / max(1, whole))})
    return key_length(counts, leakage, block_setting(profile), EpsilonBudget.of(profile.security)).secret_bits


def as_report(series: LinkSeries) -> dict[str, Any]:
    """Return ``series`` ready for JSON."""
    return dataclasses.asdict(series) | {"watched": series.watched.report()}
