"""``qkd simulate``: emulate a link and write what each end would record."""

from __future__ import annotations

import json
from pathlib import Path

import click

from common.cli.options import FOLDER, json_option, link_options
from common.cli.progress import step
from common.errors import ConfigurationError


@click.command("simulate")
@link_options
@click.option("--seconds", required=True, type=click.FloatRange(min=0, min_open=True), help="Time of sending, seconds.")
@click.option("--out", required=True, type=FOLDER, help="Folder for alice/emission.h5 and bob/tags.h5.")
@click.option("--seed", type=int, default=None, help="Repeat a run; without it every run is different.")
@click.option("--eve", default=None, metavar="MODEL", help="Eavesdropper: intercept-resend=0.1, photon-number-splitting=1 or blinding.")
@json_option
def command(*, link: str, settings: tuple[str, ...], seconds: float, out: Path, seed: int | None, eve: str | None, as_json: bool) -> None:
    """Emulate a link: source, fibre, detectors and tagger, photon by photon where photons arrive.

    \b
    Example:
      qkd simulate --link niedersachsen --seconds 20 --out run --seed 1
    """
    import math
    import secrets

    from common.emulator.eavesdropper import eavesdropper_from_text
    from common.emulator.files import write_run
    from common.emulator.link import emulate_stretches
    from common.profiles.link import load_profile

    profile = load_profile(link, settings)
    eavesdropper = eavesdropper_from_text(eve) if eve else None
    if (out / "alice").exists() or (out / "bob").exists():
        raise ConfigurationError(f"{out} already holds a run: name another folder with --out, or remove it")
    if not math.isfinite(seconds):
        raise ConfigurationError(f"--seconds {seconds}: choose a finite time of sending")
    with step(f"emulating {seconds:g} s of {profile.title}", quiet=as_json):
        stretches = emulate_stretches(profile, seconds, secrets.randbits(63) if seed is None else seed, eavesdropper)
        written = write_run(out, stretches)
    result = {"link": profile.name, "link_seconds": seconds, "tags": written.count_tags, "eve": eve, "seed": seed}
    result |= {"emission": str(written.emission_path), "tags_file": str(written.tags_path)}
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo(f"{written.count_tags} tags in {written.tags_path}, emission record in {written.emission_path}")
