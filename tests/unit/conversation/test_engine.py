"""The engine: early messages, windows, ended conversations, unexpected kinds, deadlines, and what a failure leaves."""

import pytest

from common.channel.authentication import ChannelSecrets, SessionSeal
from common.channel.codec import PROTOCOL_VERSION, SESSION_SCOPE, Envelope, Party, encode
from common.channel.fields import MAXIMUM_FIELD_BYTES
from common.channel.messages import Abort, KeyCommit, ToeplitzSeed, TranscriptTag, VerificationVerdict
from common.channel.transcript import TranscriptAuthenticator
from common.conversation import effects
from common.conversation.engine import MAXIMUM_EARLY_MAILBOXES, MAXIMUM_MAILBOX, MAXIMUM_WAITING_BYTES, Engine
from common.conversation.events import Arrived, Completed, DrawBytes, Ended, Expired, Failed, RunComputation, SetDeadline, TaskKey, Transmit
from common.errors import (
    AbortReason,
    AuthenticationError,
    BlockAborted,
    KeyStoreError,
    LocalProtocolError,
    RemoteProtocolError,
    TransportError,
)
from common.randomness import SeededRandomness

SECRETS = ChannelSecrets.draw(SeededRandomness(1, "engine"), 4)
HERE = TaskKey(1, 1)


class Peer:
    """Speaks to an engine of Alice's as Bob would, or as Bob never would."""

    def __init__(self):
        self.engine = Engine(Party.ALICE, SessionSeal(SECRETS, bytes(32), bytes(32)), TranscriptAuthenticator(SECRETS))
        self._seal = SessionSeal(SECRETS, bytes(32), bytes(32))
        self._count = 0

    def says(self, message, block=1, exchange=1, **header):
        self._count += 1
        fields = {"version": PROTOCOL_VERSION, "session": self._seal.session, "sender": 2, "sequence": self._count, "heard": 0}
        body = encode(Envelope(**{**fields, **header}, block=block, exchange=exchange, message=message))
        return self.engine.handle(Arrived(body + self._seal.code(Party.BOB, self._count, body)))

    def says_bytes(self, body):
        self._count += 1
        return self.engine.handle(Arrived(body + self._seal.code(Party.BOB, self._count, body)))


def hears(*kinds):
    """A conversation that receives these kinds one after another."""
    heard = []
    for kind in kinds:
        message = yield from effects.receive(kind)
        heard += [message]
    return heard


def ended(outputs):
    (output,) = (output for output in outputs if isinstance(output, Ended))
    return output


def test_messages_that_come_before_the_conversation_wait_for_it_in_order():
    peer = Peer()
    assert peer.says(KeyCommit((1,))) == []
    peer.says(KeyCommit((2,)), exchange=2)
    peer.says(KeyCommit((3,)))

    assert ended(peer.engine.start(hears(KeyCommit, KeyCommit), 1, 1)).result == [KeyCommit((1,)), KeyCommit((3,))]
    assert ended(peer.engine.start(hears(KeyCommit), 1, 2)).result == [KeyCommit((2,))]


def test_a_name_is_used_once():
    peer = Peer()
    peer.engine.start(hears(), 1, 1)
    with pytest.raises(LocalProtocolError, match="started before"):
        peer.engine.start(hears(), 1, 1)
    peer.engine.start(hears(KeyCommit), 2, 1)
    with pytest.raises(LocalProtocolError, match="started before"):
        peer.engine.start(hears(), 2, 1)
    peer.engine.close_block(5)
    with pytest.raises(LocalProtocolError, match="started before"):
        peer.engine.start(hears(), 4, 1)


def test_an_unexpected_kind_ends_the_session_for_every_conversation():
    peer = Peer()
    peer.engine.start(hears(KeyCommit), 1, 1)
    peer.engine.start(hears(KeyCommit), 1, 2)
    outputs = peer.says(VerificationVerdict(b"\1"))

    assert {output.task for output in outputs} == {TaskKey(1, 1), TaskKey(1, 2)}
    assert all(isinstance(output, Ended) and isinstance(output.error, RemoteProtocolError) for output in outputs)
    assert "VerificationVerdict where KeyCommit was due" in str(peer.engine.failure)
    assert ended(peer.engine.start(hears(), 2, 1)).error is peer.engine.failure


def test_an_abort_is_an_end_of_the_conversation_and_not_of_the_session():
    peer = Peer()
    peer.engine.start(hears(KeyCommit), 1, 1)
    output = ended(peer.says(Abort(3)))

    assert isinstance(output.error, BlockAborted)
    assert output.error.reason is AbortReason.PEER_ABORTED
    assert peer.engine.failure is None
    assert peer.says(Abort(3)) == []  # both may give up at once
    assert peer.engine.failure is None


def test_an_abort_for_a_wrong_tag_is_known_as_such():
    peer = Peer()
    peer.engine.start(hears(KeyCommit), 1, 1)
    output = ended(peer.says(Abort(int(AbortReason.AUTHENTICATION_FAILED))))

    assert isinstance(output.error, BlockAborted)
    assert output.error.reason is AbortReason.AUTHENTICATION_FAILED


def test_a_greeting_says_nothing_about_blocks():
    peer = Peer()
    peer.engine = Engine(Party.ALICE, SessionSeal(SECRETS, bytes(32), bytes(32)), None)
    peer.engine.start(hears(KeyCommit), 0, 1)
    output = ended(peer.says(KeyCommit((1,)), block=1))

    assert isinstance(output.error, RemoteProtocolError)
    assert "in the greeting" in str(output.error)


@pytest.mark.parametrize("closed", [False, True])
def test_anything_but_an_abort_for_an_ended_conversation_breaks_the_rules(closed):
    peer = Peer()
    peer.engine.start(hears(), 1, 1)
    if closed:
        peer.engine.close_block(1)
        assert peer.says(Abort(1)) == []
    peer.says(KeyCommit((1,)))

    assert "KeyCommit for a conversation that has ended" in str(peer.engine.failure)


@pytest.mark.parametrize("closed", [False, True])
def test_what_was_under_way_when_we_gave_up_is_dropped_and_what_follows_our_abort_is_not(closed):
    peer = Peer()

    def giving_up():
        yield from effects.send(KeyCommit((1,)))
        yield from effects.send(Abort(6))

    peer.engine.start(giving_up(), 1, 1)
    if closed:
        peer.engine.close_block(1)
    assert peer.says(KeyCommit((1,)), heard=0) == []
    assert peer.says(KeyCommit((1,)), heard=1) == []
    assert peer.engine.failure is None
    peer.says(KeyCommit((1,)), heard=2)
    assert "has ended" in str(peer.engine.failure)


def test_the_peer_may_not_fill_mailboxes_without_end():
    peer = Peer()
    for _ in range(MAXIMUM_MAILBOX):
        peer.says(KeyCommit((1,)))
    assert peer.engine.failure is None
    peer.says(KeyCommit((1,)))
    assert "waiting for one conversation" in str(peer.engine.failure)

    peer = Peer()
    for exchange in range(MAXIMUM_EARLY_MAILBOXES):
        peer.says(KeyCommit((1,)), exchange=exchange)
    assert peer.engine.failure is None
    peer.says(KeyCommit((1,)), exchange=99)
    assert "begun ahead of us" in str(peer.engine.failure)

    peer = Peer()
    chunk = ToeplitzSeed(1, 0, 1, bytes(MAXIMUM_FIELD_BYTES))
    for number in range(MAXIMUM_WAITING_BYTES // MAXIMUM_FIELD_BYTES):
        peer.says(chunk, exchange=number % 3)
    assert "bytes of messages waiting" in str(peer.engine.failure)


def test_room_is_given_back_by_taking_ending_and_closing():
    peer = Peer()
    for exchange in (1, 2, 3):
        peer.says(KeyCommit((1,)), exchange=exchange)
    peer.says(KeyCommit((1,)))
    peer.engine.start(hears(KeyCommit), 1, 1)  # takes one, ends with one left
    peer.engine.start(hears(KeyCommit), 1, 2)
    peer.engine.close_block(1)  # drops what came for exchange 3

    assert peer.engine._waiting_bytes == 0
    assert not peer.engine._early


def test_a_failed_session_takes_in_nothing_more():
    peer = Peer()
    peer.says(KeyCommit((1,)), sequence=9)
    covered = peer.engine.session_transcript.heard.count_bytes
    for _ in range(5):
        peer.says(KeyCommit((1,)), block=SESSION_SCOPE)

    assert peer.engine.session_transcript.heard.count_bytes == covered
    assert not peer.engine._early


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ({"session": bytes(16)}, "another session"),
        ({"sender": 1}, "claims to be our own"),
        ({"sequence": 2}, "message 2 in place of 1"),
        ({"heard": 1}, "heard what we have not said"),
    ],
)
def test_a_header_that_lies_ends_the_session(header, complaint):
    peer = Peer()
    peer.says(KeyCommit((1,)), **header)

    assert isinstance(peer.engine.failure, RemoteProtocolError)
    assert complaint in str(peer.engine.failure)


def test_what_was_heard_is_not_unheard():
    peer = Peer()

    def talk():
        yield from effects.send(KeyCommit((1,)))
        yield from effects.receive(KeyCommit)

    peer.engine.start(talk(), 1, 1)
    peer.says(KeyCommit((1,)), heard=1)
    peer.says(KeyCommit((1,)), exchange=2, heard=0)

    assert "unheard" in str(peer.engine.failure)


def test_authenticated_nonsense_ends_the_session_and_a_forgery_does_not():
    peer = Peer()
    peer.engine.handle(Arrived(bytes(100)))
    assert peer.engine.count_refused == 1
    assert peer.engine.failure is None
    peer.says_bytes(b"nonsense")
    assert isinstance(peer.engine.failure, RemoteProtocolError)
    assert peer.engine.count_refused == 1


def test_what_cannot_be_sent_is_an_error_of_the_conversation():
    peer = Peer()
    outputs = peer.engine.start(effects.send(ToeplitzSeed(1, 0, 1, bytes(MAXIMUM_FIELD_BYTES + 1))), 1, 1)
    assert isinstance(ended(outputs).error, LocalProtocolError)

    (sent, _) = peer.engine.start(effects.send(KeyCommit((1,))), 1, 2)
    assert isinstance(sent, Transmit)
    assert peer.engine.failure is None


def test_effects_become_outputs_and_results_come_back():
    peer = Peer()

    def talk():
        yield from effects.deadline(5.0)
        drawn = yield from effects.draw(3)
        total = yield from effects.compute(sum, drawn)
        try:
            yield from effects.persist("operation")
        except KeyStoreError as error:
            return total, str(error)

    outputs = peer.engine.start(talk(), 1, 1)
    assert outputs == [SetDeadline(HERE, 5.0), DrawBytes(HERE, 3)]
    (computation,) = peer.engine.handle(Completed(HERE, b"\1\2\3"))
    assert isinstance(computation, RunComputation)
    peer.engine.handle(Completed(HERE, computation.function(*computation.arguments)))
    assert ended(peer.engine.handle(Failed(HERE, KeyStoreError("full")))).result == (6, "full")


def test_computed_functions_take_positional_arguments_only():
    with pytest.raises(TypeError, match="positional"):
        next(effects.compute(sorted, [2, 1], reverse=True))


def test_a_deadline_ends_a_wait_and_nothing_else():
    peer = Peer()
    peer.engine.start(hears(KeyCommit), 1, 1)
    assert peer.engine.waiting == [HERE]
    assert peer.engine.handle(Expired(TaskKey(1, 2))) == []
    assert isinstance(ended(peer.engine.handle(Expired(HERE))).error, TransportError)
    assert peer.engine.handle(Expired(HERE)) == []

    def computing():
        yield from effects.compute(len, b"")

    peer.engine.start(computing(), 1, 2)
    assert peer.engine.handle(Expired(TaskKey(1, 2))) == []


def test_a_result_for_nobody_is_our_own_mistake():
    with pytest.raises(LocalProtocolError, match="does not run"):
        Peer().engine.handle(Completed(HERE, None))


def test_a_tag_is_checked_against_what_was_said_and_heard():
    peer = Peer()

    def talk():
        tag = yield from effects.receive(TranscriptTag)
        yield from effects.check_transcript(0, tag.tag)

    peer.engine.start(talk(), 1, 1)
    assert isinstance(ended(peer.says(TranscriptTag(0, bytes(16)))).error, AuthenticationError)

    def tagless():
        yield from effects.check_transcript(0, bytes(16))

    assert isinstance(ended(peer.engine.start(tagless(), 2, 1)).error, LocalProtocolError)


def test_memory_does_not_grow_with_the_number_of_blocks():
    peer = Peer()
    for block in range(1, 2001):
        peer.engine.start(hears(KeyCommit), block, 1)
        peer.says(KeyCommit((block,)), block=block)
        peer.engine.close_block(block)

    engine = peer.engine
    assert not any((engine._tasks, engine._early, engine._ended, engine._transcripts, engine._waiting_bytes, engine._outputs))


def test_effects_and_events_do_not_show_what_they_carry():
    secret = b"very secret"
    shown = [
        effects.Compute(len, (secret,)),
        effects.Persist(secret),
        effects.CheckTranscript(0, secret),
        Arrived(secret),
        Completed(HERE, secret),
        Transmit(secret),
        RunComputation(HERE, len, (secret,)),
        Ended(HERE, secret, None),
    ]

    assert not any("secret" in repr(entry) for entry in shown)
