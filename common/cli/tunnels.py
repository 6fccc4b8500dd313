"""``run``, ``status`` and ``close`` of ``qkd wireguard`` and ``qkd strongswan``, which differ only in what carries a tunnel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from common.cli.options import EXISTING_FILE, json_option
from common.errors import TunnelError

if TYPE_CHECKING:
    from common.tunnels.settings import TunnelSettings
    from common.tunnels.upkeep import Tunnel

S = TypeVar("S", bound="TunnelSettings")

config_option = click.option("--config", required=True, type=EXISTING_FILE, help="The file of this host's tunnels.")

when_short_option = click.option(
    "--when-short",
    type=click.Choice(["keep", "close"]),
    default=None,
    help="Where no fresh key comes: keep the last one, or close the tunnel; for all peers, in place of what the file says.",
)


def tunnel_commands(name: str, what: str, load: Callable[[Path], S], tunnels_of: Callable[[S], Mapping[str, Tunnel]]) -> click.Group:
    """Make the commands of one kind of tunnel.

    Parameters
    ----------
    name : str
        What follows ``qkd``.
    what : str
        What they do, a sentence.
    load : callable
        Reads the file of this host's tunnels.
    tunnels_of : callable
        Makes what carries each tunnel, by peer.

    Returns
    -------
    click.Group
        ``run``, ``status`` and ``close``.
    """

    def example(*lines: str) -> str:
        return "\n\n\b\nExample:\n" + "\n".join(f"  qkd {name} {line}" for line in lines)

    @click.group(name, help=what + example("run --config tunnels.toml", "status --config tunnels.toml"))
    def group() -> None: ...

    @group.command("run", help="Renew keys until SIGTERM; a service." + example("run --config tunnels.toml --when-short close"))
    @config_option
    @when_short_option
    def run(*, config: Path, when_short: str | None) -> int:
        from common.tunnels.freshness import WhenShort
        from common.tunnels.service import TunnelService, run_tunnels

        settings = load(config).decided(None if when_short is None else WhenShort(when_short))
        tunnels = tunnels_of(settings)
        return run_tunnels(settings, lambda: TunnelService(settings, tunnels))

    @group.command(
        "status",
        help="Say how old each key is, and whether both ends have the same." + example("status --config tunnels.toml --json"),
    )
    @config_option
    @json_option
    def status(*, config: Path, as_json: bool) -> None:
        settings = load(config)
        ask_status(settings.resolved(settings.admin.socket), as_json=as_json)

    @group.command(
        "close",
        help="Close every tunnel of the file, without the service: after it has died, for one." + example("close --config tunnels.toml"),
    )
    @config_option
    @json_option
    def close(*, config: Path, as_json: bool) -> None:
        close_by_hand(tunnels_of(load(config)), as_json=as_json)

    return group


def ask_status(socket: Path, *, as_json: bool) -> None:
    """Print how the tunnels of a running service do.

    Parameters
    ----------
    socket : Path
        Its admin socket.
    as_json : bool
        For machines.
    """
    from common.service.admin_client import AdminClient

    with AdminClient(socket) as client:
        status = client.ask("status")
    click.echo(json.dumps(status) if as_json else "\n".join(map(_line, status["tunnels"])))


def close_by_hand(tunnels: Mapping[str, Tunnel], *, as_json: bool) -> None:
    """Close tunnels without the service.

    Parameters
    ----------
    tunnels : dict[str, Tunnel]
        By peer.
    as_json : bool
        For machines.

    Raises
    ------
    TunnelError
        If one of them could not be closed; the others are closed all the same.
    """
    from common.tunnels.service import close_all

    closed = asyncio.run(close_all(tunnels))
    if as_json:
        click.echo(json.dumps({"closed": [name for name, wrong in closed.items() if wrong is None]}))
    else:
        click.echo("\n".join(f"{name}: closed" for name, wrong in closed.items() if wrong is None))
    if wrongs := [f"{name}: {wrong}" for name, wrong in closed.items() if wrong is not None]:
        raise TunnelError("; ".join(wrongs))


def named(make: Callable[[], Tunnel], name: str) -> Tunnel:
    """Make what carries the tunnel to a peer.

    Parameters
    ----------
    make : callable
        Makes it.
    name : str
        The peer.

    Returns
    -------
    Tunnel
        As made.

    Raises
    ------
    ConfigurationError
        What is wrong with it, with the name of the peer.
    """
    from common.errors import ConfigurationError

    try:
        return make()
    except ConfigurationError as wrong:
        raise ConfigurationError(f"peer.{name}: {wrong}") from None


def _line(tunnel: dict[str, Any]) -> str:
    """Say in a line how a tunnel does."""
    age = tunnel["key_age_seconds"]
    key = "no key yet" if age is None else f"key {age:.0f} s old"
    proven = tunnel["proven_seconds_ago"]
    proof = "never proven by the tunnel" if proven is None else f"proven by the tunnel {proven:.0f} s ago"
    parts = [tunnel["state"], key, proof, f"{tunnel['keys_changed']} keys so far", f"{tunnel['half']} keys"]
    if tunnel["in_doubt"]:
        parts.append("IN DOUBT: the other end may use another key")
    if tunnel["short"]:
        parts.append(f"SHORT: {tunnel['when_short']}")
    text = f"{tunnel['peer']}: {', '.join(parts)}"
    return text if tunnel["last_problem"] is None else f"{text}\n  last problem: {tunnel['last_problem']}"
