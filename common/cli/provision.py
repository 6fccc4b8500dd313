"""``qkd provision``: everything two nodes need to know before their first session."""

from __future__ import annotations

import json
from pathlib import Path

import click

from common.cli.options import FOLDER, json_option
from common.errors import ConfigurationError


@click.command("provision")
@click.option("--link", default=None, metavar="NAME|FILE", help="Link profile: a name that comes with qkdlink, or a TOML file.")
@click.option(
    "--set", "settings", multiple=True, metavar="SECTION.KEY=VALUE", help="Change one entry of the link profile; may be repeated."
)
@click.option("--out", type=FOLDER, default=None, help="Folder for alice, bob, fibre, ca and sae.")
@click.option("--alice-host", default=None, metavar="HOST", help="Where Alice runs, if not on the same machine as Bob.")
@click.option("--bob-host", default=None, metavar="HOST", help="Where Bob runs, likewise.")
@click.option("--systemd", is_flag=True, help="The services run as the systemd units that come with qkdlink (docs/howto/systemd).")
@click.option("--compose", is_flag=True, help="The services run in the containers of deploy/compose.yaml (docs/howto/containers).")
@click.option("--renew", type=FOLDER, default=None, metavar="DIR", help="Give both nodes in DIR fresh masks, by hand.")
@json_option
def command(
    *,
    link: str | None,
    settings: tuple[str, ...],
    out: Path | None,
    alice_host: str | None,
    bob_host: str | None,
    systemd: bool,
    compose: bool,
    renew: Path | None,
    as_json: bool,
) -> None:
    """Write configuration, channel keys, the authentication secret and certificates of a link.

    Keys are never overwritten. Carry the folders alice and bob to their machines by hand: both hold the secret on which all
    authentication rests. Where the reserve of masks was used up without key to refill it, --renew gives both nodes fresh ones.

    \b
    Example:
      qkd provision --link niedersachsen --out nodes
      qkd provision --link niedersachsen --out nodes --alice-host a.example --bob-host b.example
      qkd provision --link niedersachsen --out nodes --systemd
      qkd provision --link niedersachsen --out nodes --compose
      qkd provision --renew nodes
    """
    from common.cli import provisioning
    from common.profiles.link import load_profile

    if renew is not None:
        if link or out or settings or alice_host or bob_host or systemd or compose:
            raise ConfigurationError("--renew stands alone: the link is known from its folders")
        generation = provisioning.renew(renew)
        report = {"renewed": str(renew), "generation": generation, "mask_pairs": provisioning.INITIAL_PAIRS}
        pairs = f"{provisioning.INITIAL_PAIRS} mask pairs of generation {generation} for both nodes in {renew}"
        text = f"{pairs}; running services take them in within seconds"
        click.echo(json.dumps(report) if as_json else text)
        return
    if link is None or out is None:
        raise ConfigurationError("name the link with --link and a folder with --out")
    if systemd and compose:
        raise ConfigurationError("--systemd or --compose: one of them runs the services")
    choices = provisioning.Choices(manager="systemd" if systemd else "compose" if compose else None)
    hosts = provisioning.Hosts(alice_host or "alice", bob_host or "bob") if compose else provisioning.Hosts(alice_host, bob_host)
    files = provisioning.provision(load_profile(link, settings), out, hosts, choices)
    lines = [f"{out / folder}: {', '.join(names)}" for folder, names in files.items()]
    started = f"qkd-fibre --config {out / 'fibre' / 'config.toml'}, and likewise qkd-bob and qkd-alice"
    if systemd:
        started = "bring each folder to where its unit looks for it, and start the units"
    elif compose:
        started = "docker compose up --detach"
    click.echo(json.dumps({"out": str(out), "files": files}) if as_json else "\n".join([*lines, f"next: {started}"]))
