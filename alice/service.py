"""What makes a node Alice's: her source, her halves, her settings."""

from __future__ import annotations

from typing import Any

import alice
from alice.answered import AnsweredSlots
from alice.live import LiveEmissionStation
from alice.playbook import GREETING, playbook
from alice.settings import AliceSettings
from common.channel.codec import Party
from common.dashboard.configured import dashboard
from common.delivery.configured import key_delivery
from common.distillation.recipe import Recipe
from common.profiles.link import LinkProfile
from common.service.node import NodeKind, Source
from common.service.settings import NodeSettings
from common.service.source import StationSource
from common.service.streams import StreamAddress


def open_source(settings: NodeSettings, profile: LinkProfile, recipe: Recipe) -> Source:
    """Make Alice's source: her emission, as it happens.

    Parameters
    ----------
    settings : NodeSettings
        Where it is served.
    profile : LinkProfile
        Her link.
    recipe : Recipe
        Chooses her halves.

    Returns
    -------
    Source
        Not yet reading.
    """
    address = StreamAddress.parse(settings.stream.address, settings.folder)
    return StationSource(
        lambda: LiveEmissionStation.connect(address, profile, AnsweredSlots(settings.resolved(settings.node.state) / "answered.json")),
        lambda station, _pace: playbook(recipe, station),
        _described,
        lambda station: not station.problem,
    )


def _described(station: LiveEmissionStation) -> dict[str, Any]:
    return {"emitted_through_slot": station.emitted_through_slot, "settings_randomness": station.settings_randomness}


NODE = NodeKind("qkd-alice", Party.ALICE, alice, AliceSettings, GREETING, open_source, {"delivery": key_delivery, "dashboard": dashboard})
