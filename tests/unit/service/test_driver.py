"""One session over an asyncio loop: as in rehearsal, but with threads, deadlines and peers that come and go."""

import asyncio
import threading
from typing import Any

import pytest

from common.channel.codec import Party
from common.conversation.events import Completed, Ended, Expired, RunComputation, TaskKey
from common.conversation.session import SessionState
from common.errors import AuthenticationError, LocalProtocolError, TransportError
from common.kernels.polynomial_hash import compile_hash
from common.keystore.memory import MemoryKeyStore
from common.service.driver import SessionDriver
from common.service.wire import GREETING, OVER, REFUSED, SESSION, over_frame
from common.service.workers import Workers
from tests.support.keystores import ledger_of
from tests.support.links import World, check_invariants, tiny_recipe
from tests.unit.service.nodes import MemoryChannel, desks


class Ends:
    """Both ends of a tiny link on one loop."""

    def __init__(self, world: World, most_blocks: int | None = 2, receive_seconds: float = 5.0, desk=None) -> None:
        self.world = world
        self.sessions = world.prepare(most_blocks=most_blocks).sessions
        self.channels = MemoryChannel.pair()
        self.workers = {party: Workers(2) for party in Party}
        self.desks = desk or desks(world.secrets)
        self.drivers = {
            party: SessionDriver(
                self.sessions[party], self.channels[party], world.stores[party], self.workers[party], self.desks[party], receive_seconds
            )
            for party in Party
        }

    async def run(self, *parties: Party):
        chosen = parties or tuple(Party)
        seconds = 120  # a first run compiles its kernels
        ends = await asyncio.wait_for(asyncio.gather(*(self.drivers[party].run() for party in chosen)), seconds)
        for workers in self.workers.values():
            workers.stop()
        return dict(zip(chosen, ends, strict=True))


@pytest.fixture
def world():
    compile_hash()  # as a node does before it runs sessions
    return World.new(tiny_recipe("cascade"))


def test_a_session_distils_the_same_key_at_both_ends(world):
    ends = asyncio.run(_run(world))

    assert [end.error for end in ends.values()] == [None, None]
    assert all(end.was_greeted for end in ends.values())
    assert world.stores[Party.ALICE].committed == world.stores[Party.BOB].committed != {}
    check_invariants(world)


async def _run(world, **options):
    return await Ends(world, **options).run()


def test_each_frame_says_which_seal_is_behind_it(world):
    async def scenario():
        ends = Ends(world, most_blocks=1)
        await ends.run()
        return {party: [frame[0] for frame in channel.sent] for party, channel in ends.channels.items()}

    kinds = asyncio.run(scenario())

    for party, count_greeting in ((Party.ALICE, 2), (Party.BOB, 1)):
        sent = kinds[party]
        assert sent[:count_greeting] == [GREETING] * count_greeting
        assert set(sent[count_greeting:-1]) == {SESSION}
        assert sent[-1] == OVER


def test_an_altered_message_is_refused_and_the_session_ends_at_its_deadline(world):
    async def scenario():
        ends = Ends(world, receive_seconds=0.5)
        ends.channels[Party.BOB].alter = lambda frame: [frame[:-1] + bytes((frame[-1] ^ 1,))] if frame[0] == SESSION else [frame]
        return ends, await ends.run()

    ends, ended = asyncio.run(scenario())

    assert isinstance(ended[Party.ALICE].error, TransportError)
    assert ends.sessions[Party.ALICE].count_refused >= 1


def test_a_greeting_under_another_secret_is_refused_on_both_ends_at_once(world):
    other = desks(World.new(tiny_recipe("cascade"), seed=2).secrets)

    async def scenario():
        ends = Ends(world, desk=desks(world.secrets) | {Party.BOB: other[Party.BOB]})
        waiting = asyncio.create_task(ends.drivers[Party.BOB].run())
        ended = await ends.run(Party.ALICE)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return ends, ended

    ends, ended = asyncio.run(scenario())

    assert isinstance(ended[Party.ALICE].error, AuthenticationError)
    assert other[Party.BOB].count_refused == 1
    assert ends.channels[Party.BOB].sent == [bytes((REFUSED,))]


def test_a_new_greeting_of_the_peer_takes_the_place_of_the_old_session_and_is_handed_on(world):
    async def scenario():
        ends = Ends(world, most_blocks=None)
        bob = asyncio.create_task(ends.drivers[Party.BOB].run())
        alice = asyncio.create_task(ends.drivers[Party.ALICE].run())
        while len(ends.channels[Party.ALICE].sent) < 4:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)
        again = Ends(world, desk=ends.desks)
        again.channels[Party.ALICE]._peer = ends.channels[Party.BOB]
        alice.cancel()
        second = asyncio.create_task(again.drivers[Party.ALICE].run())
        ended = await asyncio.wait_for(bob, 10)
        second.cancel()
        await asyncio.gather(alice, second, return_exceptions=True)
        return ended, again.channels[Party.ALICE].sent[0]

    ended, greeting = asyncio.run(scenario())

    assert isinstance(ended.error, TransportError)
    assert ended.greeting == greeting


def test_a_greeting_that_is_played_back_opens_nothing(world):
    async def scenario():
        ends = Ends(world, most_blocks=None)
        ends.channels[Party.ALICE].alter = lambda frame: [frame, frame] if frame[0] == GREETING else [frame]
        running = [asyncio.create_task(driver.run()) for driver in ends.drivers.values()]
        while len(ends.channels[Party.ALICE].sent) < 4:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)
        for driver in ends.drivers.values():
            driver.stop()
        ended = await asyncio.gather(*running)
        return ends, ended

    ends, _ = asyncio.run(scenario())

    assert ends.desks[Party.BOB].count_repeated == 1
    assert ends.drivers[Party.BOB].count_stale == 1, "the confirmation came twice as well"
    assert ends.sessions[Party.BOB].state is SessionState.DISTILLING


def test_a_greeting_that_an_earlier_life_answered_changes_nothing_and_keeps_nobody_out(world, monkeypatch):
    """Bob's memory of greetings went with the power; his answer to the old one is never confirmed, whatever old words come with it."""

    async def scenario():
        first = Ends(world, most_blocks=1)
        await first.run()
        old = [frame for frame in first.channels[Party.ALICE].sent if frame[0] == GREETING]
        store = world.stores[Party.BOB]
        store.close()
        before = ledger_of(store)
        monkeypatch.setattr("common.conversation.session.GREETING_SECONDS", 0.5)
        second = Ends(world)
        for frame in old:
            second.channels[Party.BOB].deliver(frame)
        ended = (await second.run(Party.BOB))[Party.BOB]
        return second, ended, before, ledger_of(store), store.levels().met

    ends, ended, before, after, is_met = asyncio.run(scenario())

    assert str(ended.error) == "the peer did not answer in time"
    assert not ended.was_greeted
    assert not ends.desks[Party.BOB].has_agreed
    assert ends.drivers[Party.BOB].count_stale == 1
    assert (after, is_met) == (before, False)
    assert [end.error for end in asyncio.run(_run(world, most_blocks=1)).values()] == [None, None]


def test_a_session_waits_for_its_first_greeting_without_a_deadline_and_ends_when_the_peer_goes(world):
    async def scenario():
        ends = Ends(world, receive_seconds=0.2)
        bob = asyncio.create_task(ends.drivers[Party.BOB].run())
        await asyncio.sleep(0.5)
        still_waiting = not bob.done()
        alice = asyncio.create_task(ends.drivers[Party.ALICE].run())
        while len(ends.channels[Party.BOB].sent) < 3:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)
        alice.cancel()
        ends.channels[Party.BOB].lose()
        ended = await asyncio.wait_for(bob, 5)
        await asyncio.gather(alice, return_exceptions=True)
        return still_waiting, ended

    still_waiting, ended = asyncio.run(scenario())

    assert still_waiting
    assert isinstance(ended.error, TransportError)


class Machine:
    """A machine that asks for what it is told to, and remembers what it is told."""

    def __init__(self, first, then=()) -> None:
        self.state = SessionState.GREETING
        self.failure: Exception | None = None
        self.waiting: list[TaskKey] = []
        self.events: list[Any] = []
        self.count_refused = 0
        self._first, self._then = first, list(then)

    def start(self):
        return self._first

    def handle(self, event):
        self.events.append(event)
        if isinstance(event, Expired):
            self.waiting, self.failure, self.state = [], TransportError("late"), SessionState.FAILED
            return [Ended(event.task, None, self.failure)]
        if not self._then:
            self.state = SessionState.ENDED
            return []
        return [self._then.pop(0)]


KEY = TaskKey(1, 1)


def run_machine(machine, meanwhile=lambda: None):
    async def scenario():
        workers = Workers(2)
        channel = MemoryChannel.pair()[Party.ALICE]
        desk = desks(World.new(tiny_recipe("cascade")).secrets)[Party.ALICE]
        driver = SessionDriver(machine, channel, MemoryKeyStore(), workers, desk)
        asyncio.get_running_loop().call_later(0.05, meanwhile)
        ended = await asyncio.wait_for(driver.run(), 10)
        workers.stop()
        return ended

    return asyncio.run(scenario())


def test_a_computation_in_a_thread_leaves_the_loop_free():
    loop_ran = threading.Event()
    machine = Machine([RunComputation(KEY, loop_ran.wait, (5.0,))])

    ended = run_machine(machine, meanwhile=loop_ran.set)

    assert ended.error is None
    assert machine.events == [Completed(KEY, True)]  # the loop set it while the computation waited


@pytest.mark.parametrize("end", ["stopped", "over at the peer's"])
def test_a_computation_that_waits_for_the_stream_keeps_no_session_from_ending(end):
    async def scenario():
        workers, abandoned = Workers(2), threading.Event()
        channel = MemoryChannel.pair()[Party.ALICE]
        desk = desks(World.new(tiny_recipe("cascade")).secrets)[Party.ALICE]
        driver = SessionDriver(
            Machine([RunComputation(KEY, abandoned.wait, (60.0,))]), channel, MemoryKeyStore(), workers, desk, abandon=abandoned.set
        )
        running = asyncio.create_task(driver.run())
        await asyncio.sleep(0.05)
        if end == "stopped":
            driver.stop()
        else:
            driver._session = bytes(16)
            channel.deliver(over_frame(desk.seal, Party.BOB, bytes(16)))
        ended = await asyncio.wait_for(running, 10)
        workers.stop()
        return ended

    assert asyncio.run(scenario()).error is None


def test_a_mistake_in_a_computation_ends_the_session_and_names_no_value():
    def wrong(secret):
        raise ValueError(f"cannot digest {secret}")

    machine = Machine([RunComputation(KEY, wrong, ("hunter2",))])

    run_machine(machine)

    (failed,) = machine.events
    assert isinstance(failed.error, LocalProtocolError)
    assert "hunter2" not in str(failed.error)
