"""Groups that are disturbed: what one block lacks costs no other its key, a wrong tag costs them all, and a forgery gives no block away."""

import dataclasses

import numpy as np
import pytest

from common.channel.codec import Party
from common.channel.messages import (
    DetectionAnnouncement,
    KeyCommitted,
    KeyLengthProposal,
    KeyLengthVerdict,
    ToeplitzSeed,
    TranscriptTag,
    VerificationHash,
    VerificationVerdict,
)
from common.conversation.session import SessionState
from common.distillation.pace import Pace
from common.errors import AbortReason, AuthenticationError, QkdError
from tests.support.adversaries import MacHolder, replacing, with_bit_flipped
from tests.support.blocks import flipped
from tests.support.links import FRAME_PULSES, Run, Stream, TinyDetections, TinyEmission, World, check_invariants, check_recovery, start
from tests.support.scenarios import world

SCENARIOS = ["ldpc", "cascade", "ldpc-reverse", "cascade-reverse"]


@pytest.fixture
def grouped(monkeypatch):
    """A link on which everything has come in already, and groups have so many blocks."""

    def made(scenario: str, count_blocks: int, seed: int = 1) -> World:
        monkeypatch.setattr("common.distillation.sifting.MOST_GROUP_BLOCKS", count_blocks)
        link = world(scenario, seed)
        link.detections.is_ahead = True
        return link

    return made


def numbers(run: Run) -> dict[Party, list[int]]:
    """Blocks with key, by the end that made it."""
    return {party: [end.number for end in session.outcomes if end.secret_bits] for party, session in run.sessions.items()}


def names_of_groups(run: Run) -> list[int]:
    return sorted({envelope.block for envelope in run.envelopes()} - {0})


def check_alike(link: World, run: Run) -> None:
    """Both ends tell the same story, and hold the same key."""
    ours, theirs = (session.outcomes for session in run.sessions.values())
    for mine, yours in zip(ours, theirs, strict=True):
        assert (mine.number, mine.secret_bits, mine.reason, mine.leakage, mine.ends_stream) == (
            yours.number,
            yours.secret_bits,
            yours.reason,
            yours.leakage,
            yours.ends_stream,
        )
    stores = link.stores.values()
    assert len({tuple(store.committed) for store in stores}) == 1
    assert link.stores[Party.ALICE].committed == link.stores[Party.BOB].committed == link.stores[Party.ALICE].held
    assert numbers(run)[Party.ALICE] == numbers(run)[Party.BOB] == list(link.stores[Party.ALICE].committed)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("count_blocks", [1, 2, 5])
def test_the_blocks_of_a_group_make_the_same_key_at_both_ends(grouped, scenario, count_blocks):
    link = grouped(scenario, count_blocks)
    run = link.session(most_blocks=10)

    check_invariants(link)
    assert run.failures == [None, None]
    check_alike(link, run)
    assert [end.number for end in run.sessions[Party.ALICE].outcomes] == list(range(1, 11))
    assert names_of_groups(run) == list(range(1, 11, count_blocks))
    groups = 10 // count_blocks
    assert [len(store.masks) for store in link.stores.values()] == [groups] * 2, "one pair of masks a group"
    opened = groups if count_blocks == 1 else 2 * groups  # the first block and the last of each group
    assert [len(store.opened) for store in link.stores.values()] == [opened] * 2
    keys = [key.to_bytes() for key in link.stores[Party.ALICE].committed.values()]
    assert len(keys) == len(set(keys))
    assert len(keys) > 5
    check_recovery(link)


def test_every_block_is_counted_and_bounded_by_itself_whatever_it_travels_with(grouped):
    """The block rule closes the same blocks, whether they travel alone or together."""
    alone, together = (grouped("cascade", count).session(most_blocks=6).sessions[Party.ALICE].outcomes for count in (1, 6))

    for one, other in zip(alone, together, strict=True):
        ours, theirs = one.block.counts, other.block.counts
        assert (ours.pulses, ours.frames, ours.detections) == (theirs.pulses, theirs.frames, theirs.detections)
        for end in (one, other):
            assert end.leakage.items["verification tag"] == 128
            assert end.leakage.items["verification verdict"] == 1
            assert end.length.ledger
            assert sum(end.length.ledger.values()) == pytest.approx(end.secret_bits)


@pytest.mark.parametrize("scenario", ["ldpc", "cascade"])
def test_a_stream_that_ends_within_a_group_ends_the_session_with_it(scenario):
    link = world(scenario)
    link.detections.is_ahead = True
    run = link.session(most_blocks=None)

    check_invariants(link)
    assert run.failures == [None, None]
    check_alike(link, run)
    assert [session.state for session in run.sessions.values()] == [SessionState.ENDED] * 2
    assert len(link.stores[Party.ALICE].committed) > 10
    assert [end.ends_stream for end in run.sessions[Party.BOB].outcomes].index(True) == len(run.sessions[Party.BOB].outcomes) - 1
    assert len(names_of_groups(run)) < 5, "a group takes in what has come in, up to its most blocks"


@pytest.mark.parametrize("party", Party)
def test_ends_that_let_unlike_numbers_of_groups_be_under_way_get_along(grouped, party):
    """Whoever is ahead is so by one group: its announcements wait at the other end."""
    link = grouped("cascade", 2)
    seen = dict.fromkeys(Party, 0)

    def watched(sender, data):
        for end, session in run.sessions.items():
            seen[end] = max(seen[end], len(session._under_way))
            assert len(session._engine._early) <= 2
        return [(sender.peer, data)]

    run = link.prepare(watched, most_blocks=None)
    run.sessions[party].pace = Pace(near_groups=1)
    run.sessions[party.peer].pace = Pace(near_groups=20)
    start(run)
    run.rehearsal.run()

    check_invariants(link)
    assert run.failures == [None, None]
    check_alike(link, run)
    assert seen[party] == 1
    concluded = [envelope.block for envelope in run.envelopes() if isinstance(envelope.message, KeyCommitted)]
    assert concluded == sorted(concluded)


def with_verification(run: Run, party: Party, change) -> None:
    """Let an end verify other blocks than it has."""
    session = run.sessions[party]
    halves = session._playbook
    session._playbook = dataclasses.replace(halves, verify=lambda closed: halves.verify([change(block) for block in closed]))


@pytest.mark.parametrize("scenario", ["ldpc", "cascade-reverse"])
@pytest.mark.parametrize("party", Party)
@pytest.mark.parametrize("wrong", [{1}, {2}, {5}, {1, 3, 4}, {1, 2, 3, 4, 5}])
def test_a_block_that_is_not_verified_costs_no_other_its_key(grouped, scenario, party, wrong):
    link = grouped(scenario, 5)
    run = link.prepare(most_blocks=5)
    with_verification(run, party, lambda block: flipped(block, 7) if block.number in wrong else block)
    start(run)
    run.rehearsal.run()

    check_invariants(link)
    assert run.failures == [None, None]
    check_alike(link, run)
    reasons = {end.number: end.reason for end in run.sessions[Party.BOB].outcomes}
    assert {number for number, reason in reasons.items() if reason is AbortReason.VERIFICATION_FAILED} == wrong
    assert all(reason is None for number, reason in reasons.items() if number not in wrong)
    assert all(bool(store.masks) is (len(wrong) < 5) for store in link.stores.values()), "no mask for a group without key"
    check_recovery(link)


@pytest.mark.parametrize("noisy", [1, 3])
def test_a_block_without_provable_key_costs_no_other_its_key(grouped, noisy):
    """Somebody listens while one of the blocks is measured: its length is zero, at both ends."""
    blocks = grouped("cascade", 5).session(most_blocks=5).sessions[Party.BOB]
    frames = [end.block.counts.frames for end in blocks.outcomes]
    first = blocks.frames.first_slot + FRAME_PULSES * sum(frames[: noisy - 1])
    link = grouped("cascade", 5)
    stream = link.detections._stream
    listened = (stream.slots >= first) & (stream.slots < first + FRAME_PULSES * frames[noisy - 1])
    errors = (np.random.default_rng(5).random(stream.slots.size) < 0.25) & listened
    stream = Stream(stream.settings, stream.slots, stream.outcomes ^ errors.astype(np.uint8))
    link.emission, link.detections = TinyEmission(stream), TinyDetections(stream)
    link.detections.is_ahead = True
    run = link.session(most_blocks=5)

    check_invariants(link)
    assert run.failures == [None, None]
    check_alike(link, run)
    assert numbers(run)[Party.BOB] == [number for number in range(1, 6) if number != noisy]
    lost = run.sessions[Party.BOB].outcomes[noisy - 1]
    assert lost.reason not in {None, AbortReason.VERIFICATION_FAILED}
    assert lost.length is not None
    assert lost.length.secret_bits == 0


def first_of(link: World, kind, most_blocks: int) -> int:
    said = link.session(most_blocks=most_blocks).envelopes()
    return next(index for index, envelope in enumerate(said) if isinstance(envelope.message, kind))


@pytest.mark.parametrize("whose", Party)
def test_a_wrong_tag_costs_all_blocks_of_its_group(grouped, whose):
    link = grouped("ldpc", 3)

    def script(sender, envelope):
        said = envelope.message
        if isinstance(said, TranscriptTag) and sender is whose and envelope.block == 4:
            envelope = dataclasses.replace(envelope, message=dataclasses.replace(said, tag=with_bit_flipped(said.tag, 9)))
        yield sender.peer, envelope

    run = link.session(MacHolder(link.secrets, script), most_blocks=9)
    check_invariants(link)
    assert [type(failure) for failure in run.failures] == [AuthenticationError] * 2
    assert numbers(run) == {party: [1, 2, 3] for party in Party}
    assert [list(store.committed) for store in link.stores.values()] == [[1, 2, 3]] * 2
    check_recovery(link)


def swapped_bits(data: bytes) -> bytes:
    return bytes([(data[0] & ~3) | (data[0] & 1) << 1 | (data[0] >> 1) & 1, *data[1:]])


FORGERIES = {
    "hash of another block": (VerificationHash, lambda said: {"tags": said.tags[16:32] + said.tags[:16] + said.tags[32:]}),
    "a hash left out": (VerificationHash, lambda said: {"tags": said.tags[16:]}),
    "verdict of another block": (VerificationVerdict, lambda said: {"equal": swapped_bits(said.equal)}),
    "one verdict turned": (VerificationVerdict, lambda said: {"equal": with_bit_flipped(said.equal, 1)}),
    "all verdicts turned": (VerificationVerdict, lambda said: {"equal": bytes([said.equal[0] ^ 7])}),
    "length of another block": (
        KeyLengthProposal,
        lambda said: {"secret_bits": (said.secret_bits[1], said.secret_bits[0], *said.secret_bits[2:])},
    ),
    "a length left out": (KeyLengthProposal, lambda said: {"secret_bits": said.secret_bits[1:]}),
    "one length is zero": (KeyLengthProposal, lambda said: {"secret_bits": (0, *said.secret_bits[1:])}),
    "one length refused": (KeyLengthVerdict, lambda said: {"accepted": with_bit_flipped(said.accepted, 2)}),
    "all lengths refused": (KeyLengthVerdict, lambda _said: {"accepted": b"\0"}),
    "seed of the next block": (ToeplitzSeed, lambda said: {"block": said.block + 1}),
    "seed altered": (ToeplitzSeed, lambda said: {"seed": with_bit_flipped(said.seed, 5)}),
    "group closed": (DetectionAnnouncement, lambda _said: {"closes_block": True, "closes_group": True, "more_follow": False}),
    "group and no more": (DetectionAnnouncement, lambda said: {"closes_group": not said.closes_group, "more_follow": False}),
    "no more follow": (DetectionAnnouncement, lambda _said: {"more_follow": False}),
}


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("unverified", [False, True])
def test_a_forgery_within_a_group_gives_no_block_of_it_to_both_ends(grouped, name, unverified):
    """By an adversary who holds the message keys; in one of the cases the second block is truly not the same at both ends."""
    kind, change = FORGERIES[name]
    index = first_of(grouped("ldpc", 3), kind, 6)
    link = grouped("ldpc", 3)
    altered = []

    def forged(envelope):
        message = dataclasses.replace(envelope.message, **change(envelope.message))
        altered.append(message != envelope.message)
        return [dataclasses.replace(envelope, message=message)]

    run = link.prepare(MacHolder(link.secrets, replacing(index, forged)), most_blocks=6)
    if unverified:
        with_verification(run, Party.BOB, lambda block: flipped(block, 3) if block.number == 2 else block)
    start(run)
    run.rehearsal.run()

    check_invariants(link)
    assert altered in ([True], [False])
    assert altered[0] or (name == "verdict of another block" and not unverified), "they are all alike"
    assert all(failure is None or isinstance(failure, QkdError) for failure in run.failures)
    made = numbers(run)
    assert not altered[0] or not {1, 2, 3} & set(made[Party.ALICE]) & set(made[Party.BOB])
    assert 2 not in made[Party.ALICE] or not unverified
    check_recovery(link)
