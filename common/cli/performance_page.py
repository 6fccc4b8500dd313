"""``python -m common.cli.performance_page FILE``: the page on performance, from what ``qkd bench --json`` printed.

Writes ``docs/reference/performance.md`` and its plot, so that no measured figure of the page is typed by hand. Targets come from the
design; whether one is reached is decided here from the measurements, and what no stage measures yet is said to be so.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from common.cli.benchmarks.records import Record
from common.cli.benchmarks.records import read_records as records_of
from common.cli.performance_plots import GROWTH_PLOT, PLOT, draw, growths
from common.errors import ConfigurationError

PAGE = Path("docs/reference/performance.md")
EVENT_STAGES = {"sifting", "simulation", "timetags"}
"""Stages whose speed counts detections or tags."""

BUSY_LOAD = 1.6
"""Load average from which something else was running beside us (we are 1)."""

BUSY_REMARK = f"""; above {BUSY_LOAD:g} something else was running beside it. So speeds are too
low, by a factor of two and more for some stages, and a missed target may be the load's fault; efficiency and frame errors are unharmed"""

INTRODUCTION = """# Performance

Speed of every stage on one machine, on one core unless it says two daemons, each beside a peer where there is one. Speeds are of the
fastest of several runs; compiling is not counted. Runs of ours and of the peer alternate, so their ratio is steadier than either speed,
which may halve while
something else runs. It is not beyond doubt: how fast a short NumPy transform is depends on what ran before in the same process, and its
ratio with it.

- **Mbit/s** are sifted bits for reconciliation and the pipeline, bits of input for amplification, bits of message elsewhere; **M/s**
  are 10⁶ detections, tags or emulated clicks a second.
- **Both halves** means that the work of both ends is done on the one core, every message encoded, authenticated, hashed, checked and
  decoded. **Kernels** and *alone* mean arrays in memory and nothing else.
- **f** is the number of bits charged, segment tags and increments included, over *n h(e)*, *e* being the share of bits that really
  differed. **Frame errors** is the share of segments given up or wrong, and of how many. LDPC starts lean on purpose: segments that
  fail are decoded again with increments, whose time and bits are included.
- **Pipeline, offline**: from the first announcement to committed key, both ends in one process with detections prepared beforehand and
  memory for a channel. **Two daemons**: the same between two services with their key stores, over TCP on loopback, in the steady state;
  all processes are counted, and the note says which share of a core each took (alice last). *Apart* is a round-trip time by a relay.
"""

REGENERATING = """
## Make it anew

```sh
make bench                                        # the table, on this machine
qkd bench --json > bench.json                     # the same as JSON
python -m common.cli.performance_page bench.json  # this page and its plot
```

`qkd bench --help` names the stages and options; `--quick` runs everything on small inputs in a few seconds, which shows that it works
and little else. Of the peers, `cryptomite` and `ldpc` come with the extra `bench`; without them these columns stay empty.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A line of the design's table of targets.

    Attributes
    ----------
    what : str
        What is to be reached.
    must : float
        Least figure, in the unit of the record.
    stage, method : str
        Stage, and the beginning of the method, of the measurement that decides.
    at : tuple[str, float] | None
        Field and value that the record must have.
    most_efficiency : float | None
        Largest f allowed.
    remark : str
        What the comparison leaves out.
    """

    what: str
    must: float
    stage: str
    method: str
    at: tuple[str, float] | None = None
    most_efficiency: float | None = None
    remark: str = ""


TARGETS = (
    Target("two daemons, QBER 1 %, f ≤ 1.06", 80.0, "pipeline", "two daemons, TCP, cascade", ("qber", 0.01), 1.06),
    Target("two daemons, QBER 2 %, f ≤ 1.07", 60.0, "pipeline", "two daemons, TCP, cascade", ("qber", 0.02), 1.07),
    Target("two daemons, QBER 5 %, f ≤ 1.08", 45.0, "pipeline", "two daemons, TCP, cascade", ("qber", 0.05), 1.08),
    Target("two daemons 20 ms apart, QBER 1 %", 40.0, "pipeline", "two daemons, TCP, cascade, 20 ms", ("qber", 0.01), 1.06),
    Target("Cascade kernels, both halves, QBER 2 %, f ≤ 1.065", 150.0, "reconciliation", "cascade, kernels", ("qber", 0.02), 1.065),
    *(
        Target(f"LDPC decoding, f ≤ 1.15, QBER {100 * q:g} %", 45.0, "reconciliation", "ldpc, decoding", ("qber", q), 1.15)
        for q in (0.01, 0.02, 0.05, 0.08)
    ),
    Target("amplification, 1e6 bits", 400.0, "amplification", "Toeplitz", ("block_bits", 1_000_000), None, "to half the length"),
    Target("amplification, 1e7 bits", 90.0, "amplification", "Toeplitz", ("block_bits", 10_000_000), None, "to half the length"),
    Target("amplification, 1e8 bits", 40.0, "amplification", "Toeplitz", ("block_bits", 100_000_000), None, "to half the length"),
    Target("tags, clock from reference pulses", 20.0, "timetags", "clock from reference", remark="a merged recording"),
    Target("tags, clock from photons alone", 20.0, "timetags", "clock from photons", remark="a merged recording"),
    Target("sifting, packing and selection of bits alone", 200.0, "sifting", "outcomes packed"),
    Target("sifting, both halves with their messages", 200.0, "sifting", "announcement"),
    Target("emulated link", 10.0, "simulation", "source"),
    Target("5 GB/s message codes, 64 KiB", 40_000.0, "authentication", "message code", ("block_bits", 524_288)),
    Target("5 GB/s transcript hash, 64 KiB", 40_000.0, "authentication", "transcript", ("block_bits", 524_288)),
)
"""Targets that a stage of ``qkd bench`` decides; speeds in Mbit/s or M/s."""

NOT_MEASURED = (
    "memory of the daemons at 1e8 bits",
    "key delivery, start-up of the daemons, a run of 24 hours",
)
"""Targets that nothing measures yet."""


def main(arguments: list[str]) -> None:
    """Write page and plot.

    Parameters
    ----------
    arguments : list[str]
        The file that holds the output of ``qkd bench --json``.

    Raises
    ------
    ConfigurationError
        If there is not one file, or it holds something else.
    """
    if len(arguments) != 1:
        raise ConfigurationError("name one file: the output of qkd bench --json")
    records = read_records(Path(arguments[0]))
    draw(records, PLOT, GROWTH_PLOT)
    PAGE.write_text(page(records), encoding="utf-8")


def read_records(path: Path) -> list[Record]:
    """Read the output of ``qkd bench --json``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list[dict]
        Records in order, of the first repetition.

    Raises
    ------
    ConfigurationError
        If it holds something else, or a run with ``--quick``, whose figures mean little.
    """
    records = records_of(path)
    if any(record["quick"] for record in records):
        raise ConfigurationError(f"{path}: a run with --quick says little about speed; leave it out")
    return [record for record in records if record["repetition"] == 0]


def page(records: list[Record]) -> str:
    """Write the page.

    Parameters
    ----------
    records : list[dict]
        From ``read_records``.

    Returns
    -------
    str
        Markdown.
    """
    loads = [record["load_average"] for record in records]
    busy = BUSY_REMARK if max(loads) > BUSY_LOAD else ", of which the benchmark itself is 1"
    parts = [
        INTRODUCTION,
        f"\n## Measured\n\nOn {records[0]['machine']}. Load average while measuring: {min(loads):.1f} to {max(loads):.1f}{busy}.\n",
        "\n![Speed and f by QBER, block and round-trip time](../_static/performance.svg)\n",
        "\nCircles mark the method that two daemons choose by themselves at each distance.\n",
        f"\n![Amplification, and the growth of cost with the block](../_static/{GROWTH_PLOT.name})\n",
        growth(records),
    ]
    stages = list(dict.fromkeys(record["stage"] for record in records))
    parts += [section(stage, [record for record in records if record["stage"] == stage]) for stage in stages]
    parts += [targets(records), REGENERATING]
    return "".join(parts)


def growth(records: list[Record]) -> str:
    """Write how the cost of a bit grows with the block.

    Parameters
    ----------
    records : list[dict]
        All records.

    Returns
    -------
    str
        Markdown, with a line for each series.
    """
    series = growths(records)
    if not series:
        return "\nHow cost grows with the block is not in this run: measure the stages `scaling` and `amplification`.\n"
    lines = [
        "\nCost of a bit in the longest block over that in the cheapest of the shorter half, and the factor that n log n would have from\n",
        "the shortest on:\n\n| what ran | blocks | cost of a bit | n log n |\n| --- | --- | --- | --- |\n",
    ]
    return "".join([*lines, *(f"| {g.what} | {g.sizes[0]:,} to {g.sizes[-1]:,} | {g.factor:.2f}× | {g.allowed:.2f}× |\n" for g in series)])


def section(stage: str, records: list[Record]) -> str:
    """Write the table of one stage, without columns that would be empty.

    Parameters
    ----------
    stage : str
        Its name.
    records : list[dict]
        Its records.

    Returns
    -------
    str
        Markdown.
    """
    columns = {
        "what ran": [record["method"] for record in records],
        "QBER": [_percent(record["qber"]) for record in records],
        "apart": [_figure(record["round_trip_ms"], "g", " ms") for record in records],
        "block, bits": [_grouped(record["block_bits"]) for record in records],
        "speed": [_speed(record) for record in records],
        "f": [_figure(record["efficiency"], ".3f") for record in records],
        "frame errors": [_frame_errors(record) for record in records],
        "secret bits": [_grouped(record["secret_bits"]) for record in records],
        "to peer": [_figure(record["ratio_to_peer"], ".3g", "×") for record in records],
        "peer": [record["peer"] or "" for record in records],
        "note": [record["note"] for record in records],
    }
    filled = {title: cells for title, cells in columns.items() if any(cells)}
    lines = [list(filled), ["---"] * len(filled), *(list(row) for row in zip(*filled.values(), strict=True))]
    return f"\n### {stage}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def targets(records: list[Record]) -> str:
    """Write which targets of the design are reached.

    Parameters
    ----------
    records : list[dict]
        All records.

    Returns
    -------
    str
        Markdown.
    """
    lines = [
        "\n## Targets\n\nThe design's targets beside what was measured. Where it does not say what exactly a target covers, the part and\n",
        "the whole are both here.\n\n",
        "| target | at least | measured | reached |\n| --- | --- | --- | --- |\n",
    ]
    for target in TARGETS:
        found = deciding(target, records)
        unit = "M/s" if target.stage in EVENT_STAGES else "Mbit/s"
        if found is None:
            lines.append(f"| {target.what} | {target.must:,g} {unit} | not in this run | |\n")
            continue
        remark = f" ({target.remark})" if target.remark else ""
        measured = _speed(found) + (f", f {found['efficiency']:.3f}" if target.most_efficiency else "")
        lines.append(
            f"| {target.what} | {target.must:,g} {unit} | {measured}{remark} | {'yes' if reached(target, found) else '**no**'} |\n"
        )
    return "".join(lines) + f"\nNot measured yet: {'; '.join(NOT_MEASURED)}.\n"


def deciding(target: Target, records: list[Record]) -> Record | None:
    """Return the record that decides about ``target``, or None where ``records`` hold none."""
    fitting = (record for record in records if record["stage"] == target.stage and record["method"].startswith(target.method))
    return next((record for record in fitting if target.at is None or record[target.at[0]] == target.at[1]), None)


def reached(target: Target, record: Record) -> bool:
    """Say whether ``record`` reaches ``target``, efficiency included."""
    speed = record["mbit_per_second"] or record["mevents_per_second"] or 0.0
    return speed >= target.must and (target.most_efficiency is None or record["efficiency"] <= target.most_efficiency)


def _percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{100 * ratio:g} %"


def _grouped(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


def _figure(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def _frame_errors(record: Record) -> str:
    return "" if record["frame_error_ratio"] is None else f"{record['frame_error_ratio']:.2g} of {record['count_segments']}"


def _speed(record: Record) -> str:
    if record["mbit_per_second"] is not None:
        return f"{_three_digits(record['mbit_per_second'])} Mbit/s"
    return f"{_three_digits(record['mevents_per_second'])} M/s"


def _three_digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):,g}" if value < 1e6 else f"{value:.3g}"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ConfigurationError as wrong:
        sys.exit(str(wrong))
