"""``qkd demo``: a link, its key, and a picture through the one-time pad."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from common.cli.options import EXISTING_FILE, FOLDER, json_option
from common.cli.progress import step

if TYPE_CHECKING:
    from common.cli.demonstration import Act, Expectation
    from common.profiles.link import LinkProfile

EXHAUSTED = 4
"""Exit status where the key does not cover the picture."""


@click.command("demo")
@click.option("--link", default=None, metavar="NAME|FILE", help="Link profile; niedersachsen, or recorded with --arrivals.")
@click.option("--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Change one entry of the link profile.")
@click.option("--arrivals", type=EXISTING_FILE, default=None, metavar="RECORDING", help="Take photon arrivals from a recording instead.")
@click.option("--image", type=EXISTING_FILE, default=None, help="Send this picture, made smaller where the key asks for it.")
@click.option("--out", type=FOLDER, default=Path("demo"), show_default=True, help="Folder for report, pictures, plot and key files.")
@click.option(
    "--secret-bits", type=click.IntRange(min=1), default=None, help="Distil at least so many; enough for the picture unless told."
)
@click.option("--max-link-seconds", type=click.FloatRange(min=0, min_open=True), default=None, help="Link time at most, seconds.")
@click.option("--eve", default=None, metavar="MODEL", help="Eavesdropper: intercept-resend=0.1 or photon-number-splitting=1.")
@click.option("--seed", type=int, default=None, help="Repeat the emulated physics; keys stay random.")
@json_option
def command(
    *,
    link: str | None,
    settings: tuple[str, ...],
    arrivals: Path | None,
    image: Path | None,
    out: Path,
    secret_bits: int | None,
    max_link_seconds: float | None,
    eve: str | None,
    seed: int | None,
    as_json: bool,
) -> int:
    """Show a link working, from detector clicks to a picture through the one-time pad.

    An emulated link runs until its key covers the picture, or three times as long as the planner expects. Alice's key encrypts, Bob's
    decrypts. Open report.html in the folder afterwards.

    \b
    Example:
      qkd demo --out demo
      qkd demo --out tapped --eve intercept-resend
    """
    import os
    import secrets
    from dataclasses import asdict

    from common.cli import demonstration as show
    from common.cli.main import exit_status
    from common.cli.plots import save_overview, save_plot
    from common.cli.report_page import write_page
    from common.emulator.eavesdropper import eavesdropper_from_text
    from common.errors import ConfigurationError
    from common.profiles.link import load_profile

    profile = load_profile(link or ("recorded" if arrivals else "niedersachsen"), settings)
    eavesdropper = eavesdropper_from_text(eve) if eve else None
    if arrivals and eavesdropper:
        raise ConfigurationError("--eve acts on the emulated fibre: leave it out, or leave out --arrivals")
    physics_seed = secrets.randbits(63) if seed is None else seed
    show.prepare_folder(out)
    room = max(show.DEFAULT_PICTURE_BITS, (secret_bits or 0) - show.OVERHEAD_BITS)
    picture, remark = show.prepare_picture(image, out, room)
    wanted = max(secret_bits or 0, 24 * picture.width * picture.height + show.OVERHEAD_BITS)
    expected = show.expectation(profile, wanted, max_link_seconds)
    _announce(profile, expected, arrivals, quiet=as_json)

    act: Act | None = None
    attempts: list[dict[str, Any]] = []
    if arrivals:
        with step(f"distilling the arrivals of {arrivals.name}", quiet=as_json):
            act = show.recorded_act(profile, arrivals, physics_seed)
        expected = show.expectation(act.profile, wanted, max_link_seconds)
    else:
        seconds = show.next_length(profile, expected, 0.0)
        while seconds:
            with step(f"running {seconds:.1f} s of link and distilling it", quiet=as_json):
                act = show.simulated_act(profile, seconds, physics_seed, eavesdropper)
            obtained = act.report["secret_bits"]
            attempts.append({"link_seconds": seconds, "secret_bits": obtained})
            is_over = obtained >= wanted or act.report["failures"]
            seconds = None if is_over else show.next_length(profile, expected, seconds, act.report)
    if act is None:
        raise ConfigurationError("--max-link-seconds leaves no time for the link")
    covered = act.report["secret_bits"] >= wanted and not act.report["failures"]
    with step("the picture goes through the one-time pad, the report is written", quiet=as_json):
        identical = covered and show.send_picture(act, picture, out)
        second = None
        recording = Path(os.environ.get("QKD_RECORDINGS", ""), show.RECORDING)
        if not arrivals and eve is None and "QKD_RECORDINGS" in os.environ and recording.is_file():
            second = show.recorded_act(load_profile("recorded"), recording, physics_seed).report
        report = act.report | {
            "picture": show.picture_entry(picture, remark, identical=identical),
            "expected": show.compared(act, expected),
            "attempts": attempts,
            "eve": eve,
            "seed": seed,
            "missing_secret_bits": max(0, wanted - act.report["secret_bits"]),
            "failed_bound": "" if covered else show.failed_bound(act.report),
            "real_arrivals": second,
            "over_link_time": asdict(act.series),
        }
        show.write_report(report, out)
        save_plot(act.series, out)
        if identical:
            save_overview(act.series, out)
        write_page(report, act.series, out)
    click.echo(json.dumps(report) if as_json else _summary(report, out))
    failure = next((exit_status(error) for error in act.run.failures.values() if error), EXHAUSTED)
    return 0 if identical else failure


def _announce(profile: LinkProfile, expected: Expectation, arrivals: Path | None, *, quiet: bool) -> None:
    """Say beforehand what the planner expects."""
    if quiet or arrivals:
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
        lines.append(f"picture: {report['picture']['bits']} bits encrypted with alice.key, decrypted with bob.key, identical")
    else:
        missing = f"{report['missing_secret_bits']} secret bits are missing after {report['link_seconds']:.1f} s of link"
        lines.append(f"no picture: {missing}. {report['failed_bound']}".rstrip())
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
