"""One end of a session as a machine: greeting, synchronisation, then one group of blocks after the other.

It owns the engines (one for the greeting, one for the session's own keys) and decides which conversation comes next.
Groups fill one after the other and are concluded one after the other, in the same order; between the two, several may be
under way, so that both ends have work while messages travel. Events in, outputs out, like the engine itself; the daemons
and the rehearsal drive it alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from common.channel.authentication import ChannelSecrets, GreetingSeal, MaskSource, SessionSeal
from common.channel.codec import SESSION_SCOPE, Party
from common.channel.pairs import PROVISIONED_HASH_KEY, next_mask
from common.channel.transcript import TranscriptAuthenticator
from common.conversation.effects import Conversation
from common.conversation.engine import Engine
from common.conversation.events import Arrived, Ended, Event, Output, TaskKey, Told
from common.conversation.operations import Settle
from common.conversation.session import Agreement, SessionEvent, SessionState, next_state
from common.distillation.concluding import ConclusionPlan, GroupResult, conclude
from common.distillation.gathering import GatheredGroup, GroupPlan, GroupSifted, gather
from common.distillation.pace import Pace
from common.distillation.playbook import Playbook
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.choice import WorkingQber
from common.distillation.synchronisation import Frames
from common.distillation.values import BlockOutcome

GREETING_EXCHANGE = 1
"""Exchange of the greeting, within the session's scope."""

SYNCHRONISING_EXCHANGE = 2
"""Exchange of the matching of slots, within the session's scope."""

GATHERING_EXCHANGE, CONCLUDING_EXCHANGE = 1, 2
"""Exchanges of the two conversations of a group, which is named by its first block."""

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
    pace : Pace | None
        How many groups may be under way; None for a near peer.
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
        pace: Pace | None = None,
    ) -> None:
        self.state = SessionState.IDLE
        self.outcomes: list[BlockOutcome] = []
        self.frames: Frames | None = None
        self.failure: Exception | None = None
        self.pace = pace or Pace()
        self._party = party
        self._secrets = secrets
        self._recipe = recipe
        self._greeting = greeting
        self._playbook = playbook
        self._masks: MaskSource = masks or secrets
        self._engine = Engine(party, GreetingSeal(secrets), None)
        self._refused_in_greeting = 0
        self._held: list[Arrived] = []
        self._settlement: Settle | None = None
        self._working_qber = WorkingQber.initial(recipe)
        self._next_block = self._mask_cursor = self._next_frame = 0
        self._blocks_left = most_blocks
        self._under_way: deque[int] = deque()
        self._gathered: dict[int, GatheredGroup] = {}
        self._is_filling = self._is_concluding = self._has_ended = False
        self.hash_key = PROVISIONED_HASH_KEY

    @property
    def waiting(self) -> list[TaskKey]:
        """Conversations that wait for a message."""
        return self._engine.waiting

    @property
    def count_under_way(self) -> int:
        """Groups of blocks under way."""
        return len(self._under_way)

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
            elif isinstance(output, Told) and isinstance(output.value, GroupSifted):
                followed.extend(self._followed(self._sifted(output.value)))
        return followed

    def _next(self, ended: Ended) -> list[Output]:
        if self.failure:
            return []  # the session is over: what was under way beside the conversation that failed leads nowhere
        if ended.error:
            self.failure = ended.error
            self._move(SessionEvent.FAULT)
            return []
        match ended.result:
            case Agreement() as agreement:
                return self._greeted(agreement)
            case Frames() as frames:
                self.frames = frames
                self._has_ended = frames.count_frames == 0
                self._move(SessionEvent.SYNCHRONISED)
                outputs = self._open_group()
                if not self._under_way:
                    self._move(SessionEvent.STREAM_ENDED)
                return outputs
            case GatheredGroup() as group:
                self._gathered[ended.task.block] = group
                return self._conclude_next()
            case GroupResult() as result:
                return self._concluded(ended.task.block, result)
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

    def _open_group(self) -> list[Output]:
        """Begin another group if there is anything left for it, and not too much under way."""
        frames = self.frames
        has_room = len(self._under_way) < self.pace.groups_in_flight
        if frames is None or self._is_filling or self._has_ended or self._blocks_left == 0 or not has_room:
            return []
        plan = GroupPlan(self._next_block, self._next_frame, frames, self._working_qber, self._blocks_left)
        self._under_way.append(plan.first_block)
        self._is_filling = True
        return self._started(gather(self._recipe, self._playbook, plan), plan.first_block, GATHERING_EXCHANGE)

    def _sifted(self, told: GroupSifted) -> list[Output]:
        if self._blocks_left is not None:
            self._blocks_left -= told.next_block - self._next_block
        self._next_block, self._next_frame, self._has_ended = told.next_block, told.next_frame, told.ends_stream
        self._is_filling = False
        self.pace.group_bits = told.count_bits
        return self._open_group()

    def _conclude_next(self) -> list[Output]:
        """Conclude the oldest group if it is gathered and the one before it is concluded."""
        first = self._under_way[0] if self._under_way else None
        if first is None or self._is_concluding or first not in self._gathered:
            return []
        self._is_concluding = True
        group = self._gathered.pop(first)
        self._working_qber = group.working_qber
        plan = ConclusionPlan(self._mask_cursor, self._masks.count_masks, self.hash_key, self._settlement)
        return self._started(conclude(self._recipe, self._playbook, plan, group), first, CONCLUDING_EXCHANGE)

    def _concluded(self, first_block: int, result: GroupResult) -> list[Output]:
        self.outcomes.extend(result.outcomes)
        self._under_way.popleft()
        self._is_concluding = False
        self._engine.close_block(first_block)
        if result.took_mask:
            self._mask_cursor = next_mask(self._mask_cursor + 1)  # taken, whether or not the commitment came to its end
            self._settlement = None if result.committed else self._settlement
        outputs = self._conclude_next() + self._open_group()
        self._move(SessionEvent.GROUP_CONCLUDED if self._under_way else SessionEvent.STREAM_ENDED)
        return outputs

    def _started(self, conversation: Conversation[Any], block: int, exchange: int) -> list[Output]:
        return self._engine.start(conversation, block, exchange)

    def _move(self, event: SessionEvent) -> None:
        self.state = next_state(self.state, event)
