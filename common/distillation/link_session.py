"""One end of a session as a machine: greeting, synchronisation, then block after block.

It owns the engines (one for the greeting, one for the session's own keys) and decides, by the transition table alone,
which conversation comes next. Events in, outputs out, like the engine itself; the daemons and the rehearsal drive it
alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.channel.authentication import ChannelSecrets, GreetingSeal, MaskSource, SessionSeal
from common.channel.codec import SESSION_SCOPE, Party
from common.channel.pairs import PROVISIONED_HASH_KEY, next_mask
from common.channel.transcript import TranscriptAuthenticator
from common.conversation.effects import Conversation
from common.conversation.engine import Engine
from common.conversation.events import Arrived, Ended, Event, Output, TaskKey
from common.conversation.operations import Settle
from common.conversation.session import Agreement, SessionEvent, SessionState, next_state
from common.distillation.pipeline import BlockPlan, BlockResult, Playbook, WorkingQber, distil_block
from common.distillation.recipe import Recipe
from common.distillation.synchronisation import Frames
from common.distillation.values import BlockOutcome

GREETING_EXCHANGE = 1
"""Exchange of the greeting, within the session's scope."""

SYNCHRONISING_EXCHANGE = 2
"""Exchange of the matching of slots, within the session's scope."""

BLOCK_EXCHANGE = 1
"""Exchange of a block's conversation."""

MOST_HELD_MESSAGES = 64
"""Messages kept while this end finishes its greeting; the peer, who is done, may already speak under the session's keys."""

Greeting = Callable[[bytes], Conversation[Agreement]]


class LinkSession:
    """One end from greeting to end of stream.

    Parameters
    ----------
    party : Party
        Which end this is.
    secrets : ChannelSecrets
        The provisioned secrets.
    recipe : Recipe
        Shared parameters.
    greeting : callable
        Our half of the greeting.
    playbook : Playbook
        Our halves of everything else.
    most_blocks : int | None
        Blocks after which to stop, or None for all the stream gives.
    masks : MaskSource | None
        Where masks of transcript tags and later hash keys come from, as a rule the key store; None for the provisioned ones alone.
    """

    def __init__(
        self,
        party: Party,
        secrets: ChannelSecrets,
        recipe: Recipe,
        greeting: Greeting,
        playbook: Playbook,
        most_blocks: int | None = None,
        masks: MaskSource | None = None,
    ) -> None:
        self.state = SessionState.IDLE
        self.outcomes: list[BlockOutcome] = []
        self.frames: Frames | None = None
        self.failure: Exception | None = None
        self._party = party
        self._secrets = secrets
        self._recipe = recipe
        self._greeting = greeting
        self._playbook = playbook
        self._most_blocks = most_blocks
        self._masks: MaskSource = masks or secrets
        self._engine = Engine(party, GreetingSeal(secrets), None)
        self._refused_in_greeting = 0
        self._held: list[Arrived] = []
        self._settlement: Settle | None = None
        self._working_qber = WorkingQber.initial(recipe)
        self._next_block = self._mask_cursor = self._next_frame = 0
        self.hash_key = PROVISIONED_HASH_KEY

    @property
    def waiting(self) -> list[TaskKey]:
        """Conversations that wait for a message."""
        return self._engine.waiting

    @property
    def count_refused(self) -> int:
        """Messages refused so far because their code was wrong."""
        return self._refused_in_greeting + self._engine.count_refused

    def start(self) -> list[Output]:
        """Begin with the greeting."""
        self._move(SessionEvent.START)
        return self._followed(self._engine.start(self._greeting(self._recipe.digest), SESSION_SCOPE, GREETING_EXCHANGE))

    def handle(self, event: Event) -> list[Output]:
        """Take in one event and return what the shell has to carry out, in order."""
        if isinstance(event, Arrived) and self.state is SessionState.GREETING and not self._engine.waiting:
            if len(self._held) < MOST_HELD_MESSAGES:
                self._held.append(event)
            return []
        return self._followed(self._engine.handle(event))

    def _followed(self, outputs: list[Output]) -> list[Output]:
        """Start whatever follows on a conversation that has ended."""
        followed: list[Output] = []
        for output in outputs:
            followed.append(output)
            if isinstance(output, Ended):
                followed.extend(self._followed(self._next(output)))
        return followed

    def _next(self, ended: Ended) -> list[Output]:
        if ended.error:
            self.failure = self.failure or ended.error
            self._move(SessionEvent.FAULT)
            return []
        match ended.result:
            case Agreement() as agreement:
                return self._greeted(agreement)
            case Frames() as frames:
                self.frames = frames
                self._move(SessionEvent.SYNCHRONISED)
                return self._open_block()
            case BlockResult() as result:
                return self._closed(result)
        return []

    def _greeted(self, agreement: Agreement) -> list[Output]:
        """Change over to the session's keys; the greeting is covered by the first transcript tag."""
        seal = SessionSeal(self._secrets, agreement.hello_nonce, agreement.welcome_nonce)
        authenticator = TranscriptAuthenticator(self._secrets, self._masks, agreement.hash_key)
        self._refused_in_greeting = self._engine.count_refused
        self._engine = Engine(self._party, seal, authenticator, self._engine.session_transcript.hashed(authenticator))
        self.hash_key = agreement.hash_key
        self._settlement = agreement.settlement
        self._next_block, self._mask_cursor = agreement.next_block, agreement.mask_cursor
        self._move(SessionEvent.GREETED)
        outputs = self._started(self._playbook.synchronise(self._recipe), SESSION_SCOPE, SYNCHRONISING_EXCHANGE)
        held, self._held = self._held, []
        for event in held:
            outputs += self._engine.handle(event)
        return outputs

    def _open_block(self) -> list[Output]:
        frames = self.frames
        if frames is None or frames.count_frames == 0 or (self._most_blocks is not None and len(self.outcomes) >= self._most_blocks):
            self._move(SessionEvent.STREAM_ENDED)
            return []
        plan = BlockPlan(
            number=self._next_block,
            first_frame=self._next_frame,
            mask_index=self._mask_cursor,
            count_masks=self._masks.count_masks,
            hash_key=self.hash_key,
            frames=frames,
            working_qber=self._working_qber,
            settlement=self._settlement,
        )
        return self._started(distil_block(self._recipe, self._playbook, plan), plan.number, BLOCK_EXCHANGE)

    def _closed(self, result: BlockResult) -> list[Output]:
        outcome = result.outcome
        self.outcomes.append(outcome)
        self._engine.close_block(outcome.number)
        self._working_qber = result.working_qber
        self._next_frame = result.next_frame
        self._next_block += 1
        if outcome.length is not None and outcome.length.secret_bits:
            self._mask_cursor = next_mask(self._mask_cursor + 1)  # taken, whether or not the commitment came to its end
            self._settlement = None if outcome.secret_bits else self._settlement
        if outcome.ends_stream:
            self._move(SessionEvent.STREAM_ENDED)
            return []
        self._move(SessionEvent.BLOCK_CLOSED)
        return self._open_block()

    def _started(self, conversation: Conversation[Any], block: int, exchange: int) -> list[Output]:
        return self._engine.start(conversation, block, exchange)

    def _move(self, event: SessionEvent) -> None:
        self.state = next_state(self.state, event)
