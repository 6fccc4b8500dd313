"""The engine: owns the running conversations of one end. Event in, outputs out, nothing else.

It keeps sequence numbers, mailboxes and transcripts, authenticates before it decodes, and hands each message to the conversation of its
block and exchange. It knows neither sockets nor time, so the same engine runs in the daemons and in the rehearsal.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, assert_never

from common.channel.authentication import MAC_BYTES, MessageSeal
from common.channel.codec import MAXIMUM_MESSAGE_BYTES, PROTOCOL_VERSION, SESSION_SCOPE, Envelope, Party, decode, encode
from common.channel.messages import Abort, Message, TranscriptTag
from common.channel.transcript import BlockTranscript, SealedTranscript, SessionTranscript, TranscriptAuthenticator
from common.conversation.effects import CheckTranscript, Compute, Conversation, Deadline, Draw, Persist, Receive, SealTranscript, Send, Tell
from common.conversation.events import (
    Arrived,
    Completed,
    DrawBytes,
    Ended,
    Event,
    Expired,
    Failed,
    Output,
    RunComputation,
    RunOperation,
    SetDeadline,
    TaskKey,
    Told,
    Transmit,
)
from common.errors import AbortReason, AuthenticationError, BlockAborted, LocalProtocolError, QkdError, RemoteProtocolError, TransportError

MAXIMUM_MAILBOX = 256
"""Messages that may wait for one conversation before the peer is taken to be broken."""

MAXIMUM_EARLY_MAILBOXES = 16
"""Conversations that the peer may have begun before we have. However many groups of blocks are under way, two of them at most are further
at the peer, one that fills and one that is concluded: a group begins when both have told how the one before it was sifted."""

MAXIMUM_WAITING_BYTES = 64 << 20
"""Bytes of messages that may wait for all conversations together."""


@dataclass(slots=True)
class _Task:
    conversation: Conversation[Any]
    mailbox: deque[_Waiting]
    awaited: type[Message] | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    message: Message
    count_bytes: int


class Engine:
    """Runs the conversations of one end.

    Parameters
    ----------
    party : Party
        Which end this is; it enters only what is written into envelopes.
    seal : MessageSeal
        Codes of single messages.
    authenticator : TranscriptAuthenticator | None
        Tags of blocks; None for a greeting, which says nothing about blocks and only agrees on what tags are made with.
    prologue : SessionTranscript
        Session messages that went before, under another seal.
    """

    def __init__(
        self, party: Party, seal: MessageSeal, authenticator: TranscriptAuthenticator | None, prologue: SessionTranscript | None = None
    ) -> None:
        self.party = party
        self.session_transcript = prologue or SessionTranscript(authenticator)
        self.count_refused = 0
        self.failure: Exception | None = None
        self._seal = seal
        self._authenticator = authenticator
        self._tasks: dict[TaskKey, _Task] = {}
        self._early: dict[TaskKey, deque[_Waiting]] = {}
        self._waiting_bytes = 0
        self._ended: set[TaskKey] = set()
        self._closed_through = SESSION_SCOPE
        self._transcripts: dict[int, BlockTranscript] = {}
        self._count_sent = 0
        self._count_received = 0
        self._peer_heard = 0
        self._abort_sent = 0
        self._outputs: list[Output] = []

    @property
    def waiting(self) -> list[TaskKey]:
        """Conversations that wait for a message."""
        return [key for key, task in self._tasks.items() if task.awaited is not None]

    def start(self, conversation: Conversation[Any], block: int, exchange: int) -> list[Output]:
        """Begin a conversation.

        Parameters
        ----------
        conversation : Conversation
            Not yet started.
        block, exchange : int
            Its name; never used before in this session.

        Returns
        -------
        list[Output]
            What the shell has to carry out, in order.

        Raises
        ------
        LocalProtocolError
            If the name was used before.
        """
        key = TaskKey(block, exchange)
        if key in self._tasks or self._has_ended(key):
            raise LocalProtocolError(f"conversation {key} was started before")
        self._tasks[key] = _Task(conversation, self._early.pop(key, deque()))
        self._advance(key, None, self.failure)
        return self._taken()

    def close_block(self, block: int) -> None:
        """Forget a block and every one before it; blocks close in order.

        Parameters
        ----------
        block : int
            No conversation of it may be started any more.
        """
        self._closed_through = max(self._closed_through, block)
        self._ended = {key for key in self._ended if not self._is_closed(key.block)}
        self._transcripts = {number: transcript for number, transcript in self._transcripts.items() if not self._is_closed(number)}
        for key in [key for key in self._early if self._is_closed(key.block)]:
            self._forget(self._early.pop(key))

    def handle(self, event: Event) -> list[Output]:
        """Take in one event.

        Parameters
        ----------
        event : Event
            What happened.

        Returns
        -------
        list[Output]
            What the shell has to carry out, in order.
        """
        match event:
            case Arrived(data):
                self._arrived(data)
            case Completed(key, result):
                self._advance(key, result, None)
            case Failed(key, error):
                self._advance(key, None, error)
            case Expired(key):
                if key in self._tasks and self._tasks[key].awaited is not None:
                    self._advance(key, None, TransportError("the peer did not answer in time"))
            case _ as unreachable:
                assert_never(unreachable)
        return self._taken()

    def _taken(self) -> list[Output]:
        outputs, self._outputs = self._outputs, []
        return outputs

    def _arrived(self, data: bytes) -> None:
        """Authenticate, decode, order, record and deliver one message; a session that has failed takes in nothing more."""
        if self.failure:
            return
        body, code = data[:-MAC_BYTES], data[-MAC_BYTES:]
        try:
            if len(data) <= MAC_BYTES or len(body) > MAXIMUM_MESSAGE_BYTES:
                raise AuthenticationError("message shorter than its code or longer than any message")
            self._seal.check(self.party.peer, self._count_received + 1, body, code)
        except AuthenticationError:
            self.count_refused += 1  # a forgery ends nothing: whoever can write to the wire could end everything
            return
        try:
            envelope = decode(body)
            self._check_header(envelope)
            self._count_received += 1
            self._peer_heard = envelope.heard
            self._record_heard(envelope, body)
            self._deliver(TaskKey(envelope.block, envelope.exchange), _Waiting(envelope.message, len(body)))
        except RemoteProtocolError as fault:
            self._fail(fault)

    def _check_header(self, envelope: Envelope) -> None:
        if envelope.session != self._seal.session:
            raise RemoteProtocolError("message of another session")
        if envelope.sender != self.party.peer:
            raise RemoteProtocolError("message that claims to be our own")
        if envelope.sequence != self._count_received + 1:
            raise RemoteProtocolError(f"message {envelope.sequence} in place of {self._count_received + 1}")
        if not self._peer_heard <= envelope.heard <= self._count_sent:
            raise RemoteProtocolError("the peer claims to have heard what we have not said, or to have unheard what we have")

    def _record_heard(self, envelope: Envelope, body: bytes) -> None:
        if envelope.block == SESSION_SCOPE:
            self.session_transcript.heard.append(body)
        elif not self._is_closed(envelope.block):
            transcript = self._transcript(envelope.block)
            if isinstance(envelope.message, TranscriptTag):
                transcript.expect_tag(self.session_transcript, envelope.heard)
            else:
                transcript.heard(body)

    def _deliver(self, key: TaskKey, waiting: _Waiting) -> None:
        task = self._tasks.get(key)
        if task is None:
            if self._has_ended(key):
                if isinstance(waiting.message, Abort) or self._peer_heard < self._abort_sent:
                    return  # both ends may give up at once; and what was under way to a conversation that we gave up is nobody's fault
                raise RemoteProtocolError(f"{type(waiting.message).__name__} for a conversation that has ended")
            if key not in self._early and len(self._early) >= MAXIMUM_EARLY_MAILBOXES:
                raise RemoteProtocolError("too many conversations begun ahead of us")
        mailbox = task.mailbox if task else self._early.setdefault(key, deque())
        if len(mailbox) >= MAXIMUM_MAILBOX:
            raise RemoteProtocolError(f"more than {MAXIMUM_MAILBOX} messages waiting for one conversation")
        if self._waiting_bytes + waiting.count_bytes > MAXIMUM_WAITING_BYTES:
            raise RemoteProtocolError(f"more than {MAXIMUM_WAITING_BYTES} bytes of messages waiting")
        mailbox.append(waiting)
        self._waiting_bytes += waiting.count_bytes
        if task and task.awaited is not None:
            self._advance(key, *self._next_message(task, task.awaited))

    def _next_message(self, task: _Task, awaited: type[Message]) -> tuple[Message | None, Exception | None]:
        """Take the oldest message; an unexpected kind becomes the error the conversation sees."""
        task.awaited = None
        taken = task.mailbox.popleft()
        self._waiting_bytes -= taken.count_bytes
        message = taken.message
        if isinstance(message, awaited):
            return message, None
        if isinstance(message, Abort):
            refused_tag = message.reason == AbortReason.AUTHENTICATION_FAILED
            return None, BlockAborted(AbortReason.AUTHENTICATION_FAILED if refused_tag else AbortReason.PEER_ABORTED)
        fault = RemoteProtocolError(f"{type(message).__name__} where {awaited.__name__} was due")
        self._fail(fault)
        return None, fault

    def _fail(self, error: Exception) -> None:
        """End the session: every conversation sees the error."""
        self.failure = self.failure or error
        for key in list(self._tasks):
            if key in self._tasks and self._tasks[key].awaited is not None:
                self._advance(key, None, error)

    def _advance(self, key: TaskKey, value: object, error: Exception | None) -> None:
        """Resume a conversation and carry its effects until it has to wait."""
        task = self._tasks.get(key)
        if task is None:
            raise LocalProtocolError(f"result for {key}, which does not run")
        task.awaited = None
        while True:
            try:
                effect = task.conversation.throw(error) if error else task.conversation.send(value)
            except StopIteration as stop:
                return self._end(key, stop.value, None)
            except QkdError as raised:
                return self._end(key, None, raised)
            value, error = None, None
            match effect:
                case Send(message):
                    error = self._transmit(key, message)
                case Receive(kind):
                    if self.failure:
                        error = self.failure
                    elif task.mailbox:
                        value, error = self._next_message(task, kind)
                    else:
                        task.awaited = kind
                        return None
                case SealTranscript(mask_index):
                    value, error = self._seal_transcript(key.block, mask_index)
                case CheckTranscript(mask_index, tag):
                    error = self._check_transcript(key.block, mask_index, tag)
                case Deadline(seconds):
                    self._outputs.append(SetDeadline(key, seconds))
                case Tell(told):
                    self._outputs.append(Told(key, told))
                case Compute(function, arguments):
                    self._outputs.append(RunComputation(key, function, arguments))
                    return None
                case Persist(operation):
                    self._outputs.append(RunOperation(key, operation))
                    return None
                case Draw(count_bytes):
                    self._outputs.append(DrawBytes(key, count_bytes))
                    return None
                case _ as unreachable:
                    assert_never(unreachable)

    def _is_closed(self, block: int) -> bool:
        return SESSION_SCOPE < block <= self._closed_through

    def _has_ended(self, key: TaskKey) -> bool:
        return key in self._ended or self._is_closed(key.block)

    def _forget(self, mailbox: deque[_Waiting]) -> None:
        self._waiting_bytes -= sum(waiting.count_bytes for waiting in mailbox)

    def _end(self, key: TaskKey, result: object, error: Exception | None) -> None:
        self._forget(self._tasks.pop(key).mailbox)
        self._ended.add(key)
        self._outputs.append(Ended(key, result, error))

    def _transmit(self, key: TaskKey, message: Message) -> LocalProtocolError | None:
        """Send; what cannot be encoded is an error of the conversation that asked for it, not of the shell."""
        sequence = self._count_sent + 1
        envelope = Envelope(
            PROTOCOL_VERSION, self._seal.session, int(self.party), sequence, self._count_received, key.block, key.exchange, message
        )
        try:
            body = encode(envelope)
        except LocalProtocolError as fault:
            return fault
        self._count_sent = sequence
        if isinstance(message, Abort):
            self._abort_sent = sequence
        if key.block == SESSION_SCOPE:
            self.session_transcript.sent.append(body)
        elif not isinstance(message, TranscriptTag):
            self._transcript(key.block).sent(body, sequence)
        self._outputs.append(Transmit(body + self._seal.code(self.party, sequence, body)))
        return None

    def _transcript(self, block: int) -> BlockTranscript:
        if block not in self._transcripts:
            if self._authenticator is None:
                raise RemoteProtocolError("a message about a block in the greeting")
            self._transcripts[block] = BlockTranscript(self._authenticator)
        return self._transcripts[block]

    def _seal_transcript(self, block: int, mask_index: int) -> tuple[SealedTranscript | None, Exception | None]:
        try:
            return self._transcript(block).seal(self.session_transcript, mask_index, self.party), None
        except BlockAborted as exhausted:
            return None, exhausted

    def _check_transcript(self, block: int, mask_index: int, tag: bytes) -> Exception | None:
        try:
            self._transcript(block).check(mask_index, self.party.peer, tag)
        except (AuthenticationError, BlockAborted, LocalProtocolError) as refused:
            return refused
        return None
