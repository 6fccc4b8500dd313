"""``qkd wireguard``: fresh preshared keys for the peers of WireGuard interfaces."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli.tunnels import named, tunnel_commands

if TYPE_CHECKING:
    from common.tunnels.settings import WireGuardSettings
    from common.tunnels.upkeep import Tunnel


def _settings(config: Path) -> WireGuardSettings:
    from common.service.settings import load_settings
    from common.tunnels.settings import WireGuardSettings

    return load_settings(config, WireGuardSettings)


def _tunnels(settings: WireGuardSettings) -> dict[str, Tunnel]:
    from common.tunnels.wireguard import WireGuardTunnel

    return {name: named(partial(WireGuardTunnel, peer), name) for name, peer in settings.peer.items()}


command = tunnel_commands(
    "wireguard", "Give the peers of WireGuard interfaces fresh preshared keys, both ends in step.", _settings, _tunnels
)
