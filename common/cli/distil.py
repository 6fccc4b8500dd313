"""``qkd distil``: both ends of the protocol on recordings, through the in-memory rehearsal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from common.cli.options import EXISTING_FILE, FOLDER, echo_reading, json_option, link_options, reading_options, recording_options
from common.cli.progress import step
from common.errors import BlockAborted, ConfigurationError

if TYPE_CHECKING:
    from common.bits import Bits
    from common.profiles.link import LinkProfile


WRITTEN = ("alice.key", "bob.key", "report.json")
"""What a distillation leaves in its folder."""


@click.command("distil")
@link_options
@click.option("--alice", "emission", required=True, type=EXISTING_FILE, help="Alice's emission record.")
@click.option("--bob", "tags", required=True, type=EXISTING_FILE, help="Bob's time tags, in any format that is read.")
@click.option("--out", required=True, type=FOLDER, help="Folder for alice.key, bob.key and report.json.")
@click.option("--channels", default=None, metavar="NAME=N,…", help="Channels, in place of what the file states: H=0,V=1,D=2,A=3,sync=4.")
@click.option("--sync-divider", type=click.IntRange(min=1), default=None, help="Divider of the sync channel, likewise.")
@recording_options
@click.option("--seed", type=int, default=None, help="Repeatable in place of system randomness; the keys are worth nothing.")
@json_option
def command(
    *,
    link: str,
    settings: tuple[str, ...],
    emission: Path,
    tags: Path,
    out: Path,
    channels: str | None,
    sync_divider: int | None,
    format_name: str | None,
    unit: str | None,
    seed: int | None,
    as_json: bool,
) -> int:
    """Distil secret key from an emission record and a tag recording.

    Both ends run in this process, exactly as two daemons would; what they say to each other is authenticated, and each
    computes its own key. No provable key is a result, not an error: the report says which bound failed.

    \b
    Example:
      qkd distil --link niedersachsen --alice run/alice/emission.h5 --bob run/bob/tags.h5 --out keys
      qkd distil --link hbn --alice emission.h5 --bob clicks.ptu --channels H=0,V=1,R=2,L=3,sync=64 --out keys
    """
    from common.cli.main import exit_status
    from common.cli.offline import distil_offline, system_or_seeded
    from common.cli.report import offline_report
    from common.profiles.link import load_profile
    from common.timetags.emission_file import read_emission
    from common.timetags.recording import read_recording

    if any((out / name).exists() for name in WRITTEN):
        raise ConfigurationError(f"{out} already holds keys or a report, which may be in use: name another folder with --out")
    profile = load_profile(link, settings)
    named = parse_channels(channels) if channels else None
    options = reading_options(format_name, unit, channels=named, sync_divider=sync_divider, needs_names=True)
    with step(f"distilling {profile.title}", quiet=as_json):
        recording, reading = read_recording(tags, options)
        run = distil_offline(profile, read_emission(emission), recording, system_or_seeded(seed))
        report = offline_report(profile, run, seeded=seed is not None) | {"recording": reading.to_json()}
        out.mkdir(parents=True, exist_ok=True)
        keys = {f"{party.name.lower()}.key": key_bytes(store.joined()) for party, store in run.stores.items()}
        write_together(out, keys | {"report.json": (json.dumps(report, indent=2) + "\n").encode()})
    echo_reading(tags.name, reading)
    click.echo(json.dumps(report) if as_json else summary(profile, report, out))
    return next((exit_status(error) for error in run.failures.values() if error and not isinstance(error, BlockAborted)), 0)


def parse_channels(text: str) -> dict[str, int]:
    """Read channel numbers by name.

    Parameters
    ----------
    text : str
        ``NAME=N,NAME=N``.

    Returns
    -------
    dict[str, int]
        Numbers by name.

    Raises
    ------
    ConfigurationError
        If it is not of this form, or a name is unknown.
    """
    from bob.reading import DETECTORS

    channels: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if not name or not number.isdecimal():
            raise ConfigurationError(f"channels: {part!r} is not NAME=NUMBER; write for example H=0,V=1,D=2,A=3,sync=4")
        if name not in {*DETECTORS, "sync"}:
            raise ConfigurationError(f"channels: {name!r} is no channel of a receiver; choose among {', '.join(DETECTORS)}, sync")
        channels[name] = int(number)
    return channels


def key_bytes(bits: Bits) -> bytes:
    """Return key as raw bytes; up to seven ``bits`` that do not fill a byte are left out, so that no byte holds padding."""
    return bits.to_bytes()[: bits.count // 8]


def write_together(folder: Path, files: dict[str, bytes]) -> None:
    """Write files that belong together: all of them appear, or none; keys are readable by their owner only.

    Parameters
    ----------
    folder : Path
        Where they go.
    files : dict[str, bytes]
        Contents by name.
    """
    unfinished = {folder / f".{name}.part": folder / name for name in files}
    try:
        for path, target in unfinished.items():
            path.unlink(missing_ok=True)
            path.touch(mode=0o600 if target.suffix == ".key" else 0o644)
            path.write_bytes(files[target.name])
        for path, target in unfinished.items():
            path.replace(target)
    finally:
        for path in unfinished:
            path.unlink(missing_ok=True)


def summary(profile: LinkProfile, report: dict[str, Any], out: Path) -> str:
    """Describe a report in a few lines.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    report : dict
        From ``offline_report``.
    out : Path
        Where the keys lie.

    Returns
    -------
    str
        Lines for a terminal.
    """
    qber = ", ".join(f"{basis} {value:.2%}" for basis, value in report["qber"].items() if value is not None) or "none"
    clock, discarded = report["clock"], sum(report["blocks_discarded"].values())
    lines = [
        f"{profile.title}: {report['link_seconds']:.1f} s of link, {report['detections']} detections, {report['sifted_bits']} sifted bits",
        f"QBER {qber}; clock {clock['offset_ppm']:+.4f} ppm, residual {clock['residual_rms_ps']:.0f} ps",
        f"{report['blocks_kept']} blocks kept, {discarded} discarded; {report['secret_bits']} secret bits in {out}",
    ]
    if "clock-not-found" in report["blocks_discarded"]:
        lines.append("  slots not matched: do emission and tags belong to one run, are channels, clock_hz and sync_divider right?")
    lines += [f"  {end} ended early: {failure}" for end, failure in report["failures"].items() if "clock-not-found" not in failure]
    lines += [
        f"  block {block['number']}: {block['reason']}. {block['bound']}".rstrip(" .") for block in report["blocks"] if block["reason"]
    ]
    return "\n".join(lines)
