"""``qkd strongswan``: fresh postquantum preshared keys (PPK) for IPsec connections of strongSwan."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli.tunnels import named, tunnel_commands

if TYPE_CHECKING:
    from common.tunnels.settings import StrongSwanSettings
    from common.tunnels.upkeep import Tunnel


def _settings(config: Path) -> StrongSwanSettings:
    from common.service.settings import load_settings
    from common.tunnels.settings import StrongSwanSettings

    return load_settings(config, StrongSwanSettings)


def _tunnels(settings: StrongSwanSettings) -> dict[str, Tunnel]:
    from common.tunnels.strongswan import StrongSwanTunnel

    socket = settings.resolved(settings.strongswan.socket)
    return {name: named(partial(StrongSwanTunnel, socket, peer), name) for name, peer in settings.peer.items()}


command = tunnel_commands(
    "strongswan", "Give IPsec connections of strongSwan fresh preshared keys (PPK, RFC 8784), both ends in step.", _settings, _tunnels
)
