"""Both ends of a link in one process: what ``qkd distil`` and ``qkd demo`` run on recordings.

Only here do the two ends meet outside of a channel: each gets its own recording, its own store and its own
randomness, and everything else goes through the rehearsal.
"""

from __future__ import annotations

from dataclasses import dataclass

import alice.playbook
import bob.playbook
from alice.emission import Emission
from alice.station import EmissionStation
from bob.station import DetectionStation, Reception
from common.channel.authentication import ChannelSecrets
from common.channel.codec import Party
from common.conversation.rehearsal import End, Interrupter, Rehearsal, Wire, faithful, uninterrupted
from common.distillation.link_session import LinkSession
from common.distillation.pace import Pace
from common.distillation.recipe import Recipe
from common.distillation.values import BlockOutcome
from common.keystore.memory import MemoryKeyStore
from common.profiles.link import LinkProfile
from common.randomness import Randomness, SeededRandomness, SystemRandomness
from common.timetags.emission_record import EmissionRecord
from common.timetags.tags import TimeTags

TAGGED_BLOCKS = 4096
"""Blocks of key that the secrets of an offline run suffice for."""


@dataclass(frozen=True, slots=True, eq=False)
class OfflineRun:
    """What a run left at both ends.

    Attributes
    ----------
    outcomes : dict[Party, list[BlockOutcome]]
        Blocks in order, as each end counted them.
    stores : dict[Party, MemoryKeyStore]
        Keys.
    failures : dict[Party, Exception | None]
        Why a session ended early.
    reception : Reception
        What Bob found out about his recording.
    settings_randomness : str
        Where Alice's settings came from.
    count_refused : dict[Party, int]
        Messages refused because their code was wrong.
    """

    outcomes: dict[Party, list[BlockOutcome]]
    stores: dict[Party, MemoryKeyStore]
    failures: dict[Party, Exception | None]
    reception: Reception
    settings_randomness: str
    count_refused: dict[Party, int]


def system_or_seeded(seed: int | None) -> dict[Party, Randomness]:
    """Return the randomness of each end: the system's, or a repeatable stream where ``seed`` is given."""
    return {party: SystemRandomness() if seed is None else SeededRandomness(seed, f"rehearsal {party.name}") for party in Party}


def distil_offline(
    profile: LinkProfile,
    record: EmissionRecord,
    tags: TimeTags,
    randomness: dict[Party, Randomness],
    *,
    stores: dict[Party, MemoryKeyStore] | None = None,
    secrets: ChannelSecrets | None = None,
    wire: Wire = faithful,
    interrupter: Interrupter = uninterrupted,
) -> OfflineRun:
    """Run both ends on their recordings.

    Parameters
    ----------
    profile : LinkProfile
        The link, the same at both ends.
    record : EmissionRecord
        Alice's record.
    tags : TimeTags
        Bob's tags.
    randomness : dict[Party, Randomness]
        One source an end.
    stores : dict[Party, MemoryKeyStore] | None
        Stores of an earlier run, or None for empty ones.
    secrets : ChannelSecrets | None
        Secrets of an earlier run, or None for fresh ones.
    wire, interrupter : callable
        Faults, for tests.

    Returns
    -------
    OfflineRun
        Keys and outcomes of both ends.

    Raises
    ------
    ConfigurationError
        If the recordings do not fit the profile.
    StreamError
        If no clock is found in the tags.
    """
    recipe = Recipe.of(profile)
    secrets = secrets or ChannelSecrets.draw(randomness[Party.ALICE], TAGGED_BLOCKS)
    stores = stores or {party: MemoryKeyStore() for party in Party}
    emission = Emission(record, profile)
    station = DetectionStation(tags, profile, randomness[Party.BOB])
    pace = Pace(charges_answers=recipe.leakage_rule == "both halves")
    playbooks = {
        Party.ALICE: (alice.playbook.GREETING, alice.playbook.playbook(recipe, EmissionStation(emission))),
        Party.BOB: (bob.playbook.GREETING, bob.playbook.playbook(recipe, station, pace)),
    }
    sessions = {party: LinkSession(party, secrets, recipe, *playbooks[party], pace=pace) for party in Party}
    rehearsal = Rehearsal({party: End(sessions[party], stores[party], randomness[party]) for party in Party}, wire, interrupter)
    for party in Party:
        rehearsal.add(party, sessions[party].start())
    rehearsal.run()
    return OfflineRun(
        outcomes={party: session.outcomes for party, session in sessions.items()},
        stores=stores,
        failures={party: session.failure for party, session in sessions.items()},
        reception=station.reception,
        settings_randomness=emission.settings_randomness,
        count_refused={party: session.count_refused for party, session in sessions.items()},
    )
