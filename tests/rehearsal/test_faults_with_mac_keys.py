"""An adversary who holds every message key, but neither the hash keys nor the masks of the tags: the transcript tag alone must stop him.

By default a sample of bits of every kind of message is altered; ``QKD_EXHAUSTIVE=1`` alters every bit of messages up to 256 bytes and
1000 of longer ones.
"""

import dataclasses
import os
from collections import defaultdict

import numpy as np
import pytest

from common.channel import messages
from common.channel.codec import SESSION_SCOPE, Envelope, Party, encode
from common.channel.messages import (
    Abort,
    Confirm,
    DetectionAnnouncement,
    FrameRange,
    Hello,
    KeyCommit,
    KeyCommitted,
    KeyLengthProposal,
    KeyLengthVerdict,
    ReconciliationChoice,
    ReconciliationOutcome,
    SiftingReply,
    ToeplitzSeed,
    TranscriptTag,
    VerificationHash,
    VerificationVerdict,
    Welcome,
)
from common.errors import AuthenticationError, QkdError
from tests.support.adversaries import MacHolder, bits_to_flip, replacing, with_bit_flipped
from tests.support.links import check_invariants, check_recovery
from tests.support.scenarios import world

EXHAUSTIVE = os.environ.get("QKD_EXHAUSTIVE") == "1"
SAMPLED_BITS = 40
"""Bits of each kind of message that the default run alters."""

SLOW_SAMPLED_BITS = 6
"""The same where one wrong bit makes Cascade search in vain for thousands of rounds."""

SCENARIOS = ["ldpc-increments", "cascade-reverse"]


def attacked(scenario, script, most_blocks=2):
    """A session with this adversary, and an honest one after it."""
    link = world(scenario)
    run = link.session(MacHolder(link.secrets, script), most_blocks=most_blocks)
    check_invariants(link)
    assert all(failure is None or isinstance(failure, QkdError) for failure in run.failures)
    check_recovery(link)
    return link, run


def instances(scenario):
    """Where each kind of message occurs first and last in an honest session of one block."""
    found = defaultdict(list)
    for index, envelope in enumerate(world(scenario).session(most_blocks=1).envelopes()):
        found[type(envelope.message)].append(index)
    return {kind: sorted({indices[0], indices[-1]}) for kind, indices in found.items()}


def cases():
    return [
        pytest.param(scenario, kind, index, id=f"{scenario}-{kind.__name__}-{index}")
        for scenario in SCENARIOS
        for kind, indices in instances(scenario).items()
        for index in indices
    ]


@pytest.mark.parametrize(("scenario", "kind", "index"), cases())
def test_an_altered_bit_never_releases_a_key_that_the_other_end_lacks(scenario, kind, index):
    body = encode(world(scenario).session(most_blocks=1).envelopes()[index])
    bits = bits_to_flip(len(body), seed=index)
    if not EXHAUSTIVE:
        sampled = SLOW_SAMPLED_BITS if kind in {messages.ParityReply, messages.ParityQuery} else SAMPLED_BITS
        bits = np.random.default_rng(index).choice(bits, min(sampled, len(bits)), replace=False).tolist()
    for bit in bits:
        _, run = attacked(scenario, replacing(index, flipping(bit)), most_blocks=1)
        if kind not in UNTAGGED:
            assert not all(run.secret_bits.values()), f"bit {bit} of {kind.__name__} was altered and both ends still made key"


def flipping(bit):
    return lambda envelope: [with_bit_flipped(encode(envelope), bit)]


UNTAGGED = {TranscriptTag, KeyCommit, KeyCommitted}
"""What no tag covers: the messages that carry the tags, and those that follow. Altering a header there (what was heard, by one message)
may go unnoticed; it changes nothing about the key, which both hold by then."""


def body(**changes):
    return lambda envelope: [dataclasses.replace(envelope, message=dataclasses.replace(envelope.message, **changes))]


def header(**changes):
    return lambda envelope: [encode(dataclasses.replace(envelope, **changes))]


def instead(*messages):
    return lambda envelope: [dataclasses.replace(envelope, message=message) for message in messages]


def beside(*messages):
    return lambda envelope: [envelope, *instead(*messages)(envelope)]


def ahead(*messages):
    return lambda envelope: [*instead(*messages)(envelope), envelope]


def outcome_with_failures(envelope):
    said = envelope.message
    failed = with_bit_flipped(said.failed, 0)
    return [dataclasses.replace(envelope, message=dataclasses.replace(said, failed=failed))]


def counts_moved(envelope):
    """Errors turned into right bits, column sums kept."""
    (table,) = np.array(envelope.message.table).reshape(-1, 4, 4)
    for wrong, right in ((1, 0), (0, 1), (3, 2), (2, 3)):
        table[wrong, right], table[right, right] = 0, table[right, right] + table[wrong, right]
    return [dataclasses.replace(envelope, message=messages.TestCounts(tuple(table.reshape(-1).tolist())))]


def counts_that_wrap(envelope):
    """Column sums right modulo 2^64 only."""
    table = np.array(envelope.message.table, object).reshape(4, 4)
    for row in range(4):
        table[row, 0] += 2**62 - (table[row, 0] if row == 3 else 0)
    return [dataclasses.replace(envelope, message=messages.TestCounts(tuple(min(2**62, int(cell)) for cell in table.reshape(-1))))]


def seed_altered(envelope):
    return [dataclasses.replace(envelope, message=dataclasses.replace(envelope.message, seed=with_bit_flipped(envelope.message.seed, 3)))]


def turned(flag):
    return lambda envelope: body(**{flag: not getattr(envelope.message, flag)})(envelope)


def everything_kept(envelope):
    said = envelope.message
    count = said.count_detections
    return [
        dataclasses.replace(
            envelope, message=dataclasses.replace(said, kept=bytes([255] * (count // 8)) + bytes([(1 << count % 8) - 1] * (count % 8 > 0)))
        )
    ]


FORGERIES = {
    "hello lists a block": (Hello, body(block_numbers=(1,), block_lengths=(100,), next_block=2)),
    "hello is far ahead": (Hello, body(next_block=2**40)),
    "hello skips masks": (Hello, body(mask_cursor=2)),
    "hello skips blocks": (Hello, body(next_block=77)),
    "hello lists blocks twice": (Hello, body(block_numbers=(3, 3), block_lengths=(5, 6))),
    "hello lists no lengths": (Hello, body(block_numbers=(3, 4))),
    "hello with other parameters": (Hello, body(parameters_digest=bytes(32))),
    "hello with another nonce": (Hello, body(nonce=bytes(32))),
    "confirm with another nonce": (Confirm, lambda envelope: [encode(body(answered_nonce=bytes(32))(envelope)[0])]),
    "welcome lists a block": (Welcome, body(block_numbers=(1,), block_lengths=(100,), next_block=2)),
    "welcome skips masks": (Welcome, body(mask_cursor=2)),
    "welcome uses up all masks": (Welcome, body(mask_cursor=2**32)),
    "welcome with another nonce": (Welcome, body(nonce=bytes(32))),
    "frames begin among the sacrificed": (FrameRange, body(first_slot=0)),
    "frames are countless": (FrameRange, body(count_frames=2**62)),
    "frames at an impossible offset": (FrameRange, body(offset=2**62, first_slot=2**62)),
    "frames not found": (FrameRange, body(found=False)),
    "counts without errors": (messages.TestCounts, counts_moved),
    "counts that wrap": (messages.TestCounts, counts_that_wrap),
    "all rounds kept": (SiftingReply, everything_kept),
    "a good segment said to have failed": (ReconciliationOutcome, outcome_with_failures),
    "no errors corrected": (ReconciliationOutcome, lambda e: body(corrected_z=(0,) * len(e.message.corrected_z))(e)),
    "verdict turned": (VerificationVerdict, lambda e: body(equal=bytes(byte ^ 1 for byte in e.message.equal))(e)),
    "longer key proposed": (KeyLengthProposal, lambda e: body(secret_bits=tuple(bits + 1 for bits in e.message.secret_bits))(e)),
    "no key proposed": (KeyLengthProposal, body(secret_bits=(0,))),
    "length refused": (KeyLengthVerdict, body(accepted=b"\0")),
    "seed altered": (ToeplitzSeed, seed_altered),
    "seed said twice": (ToeplitzSeed, lambda e: [e, e]),
    "tag under another mask": (TranscriptTag, lambda e: body(mask_index=e.message.mask_index + 1)(e)),
    "tag guessed": (TranscriptTag, body(tag=bytes(16))),
    "commit for another length": (KeyCommit, body(secret_bits=(1,))),
    "commit twice": (KeyCommit, lambda e: [e, e]),
    "committed for another length": (KeyCommitted, body(secret_bits=(1,))),
    "committed never said": (KeyCommitted, lambda _e: []),
    "commit never said": (KeyCommit, lambda _e: []),
    "commit before the tag": (TranscriptTag, ahead(KeyCommit((1,)))),
    "committed before the tag": (TranscriptTag, ahead(KeyCommitted((1,)))),
    "another method chosen": (ReconciliationChoice, body(method=0)),
    "another QBER chosen": (ReconciliationChoice, lambda e: body(working_qber=e.message.working_qber // 2)(e)),
    "no QBER chosen": (ReconciliationChoice, body(working_qber=0)),
    "group closed or left open": (DetectionAnnouncement, turned("closes_group")),
    "block closed or left open": (DetectionAnnouncement, turned("closes_block")),
    "block and group left open": (DetectionAnnouncement, body(closes_block=False, closes_group=False)),
    "stream said to end": (DetectionAnnouncement, body(ends_stream=True)),
    "more announcements promised, or fewer": (DetectionAnnouncement, turned("more_follow")),
    "a verdict too many": (VerificationVerdict, body(equal=b"\3")),
    "a hash too many": (VerificationHash, lambda e: body(tags=2 * e.message.tags)(e)),
    "a length too many": (KeyLengthProposal, lambda e: body(secret_bits=2 * e.message.secret_bits)(e)),
    "group left open": (DetectionAnnouncement, body(closes_group=False)),
    "more announced than there is": (DetectionAnnouncement, body(more_follow=True, closes_group=False)),
    "seed of another block": (ToeplitzSeed, lambda e: body(block=e.message.block + 1)(e)),
    "commit behind the tag": (TranscriptTag, beside(KeyCommit((1,)))),
}


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("occurrence", [0, -1])
def test_a_forgery_releases_nothing_that_the_other_end_lacks(name, occurrence):
    kind, change = FORGERIES[name]
    said = enumerate(world("ldpc").session().envelopes())  # of the two blocks that are attacked: their messages are mixed
    indices = [index for index, envelope in said if isinstance(envelope.message, kind) and envelope.block <= 1]
    _, run = attacked("ldpc", replacing(indices[occurrence], change))

    made = {party: 1 in session_blocks(run, party) for party in Party}
    assert not all(made.values()) or name in HARMLESS, f"{name}: both ends made key of the block in spite of it"


def session_blocks(run, party):
    return [position for position, outcome in enumerate(run.sessions[party].outcomes, 1) if outcome.secret_bits]


HARMLESS = {"no errors corrected", "commit twice"}
"""Where the honest message says the same, or everything was over."""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_abort_put_in_place_of_any_message_or_beside_it_stops_nothing_but_key(scenario):
    count = len(world(scenario).session().sent)
    for index in range(count) if count < 60 else [*range(14), *range(count - 14, count)]:
        for change in (instead(Abort(1)), beside(Abort(1)), ahead(Abort(9))):
            attacked(scenario, replacing(index, change))


@pytest.mark.parametrize(
    "change",
    [
        {"sender": 9},
        {"sequence": 1},
        {"sequence": 2**62},
        {"heard": 2**62},
        {"heard": 0},
        {"block": 7},
        {"exchange": 3},
        {"block": SESSION_SCOPE},
        {"session": bytes(16)},
    ],
    ids=str,
)
def test_an_edited_header_releases_nothing(change):
    count = len(world("ldpc").session(most_blocks=1).sent)
    for index in range(count):
        attacked("ldpc", replacing(index, header(**change)), most_blocks=1)


@pytest.mark.parametrize("deed", ["drop", "duplicate", "swap", "reflect"])
def test_losing_repeating_and_reordering_with_headers_put_right_releases_nothing(deed):
    count = len(world("ldpc").session().sent)
    for index in range(count):
        held: list[tuple[Party, Envelope]] = []
        number = iter(range(10**9))

        def script(sender, envelope, index=index, held=held, number=number):
            if next(number) == index:
                match deed:
                    case "duplicate":
                        yield sender.peer, envelope
                        yield sender.peer, envelope
                    case "reflect":
                        yield sender, envelope
                        yield sender.peer, envelope
                    case "swap":
                        held.append((sender, envelope))
                return
            yield sender.peer, envelope
            if held and held[0][0] is sender:
                yield sender.peer, held.pop()[1]

        attacked("ldpc", script)


def test_messages_of_an_earlier_session_spliced_in_release_nothing():
    link = world("ldpc")
    earlier = link.session(most_blocks=1).envelopes()
    for index in range(2, len(earlier)):
        spliced = world("ldpc")
        spliced.session(most_blocks=1)
        renumbered = dataclasses.replace(earlier[index], block=max(earlier[index].block, 1) + 1 if earlier[index].block else SESSION_SCOPE)
        spliced.session(MacHolder(spliced.secrets, replacing(index, always(renumbered))), most_blocks=1)
        check_invariants(spliced)
        check_recovery(spliced)


def always(envelope):
    return lambda _envelope: [envelope]


def forged_settlement(party: Party, block: int, length: int):
    """Tell ``party`` in the greeting that the peer holds a block that it does not hold, or the reverse."""

    def change(envelope: Envelope) -> Envelope:
        if not isinstance(envelope.message, Hello | Welcome) or envelope.sender == party:
            return envelope
        message = dataclasses.replace(envelope.message, block_numbers=(block,), block_lengths=(length,))
        return dataclasses.replace(envelope, message=message)

    return change


def staged_at_alice_only():
    """A link whose block 1 Alice has staged and tagged, and whose tag never reached Bob."""
    link = world("ldpc")
    sent = link.session(most_blocks=1).envelopes()
    tag = next(index for index, envelope in enumerate(sent) if isinstance(envelope.message, TranscriptTag))
    link = world("ldpc")
    link.session(MacHolder(link.secrets, replacing(tag, lambda _e: [])), most_blocks=1)
    assert list(link.stores[Party.ALICE].held) == [1]
    assert not link.stores[Party.BOB].held
    return link, link.stores[Party.ALICE].held[1].count


def test_a_forged_list_of_blocks_commits_nothing_that_the_peer_lacks():
    link, length = staged_at_alice_only()
    forge = forged_settlement(Party.ALICE, 1, length)
    link.session(MacHolder(link.secrets, lambda sender, envelope: [(sender.peer, forge(envelope))]))

    check_invariants(link)
    assert not link.stores[Party.ALICE].committed
    check_recovery(link)
    assert 1 not in link.stores[Party.ALICE].held


def test_a_forged_greeting_is_not_vouched_for_by_the_tag_of_a_later_block():
    """What would happen if the arrival of any tag, right or wrong, were enough to strike a forged greeting off the record.

    Block 2 is honest until Bob has tagged it, which would strike off his greeting; both ends are then given an abort instead of the rest.
    For block 3 both lack masks and give up; that brings the sequence numbers in line again, and gives Alice a tag that would strike off
    what she heard. Block 4 passes byte for byte as it is.
    """
    link, length = staged_at_alice_only()
    link.groups = 1  # else block 4 would have begun before
    forge = forged_settlement(Party.ALICE, 1, length)
    provisioned = {party: store._reserve.provisioned for party, store in link.stores.items()}
    for store in link.stores.values():
        store.keep_masks(2)

    def script(sender, envelope):
        match envelope.block, envelope.message:
            case 2, TranscriptTag() if sender is Party.BOB:
                yield Party.ALICE, dataclasses.replace(envelope, message=Abort(1))
                yield Party.BOB, dataclasses.replace(envelope, message=Abort(1))
            case 3, Abort():
                link.stores[sender]._reserve.provisioned = provisioned[sender]
                if sender is Party.BOB:
                    yield Party.ALICE, dataclasses.replace(envelope, block=5, message=TranscriptTag(0, bytes(16)))
            case 4, _:
                yield sender.peer, encode(envelope)
            case _:
                yield sender.peer, forge(envelope)

    run = link.session(MacHolder(link.secrets, script), most_blocks=3)
    check_invariants(link)
    assert not link.stores[Party.ALICE].committed
    assert any(isinstance(failure, AuthenticationError) for failure in run.failures)
    assert any(isinstance(envelope.message, TranscriptTag) for envelope in run.envelopes() if envelope.block == 4)
    check_recovery(link)


@pytest.mark.parametrize("scenario", ["ldpc", "cascade"])
def test_two_half_honest_sessions_with_a_man_in_the_middle_release_nothing(scenario):
    """He gives each end other nonces, re-seals everything both ways, and passes the rest on faithfully."""

    link = world(scenario)
    hello = []

    def answering(sender, envelope):
        if isinstance(envelope.message, Hello):
            hello.append(envelope.message.nonce)
            envelope = dataclasses.replace(envelope, message=dataclasses.replace(envelope.message, nonce=bytes(range(32))))
        if isinstance(envelope.message, Welcome):
            envelope = dataclasses.replace(
                envelope, message=dataclasses.replace(envelope.message, answered_nonce=hello[0], nonce=bytes(32))
            )
        yield sender.peer, envelope

    run = link.session(MacHolder(link.secrets, answering))
    assert run.sessions[Party.BOB].outcomes or any(run.failures)
    assert run.sent[5:], "the man in the middle did not even get as far as a block"
    check_invariants(link)
    assert not link.stores[Party.ALICE].committed
    assert not link.stores[Party.BOB].held
    check_recovery(link)
