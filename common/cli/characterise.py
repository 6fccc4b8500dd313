"""``qkd characterise``: what a source or a detector is worth, from recordings and tables, as JSON and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from common.cli.options import EXISTING_FILE, json_option, parse_detectors, reading_options, recording_options
from common.cli.progress import step
from common.errors import ConfigurationError

if TYPE_CHECKING:
    from common.cli.source_reports import Characterised

KINDS = ("hbt", "lifetime", "saturation", "states", "dead-time")
"""What is characterised."""


@click.command("characterise")
@click.argument("files", nargs=-1, required=True, metavar="FILE … | STATE=FILE …")
@click.option("--kind", type=click.Choice(KINDS), default="hbt", show_default=True, help="What to find out.")
@click.option("--detectors", default=None, metavar="A,B", help="Channels of photons; all by default.")
@click.option("--sync", type=click.IntRange(0, 255), default=None, help="Channel of reference pulses.")
@click.option("--clock-hz", type=click.FloatRange(min=1e3), default=None, help="Pulse rate; looked for by default.")
@click.option("--skew-slots", type=int, default=None, help="Pulses by which the second detector lags; found by the dip by default.")
@click.option("--instrument", type=EXISTING_FILE, default=None, help="Recording of the laser itself, as the response of the instrument.")
@click.option(
    "--instrument-ps", type=click.FloatRange(min=0, min_open=True), default=None, help="Or the response's full width, picoseconds."
)
@click.option("--channels", default=None, metavar="NAME=N,…", help="Channels of the recordings of states: H=0,V=1,D=2,A=3.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), default=None, metavar="FILE.png", help="Draw it as well.")
@recording_options
@json_option
def command(
    *,
    files: tuple[str, ...],
    kind: str,
    detectors: str | None,
    sync: int | None,
    clock_hz: float | None,
    skew_slots: int | None,
    instrument: Path | None,
    instrument_ps: float | None,
    channels: str | None,
    picture: Path | None,
    format_name: str | None,
    unit: str | None,
    as_json: bool,
) -> None:
    """Say what a source or a detector is worth, from its recordings.

    hbt: g2 at zero delay against neighbouring and far delays, blinking, lifetime; a recording of two detectors behind a beam splitter.
    lifetime: the decay, through the instrument's response. dead-time: how detectors come back after a click. saturation: rate over
    power; a CSV with columns power, rate, and uncertainty or seconds. states: truth table and fidelities; a CSV with a column state and
    counts of each detector, or a recording for each state.

    \b
    Example:
      qkd characterise emitter.ptu --picture g2.png
      qkd characterise emitter.qutag --detectors 1,2 --sync 5 --json
      qkd characterise emitter.ptu --kind lifetime --instrument laser.ptu
      qkd characterise powers.csv --kind saturation
      qkd characterise H=h.ptu V=v.ptu --kind states --channels H=0,V=1
      qkd characterise detector.csv --kind dead-time --unit ns
    """
    from common.cli import source_reports as reports
    from common.cli.distil import parse_channels

    _refuse_what_does_not_fit(kind, {"--instrument": instrument, "--instrument-ps": instrument_ps}, ("hbt", "lifetime"))
    _refuse_what_does_not_fit(kind, {"--skew-slots": skew_slots}, ("hbt",))
    _refuse_what_does_not_fit(kind, {"--sync": sync, "--clock-hz": clock_hz}, ("hbt", "lifetime"))
    _refuse_what_does_not_fit(kind, {"--detectors": detectors}, ("hbt", "lifetime", "dead-time"))
    _refuse_what_does_not_fit(kind, {"--channels": channels}, ("states",))
    if instrument is not None and instrument_ps is not None:
        raise ConfigurationError("--instrument and --instrument-ps both say what the response is: give one of them")
    if picture is not None and picture.suffix.lower() != ".png":
        raise ConfigurationError(f"--picture {picture}: pictures are PNG, so let the name end with .png")
    named = parse_channels(channels) if channels else None
    options = reading_options(format_name, unit, channels=named, needs_names=False)
    chosen = reports.PulseOptions(parse_detectors(detectors), sync, clock_hz, skew_slots, instrument_ps, instrument)
    by_state = {state: _existing(name) for state, _, name in (text.partition("=") for text in files) if name} if kind == "states" else {}
    if by_state and (len(by_state) != len(files) or named is None):
        raise ConfigurationError("give every recording as STATE=FILE, each state once, and the detectors with --channels H=0,V=1,…")
    if not by_state and len(files) != 1:
        raise ConfigurationError(f"--kind {kind} takes one file, not {len(files)}")
    with step(f"characterising {files[0]}", quiet=as_json):
        match kind:
            case "hbt":
                found = reports.characterise_hbt(_existing(files[0]), options, chosen)
            case "lifetime":
                found = reports.characterise_lifetime(_existing(files[0]), options, chosen)
            case "dead-time":
                found = reports.characterise_dead_time(_existing(files[0]), options, chosen.detectors)
            case "saturation":
                found = reports.characterise_saturation(_existing(files[0]))
            case _:
                found = reports.characterise_states(None if by_state else _existing(files[0]), by_state, options)
    if picture is not None:
        _draw(found, picture)
    if as_json:
        click.echo(json.dumps(found.report | {"notes": found.notes}))
        return
    from common.cli.source_text import summary

    click.echo(summary(found))


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise ConfigurationError(f"{name}: no such file")
    return path


def _refuse_what_does_not_fit(kind: str, given: dict[str, Any], kinds: tuple[str, ...]) -> None:
    for option, value in given.items():
        if value is not None and kind not in kinds:
            raise ConfigurationError(f"{option} is for --kind {' and '.join(kinds)}: leave it out")


def _draw(found: Characterised, picture: Path) -> None:
    try:
        from common.cli.source_pictures import save_picture
    except ImportError:
        raise ConfigurationError("drawing needs matplotlib: install the extra with pip install 'qkdlink[planning]'") from None
    save_picture(found, picture)
