"""The gate: which part of a slot counts, one window for all detectors.

Phases of earlier data are counted per detector; from that histogram the gate is chosen, and it then serves data it has not seen. One window
for all detectors, because a window that differs between outcomes lets arrival time choose the outcome. Histograms come from tags and a
``PulseClock``; the ``Gate`` goes to ``bob.detection``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bob.kernels import count_phases
from common.distillation.reconciliation.cascade_efficiency import cascade_efficiency
from common.errors import ConfigurationError, StreamError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bob.pulse_clock import PulseClock
    from bob.reading import Reading

HISTOGRAM_BINS = 256
"""Bins over a slot: 17 ps at 228 MHz, finer than a detector's jitter."""

TIME_BIN_HISTOGRAM_BINS = 4096
"""Bins over a slot with time bins: fine enough to be laid on one another at any distance."""

SHOWN_BINS = 128
"""Bins of a histogram that people look at."""

SHOWN_TAGS = 20_000
"""Tags in such a histogram before it forgets half of them: it shows the last seconds of a fast link, the last minutes of a slow one."""

FOLDED_BINS = 64
"""Bins of a window, all windows laid on one another."""

_LEVEL_GROWTH = 0.5
"""E-folds in a quarter of the period taken for granted on both sides of the border: where neither grows, it lies in the middle."""

_CERTAIN_DEVIATIONS = 2.0
"""Standard deviations by which growth has to stand out of the noise of counting."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A window of phase within the slot, the same for every detector.

    Attributes
    ----------
    centre_ps : float, picoseconds
        Phase of its middle, in Bob's time from the slot's centre.
    width_ps : float, picoseconds
        Its width, more than zero; cut to the period where it is used.
    """

    centre_ps: float
    width_ps: float

    def __post_init__(self) -> None:
        if not self.width_ps > 0.0 or not math.isfinite(self.width_ps) or not math.isfinite(self.centre_ps):
            raise ConfigurationError(f"gate of width {self.width_ps} ps at {self.centre_ps} ps: the width must be positive, both finite")


@dataclass(frozen=True, slots=True, eq=False)
class PhaseHistogram:
    """Arrival phases, one row per detector.

    Attributes
    ----------
    counts : int64[detectors, bins]
        Bin j holds phases from -T/2 + j T/bins.
    period_ps : float, picoseconds
        T.
    """

    counts: NDArray[np.int64]
    period_ps: float

    @property
    def centres_ps(self) -> NDArray[np.float64]:
        """Middle of each bin, float64[bins], picoseconds."""
        bins = self.counts.shape[1]
        centres: NDArray[np.float64] = ((np.arange(bins) + 0.5) / bins - 0.5) * self.period_ps
        return centres


@dataclass(frozen=True, slots=True, eq=False)
class GateChoice:
    """A gate and what it does to the data it was chosen from.

    Attributes
    ----------
    gate : Gate
        The window.
    kept_ratio : float
        Tags of all detectors kept, 0 to 1.
    kept_ratio_per_detector : float64[detectors]
        The same for each; detectors that differ here differ in pulse shape or skew.
    signal_kept_ratio : float
        Tags above the evenly spread background kept, 0 to 1.
    background_ratio : float
        Evenly spread background among the kept tags, 0 to 1.
    quiet : Gate | None
        A stretch in which little light comes, for monitors; with time bins there is one at each bin. None where none is asked for.
    """

    gate: Gate
    kept_ratio: float
    kept_ratio_per_detector: NDArray[np.float64]
    signal_kept_ratio: float
    background_ratio: float
    quiet: Gate | None = None


def phase_histogram(
    t_ps: NDArray[np.int64],
    channel: NDArray[np.uint8],
    clock: PulseClock,
    outcome_of_channel: NDArray[np.uint8],
    count_bins: int = HISTOGRAM_BINS,
) -> PhaseHistogram:
    """Count arrival phases per detector, where the clock was locked.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing, skews taken off.
    channel : uint8[n]
        Channel of each tag.
    clock : PulseClock
        The pulses.
    outcome_of_channel : uint8[256]
        Outcome code 0 to 3, or ``NOT_A_DETECTOR``: see ``bob.detection.outcomes_by_channel``.
    count_bins : int
        Bins over one period.

    Returns
    -------
    PhaseHistogram
        With four rows, one per outcome code.
    """
    counts = np.zeros((4, count_bins), np.int64)
    _, phase_ps = clock.slots_and_phases(t_ps)
    locked = clock.in_lock(t_ps)
    if not locked.all():
        phase_ps, channel = phase_ps[locked], channel[locked]
    count_phases(phase_ps, channel, outcome_of_channel, clock.period_ps, counts)
    return PhaseHistogram(counts, clock.period_ps)


def renewed(before: PhaseHistogram | None, newest: PhaseHistogram) -> PhaseHistogram:
    """Return a histogram of what arrives at present: earlier phases fade as new ones come.

    Parameters
    ----------
    before : PhaseHistogram | None
        What this returned the last time.
    newest : PhaseHistogram
        Of the newest tags, with as many bins.

    Returns
    -------
    PhaseHistogram
        Both together, half of the earlier ones forgotten where they are ``SHOWN_TAGS`` or more.
    """
    if before is None:
        return newest
    kept = before.counts >> 1 if before.counts.sum() >= SHOWN_TAGS else before.counts
    return PhaseHistogram(kept + newest.counts, newest.period_ps)


def windows_ps(gate: Gate, period_ps: float, count: int = 1, pitch_ps: float = 0.0) -> list[tuple[float, float]]:
    """Return where a gate lies within the period.

    Parameters
    ----------
    gate : Gate
        The middle one of its windows.
    period_ps : float, picoseconds
        T.
    count : int
        Windows it has: one, or one a time bin.
    pitch_ps : float, picoseconds
        From one to the next.

    Returns
    -------
    list[tuple[float, float]]
        Beginnings and ends of stretches within -T/2 to T/2; a window across its end is two stretches.
    """
    if gate.width_ps >= period_ps:
        return [(-0.5 * period_ps, 0.5 * period_ps)]
    stretches = []
    for number in range(count):
        centre = gate.centre_ps + (number - 0.5 * (count - 1)) * pitch_ps
        low = _wrapped(centre - 0.5 * gate.width_ps, period_ps)
        high = low + gate.width_ps
        stretches.append((low, min(high, 0.5 * period_ps)))
        if high > 0.5 * period_ps:
            stretches.append((-0.5 * period_ps, high - period_ps))
    return stretches


def open_gate(
    t_ps: NDArray[np.int64],
    channel: NDArray[np.uint8],
    clock: PulseClock,
    reading: Reading,
    gate_ps: float | None,
    quiet_ps: float | None = None,
) -> GateChoice:
    """Choose the gate of a receiver from its earlier tags.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing, skews taken off.
    channel : uint8[n]
        Channel of each tag.
    clock : PulseClock
        The pulses.
    reading : Reading
        Detectors and time bins.
    gate_ps : float | None, picoseconds
        Width the profile sets, of each window with time bins; None for as wide as there is room.
    quiet_ps : float | None, picoseconds
        Width of the quiet stretch, less than there is room: what a gate of the remaining width leaves out. None for no such stretch.

    Returns
    -------
    GateChoice
        The gate and what it keeps.

    Raises
    ------
    StreamError
        If no tag lies where the clock was locked.
    """
    bins = TIME_BIN_HISTOGRAM_BINS if reading.pitch_ps else HISTOGRAM_BINS
    histogram = phase_histogram(t_ps, channel, clock, reading.row_of_channel, bins)
    room_ps = reading.pitch_ps or clock.period_ps
    choice = choose_gate(histogram, width_ps=room_ps if gate_ps is None else gate_ps, pitch_ps=reading.pitch_ps)
    if quiet_ps is None:
        return choice
    rest = choose_gate(histogram, width_ps=room_ps - quiet_ps, pitch_ps=reading.pitch_ps).gate
    return dataclasses.replace(choice, quiet=Gate(_wrapped(rest.centre_ps + 0.5 * room_ps, clock.period_ps), quiet_ps))


def choose_gate(
    histogram: PhaseHistogram, *, width_ps: float | None = None, probability_misalignment: float = 0.01, pitch_ps: float = 0.0
) -> GateChoice:
    """Choose one gate for all detectors from the histogram of earlier data.

    The centre is where a window of the given width keeps most tags. Without a width, the width is taken at which the kept tags make
    most key: n (1 - (1 + f) h(Q)), with half of the background in error and the efficiency f that Cascade is measured to have at Q.

    Parameters
    ----------
    histogram : PhaseHistogram
        Of data that the gate will not be used on.
    width_ps : float, picoseconds, optional
        Width the profile sets.
    probability_misalignment : float
        Error probability of the signal itself, for weighing widths.
    pitch_ps : float, picoseconds
        From one time bin to the next, 0 without time bins. The gate is then that of the middle one, which is twice as bright as its
        neighbours; where gates follow without a gap their borders lie where fewest photons of any bin arrive.

    Returns
    -------
    GateChoice
        The gate and what it keeps.

    Raises
    ------
    StreamError
        If the histogram is empty.

    References
    ----------
    Temporal filtering by centre and width: arXiv 2308.15922 (there in two dimensions for the key rate); status: planning. Any window fixed
    beforehand is sound; a poor one costs rate.
    """
    pooled = histogram.counts.sum(axis=0)
    total = int(pooled.sum())
    if total == 0:
        raise StreamError("no gate can be chosen: no detector tag lies where the clock was locked; check the channel map")
    bins = pooled.size
    bin_ps = histogram.period_ps / bins
    background = _background_per_bin(pooled)
    if width_ps is None:
        widths = range(1, bins + 1)
    else:
        widths = range(min(bins, max(1, round(width_ps / bin_ps))), min(bins, max(1, round(width_ps / bin_ps))) + 1)
    around = np.concatenate(([0], np.cumsum(np.concatenate((pooled, pooled)))))
    best_merit, best_kept, best_first, best_width = -math.inf, 0, 0, bins
    for width in widths:
        kept = around[width : width + bins] - around[:bins]
        first = _middle_of_best(kept)
        merit = _key_merit(int(kept[first]), background * width, probability_misalignment)
        if merit > best_merit:
            best_merit, best_kept, best_first, best_width = merit, int(kept[first]), first, width
    centre_ps = _wrapped((best_first + 0.5 * best_width) * bin_ps - 0.5 * histogram.period_ps, histogram.period_ps)
    chosen_ps = min(histogram.period_ps, best_width * bin_ps if width_ps is None else width_ps)
    if best_width == bins:  # every phase is kept: the gate opens at the border between slots, and phase 0 lies half a period in
        centre_ps = _wrapped(_border(pooled) * bin_ps, histogram.period_ps)
    if pitch_ps and chosen_ps >= pitch_ps:
        centre_ps = _between_borders(histogram, centre_ps, pitch_ps)
    within = (np.arange(bins) - best_first) % bins < best_width
    per_detector = histogram.counts[:, within].sum(axis=1) / np.maximum(histogram.counts.sum(axis=1), 1)
    signal = max(1.0, total - background * bins)
    return GateChoice(
        gate=Gate(centre_ps, chosen_ps),
        kept_ratio=best_kept / total,
        kept_ratio_per_detector=per_detector,
        signal_kept_ratio=min(1.0, max(0.0, best_kept - background * best_width) / signal),
        background_ratio=min(1.0, background * best_width / max(1, best_kept)),
    )


def _background_per_bin(pooled: NDArray[np.int64]) -> float:
    """Mean of the quietest quarter of the circle, taken in one piece so that noise does not choose the bins."""
    bins = pooled.size
    quarter = max(1, bins // 4)
    around = np.concatenate(([0], np.cumsum(np.concatenate((pooled, pooled)))))
    return float((around[quarter : quarter + bins] - around[:bins]).min()) / quarter


def _border(pooled: NDArray[np.int64]) -> float:
    """Bin at which one slot ends and the next begins, so that fewest photons fall into the wrong one.

    It lies in the quietest quarter of the circle, close to the side on which the counts grow faster: a pulse that rises at once and
    decays slowly is best cut just before it rises. Where tail and rise are exponential, both are wrong alike if the border divides
    the quarter as the rates of growth.
    """
    bins = pooled.size
    quarter = max(1, bins // 4)
    around = np.concatenate(([0], np.cumsum(np.tile(pooled, 3))))
    first = _middle_of_best(around[:bins] - around[quarter : quarter + bins]) % bins

    def growth(inside: int, outside: int, span: int) -> float:
        within, beyond = (int(around[start % bins + span] - around[start % bins]) + 1 for start in (inside, outside))
        certain = max(1.0, beyond - _CERTAIN_DEVIATIONS * math.sqrt(beyond)) / (within + _CERTAIN_DEVIATIONS * math.sqrt(within))
        return math.log(certain) / span

    spans = (quarter, max(1, quarter // 8))  # the long one sees a slow tail above the noise, the short one a steep rise
    level = _LEVEL_GROWTH / quarter
    before = level + max(0.0, *(growth(first, first - span, span) for span in spans))
    after = level + max(0.0, *(growth(first + quarter - span, first + quarter, span) for span in spans))
    return first + quarter * after / (before + after)


def _between_borders(histogram: PhaseHistogram, centre_ps: float, pitch_ps: float) -> float:
    """Middle of the brightest window, moved so that fewest photons fall into a wrong one: all windows laid on one another show where."""
    pooled = histogram.counts.sum(axis=0)
    distance_ps = np.array([_wrapped(phase_ps - centre_ps, histogram.period_ps) for phase_ps in histogram.centres_ps])
    inside = np.abs(distance_ps) < 1.5 * pitch_ps
    place = np.floor((distance_ps[inside] / pitch_ps + 0.5) % 1.0 * FOLDED_BINS).astype(np.int64)
    folded = np.bincount(place, pooled[inside], FOLDED_BINS).astype(np.int64)
    moved_ps = _border(folded) / FOLDED_BINS * pitch_ps
    middles_ps = [_wrapped(centre_ps + moved_ps + step * pitch_ps, histogram.period_ps) for step in (-1, 0, 1)]

    def kept(middle_ps: float) -> int:
        away_ps = (histogram.centres_ps - middle_ps + 0.5 * pitch_ps) % histogram.period_ps
        return int(pooled[away_ps < pitch_ps].sum())

    return max(middles_ps, key=kept)


def _middle_of_best(kept: NDArray[np.int64]) -> int:
    """Middle of the first run of equally good places, so that an empty neighbourhood does not push the gate to one side."""
    best = int(kept.max())
    first = int(kept.argmax())
    if first == 0 and kept[-1] == best and not bool((kept == best).all()):
        first = int(np.flatnonzero(kept != best)[-1]) + 1 - kept.size  # the run began before the seam
    length = 1
    while length < kept.size and kept[(first + length) % kept.size] == best:
        length += 1
    return (first + (length - 1) // 2) % kept.size


def _key_merit(kept: int, background: float, probability_misalignment: float) -> float:
    """Key bits an asymptotic formula expects of ``kept`` tags, ``background`` of them evenly spread; negative where there are none."""
    if kept == 0:
        return -math.inf
    noise = min(background, kept)
    error = min(0.5, ((kept - noise) * probability_misalignment + 0.5 * noise) / kept)
    entropy = 0.0 if error <= 0.0 else -error * math.log2(error) - (1.0 - error) * math.log2(1.0 - error)
    return kept * (1.0 - (1.0 + cascade_efficiency(error)) * entropy)


def _wrapped(phase_ps: float, period_ps: float) -> float:
    return phase_ps - period_ps * math.floor(phase_ps / period_ps + 0.5)
