"""``qkd strongswan``: fresh postquantum preshared keys (PPK) for IPsec connections of strongSwan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from common.cli.options import json_option
from common.cli.tunnels import ask_status, close_by_hand, config_option, named, when_short_option

if TYPE_CHECKING:
    from common.tunnels.settings import StrongSwanSettings
    from common.tunnels.upkeep import Tunnel


@click.group("strongswan")
def command() -> None:
    """Give IPsec connections of strongSwan fresh preshared keys (PPK, RFC 8784), both ends in step.

    \b
    Example:
      qkd strongswan run --config tunnels.toml
      qkd strongswan status --config tunnels.toml
    """


@command.command("run")
@config_option
@when_short_option
def run(*, config: Path, when_short: str | None) -> int:
    """Renew keys until SIGTERM; a service.

    \b
    Example:
      qkd strongswan run --config tunnels.toml --when-short close
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
      qkd strongswan status --config tunnels.toml --json
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
      qkd strongswan close --config tunnels.toml
    """
    close_by_hand(_tunnels(_settings(config)), as_json=as_json)


def _settings(config: Path) -> StrongSwanSettings:
    from common.service.settings import load_settings
    from common.tunnels.settings import StrongSwanSettings

    return load_settings(config, StrongSwanSettings)


def _tunnels(settings: StrongSwanSettings) -> dict[str, Tunnel]:
    from functools import partial

    from common.tunnels.strongswan import StrongSwanTunnel

    socket = settings.resolved(settings.strongswan.socket)
    return {name: named(partial(StrongSwanTunnel, socket, peer), name) for name, peer in settings.peer.items()}
