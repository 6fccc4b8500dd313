"""Sessions follow one another; waits grow; a start that only a person can mend is given up."""

import asyncio
from typing import ClassVar

import pytest

from common.channel.codec import Party
from common.errors import AuthenticationError, RemoteProtocolError, TransportError
from common.service.driver import SessionEnd
from common.service.supervisor import RestartPolicy, Supervisor
from tests.support.links import World, tiny_recipe
from tests.unit.service.nodes import desks

QUICK = RestartPolicy(first_seconds=0.001, most_seconds=0.002)


class Session:
    def __init__(self, end):
        self.end, self.given, self.stopped = end, None, asyncio.Event()

    async def run(self, greeting=None):
        self.given = greeting
        if self.end is None:
            await self.stopped.wait()
            return SessionEnd(None, stopped=True)
        return self.end

    def stop(self, *, leaving=False):
        assert leaving
        self.stopped.set()


class Noting(RestartPolicy):
    """Notes which failure in a row each wait is for."""

    asked: ClassVar[list[int]] = []

    def wait_seconds(self, count_failures, chance):
        self.asked.append(count_failures)
        return 0.001 * chance


def supervised(*ends, agreed=False, policy=QUICK, **options):
    """Run one session after another; the last one lasts until it is stopped."""

    async def scenario():
        desk = desks(World.new(tiny_recipe("cascade")).secrets)[Party.BOB]
        desk.has_agreed = agreed
        left, opened = [*ends, None], []

        async def open_session():
            opened.append(Session(left.pop(0)))
            if opened[-1].end is None:
                asyncio.get_running_loop().call_later(0.01, supervisor.stop)
            return opened[-1]

        async def at_once():
            pass

        supervisor = Supervisor(open_session, at_once, lambda _end: None, desk, policy, **options)
        return await asyncio.wait_for(supervisor.run(), 5), opened, supervisor

    return asyncio.run(scenario())


def test_sessions_follow_one_another_until_stopped():
    bad, opened, supervisor = supervised(SessionEnd(None), SessionEnd(TransportError("gone")))

    assert bad is None
    assert len(opened) == 3
    assert (supervisor.count_sessions, supervisor.count_failures) == (3, 1)


def test_a_greeting_that_ended_a_session_opens_the_next():
    _, opened, _ = supervised(SessionEnd(TransportError("anew"), greeting=b"\x01hello"))

    assert [session.given for session in opened] == [None, b"\x01hello"]


@pytest.mark.parametrize("error", [AuthenticationError("other secrets"), RemoteProtocolError("other parameters")])
def test_three_failures_that_only_a_person_can_mend_are_a_bad_start(error):
    bad, opened, _ = supervised(*[SessionEnd(error)] * 3)

    assert bad is error
    assert len(opened) == 3


def test_a_peer_that_goes_away_is_never_a_bad_start():
    bad, opened, _ = supervised(*[SessionEnd(TransportError("gone"))] * 6)

    assert bad is None
    assert len(opened) == 7


def test_nothing_is_a_bad_start_once_a_session_was_agreed_on():
    bad, _, _ = supervised(*[SessionEnd(AuthenticationError("forged"))] * 4, agreed=True)

    assert bad is None


def test_a_stop_while_a_session_is_being_opened_ends_it_at_once():
    async def scenario():
        session = Session(None)

        async def open_session():
            supervisor.stop()
            return session

        async def at_once():
            pass

        desk = desks(World.new(tiny_recipe("cascade")).secrets)[Party.BOB]
        supervisor = Supervisor(open_session, at_once, lambda _end: None, desk, QUICK)
        await asyncio.wait_for(supervisor.run(), 5)
        return session.stopped.is_set()

    assert asyncio.run(scenario())


@pytest.mark.parametrize(("has_matched", "asked"), [(False, [1, 2, 3]), (True, [1, 1, 1])])
def test_a_session_that_matched_its_slots_was_a_good_one_however_short(has_matched, asked):
    Noting.asked.clear()
    supervised(*[SessionEnd(TransportError("gone"), was_distilling=has_matched)] * 3, policy=Noting())

    assert Noting.asked[:3] == asked


def test_whoever_is_greeted_keeps_nobody_waiting():
    async def at_once():
        pass

    patient = RestartPolicy(first_seconds=1000, most_seconds=1000, jitter=0)
    bad, opened, _ = supervised(SessionEnd(TransportError("gone")), policy=patient, knock=at_once)

    assert bad is None
    assert len(opened) == 2


def test_waits_grow_to_a_bound_and_keep_their_jitter():
    policy = RestartPolicy(first_seconds=1, factor=2, most_seconds=10, jitter=0.5)

    assert [policy.wait_seconds(count, 0.0) for count in (1, 2, 3, 4, 5, 100)] == [1, 2, 4, 8, 10, 10]
    assert policy.wait_seconds(3, 1.0) == 2
