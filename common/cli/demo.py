"""``qkd demo``: a link, its key, and a picture through the one-time pad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from common.cli.options import EXISTING_FILE, FOLDER, json_option, parse_detectors, reading_options, recording_options
from common.cli.progress import step

if TYPE_CHECKING:
    from common.cli.expectation import Expectation
    from common.cli.link_series import LinkSeries
    from common.profiles.link import LinkProfile

EXHAUSTED = 4
"""Exit status where the key does not cover the picture."""


@click.command("demo")
@click.option("--link", default=None, metavar="NAME|FILE", help="Link profile; niedersachsen, or recorded with --arrivals.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Change one entry of the link profile.")
@click.option("--arrivals", type=EXISTING_FILE, default=None, metavar="RECORDING", help="Take photon arrivals from a recording instead.")
@click.option("--detectors", default=None, metavar="A,B", help="Channels of the recording's two detectors; all by default.")
@recording_options
@click.option("--image", type=EXISTING_FILE, default=None, help="Send this picture, made smaller where the key asks for it.")
@click.option("--out", type=FOLDER, default=Path("demo"), show_default=True, help="Folder for report, pictures, plot, logs and nodes.")
@click.option(
    "--secret-bits", type=click.IntRange(min=1), default=None, help="Distil at least so many; enough for the picture unless told."
)
@click.option("--max-link-seconds", type=click.FloatRange(min=0, min_open=True), default=None, help="Link time at most, seconds.")
@click.option(
    "--link-seconds", type=click.FloatRange(min=0, min_open=True), default=None, help="Show so much of the link, however much key it makes."
)
@click.option(
    "--speed", type=click.FloatRange(min=0, min_open=True), default=None, help="Seconds of link a second; as fast as it goes unless told."
)
@click.option("--compensate-drift", is_flag=True, help="Bob turns plates or phase shifter against the fibre's drift.")
@click.option("--eve", default=None, metavar="MODEL", help="Eavesdropper: intercept-resend=0.1, photon-number-splitting=1 or blinding.")
@click.option("--seed", type=int, default=None, help="Repeat the emulated physics; keys stay random.")
@json_option
def command(
    *,
    link: str | None,
    settings: tuple[str, ...],
    arrivals: Path | None,
    detectors: str | None,
    format_name: str | None,
    unit: str | None,
    image: Path | None,
    out: Path,
    secret_bits: int | None,
    max_link_seconds: float | None,
    link_seconds: float | None,
    speed: float | None,
    compensate_drift: bool,
    eve: str | None,
    seed: int | None,
    as_json: bool,
) -> int:
    """Show a link working, from detector clicks to a picture through the one-time pad.

    The quantum channel, Bob and Alice run as three processes on this machine until their key covers the picture, or three times as long
    as the planner expects. Alice's node encrypts, Bob's decrypts. Open report.html in the folder afterwards.

    \b
    Example:
      qkd demo --out demo
      qkd demo --out tapped --eve intercept-resend
    """
    import secrets

    from common.cli import demonstration as show
    from common.cli.arrivals import recorded_run
    from common.cli.expectation import compared, expectation
    from common.cli.link_series import as_report
    from common.cli.processes import ended_by_signals
    from common.cli.progress import link_progress
    from common.distillation.recipe import require_distilled
    from common.emulator.eavesdropper import eavesdropper_from_text
    from common.errors import ConfigurationError
    from common.profiles.link import load_profile

    profile = load_profile(link or ("recorded" if arrivals else "niedersachsen"), settings)
    require_distilled(profile)
    if eve:
        eavesdropper_from_text(eve)
    if not arrivals and (detectors or format_name or unit):
        raise ConfigurationError("--detectors, --format and --unit say what is in the recording: give --arrivals, or leave them out")
    numbers, options = parse_detectors(detectors), reading_options(format_name, unit)
    if arrivals and eve:
        raise ConfigurationError("--eve acts on the emulated fibre: leave it out, or leave out --arrivals")
    if arrivals and (max_link_seconds or link_seconds or speed or compensate_drift):
        emulated_only = "--max-link-seconds, --link-seconds, --speed and --compensate-drift"
        raise ConfigurationError(f"{emulated_only} are for the emulated fibre: a recording ends by itself, and nobody can turn it")
    if max_link_seconds and link_seconds:
        raise ConfigurationError("--max-link-seconds ends a link that takes too long, --link-seconds shows all of it: give one of them")
    with ended_by_signals(), show.demonstration_folder(out):
        picture, remark = show.prepare_picture(image, out, show.room_bits(secret_bits))
        wanted = show.wanted_bits(picture, secret_bits)
        made = None
        if arrivals:
            with step(f"reading the arrivals of {arrivals.name}", quiet=as_json):
                drawn_from = secrets.randbits(63) if seed is None else seed
                made = recorded_run(profile, arrivals, drawn_from, options=options, detectors=numbers)
            profile = made.profile
            max_link_seconds = made.record.header.count_slots / profile.source.clock_hz
        expected = expectation(profile, wanted, max_link_seconds or link_seconds)
        _announce(profile, expected, quiet=as_json)
        plan = show.Plan(profile, expected, seed, eve, made, link_seconds is not None, speed, compensate_drift)
        with link_progress(wanted, expected.seconds or expected.limit_seconds, quiet=as_json) as watch:
            act = show.live_act(plan, picture, out, watch, lambda text: None if as_json else click.echo(text, err=True))
        second = _second_act(seed, quiet=as_json) if not arrivals and eve is None else None
        with step("the report is written", quiet=as_json):
            report = act.report | {
                "picture": show.picture_entry(picture, remark, act),
                "expected": compared(profile, act.report, expected),
                "eve": eve,
                "seed": seed,
                "missing_secret_bits": 0 if act.covered else max(1, wanted - act.report["secret_bits"]),
                "failed_bound": "" if act.covered else show.failed_bound(act.report),
                "real_arrivals": second,
                "over_link_time": as_report(act.series),
            }
            if arrivals:
                report["recording"]["file"] = arrivals.name
            _write(report, act.series, out)
    click.echo(json.dumps(report) if as_json else _summary(report, out))
    return 0 if act.identical else EXHAUSTED


def _second_act(seed: int | None, *, quiet: bool) -> dict[str, Any] | None:
    """Distil the recording of a real emitter, where ``QKD_RECORDINGS`` has it."""
    import os
    import secrets

    from common.cli import demonstration as show
    from common.profiles.link import load_profile

    recording = Path(os.environ.get("QKD_RECORDINGS", ""), show.RECORDING)
    if "QKD_RECORDINGS" not in os.environ or not recording.is_file():
        return None
    with step(f"the same with real photons: {recording.name}", quiet=quiet):
        return show.recorded_act(load_profile("recorded"), recording, secrets.randbits(63) if seed is None else seed)


def _write(report: dict[str, Any], series: LinkSeries, out: Path) -> None:
    """Write report, plots and page."""
    from common.cli.plots import save_overview, save_plot
    from common.cli.report_page import write_page

    (out / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    save_plot(series, out)
    if report["picture"]["identical"]:
        save_overview(series, out)
    write_page(report, series, out)


def _announce(profile: LinkProfile, expected: Expectation, *, quiet: bool) -> None:
    """Say beforehand what the planner expects."""
    if quiet:
        return
    if expected.seconds is None:
        text = f"the planner expects no key; the link is shown for {expected.limit_seconds:.0f} s"
    else:
        wanted = f"{expected.secret_bits} secret bits in {expected.seconds:.1f} s of link"
        text = f"expected: {wanted}; given up after {expected.limit_seconds:.0f} s"
    click.echo(f"{profile.title}: {text}", err=True)


def _summary(report: dict[str, Any], out: Path) -> str:
    """Say in a few lines how it went."""
    qber = ", ".join(f"{basis} {value:.2%}" for basis, value in report["qber"].items() if value is not None) or "none"
    lines = [
        f"{report['title']}: {report['link_seconds']:.1f} s of link, {report['detections']} detections, QBER {qber}",
        f"secret bits: expected {report['expected']['secret_bits']}, obtained {report['secret_bits']}",
    ]
    if report["picture"]["identical"]:
        picture = report["picture"]
        spent = f"{picture['share_of_key']:.0%} of the key"
        lines.append(f"picture: {picture['bits']} bits encrypted at Alice's end, decrypted at Bob's, identical; {spent}")
    else:
        missing = f"{report['missing_secret_bits']} secret bits are missing after {report['link_seconds']:.1f} s of link"
        lines.append(f"no picture: {missing}. {report['failed_bound']}".rstrip())
    lines.append("stores: both hold the same key" if report["stores"]["agree"] else "stores: they differ, see report.json")
    if report["real_arrivals"]:
        lines.append(real_arrivals_line(report["real_arrivals"]))
    lines.append(f"look at {out / 'report.html'}")
    return "\n".join(lines)


def real_arrivals_line(second: dict[str, Any]) -> str:
    """Describe the ``second`` act in a line."""
    recording = second["recording"]
    qber = ", ".join(f"{basis} {value:.2%}" for basis, value in second["qber"].items() if value is not None) or "none"
    return (
        f"real arrivals ({recording['file']}): {recording['arrivals']} photons, clock {recording['clock_hz'] / 1e6:.6f} MHz to "
        f"{recording['clock_residual_rms_ps']:.0f} ps, QBER {qber}, {second['secret_bits']} secret bits"
    )
