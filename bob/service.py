"""What makes a node Bob's: his source, his halves, his settings."""

from __future__ import annotations

import dataclasses
from typing import Any

import bob
from bob.live import LiveDetectionStation
from bob.playbook import GREETING, playbook
from bob.settings import BobSettings
from bob.stabilising import Stabilising
from common.channel.codec import Party
from common.dashboard.configured import dashboard
from common.delivery.configured import key_delivery
from common.distillation.recipe import Recipe
from common.profiles.link import LinkProfile
from common.randomness import SystemRandomness
from common.service.node import Application, Node, NodeKind, Source
from common.service.settings import NodeSettings
from common.service.source import StationSource
from common.service.streams import StreamAddress


def open_source(settings: NodeSettings, profile: LinkProfile, recipe: Recipe) -> Source:
    """Make Bob's source: his time tags, as they arrive.

    Parameters
    ----------
    settings : NodeSettings
        Where they are served.
    profile : LinkProfile
        His link.
    recipe : Recipe
        Chooses his halves.

    Returns
    -------
    Source
        Not yet reading.
    """
    address = StreamAddress.parse(settings.stream.address, settings.folder)
    return StationSource(
        lambda: LiveDetectionStation.connect(address, profile, SystemRandomness(), pausable=settings.stream.pausable),
        lambda station, pace: playbook(recipe, station, pace),
        _described,
    )


def _described(station: LiveDetectionStation) -> dict[str, Any]:
    """Where the tags went, the clock, the gate and what arrives around it; None for what has not been measured yet."""
    reception = station.reception
    clock = gate = None
    if reception is not None:
        quality = reception.clock.quality
        clock = {
            "offset_ppm": reception.clock.offset_ppm,
            "residual_rms_ps": quality.residual_rms_ps,
            "lock_losses": station.counts.lock_losses,
        }
        gate = {"centre_ps": reception.gate.gate.centre_ps, "width_ps": reception.gate.gate.width_ps}
    return {
        "has_ended": station.has_ended,
        "dropped_tags": station.dropped_tags,
        "counts": dataclasses.asdict(station.counts),
        "clock": clock,
        "gate": gate,
        "arrivals": station.arrivals,
    }


def drift_compensation(node: Node) -> Application | None:
    """Make the drift compensation of a ``node``, or None where its configuration has none."""
    section = node.settings.stabiliser
    return None if section is None else Stabilising(section, node.profile, node.settings.folder)


NODE = NodeKind(
    "qkd-bob",
    Party.BOB,
    bob,
    BobSettings,
    GREETING,
    open_source,
    {"delivery": key_delivery, "dashboard": dashboard, "drift": drift_compensation},
)
