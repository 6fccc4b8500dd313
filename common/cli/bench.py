"""``qkd bench``: the stages of the distillation on this machine, beside their peers."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from common.cli.options import json_option
from common.cli.progress import step

if TYPE_CHECKING:
    from rich.table import Table

    from common.cli.benchmarks.measurement import Measurement, Request

STAGES = {
    "sifting": ("sifting", "measure"),
    "reconciliation": ("reconciliation", "measure"),
    "verification": ("hashing", "measure_verification"),
    "amplification": ("amplification", "measure"),
    "authentication": ("hashing", "measure_authentication"),
    "simulation": ("recordings", "measure_simulation"),
    "timetags": ("recordings", "measure_timetags"),
    "pipeline": ("pipeline", "measure"),
    "delivery": ("delivery", "measure"),
}
"""Stages in the order of the data's way, each with module and function under ``common.cli.benchmarks``."""


@click.command("bench")
@click.argument("stages", nargs=-1, type=click.Choice(list(STAGES)), metavar="[STAGE]...")
@click.option(
    "--qber", "qbers", multiple=True, type=click.FloatRange(0, 0.2, min_open=True), help="Share of differing bits; may be repeated."
)
@click.option("--block-bits", multiple=True, type=click.IntRange(10_000, 100_000_000), help="Bits of a block; may be repeated.")
@click.option("--quick", is_flag=True, help="Small inputs, few runs: shows that everything works, and little about speed.")
@json_option
def command(*, stages: tuple[str, ...], qbers: tuple[float, ...], block_bits: tuple[int, ...], quick: bool, as_json: bool) -> None:
    """Measure stages of the distillation: speed, efficiency, frame errors, and the ratio to a peer in the same run.

    STAGE is one or more of sifting, reconciliation, verification, amplification, authentication, simulation, timetags, pipeline,
    delivery; all of them where none is named. Everything runs on one core, but for the two daemons at the end of the pipeline and those
    that deliver keys, which take what there is.
    --qber and --block-bits apply to the stages that depend on them.

    \b
    Example:
      qkd bench
      qkd bench reconciliation --qber 0.01 --qber 0.05
      qkd bench amplification --block-bits 1000000 --json
    """
    from common.cli.benchmarks.measurement import DEFAULT_QBERS, Request, machine

    request = Request(qbers or DEFAULT_QBERS, block_bits or None, quick)
    # All imports come first: what is broken fails at once, not after a minute of measuring.
    chosen = {stage: stage_function(stage) for stage in STAGES if stage in stages or not stages}
    measurements: list[Measurement] = []
    for stage, measure in chosen.items():
        with step(f"measuring {stage}", quiet=as_json):
            measurements.extend(measure(request))
    if as_json:
        about = {"machine": machine(), "quick": quick}
        click.echo(json.dumps([measurement.fields() | about for measurement in measurements], indent=1))
        return
    from rich.console import Console

    console = Console()
    console.width = max(console.width, 150) if not console.is_terminal else console.width
    console.print(table(measurements))
    console.print(machine(), highlight=False)


def stage_function(stage: str) -> Callable[[Request], Iterator[Measurement]]:
    """Import what measures ``stage``."""
    module, function = STAGES[stage]
    found: Any = getattr(importlib.import_module(f"common.cli.benchmarks.{module}"), function)
    measure: Callable[[Request], Iterator[Measurement]] = found
    return measure


def table(measurements: list[Measurement]) -> Table:
    """Lay out measurements for a terminal.

    Parameters
    ----------
    measurements : list[Measurement]
        In order.

    Returns
    -------
    rich.table.Table
        A line for each.
    """
    from rich.table import Table

    laid_out = Table(box=None, header_style="bold", pad_edge=False)
    for title, right in (
        ("stage", False),
        ("method", False),
        ("QBER", True),
        ("block", True),
        ("speed", True),
        ("f", True),
        ("frame errors", True),
        ("to peer", True),
        ("peer", False),
    ):
        laid_out.add_column(title, justify="right" if right else "left")
    previous = ""
    for line in measurements:
        laid_out.add_row(line.stage if line.stage != previous else "", *cells(line))
        previous = line.stage
    return laid_out


def cells(line: Measurement) -> tuple[str, ...]:
    """Write the columns behind the stage's name as text.

    Parameters
    ----------
    line : Measurement
        One measurement.

    Returns
    -------
    tuple[str, ...]
        Method, QBER, block, speed, f, frame errors, ratio, peer; empty where there is none.
    """
    speed = f"{line.mbit_per_second:.4g} Mbit/s" if line.mbit_per_second is not None else f"{line.mevents_per_second or 0:.4g} M/s"
    errors = "" if line.frame_error_ratio is None else f"{line.frame_error_ratio:.2g} of {line.count_segments}"
    return (
        line.method,
        "" if line.qber is None else f"{line.qber:.3g}",
        "" if line.block_bits is None else f"{line.block_bits:,}",
        speed,
        "" if line.efficiency is None else f"{line.efficiency:.3f}",
        errors,
        "" if line.ratio_to_peer is None else f"{line.ratio_to_peer:.3g}×",
        line.peer or "",
    )
