"""Bob's monitors: whether his detectors are what the link profile certifies, read off every block's clicks.

Four things are watched: clicks between the pulses (dark counts and stray light), clicks of one detector and one basis beside another,
detections a pulse, and slots in which two detectors click. A blinded detector answers bright light only: dark counts vanish, and two
detectors never click together, since whoever steers them chooses one. Ranges are multiples of what the link model expects of the
profile; counts come from ``bob.live`` and ``bob.station``, readings go to ``common.distillation.monitoring``.

References
----------
[Lydersen2010] blinding; ``docs/explanation/monitors`` for what each monitor can and cannot see.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from common.blocks import ReceiverCounts
from common.distillation.values import MonitorReading
from common.errors import AbortReason
from common.planning.gate import REACH_SLOTS, Gate
from common.planning.link_model import LinkModel, link_model
from common.protocols.encoding import ENCODINGS
from common.security.certified import Estimate, Verdict, background_rate, coincidence_factor, odds_ratio, probability

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from common.profiles.link import LinkProfile

_QUIET_SHARES: Final = (3 / 4, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
"""Shares of the slot (or time bin) that may be watched as quiet: the first in which no more light than background is expected. Where
there is none the light's tail outshines the background everywhere, and nothing can be said of it."""

TAIL_FACTOR: Final = 1.25
"""The light's tail in the quiet stretch may be so many times more or less than lifetime and jitter of the profile say."""

_EVEN_SHARE: Final = 0.25
"""Two detectors are compared where each is expected to have at least this share of their clicks; else errors decide, not efficiency."""

_REASONS: Final = {
    ("background", Verdict.TOO_LOW): AbortReason.DETECTOR_BLINDING,
    ("background", Verdict.TOO_HIGH): AbortReason.BACKGROUND_OUT_OF_RANGE,
    ("coincidence", Verdict.TOO_LOW): AbortReason.DETECTOR_BLINDING,
    ("coincidence", Verdict.TOO_HIGH): AbortReason.DOUBLE_CLICKS_OUT_OF_RANGE,
    ("detection", Verdict.TOO_LOW): AbortReason.DETECTION_RATE_OUT_OF_RANGE,
    ("detection", Verdict.TOO_HIGH): AbortReason.DETECTION_RATE_OUT_OF_RANGE,
    ("efficiency", Verdict.TOO_LOW): AbortReason.EFFICIENCY_MISMATCH,
    ("efficiency", Verdict.TOO_HIGH): AbortReason.EFFICIENCY_MISMATCH,
}


def receiver_counts(pulses: int, outcomes: NDArray[np.uint8], doubles: int, cross_clicks: int, quiet_clicks: int) -> ReceiverCounts:
    """Count what monitors are told of whole frames.

    Parameters
    ----------
    pulses : int
        In these frames.
    outcomes : uint8[n]
        Of their detections.
    doubles, cross_clicks, quiet_clicks : int
        Same-basis doubles, cross clicks, and tags in quiet stretches.

    Returns
    -------
    ReceiverCounts
        To be added up over a block.
    """
    z0, z1, x0, x1 = np.bincount(outcomes, minlength=4).tolist()
    return ReceiverCounts(pulses, (z0, z1, x0, x1), doubles, cross_clicks, quiet_clicks)


@lru_cache(maxsize=16)
def quiet_width_ps(profile: LinkProfile) -> float | None:
    """Choose how much of a slot is watched for background.

    Parameters
    ----------
    profile : LinkProfile
        The link.

    Returns
    -------
    float | None
        Picoseconds, with time bins at each of them; None where background is not watched, or cannot be seen beside the light.
    """
    background_hz = _background_hz(profile)
    if profile.monitors is None or profile.monitors.background_ratio is None or background_hz == 0.0:
        return None
    room_ps = _room_ps(profile)
    widths_ps = [share * room_ps for share in _QUIET_SHARES]
    light = _light(link_model(profile), profile)
    fitting = (
        width_ps
        for width_ps in widths_ps
        if light * _tail_share(profile, width_ps) <= background_hz * _quiet_share(profile, width_ps) / profile.source.clock_hz
    )
    return next(fitting, None)


class DetectorMonitor:
    """Reads the monitors of a receiver, block after block.

    An alarm stands until its reading is in range again: a block too short to say anything by itself is judged together with the last one
    that was out of range and all since, for whoever attacks a long block attacks the short one behind it as well.

    Parameters
    ----------
    profile : LinkProfile
        Certified ranges, and all that expectations follow from.
    """

    def __init__(self, profile: LinkProfile) -> None:
        monitors = profile.monitors
        self._standing: dict[str, ReceiverCounts] = {}
        self._ranges = {} if monitors is None else {name.removesuffix("_ratio"): certified for name, certified in monitors.ranges.items()}
        if monitors is None:
            return
        model = link_model(profile)
        self._expected = model.probability_outcomes
        self._kept = model.live_ratio * _gate_share(profile)
        self._background = _background_hz(profile) / profile.source.clock_hz
        quiet_ps = quiet_width_ps(profile)
        self._quiet_share = 0.0 if quiet_ps is None else _quiet_share(profile, quiet_ps)
        tail = 0.0 if quiet_ps is None else _tail_share(profile, quiet_ps)
        self._tail = tail, tail / TAIL_FACTOR, tail * TAIL_FACTOR
        pairs = list(combinations(range(4), 2))
        self._pairs = pairs if profile.receiver.basis_choice == "passive" else [(0, 1), (2, 3)]
        by_chance = sum(self._expected[first] * self._expected[second] for first, second in self._pairs)
        coincidences = model.probability_double + model.probability_cross
        self._coincidence = coincidences / by_chance if by_chance else 0.0
        groups = [("Z0 to Z1", (0,), (1,)), ("X0 to X1", (2,), (3,)), ("Z to X", (0, 1), (2, 3))]
        self._groups = [group for group in groups if self._is_even(*group[1:]) or group[0] == "Z to X"]
        self._epsilon = monitors.false_alarm / (3 + len(self._groups))

    def read(self, counts: ReceiverCounts) -> tuple[MonitorReading, ...]:
        """Read all monitors that have a range.

        Parameters
        ----------
        counts : ReceiverCounts
            Of a block.

        Returns
        -------
        tuple[MonitorReading, ...]
            Each as a multiple of what is expected; one without expectation is left out.
        """
        return tuple(self._standing_or(reading, counts) for reading in self._readings(counts))

    def _standing_or(self, reading: MonitorReading, counts: ReceiverCounts) -> MonitorReading:
        """Keep an alarm that stands as long as a block says nothing against it."""
        name = reading.name
        before = self._standing.pop(name, None)
        if reading.reason is None and before is not None and reading.verdict is Verdict.UNDECIDED:
            counts = before.added(counts)
            reading = next(together for together in self._readings(counts) if together.name == name)
        if reading.reason is not None:
            self._standing[name] = counts
        return reading

    def _readings(self, counts: ReceiverCounts) -> list[MonitorReading]:
        if not self._ranges:
            return []
        return [self._reading(kind, detail, estimate) for kind, detail, estimate in self._estimates(counts) if kind in self._ranges]

    def _reading(self, kind: str, detail: str, estimate: Estimate) -> MonitorReading:
        lowest, highest = self._ranges[kind]
        reason = _REASONS.get((kind, estimate.judged(lowest, highest)))
        return MonitorReading(" ".join(filter(None, [kind, detail])), estimate, lowest, highest, reason)

    def _estimates(self, counts: ReceiverCounts) -> Iterator[tuple[str, str, Estimate]]:
        outcomes, pulses = counts.outcomes, counts.pulses
        count = sum(outcomes)
        if self._quiet_share:
            signals = round((count + counts.cross_clicks) / self._kept)
            rate = background_rate(counts.quiet_clicks, signals, pulses, self._quiet_share, self._tail, self._epsilon)
            yield "background", "", rate.scaled(1.0 / self._background)
        for detail, first, second in self._groups:
            seen, other = (sum(outcomes[place] for place in places) for places in (first, second))
            yield "efficiency", detail, odds_ratio(seen, other, self._sum(first) / self._sum(second), self._epsilon)
        yield "detection", "", probability(count, pulses, self._epsilon).scaled(1.0 / sum(self._expected))
        if self._coincidence:
            pairs = [(outcomes[first], outcomes[second]) for first, second in self._pairs]
            factor = coincidence_factor(counts.doubles + counts.cross_clicks, pairs, pulses, self._epsilon)
            yield "coincidence", "", factor.scaled(1.0 / self._coincidence)

    def _is_even(self, first: tuple[int, ...], second: tuple[int, ...]) -> bool:
        one, both = self._sum(first), self._sum(first) + self._sum(second)
        return _EVEN_SHARE * both <= one <= (1.0 - _EVEN_SHARE) * both

    def _sum(self, places: tuple[int, ...]) -> float:
        return sum(self._expected[place] for place in places)


def _background_hz(profile: LinkProfile) -> float:
    return profile.receiver.dark_rate_hz + profile.channel.background_hz


def _room_ps(profile: LinkProfile) -> float:
    return profile.receiver.time_bin_separation_ps or 1e12 / profile.source.clock_hz


def _quiet_share(profile: LinkProfile, width_ps: float) -> float:
    """Share of the clock period that is quiet."""
    return len(ENCODINGS[profile.encoding].windows) * width_ps * profile.source.clock_hz * 1e-12


def _gate_share(profile: LinkProfile) -> float:
    """Share of the light that falls into a gate, of its own slot or another one."""
    return _share_inside(profile, min(profile.receiver.gate_ps or _room_ps(profile), _room_ps(profile)))


def _tail_share(profile: LinkProfile, width_ps: float) -> float:
    """Share of the light that falls into quiet stretches of this width: what gates of the remaining width leave out."""
    return max(0.0, 1.0 - _share_inside(profile, _room_ps(profile) - width_ps))


def _share_inside(profile: LinkProfile, width_ps: float) -> float:
    """Share of the light in gates of a width, one in each window of each slot."""
    gate, period_ps = Gate.best(profile.source.lifetime_ps, profile.receiver.jitter_ps, width_ps), 1e12 / profile.source.clock_hz
    count_windows = len(ENCODINGS[profile.encoding].windows)
    slots = range(-REACH_SLOTS, REACH_SLOTS + 1)
    shares = [
        sum(gate.share((to - window) * _room_ps(profile) + slot * period_ps) for to in range(count_windows) for slot in slots)
        for window in range(count_windows)
    ]
    return min(1.0, sum(shares) / count_windows)


def _light(model: LinkModel, profile: LinkProfile) -> float:
    """Clicks a pulse, wherever in the slot they fall."""
    return model.probability_detection / (model.live_ratio * _gate_share(profile))
