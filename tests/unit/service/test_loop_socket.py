"""A ZeroMQ socket on the event loop: whoever waits goes on, whichever call has consumed the word that he may."""

import asyncio
import contextlib
import time

import pytest
import zmq

from common.service.loop_socket import MOST_AT_ONCE, LoopSocket


@contextlib.contextmanager
def pair(most_queued=4):
    """Two connected sockets that queue few messages."""
    context = zmq.Context()
    near, far = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
    for socket in (near, far):
        socket.setsockopt(zmq.SNDHWM, most_queued)
        socket.setsockopt(zmq.RCVHWM, most_queued)
        socket.setsockopt(zmq.LINGER, 0)
    far.bind("inproc://loop-socket")
    near.connect("inproc://loop-socket")
    ends = LoopSocket(near), LoopSocket(far)
    try:
        yield ends
    finally:
        for end in ends:
            end.close()
        context.term()


def test_messages_arrive_in_order_while_both_ends_are_slower_than_their_queues():
    async def scenario():
        with pair() as (near, far):
            count = 3 * MOST_AT_ONCE

            async def send(socket):
                for number in range(count):
                    await socket.send([b"part", number.to_bytes(2, "big")])

            async def receive(socket):
                return [int.from_bytes((await socket.receive())[-1], "big") for _ in range(count)]

            *_, at_far, at_near = await asyncio.wait_for(asyncio.gather(send(near), send(far), receive(far), receive(near)), 20)
            return at_far, at_near, list(range(count))

    at_far, at_near, expected = asyncio.run(scenario())

    assert at_far == at_near == expected


def test_without_room_nothing_is_sent_at_once_and_whoever_waits_goes_on_when_there_is():
    async def scenario():
        with pair() as (near, far):
            sent = 0
            while near.send_at_once([bytes((sent,))]):
                sent += 1
            waiting = asyncio.create_task(near.send([b"late"]))
            await asyncio.sleep(0.05)
            was_waiting = not waiting.done()
            received = [(await asyncio.wait_for(far.receive(), 5))[0] for _ in range(sent + 1)]
            await asyncio.wait_for(waiting, 5)
            return was_waiting, sent, received

    was_waiting, sent, received = asyncio.run(scenario())

    assert was_waiting
    assert received == [bytes((number,)) for number in range(sent)] + [b"late"]


def test_a_message_that_comes_between_a_vain_look_and_the_wait_is_received_while_another_waits_to_send():
    async def scenario():
        with pair() as (near, far):
            while near.send_at_once([b"queued"]):
                pass
            waiting = asyncio.create_task(near.send([b"late"]))
            await asyncio.sleep(0.05)
            near.socket = _Late(near.socket, lambda: far.send_at_once([b"word"]))
            received = await asyncio.wait_for(near.receive(), 5)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return received

    assert asyncio.run(scenario()) == [b"word"]


class _Late:
    """A socket on which a message arrives just after nothing was found there."""

    def __init__(self, socket, arrive):
        self._socket = socket
        self._arrive = arrive

    def recv_multipart(self, flags):
        try:
            return self._socket.recv_multipart(flags)
        except zmq.Again:
            arrive, self._arrive = self._arrive, lambda: None
            arrive()
            time.sleep(0.05)
            raise

    def __getattr__(self, name):
        return getattr(self._socket, name)


def test_a_receiver_that_was_cancelled_loses_nothing():
    async def scenario():
        with pair() as (near, far):
            waiting = asyncio.create_task(far.receive())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await near.send([b"one"])
            return await asyncio.wait_for(far.receive(), 5)

    assert asyncio.run(scenario()) == [b"one"]


def test_others_on_the_loop_get_their_turn_while_messages_keep_coming():
    async def scenario():
        with pair(most_queued=10 * MOST_AT_ONCE) as (near, far):
            for number in range(2 * MOST_AT_ONCE + 1):
                assert near.send_at_once([bytes((number,))])
            turns = 0

            async def count_turns():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counting = asyncio.create_task(count_turns())
            for _ in range(2 * MOST_AT_ONCE + 1):
                await far.receive()
            counting.cancel()
            return turns

    assert asyncio.run(scenario()) >= 2
