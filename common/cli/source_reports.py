"""What ``qkd characterise`` finds out, as fields for JSON beside the curves for its picture.

Reads recordings and tables, hands them to ``alice.source`` and puts its values together under names that stay. Nothing here computes
physics.
"""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alice.source.blinking import Blinking, measure_blinking
from alice.source.correlation import NEAR_SLOTS, count_coincidences, measure_correlation
from alice.source.dead_time import DeadTime, WaitCounter
from alice.source.lifetime import Decay, fit_decay
from alice.source.saturation import Saturation, fit_saturation
from alice.source.static_states import TruthTable, truth_table
from common.cli.pulsed import Pulsed, find_pulses
from common.errors import ConfigurationError, StreamError
from common.timetags.recording import Recording, read_recording

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from common.timetags.reading import ReadingOptions

POOR_FIT = 3.0
"""Deviance a degree of freedom beyond which a fit is said to be poor."""

UNLIKELY = 1e-3
"""A dip that chance makes more often than this is no dip."""


@dataclass(frozen=True, slots=True)
class PulseOptions:
    """What the user says of a pulsed recording.

    Attributes
    ----------
    detectors : tuple[int, ...] | None
        Channels of photons.
    sync : int | None
        Channel of reference pulses.
    clock_hz : float | None
        Nominal pulse rate, hertz.
    skew_slots : int | None
        Whole slots by which the second detector lags.
    instrument_ps : float | None
        Full width at half maximum of the instrument's response, picoseconds.
    instrument : Path | None
        Recording of the laser itself.
    """

    detectors: tuple[int, ...] | None = None
    sync: int | None = None
    clock_hz: float | None = None
    skew_slots: int | None = None
    instrument_ps: float | None = None
    instrument: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Characterised:
    """A report, and what its picture shows.

    Attributes
    ----------
    report : dict
        Ready for JSON.
    notes : list[str]
        What the user should know to read it.
    peaks : tuple[int64[k], int64[k]] | None
        Delays in slots and coincidences around zero delay.
    blinking : Blinking | None
        Envelope of the coincidences.
    decays : dict[str, Decay]
        By detector.
    saturation : Saturation | None
        Curve.
    table : TruthTable | None
        Of static states.
    dead_times : dict[str, DeadTime]
        By detector.
    """

    report: dict[str, Any]
    notes: list[str]
    peaks: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    blinking: Blinking | None = None
    decays: Mapping[str, Decay] | None = None
    saturation: Saturation | None = None
    table: TruthTable | None = None
    dead_times: Mapping[str, DeadTime] | None = None


def characterise_hbt(path: Path, options: ReadingOptions, chosen: PulseOptions) -> Characterised:
    """Characterise a source from a recording behind a beam splitter.

    Parameters
    ----------
    path : Path
        Recording of two detectors.
    options : ReadingOptions
        What the file may not say.
    chosen : PulseOptions
        What the user says of it.

    Returns
    -------
    Characterised
        g2 in both normalisations, blinking, lifetime.

    Raises
    ------
    StreamError
        If there are not two detectors, no pulses, or too few coincidences.
    """
    found = _pulses(path, options, chosen)
    if len(found.detectors) != 2:
        raise StreamError(f"{path}: a beam splitter has two detectors, the recording has channels {found.detectors}: give --detectors A,B")
    locked = found.clock.in_lock(found.t_ps)
    first, second = (found.slots[locked & (found.channel == number)] for number in found.detectors)
    correlation = measure_correlation(first, second, found.clock.clock_hz, chosen.skew_slots)
    blinking = measure_blinking(first, second, found.clock.clock_hz, correlation.skew_slots)
    decays, notes = _decays(found, options, chosen)
    if correlation.probability_by_chance > UNLIKELY:
        notes.append(
            "no delay stands out: the lowest of those looked at is so low by chance with probability"
            f" {correlation.probability_by_chance:.2g}; if the cables' delay is known, give --skew-slots"
        )
    skew_ps = found.clock.skew_ps[found.detectors[1]] - found.clock.skew_ps[found.detectors[0]]
    lifetimes = [(decay.lifetime_ps, decay.lifetime_uncertainty_ps) for decay in decays.values()]
    lifetime_ps, lifetime_uncertainty_ps = _weighted(lifetimes)
    report = _pulsed_report("hbt", found) | {
        "g2_zero": correlation.g2_bright,
        "g2_zero_uncertainty": correlation.g2_bright_uncertainty,
        "coincidences_at_zero": correlation.count_zero,
        "delay_ns": (correlation.skew_slots * found.clock.period_ps + float(skew_ps)) * 1e-3,
        "normalisation": {
            "neighbouring": {
                "g2_zero": correlation.g2_bright,
                "uncertainty": correlation.g2_bright_uncertainty,
                "coincidences_per_slot": correlation.near_level,
            },
            "far_delay": {
                "g2_zero": correlation.g2_far,
                "uncertainty": correlation.g2_far_uncertainty,
                "coincidences_per_slot": correlation.far_level,
            },
        },
        "blinking": {
            "on_fraction": correlation.on_fraction,
            "on_fraction_uncertainty": correlation.on_fraction_uncertainty,
            "times_ns": {
                "bright": blinking.bright_ns,
                "dark": blinking.dark_ns,
                "correlation": list(blinking.correlation_ns),
                "correlation_uncertainty": list(blinking.correlation_uncertainty_ns),
            },
            "excess": list(blinking.excess),
            "deviance_ratio": blinking.deviance_ratio,
        },
        "lifetime_ps": lifetime_ps,
        "lifetime_uncertainty_ps": lifetime_uncertainty_ps,
        "decays": _decay_entries(decays),
    }
    peaks = (
        np.arange(-NEAR_SLOTS, NEAR_SLOTS + 1),
        count_coincidences(first, second, correlation.skew_slots - NEAR_SLOTS, 2 * NEAR_SLOTS + 1),
    )
    return Characterised(report, notes, peaks=peaks, blinking=blinking, decays=decays)


def characterise_lifetime(path: Path, options: ReadingOptions, chosen: PulseOptions) -> Characterised:
    """Characterise the decay of a pulsed source.

    Parameters
    ----------
    path : Path
        Recording of one detector or more.
    options : ReadingOptions
        What the file may not say.
    chosen : PulseOptions
        What the user says of it.

    Returns
    -------
    Characterised
        A fit for every detector.

    Raises
    ------
    StreamError
        If no detector shows a decay.
    """
    found = _pulses(path, options, chosen)
    decays, notes = _decays(found, options, chosen)
    if not decays:
        raise StreamError(f"{path}: {notes[0]}")
    lifetime_ps, uncertainty_ps = _weighted([(decay.lifetime_ps, decay.lifetime_uncertainty_ps) for decay in decays.values()])
    report = _pulsed_report("lifetime", found) | {
        "lifetime_ps": lifetime_ps,
        "lifetime_uncertainty_ps": uncertainty_ps,
        "decays": _decay_entries(decays),
    }
    return Characterised(report, notes, decays=decays)


def characterise_dead_time(path: Path, options: ReadingOptions, detectors: Sequence[int] | None) -> Characterised:
    """Characterise how detectors come back, reading piece by piece.

    Parameters
    ----------
    path : Path
        Recording, of any length.
    options : ReadingOptions
        What the file may not say.
    detectors : sequence of int | None
        Channels; all by default.

    Returns
    -------
    Characterised
        A dead time for every detector that has waits enough.

    Raises
    ------
    StreamError
        If none has.
    """
    recording, counters = Recording(path, options), dict[int, WaitCounter]()
    for t_ps, channel in recording.pieces():
        for number in np.unique(channel).tolist() if detectors is None else detectors:
            counters.setdefault(number, WaitCounter()).take(t_ps[channel == number])
    results, notes = {}, []
    for number, counter in sorted(counters.items()):
        try:
            results[str(number)] = counter.result()
        except StreamError as too_little:
            notes.append(f"channel {number}: {too_little}")
    if not results:
        raise StreamError(f"{path}: {notes[0] if notes else 'the recording holds no tags'}")
    entries = {
        name: {key: value for key, value in _plain(found).items() if key not in {"wait_ps", "hazard_hz"}} for name, found in results.items()
    }
    report = {"kind": "dead-time", "recording": recording.reading.to_json(), "detectors": entries}
    return Characterised(report, notes, dead_times=results)


def characterise_saturation(path: Path) -> Characterised:
    """Characterise how a source saturates.

    Parameters
    ----------
    path : Path
        CSV with columns ``power…``, ``rate…`` and ``uncertainty…`` or ``seconds…``, in any order; what follows the word is kept as unit.

    Returns
    -------
    Characterised
        The curve.

    Raises
    ------
    StreamError
        If a column is missing or a value is no number; the message says which line.
    """
    rows, heads = _csv_rows(path)
    columns = {
        word: next((head for head in heads if head.lower().startswith(word)), None) for word in ("power", "rate", "uncertainty", "seconds")
    }
    if not columns["power"] or not columns["rate"] or not (columns["uncertainty"] or columns["seconds"]):
        raise StreamError(
            f"{path}: columns power, rate and either uncertainty (of the rate) or seconds (counted) are needed; found {', '.join(heads)}"
        )
    power, rate_hz = (_numbers(path, rows, str(columns[word])) for word in ("power", "rate"))
    if columns["uncertainty"]:
        uncertainty_hz = _numbers(path, rows, columns["uncertainty"])
    else:
        seconds = _numbers(path, rows, str(columns["seconds"]))
        if (seconds <= 0.0).any():
            raise StreamError(f"{path}: seconds must be above 0")
        uncertainty_hz = np.sqrt(np.maximum(rate_hz * seconds, 1.0)) / seconds
    fitted = fit_saturation(power, rate_hz, uncertainty_hz)
    report = {
        "kind": "saturation",
        "points": int(power.size),
        "saturated_rate_hz": fitted.rate_hz,
        "saturated_rate_uncertainty_hz": fitted.rate_uncertainty_hz,
        "saturation_power": fitted.power,
        "saturation_power_uncertainty": fitted.power_uncertainty,
        "power_column": columns["power"],
        "deviance_ratio": fitted.deviance_ratio,
    }
    return Characterised(report, [], saturation=fitted)


def characterise_states(path: Path | None, recordings: Mapping[str, Path], options: ReadingOptions) -> Characterised:
    """Characterise the prepared states.

    Parameters
    ----------
    path : Path | None
        CSV: a column ``state`` and one for each detector, with counts.
    recordings : mapping of str to Path
        In place of the table, a recording for each prepared state.
    options : ReadingOptions
        Names the channels of the recordings.

    Returns
    -------
    Characterised
        Truth table and fidelities.

    Raises
    ------
    StreamError
        If the table or a recording cannot be used.
    """
    read: dict[str, Any] = {}
    if path is not None:
        counts = _counts_table(path)
    else:
        counts = {}
        for state, recorded in recordings.items():
            recording = Recording(recorded, options)
            for _ in recording.pieces():
                pass  # counted on the way
            names, _ = recording.names()
            counts[state] = {name: int(recording.reading.count_by_channel[number]) for name, number in names.items() if name != "sync"}
            read[state] = recording.reading.to_json()
    table = truth_table(counts)
    report = {
        "kind": "states",
        "counts": counts,
        "states": {state: asdict(found) for state, found in table.states.items()},
        "mean_fidelity": table.mean_fidelity,
        "qber": table.qber,
    } | ({"recordings": read} if read else {})
    return Characterised(report, [], table=table)


def _pulses(path: Path, options: ReadingOptions, chosen: PulseOptions) -> Pulsed:
    return find_pulses(path, *read_recording(path, options), detectors=chosen.detectors, sync=chosen.sync, clock_hz=chosen.clock_hz)


def _pulsed_report(kind: str, found: Pulsed) -> dict[str, Any]:
    seconds = found.reading.seconds
    return {
        "kind": kind,
        "recording": found.reading.to_json(),
        "count_rates_hz": {str(number): int(np.count_nonzero(found.channel == number)) / seconds for number in found.detectors},
        "clock_hz": found.clock.clock_hz,
        "reference_clock_hz": None if found.reference is None else found.reference.clock_hz,
        "residual_rms_ps": found.clock.quality.residual_rms_ps,
    }


def _decays(found: Pulsed, options: ReadingOptions, chosen: PulseOptions) -> tuple[dict[str, Decay], list[str]]:
    """Fit every detector's decay; one that cannot be fitted leaves a note."""
    period_ps, decays, notes = found.clock.period_ps, dict[str, Decay](), list[str]()
    response: Pulsed | None = None
    if chosen.instrument is not None:
        response = find_pulses(
            chosen.instrument, *read_recording(chosen.instrument, options), detectors=found.detectors, clock_hz=found.clock.clock_hz
        )
    locked = found.clock.in_lock(found.t_ps)
    for number in found.detectors:
        try:
            decays[str(number)] = fit_decay(
                found.phase_ps[locked & (found.channel == number)],
                period_ps,
                instrument_fwhm_ps=chosen.instrument_ps,
                response_ps=None if response is None else response.phase_ps[response.channel == number],
            )
        except StreamError as unfit:
            notes.append(f"channel {number}: {unfit}")
    notes += [
        f"channel {name}: one exponential does not describe the decay, with a deviance of {decay.deviance_ratio:.1f} a degree of freedom"
        for name, decay in decays.items()
        if decay.deviance_ratio > POOR_FIT
    ]
    if any(decay.instrument_fitted for decay in decays.values()):
        notes.append("the instrument's response was taken as a Gaussian and its width fitted too; record the laser and give --instrument")
    return decays, notes


def _decay_entries(decays: Mapping[str, Decay]) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in _plain(decay).items() if key not in {"counts", "expected"}} for name, decay in decays.items()
    }


def _plain(value: Decay | DeadTime) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _weighted(values: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Mean of values weighted by their uncertainties, and its own; wider where they contradict each other."""
    if not values:
        return None, None
    weights = [1.0 / sigma**2 for _, sigma in values]
    mean = sum(value * weight for (value, _), weight in zip(values, weights, strict=True)) / sum(weights)
    scatter = sum(weight * (value - mean) ** 2 for (value, _), weight in zip(values, weights, strict=True)) / max(1, len(values) - 1)
    return mean, (max(1.0, scatter) / sum(weights)) ** 0.5


def _csv_rows(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(line for line in file if not line.startswith("#"))
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as wrong:
        raise StreamError(f"{path}: not a table of text ({wrong})") from None
    heads = [head for head in reader.fieldnames or [] if head]
    if not rows or len(rows) > 1_000_000:
        raise StreamError(f"{path}: {len(rows)} rows below the heads; between one and a million are a table")
    return rows, heads


def _numbers(path: Path, rows: Sequence[Mapping[str, str]], head: str) -> NDArray[np.float64]:
    values = []
    for number, row in enumerate(rows, 2):
        try:
            values.append(float(row[head]))
        except (TypeError, ValueError):
            raise StreamError(f"{path}: row {number}, column {head}: {row[head]!r} is no number") from None
    return np.array(values, np.float64)


def _counts_table(path: Path) -> dict[str, dict[str, int]]:
    rows, heads = _csv_rows(path)
    if "state" not in heads or len(heads) < 3:
        raise StreamError(f"{path}: a column state and one for each detector are needed; found {', '.join(heads) or 'none'}")
    counts: dict[str, dict[str, int]] = {}
    for number, row in enumerate(rows, 2):
        if row["state"] in counts:
            raise ConfigurationError(f"{path}: row {number}: state {row['state']} stands there twice")
        try:
            counts[row["state"]] = {head: int(row[head]) for head in heads if head != "state"}
        except (TypeError, ValueError):
            raise StreamError(f"{path}: row {number}: counts are whole numbers") from None
    return counts
