"""The guard: two runs of ``qkd bench`` side by side, and what became slower, leaks more or fails more often beyond the noise.

Nothing is compared in seconds. A measurement with a peer goes by its ratio to the peer, the others by what they do in the time of the
yardstick of the same run. The logarithms of these merits are averaged over the repetitions of a stage; how far repetitions scatter is
the noise, pooled over a stage, since two or three values show little of it. A change counts where it is both larger than
``LEAST_CHANGE`` and more than ``DEVIATIONS`` standard deviations of the difference. Efficiency and frame errors do not depend on the
machine and are compared as they are. Pure: records in, verdicts out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from common.cli.benchmarks.records import Record
from common.distillation.reconciliation.code_measurement import wilson_interval
from common.errors import ConfigurationError

LEAST_CHANGE = 0.1
"""Changes of speed up to this are never reported: what a compiler or a library makes of the same program."""

LEAST_EFFICIENCY_CHANGE = 0.005
"""Changes of f up to this are never reported: errors are drawn, and f follows them."""

DEVIATIONS = 3.5
"""Standard deviations of the difference beyond which a change is not noise: of a hundred comparisons of equal programs, none as a rule."""

LEAST_NOISE = 0.02
"""Standard deviation that a single run is never below, however well few repetitions happen to agree."""

UNKNOWN_NOISE = 0.1
"""Standard deviation assumed of a run where no stage was repeated: so much two runs on a quiet machine differ."""

Verdict: TypeAlias = Literal["slower", "faster", "leaks more", "leaks less", "fails more often", "fails less often", "same", "not compared"]

REGRESSIONS: tuple[Verdict, ...] = ("slower", "leaks more", "fails more often")
"""What a guard has to stop."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the comparison.

    Attributes
    ----------
    stage, what : str
        The stage, and which of its measurements.
    by : str
        What is compared: the peer's name, ``yardstick``, ``f`` or ``frame errors``; empty where nothing can be.
    before, now : float | None
        Speed over that of peer or yardstick; f; or share of failed frames.
    change : float | None
        ``now`` over ``before``, less one; None for frame errors.
    noise : float | None
        Relative change that noise alone would exceed in one comparison of some thousand.
    verdict : Verdict
        What that means.
    reason : str
        Why nothing is compared, where it is not.
    """

    stage: str
    what: str
    by: str
    before: float | None
    now: float | None
    change: float | None
    noise: float | None
    verdict: Verdict
    reason: str = ""

    @property
    def is_regression(self) -> bool:
        """Whether a guard has to stop it."""
        return self.verdict in REGRESSIONS


@dataclass(frozen=True, slots=True)
class _Sample:
    """Logarithms of one quantity in the repetitions of a run, and the noise of one of them."""

    mean: float
    deviation: float
    count: int


_Line: TypeAlias = tuple[Any, ...]
"""Stage, method, QBER, block, round trip, and the place among measurements that agree in all of these."""

_Groups: TypeAlias = dict[_Line, list[Record]]


def compared(before: Sequence[Record], now: Sequence[Record]) -> list[Change]:
    """Compare two runs.

    Parameters
    ----------
    before, now : sequence of dict
        From ``records.read_records``; stages of only one of them are left out.

    Returns
    -------
    list[Change]
        In the order of ``now``; speed, efficiency and frame errors of a measurement one below the other.

    Raises
    ------
    ConfigurationError
        If one is a quick run and the other is not, or nothing at all can be compared.
    """
    if len({record["quick"] for record in (*before, *now)}) > 1:
        raise ConfigurationError("a run with --quick has other inputs than one without: compare two of a kind")
    stages = {record["stage"] for record in before} & {record["stage"] for record in now}
    earlier, later = (_grouped(record for record in run if record["stage"] in stages) for run in (before, now))
    noise_before, noise_now = _noise_by_stage(earlier), _noise_by_stage(later)
    changes: list[Change] = []
    for line in dict.fromkeys((*later, *earlier)):
        old, new = earlier.get(line, []), later.get(line, [])
        stage = str(line[0])
        if not old or not new:
            missing = "is not in the earlier run" if new else "is gone: only the earlier run has it"
            changes.append(Change(stage, described(line, new or old), "", None, None, None, None, "not compared", missing))
            continue
        changes += _speeds(line, old, new, noise_before, noise_now)
        changes += _efficiency(line, old, new)
        changes += _frame_errors(line, old, new)
    if all(change.verdict == "not compared" for change in changes):
        why = "; ".join(dict.fromkeys(change.reason for change in changes)) or "they have no stage in common"
        raise ConfigurationError(f"the two runs cannot be compared: {why}; measure the earlier one again")
    return changes


def described(line: _Line, records: Sequence[Record]) -> str:
    """Say which measurement ``line`` is about: method, QBER, block; and, from its ``records``, the note where several are called alike."""
    _, method, qber, block_bits, round_trip_ms, place = line
    parts = [str(method)]
    parts += [f"QBER {100 * qber:g} %"] if qber is not None else []
    parts += [f"{block_bits:,} bits"] if block_bits is not None else []
    parts += [f"{round_trip_ms:g} ms apart"] if round_trip_ms is not None else []
    parts += [str(records[0]["note"]).partition(",")[0] or f"number {place}"] if place else []
    return ", ".join(parts)


def _grouped(records: Iterable[Record]) -> _Groups:
    """Put the repetitions of each measurement together; those called alike are told apart by their order, peers are not."""
    groups: defaultdict[_Line, list[Record]] = defaultdict(list)
    seen: defaultdict[Hashable, int] = defaultdict(int)
    for record in records:
        line = tuple(record[name] for name in ("stage", "method", "qber", "block_bits", "round_trip_ms"))
        once = (*line, record["peer"], record["repetition"])
        groups[*line, seen[once]].append(record)
        seen[once] += 1
    return dict(groups)


def _merits(records: Iterable[Record], peer: str | None) -> list[float]:
    """Logarithms of the speed over that of ``peer``, or of the yardstick; empty where there is none."""
    if peer is not None:
        return [math.log(record["ratio_to_peer"]) for record in records if record["peer"] == peer and record["ratio_to_peer"]]
    timed = (record for record in records if record["yardstick_seconds"])
    return [math.log((record["mbit_per_second"] or record["mevents_per_second"]) * record["yardstick_seconds"]) for record in timed]


def _by_peer(records: Sequence[Record]) -> list[str | None]:
    peers = list(dict.fromkeys(record["peer"] for record in records if record["ratio_to_peer"]))
    return [*peers] or [None]


def _noise_by_stage(groups: _Groups) -> dict[str, float]:
    """Standard deviation of one run of a stage: pooled over its lines, the whole run's where the stage was not repeated."""
    squares: defaultdict[str, float] = defaultdict(float)
    freedom: defaultdict[str, int] = defaultdict(int)
    for line, records in groups.items():
        for peer in _by_peer(records):
            merits = _merits(records, peer)
            mean = sum(merits) / max(1, len(merits))
            squares[str(line[0])] += sum((merit - mean) ** 2 for merit in merits)
            freedom[str(line[0])] += max(0, len(merits) - 1)
    total = sum(freedom.values())
    otherwise = math.sqrt(sum(squares.values()) / total) if total else UNKNOWN_NOISE
    return {stage: max(LEAST_NOISE, math.sqrt(squares[stage] / count) if count else otherwise) for stage, count in freedom.items()}


def _sample(merits: Sequence[float], stage_noise: float) -> _Sample:
    """Average repetitions; a line that scatters more than its stage has its own noise."""
    mean = sum(merits) / len(merits)
    own = math.sqrt(sum((merit - mean) ** 2 for merit in merits) / (len(merits) - 1)) if len(merits) > 1 else 0.0
    return _Sample(mean, max(own, stage_noise), len(merits))


def _speeds(line: _Line, old: list[Record], new: list[Record], noise_before: dict[str, float], noise_now: dict[str, float]) -> list[Change]:
    """Compare by every peer that both runs have, by the yardstick where they have none in common."""
    stage, what = str(line[0]), described(line, new)
    in_both = [peer for peer in _by_peer(new) if peer in _by_peer(old)]
    changes: list[Change] = []
    for peer in in_both or [None]:
        earlier, later = _merits(old, peer), _merits(new, peer)
        if not earlier or not later:
            run = "earlier" if not earlier else "later"
            reason = f"has neither peer nor yardstick in the {run} run"
            changes.append(Change(stage, what, "", None, None, None, None, "not compared", reason))
            continue
        a, b = _sample(earlier, noise_before[stage]), _sample(later, noise_now[stage])
        noise = DEVIATIONS * math.sqrt(a.deviation**2 / a.count + b.deviation**2 / b.count)
        step = b.mean - a.mean
        verdict: Verdict = "same"
        if abs(step) > max(noise, math.log1p(LEAST_CHANGE)):
            verdict = "faster" if step > 0.0 else "slower"
        figures = math.exp(a.mean), math.exp(b.mean), math.expm1(step), math.expm1(noise)
        changes.append(Change(stage, what, peer or "yardstick", *figures, verdict))
    return changes


def _efficiency(line: _Line, old: list[Record], new: list[Record]) -> list[Change]:
    before, now = ([record["efficiency"] for record in run if record["efficiency"]] for run in (old, new))
    if not before or not now:
        return []
    a, b = sum(before) / len(before), sum(now) / len(now)
    scatter = max(max(before) - min(before), max(now) - min(now))
    noise = max(LEAST_EFFICIENCY_CHANGE, scatter) / a
    change = b / a - 1.0
    verdict: Verdict = "same" if abs(change) <= noise else "leaks more" if change > 0.0 else "leaks less"
    return [Change(str(line[0]), described(line, new), "f", a, b, change, noise, verdict)]


def _frame_errors(line: _Line, old: list[Record], new: list[Record]) -> list[Change]:
    """Compare shares of failed frames; a change counts where the intervals of 95 % have nothing in common.

    One repetition is taken: the errors of the others may be the same ones, drawn from the same seed.
    """
    shares: list[tuple[float, tuple[float, float]]] = []
    for trials, ratio in ((record["count_segments"], record["frame_error_ratio"]) for record in (old[0], new[0])):
        if not trials or ratio is None:
            return []
        shares.append((ratio, wilson_interval(round(ratio * trials), trials)))
    (before, (low_before, high_before)), (now, (low_now, high_now)) = shares
    verdict: Verdict = "fails more often" if low_now > high_before else "fails less often" if high_now < low_before else "same"
    return [Change(str(line[0]), described(line, new), "frame errors", before, now, None, None, verdict)]


def regressions(changes: Iterable[Change]) -> list[Change]:
    """Return those of ``changes`` that a guard has to stop."""
    return [change for change in changes if change.is_regression]


def stage_summaries(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Sum up by stage.

    Parameters
    ----------
    changes : sequence of Change
        From ``compared``.

    Returns
    -------
    list[dict]
        ``stage``, ``compared`` (lines), ``regressed``, ``improved``, and ``speed``, the geometric mean of the changes of its speeds.
    """
    summaries = []
    for stage in dict.fromkeys(change.stage for change in changes):
        lines = [change for change in changes if change.stage == stage and change.verdict != "not compared"]
        steps = [math.log1p(change.change) for change in lines if change.change is not None and change.by != "f"]
        regressed = len(regressions(lines))
        summaries.append(
            {
                "stage": stage,
                "compared": len(lines),
                "regressed": regressed,
                "improved": sum(change.verdict != "same" for change in lines) - regressed,
                "speed": math.exp(sum(steps) / len(steps)) if steps else None,
            }
        )
    return summaries
