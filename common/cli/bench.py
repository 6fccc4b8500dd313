"""``qkd bench``: the stages of the distillation on this machine, beside their peers, and beside an earlier run.

Modules under ``benchmarks`` measure; ``benchmarks.comparison`` says what became worse; ``bench_tables`` lays out.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from common.cli.bench_tables import comparison_table, summary_table, table
from common.cli.options import EXISTING_FILE, json_option
from common.cli.progress import step
from common.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.table import Table

    from common.cli.benchmarks.measurement import Measurement, Request
    from common.cli.benchmarks.records import Record

STAGES = {
    "sifting": ("sifting", "measure"),
    "reconciliation": ("reconciliation", "measure"),
    "verification": ("hashing", "measure_verification"),
    "amplification": ("amplification", "measure"),
    "authentication": ("hashing", "measure_authentication"),
    "simulation": ("recordings", "measure_simulation"),
    "timetags": ("recordings", "measure_timetags"),
    "pipeline": ("pipeline", "measure"),
    "scaling": ("scaling", "measure"),
    "distance": ("distance", "measure"),
    "delivery": ("delivery", "measure"),
}
"""Stages in the order of the data's way, each with module and function under ``common.cli.benchmarks``."""


REPETITIONS_TO_COMPARE = 3
"""Times that each stage is measured for a comparison, unless told: the scatter of fewer says nothing about noise."""

REGRESSED = 1
"""Exit status where something became slower, leaks more or fails more often."""


@click.command("bench")
@click.argument("stages", nargs=-1, type=click.Choice(list(STAGES)), metavar="[STAGE]...")
@click.option(
    "--qber", "qbers", multiple=True, type=click.FloatRange(0, 0.2, min_open=True), help="Share of differing bits; may be repeated."
)
@click.option("--block-bits", multiple=True, type=click.IntRange(10_000, 100_000_000), help="Bits of a block; may be repeated.")
@click.option("--quick", is_flag=True, help="Small inputs, few runs: shows that everything works, and little about speed.")
@click.option("--repeat", type=click.IntRange(1, 20), help="Measure so often: 1 time, or 3 times with --against.")
@click.option("--against", type=EXISTING_FILE, metavar="FILE", help="Compare with an earlier run's JSON, and exit 1 if anything is worse.")
@click.option("--recorded", type=EXISTING_FILE, metavar="FILE", help="With --against: compare this run's JSON, and measure nothing.")
@json_option
def command(
    *,
    stages: tuple[str, ...],
    qbers: tuple[float, ...],
    block_bits: tuple[int, ...],
    quick: bool,
    repeat: int | None,
    against: Path | None,
    recorded: Path | None,
    as_json: bool,
) -> int:
    """Measure stages of the distillation: speed, efficiency, frame errors, and the ratio to a peer in the same run.

    STAGE is one or more of sifting, reconciliation, verification, amplification, authentication, simulation, timetags, pipeline,
    scaling (by block), distance (by round-trip time) and delivery (of keys to applications); all of them where none is named, with
    --against those of the earlier run. Everything runs on one core, but for the two daemons of pipeline, distance and delivery, which
    take what there is. --qber and --block-bits apply to the stages that depend on them.

    A comparison goes by ratios to a peer or to the same work timed beside, never by seconds: what is slower beyond the noise that
    the repetitions show, leaks more or fails more often, makes the exit status 1.

    \b
    Example:
      qkd bench
      qkd bench reconciliation --qber 0.01 --qber 0.05
      qkd bench amplification --block-bits 1000000 --json
      qkd bench --repeat 3 --json > before.json
      qkd bench --against before.json
    """
    from common.cli.benchmarks.measurement import DEFAULT_QBERS, Request, machine
    from common.cli.benchmarks.records import read_records

    if recorded and not against:
        raise ConfigurationError("--recorded names the later of two runs: name the earlier one with --against")
    if recorded and (qbers or block_bits or quick or repeat):
        raise ConfigurationError("--recorded measures nothing: leave --qber, --block-bits, --quick and --repeat out")
    earlier = read_records(against) if against else []
    chosen = [stage for stage in STAGES if stage in stages or not stages]
    if earlier and not stages:
        chosen = [stage for stage in chosen if any(record["stage"] == stage for record in earlier)]
    if recorded:
        records = [record for record in read_records(recorded) if record["stage"] in chosen]
    else:
        request = Request(qbers or DEFAULT_QBERS, block_bits or None, quick)
        measurements = measured(chosen, request, repeat or (REPETITIONS_TO_COMPARE if against else 1), quiet=as_json)
        records = [measurement.fields() | {"machine": machine(), "quick": quick} for measurement in measurements]
        if not as_json:
            _print(table(measurements), machine())
    if not against:
        if as_json:
            click.echo(json.dumps(records, indent=1))
        return 0
    return _compare(earlier, records, as_json=as_json)


def measured(stages: Sequence[str], request: Request, repetitions: int, *, quiet: bool) -> list[Measurement]:
    """Measure stages, all of them once and then all of them again, so that repetitions lie far apart in time.

    Parameters
    ----------
    stages : sequence of str
        Names from ``STAGES``.
    request : Request
        What to measure.
    repetitions : int
        How often.
    quiet : bool
        Whether to say nothing about progress.

    Returns
    -------
    list[Measurement]
        In order, each beside the yardstick.
    """
    from common.cli.benchmarks.yardstick import beside_yardstick

    # All imports come first: what is broken fails at once, not after a minute of measuring.
    functions = {stage: stage_function(stage) for stage in stages}
    found: list[Measurement] = []
    for repetition in range(repetitions):
        again = f" ({repetition + 1} of {repetitions})" if repetitions > 1 else ""
        for stage, measure in functions.items():
            with step(f"measuring {stage}{again}", quiet=quiet):
                found.extend(dataclasses.replace(line, repetition=repetition) for line in beside_yardstick(request, measure(request)))
    return found


def _compare(earlier: list[Record], records: list[Record], *, as_json: bool) -> int:
    """Print how two runs differ, and return the exit status."""
    from common.cli.benchmarks.comparison import compared, regressions, stage_summaries

    changes = compared(earlier, records)
    regressed = regressions(changes)
    if as_json:
        listed = [dataclasses.asdict(change) for change in changes]
        click.echo(json.dumps({"measurements": records, "comparison": listed, "stages": stage_summaries(changes)}, indent=1))
    else:
        machines = list(dict.fromkeys(str(record["machine"]) for record in (*earlier, *records)))
        other = (
            "" if len(machines) == 1 else f"before on {machines[0]}: on another machine even ratios shift; repeat both on one to be sure"
        )
        _print(comparison_table(changes), other)
        _print(summary_table(stage_summaries(changes)), f"{len(regressed)} of {len(changes)} comparisons are worse beyond the noise")
    return REGRESSED if regressed else 0


def _print(table: Table, below: str) -> None:
    from rich.console import Console

    console = Console()
    console.width = max(console.width, 150) if not console.is_terminal else console.width
    console.print(table)
    if below:
        console.print(below, highlight=False)


def stage_function(stage: str) -> Callable[[Request], Iterator[Measurement]]:
    """Import what measures ``stage``."""
    module, function = STAGES[stage]
    found: Any = getattr(importlib.import_module(f"common.cli.benchmarks.{module}"), function)
    measure: Callable[[Request], Iterator[Measurement]] = found
    return measure
