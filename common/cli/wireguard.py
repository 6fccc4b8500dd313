"""``qkd wireguard``: fresh preshared keys for the peers of WireGuard interfaces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from common.cli.options import json_option
from common.cli.tunnels import ask_status, close_by_hand, config_option, named, when_short_option

if TYPE_CHECKING:
    from common.tunnels.settings import WireGuardSettings
    from common.tunnels.upkeep import Tunnel


@click.group("wireguard")
def command() -> None:
    """Give the peers of WireGuard interfaces fresh preshared keys, both ends in step.

    \b
    Example:
      qkd wireguard run --config tunnels.toml
      qkd wireguard status --config tunnels.toml
    """


@command.command("run")
@config_option
@when_short_option
def run(*, config: Path, when_short: str | None) -> int:
    """Renew keys until SIGTERM; a service.

    \b
    Example:
      qkd wireguard run --config tunnels.toml --when-short close
    """
    from common.tunnels.freshness import WhenShort
    from common.tunnels.service import TunnelService, run_tunnels

    settings = _settings(config).decided(None if when_short is None else WhenShort(when_short))
    tunnels = _tunnels(settings)
    return run_tunnels(settings, lambda: TunnelService(settings, tunnels))


@command.command("status")
@config_option
@json_option
def status(*, config: Path, as_json: bool) -> None:
    """Say how old each key is, and whether both ends have the same.

    \b
    Example:
      qkd wireguard status --config tunnels.toml --json
    """
    settings = _settings(config)
    ask_status(settings.resolved(settings.admin.socket), as_json=as_json)


@command.command("close")
@config_option
@json_option
def close(*, config: Path, as_json: bool) -> None:
    """Close every tunnel of the file, without the service: after it has died, for one.

    \b
    Example:
      qkd wireguard close --config tunnels.toml
    """
    close_by_hand(_tunnels(_settings(config)), as_json=as_json)


def _settings(config: Path) -> WireGuardSettings:
    from common.service.settings import load_settings
    from common.tunnels.settings import WireGuardSettings

    return load_settings(config, WireGuardSettings)


def _tunnels(settings: WireGuardSettings) -> dict[str, Tunnel]:
    from functools import partial

    from common.tunnels.wireguard import WireGuardTunnel

    return {name: named(partial(WireGuardTunnel, peer), name) for name, peer in settings.peer.items()}
