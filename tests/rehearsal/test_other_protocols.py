"""Whole sessions of three states and of decoys: honest ones make the same key, and a peer's counts changed on the way make none.

Whoever changes them here holds all message keys, but neither hash keys nor masks.
"""

import dataclasses

import numpy as np
import pytest

from common.channel import messages
from common.channel.codec import Party
from common.distillation.recipe import Recipe
from common.profiles.link import load_profile
from tests.support.adversaries import MacHolder
from tests.support.links import COUNT_FRAMES, FRAME_PULSES, OFFSET, Stream, TinyEmission, World, check_invariants

TINY = (
    "security.epsilon_secrecy=0.5",
    "security.epsilon_correctness=1e-15",
    "security.epsilon_authentication=1e-15",
    f"security.frame_pulses={FRAME_PULSES}",
    f"security.maximum_frames={COUNT_FRAMES}",
    "reconciliation.initial_qber=0.01",
    "reconciliation.segment_bits=10240",
)
LINKS = {
    "three states": ("hefei", ("security.block_bits=30000", "source.probability_z=0.6", "receiver.probability_z=0.6", "source.g2=0")),
    "decoys": (
        "decoy",
        ("security.block_bits=60000", "source.intensities=[0.5, 0.15, 0.0]", "source.probability_intensity=[0.5, 0.3, 0.2]"),
    ),
}


class KnownOffset(TinyEmission):
    """What was sent, its codes being no outcomes."""

    def find_offset(self, slots, outcomes, stride):  # noqa: ARG002 - as a station
        return OFFSET


def tiny_world(link):
    name, settings = LINKS[link]
    profile = load_profile(name, [*TINY, *settings])
    protocol, generator = profile.prepared, np.random.default_rng(1)
    count = COUNT_FRAMES * FRAME_PULSES
    chances = protocol.probabilities(profile.source.probability_z, profile.source.probability_intensity or (1.0,))
    sent = np.searchsorted(np.cumsum(chances)[:-1], generator.random(count), side="right").astype(np.uint8)
    means = np.array(profile.source.intensities or (0.3,))[np.array(protocol.setting_intensities)]
    slots = np.flatnonzero(generator.random(count) < 1 - np.exp(-0.4 * means[sent])).astype(np.int64)
    bases = (generator.random(slots.size) >= profile.receiver.probability_z).astype(np.int64)
    flipped = generator.random(slots.size) < 0.01
    bits = np.where(protocol.bases_of(sent[slots]) == bases, protocol.bits_of(sent[slots]) ^ flipped, generator.integers(0, 2, slots.size))
    world = World.new(Recipe.of(profile), 1, Stream(sent, slots, (2 * bases + bits).astype(np.uint8)))
    world.emission = KnownOffset(Stream(sent, slots, np.zeros(0, np.uint8)))
    return world


@pytest.mark.parametrize("link", LINKS)
def test_both_ends_make_the_same_key_of_the_same_counts(link):
    world = tiny_world(link)
    run = world.session(most_blocks=1)

    check_invariants(world)
    assert run.failures == [None, None]
    ours, theirs = (run.sessions[party].outcomes[0] for party in Party)
    assert ours.block is not None
    assert theirs.block is not None
    assert ours.secret_bits == theirs.secret_bits > 1000
    assert ours.block.counts == theirs.block.counts
    assert ours.length == theirs.length
    assert world.stores[Party.ALICE].committed == world.stores[Party.BOB].committed


def moved_errors(message):
    """Errors of X that become right bits, so that no sum Bob can check has changed."""
    table = np.array(message.table).reshape(-1, 4)
    half = len(table) // 2
    rows = (half, 3 * len(table) // 4) if len(table) > 3 else (2, 0)  # X0 and X1 at one intensity, or X0 and Z0
    wrong = table[rows[0], 3]
    table[rows[0], 3] -= wrong
    table[rows[1], 3] += wrong
    return dataclasses.replace(message, table=tuple(table.reshape(-1).tolist()))


def other_intensities(message):
    """Signal for decoy, and the other way round where vacuum is not touched."""
    size = len(message.kept)
    low, high, kept = (np.frombuffer(data, np.uint8) for data in (message.intensities[:size], message.intensities[size:], message.kept))
    return dataclasses.replace(message, intensities=((low ^ kept) & ~high).tobytes() + high.tobytes())


@pytest.mark.parametrize(
    ("link", "kind", "change"),
    [
        ("three states", messages.TestCounts, moved_errors),
        ("decoys", messages.TestCounts, moved_errors),
        ("decoys", messages.SiftingReply, other_intensities),
    ],
)
def test_counts_changed_on_their_way_make_no_key(link, kind, change):
    world, changed = tiny_world(link), []

    def script(sender, envelope):
        if isinstance(envelope.message, kind):
            altered = change(envelope.message)
            changed.append(altered != envelope.message)
            envelope = dataclasses.replace(envelope, message=altered)
        yield sender.peer, envelope

    run = world.session(MacHolder(world.secrets, script), most_blocks=1)

    check_invariants(world)
    assert any(changed)
    assert not any(run.secret_bits.values())
    assert not any(store.committed for store in world.stores.values())
