"""A link over its time: QBER and key rate in short steps, for the plot and the page of ``qkd demo``.

Who holds both recordings can compare every detection with what was prepared; neither end can, and nothing here decides about key. The key
rate at a moment is what the live formula would have given, had the block closed there. Takes the two recordings and the offset that the
ends agreed on; goes to ``plots`` and into ``report.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bob.detection import detect, outcomes_by_channel
from common.blocks import BasisCounts, BlockCounts
from common.channel.authentication import MAC_BYTES
from common.channel.codec import Party, decode
from common.channel.messages import FrameRange
from common.cli.offline import OfflineRun
from common.conversation.rehearsal import faithful
from common.distillation.values import BlockOutcome
from common.leakage import Leakage
from common.planning.link_model import expected_block, link_model
from common.profiles.link import LinkProfile
from common.randomness import SystemRandomness
from common.security.epsilons import EpsilonBudget
from common.security.key_length import key_length
from common.security.proofs.bb84_setting import Bb84Setting
from common.timetags.emission_record import EmissionRecord
from common.timetags.tags import TimeTags

MOST_STEPS = 30
"""Steps a run is cut into at most; none is shorter than a frame."""

_Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LinkSeries:
    """Steps of a run.

    Attributes
    ----------
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
    expected_qber : dict[str, float]
        The planner's word for the QBER.
    """

    end_s: list[float]
    qber: dict[str, list[float | None]]
    qber_deviation: dict[str, list[float | None]]
    sifted_bits_per_second: list[float]
    secret_bits: list[int]
    expected_secret_bits: list[int]
    expected_qber: dict[str, float]


@dataclass(slots=True)
class Listener:
    """A wire that carries every message and remembers which frames were agreed on.

    Attributes
    ----------
    frames : FrameRange | None
        The last agreement heard.
    """

    frames: FrameRange | None = field(default=None)

    def wire(self, sender: Party, data: bytes) -> Any:  # noqa: ANN401 - whatever the faithful wire returns
        """Carry ``data`` from ``sender`` to its peer."""
        message = decode(data[:-MAC_BYTES]).message
        if isinstance(message, FrameRange) and message.found:
            self.frames = message
        return faithful(sender, data)


@dataclass(frozen=True, slots=True, eq=False)
class _Clicks:
    """Sifted and cross clicks of both recordings, by slot."""

    slot: NDArray[np.int64]
    is_x: _Flags
    is_error: _Flags
    cross_slot: NDArray[np.int64]
    detected_slot: NDArray[np.int64]


def link_series(profile: LinkProfile, run: OfflineRun, record: EmissionRecord, tags: TimeTags, frames: FrameRange) -> LinkSeries:
    """Cut a run into steps.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    run : OfflineRun
        How it was distilled.
    record : EmissionRecord
        What Alice prepared.
    tags : TimeTags
        Bob's recording.
    frames : FrameRange
        The offset and first slot the ends agreed on.

    Returns
    -------
    LinkSeries
        At most ``MOST_STEPS`` steps; empty without a block.
    """
    blocks = [outcome for outcome in run.outcomes[Party.BOB] if outcome.block]
    pulses = [outcome.block.counts.pulses for outcome in blocks if outcome.block]
    total, model = sum(pulses), link_model(profile)
    series = LinkSeries([], {"Z": [], "X": []}, {"Z": [], "X": []}, [], [], [], {"Z": model.z.qber, "X": model.x.qber})
    if not total:
        return series
    clicks = _clicks(profile, run, record, tags, frames.offset)
    count_frames = total // profile.security.frame_pulses
    edges = np.unique(np.linspace(0, count_frames, min(MOST_STEPS, count_frames) + 1).astype(np.int64)) * profile.security.frame_pulses
    starts = frames.first_slot + np.concatenate([[0], np.cumsum(pulses)])
    for first, end in zip(edges[:-1] + frames.first_slot, edges[1:] + frames.first_slot, strict=True):
        seconds = float(end - first) / profile.source.clock_hz
        inside = (clicks.slot >= first) & (clicks.slot < end)
        for name, chosen in (("Z", inside & ~clicks.is_x), ("X", inside & clicks.is_x)):
            bits, errors = int(chosen.sum()), int((chosen & clicks.is_error).sum())
            series.qber[name].append(errors / bits if bits else None)
            series.qber_deviation[name].append((max(errors, 1) * max(bits - errors, 1) / bits**3) ** 0.5 if bits else None)
        series.end_s.append(float(end - frames.first_slot) / profile.source.clock_hz)
        series.sifted_bits_per_second.append(int(inside.sum()) / seconds)
        index = min(int(np.searchsorted(starts, end, side="left")) - 1, len(blocks) - 1)
        before = sum(outcome.secret_bits for outcome in blocks[:index])
        series.secret_bits.append(before + _secret_bits_at(profile, blocks[index], clicks, int(starts[index]), int(end)))
        series.expected_secret_bits.append(expected_secret_bits(profile, int(end - frames.first_slot)))
    return series


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


def expected_seconds(profile: LinkProfile, secret_bits: int, most_seconds: float = 1e6) -> float | None:
    """Predict how long a link takes for so many secret bits.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    secret_bits : int
        Bits wanted.
    most_seconds : float
        Where to give up, seconds.

    Returns
    -------
    float | None
        Seconds of sending, whole frames; None if the planner expects no such key within ``most_seconds``.
    """
    frame_pulses = profile.security.frame_pulses
    most = int(most_seconds * profile.source.clock_hz / frame_pulses)
    high = 1
    while expected_secret_bits(profile, high * frame_pulses) < secret_bits:
        high *= 2
        if high > most:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if expected_secret_bits(profile, middle * frame_pulses) >= secret_bits else (middle, high)
    return high * frame_pulses / profile.source.clock_hz


def _clicks(profile: LinkProfile, run: OfflineRun, record: EmissionRecord, tags: TimeTags, offset: int) -> _Clicks:
    """Detect again, with the clock and the gate of the run, and compare with what was prepared."""
    reception = run.reception
    outcome_of_channel = outcomes_by_channel(tags.channels)
    is_detector = outcome_of_channel[tags.channel] < 4  # outcome codes are 0 to 3
    t_ps, channel = reception.clock.align(tags.t_ps[is_detector], tags.channel[is_detector])
    found = detect(
        t_ps, channel, reception.clock, reception.gate.gate, outcome_of_channel, profile.receiver.dead_time_ps, SystemRandomness()
    )
    slots = found.slot + offset
    inside = (slots >= record.header.first_slot) & (slots < record.header.end_slot)
    slots, outcomes = slots[inside], found.outcome[inside]
    settings = record.lookup(slots)
    sifted = settings >> 1 == outcomes >> 1
    return _Clicks(slots[sifted], outcomes[sifted] >> 1 == 1, (settings != outcomes)[sifted], found.cross_slot + offset, slots)


def _secret_bits_at(profile: LinkProfile, outcome: BlockOutcome, clicks: _Clicks, first: int, end: int) -> int:
    """What the live formula gives for a block that closes at slot ``end``; disclosure and leakage in proportion."""
    setting = Bb84Setting.of(profile.source, profile.receiver, profile.security)
    inside = (clicks.slot >= first) & (clicks.slot < end)

    def basis(chosen: _Flags, test_fraction: float) -> BasisCounts:
        bits = int(chosen.sum())
        tested = round(bits * test_fraction)
        return BasisCounts(bits - tested, bits - tested, tested, round(int((chosen & clicks.is_error).sum()) * test_fraction))

    def count(slots: NDArray[np.int64]) -> int:
        return int(((slots >= first) & (slots < end)).sum())

    z, x = basis(inside & ~clicks.is_x, setting.test_fraction_z), basis(inside & clicks.is_x, setting.test_fraction_x)
    pulses = end - first
    frames = -(-pulses // profile.security.frame_pulses)
    counts = BlockCounts(pulses, frames, count(clicks.detected_slot), count(clicks.cross_slot), z, x)
    whole = outcome.block.counts if outcome.block else counts
    share = (z.key + x.key) / max(1, whole.z.key + whole.x.key)
    leakage = Leakage({"so far": round(share * outcome.leakage.total_bits)})
    return key_length(counts, leakage, setting, EpsilonBudget.of(profile.security)).secret_bits
