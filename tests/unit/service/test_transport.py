"""The channel between two daemons: one peer, nobody else, and it knows when he is gone."""

import asyncio
import contextlib
import multiprocessing
import time
from unittest import mock

import pytest
import zmq
import zmq.asyncio

from common.errors import ConfigurationError, TransportError
from common.service.credentials import ChannelKeys
from common.service.loop_socket import LoopSocket
from common.service.transport import FRAMES_IN_MEMORY, Transport
from common.service.wire import DELIVERY, GREETING, MAXIMUM_FRAME_BYTES, SESSION, Sign
from tests.support.noise import DEEDS, OneDeed
from tests.support.relay import BACKWARD, FORWARD, Relay
from tests.unit.service.nodes import connected, free_port, key_pair, sections

FRAME = bytes((SESSION,)) + b"hello"


def test_frames_travel_both_ways_in_order():
    async def scenario():
        async with connected() as (joining, listening):
            for number in range(20):
                await joining.send(FRAME + bytes((number,)))
            heard = [await asyncio.wait_for(listening.receive(), 2) for _ in range(20)]
            await listening.send(b"\x02back")
            return heard, await asyncio.wait_for(joining.receive(), 2)

    heard, back = asyncio.run(scenario())

    assert heard == [FRAME + bytes((number,)) for number in range(20)]
    assert back == b"\x02back"


def test_the_longest_frame_gets_through_and_a_longer_one_does_not():
    async def scenario():
        async with connected() as (joining, listening):
            await joining.send(b"\x02" * MAXIMUM_FRAME_BYTES)
            longest = await asyncio.wait_for(listening.receive(), 5)
            await joining.send(b"\x02" * (MAXIMUM_FRAME_BYTES + 4096))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(listening.receive(), 0.5)
            return len(longest)

    assert asyncio.run(scenario()) == MAXIMUM_FRAME_BYTES


def test_messages_about_keys_for_which_nobody_listens_keep_no_greeting_from_being_seen():
    async def scenario():
        async with connected() as (joining, listening):
            for _ in range(3 * FRAMES_IN_MEMORY):
                await joining.send(bytes((DELIVERY,)) + b"state")
            await joining.send(bytes((GREETING,)) + b"hello")
            await asyncio.wait_for(listening.wait_greeting(), 5)
            return await listening.receive()

    assert asyncio.run(scenario()) == bytes((GREETING,)) + b"hello"


def test_a_stranger_is_refused_and_counted_while_the_peer_goes_on():
    async def scenario():
        async with connected() as (joining, listening):
            stranger_public, stranger_secret = key_pair()
            context = zmq.asyncio.Context()
            stranger = context.socket(zmq.DEALER)
            stranger.curve_secretkey, stranger.curve_publickey = stranger_secret, stranger_public
            stranger.curve_serverkey = listening._keys.public
            stranger.setsockopt(zmq.ROUTING_ID, b"peer")
            stranger.connect(listening._settings.bind)
            await stranger.send(b"\x02let me in")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(listening.receive(), 0.6)
            refused = listening.counts.strangers
            context.destroy(linger=0)
            await joining.send(FRAME)
            return refused, await asyncio.wait_for(listening.receive(), 2)

    refused, heard = asyncio.run(scenario())

    assert refused >= 1
    assert heard == FRAME


def test_a_connection_without_curve_is_refused():
    async def scenario():
        async with connected() as (_, listening):
            context = zmq.asyncio.Context()
            plain = context.socket(zmq.DEALER)
            plain.connect(listening._settings.bind)
            await plain.send(b"\x02hello")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(listening.receive(), 0.6)
            context.destroy(linger=0)
            return listening.counts.failed_handshakes

    assert asyncio.run(scenario()) >= 1


def test_both_ends_notice_when_the_other_one_goes_and_when_he_comes_back():
    async def scenario():
        (ours, our_secret), (theirs, their_secret) = key_pair(), key_pair()
        joining, listening = sections(free_port())
        server = Transport(listening, ChannelKeys(their_secret, ours))
        await server.start()
        for _ in range(2):
            client = Transport(joining, ChannelKeys(our_secret, theirs))
            await client.start()
            await asyncio.wait_for(asyncio.gather(client.wait_present(), server.wait_present()), 5)
            await client.send(FRAME)
            assert await asyncio.wait_for(server.receive(), 2) == FRAME
            await client.stop()
            await asyncio.wait_for(server.wait_absent(), 5)
            with pytest.raises(TransportError):
                await server.send(FRAME)
        arrivals = server.counts.arrivals
        await server.stop()
        return arrivals

    assert asyncio.run(scenario()) == 2


def test_whoever_waits_to_send_hears_at_once_that_the_peer_is_gone():
    async def scenario():
        (ours, our_secret), (theirs, their_secret) = key_pair(), key_pair()
        joining, listening = sections(free_port(), silence_seconds=60.0)
        server, client = Transport(listening, ChannelKeys(their_secret, ours)), Transport(joining, ChannelKeys(our_secret, theirs))
        await server.start()
        await client.start()
        await asyncio.wait_for(asyncio.gather(client.wait_present(), server.wait_present()), 5)

        async def send_for_ever():
            while True:
                await client.send(b"\x02" * 100_000)

        sending = asyncio.create_task(send_for_ever())
        await asyncio.sleep(0.2)
        assert not sending.done()
        await server.stop()
        with pytest.raises(TransportError, match="the peer is gone"):
            await asyncio.wait_for(sending, 5)
        await client.stop()

    asyncio.run(scenario())


def test_a_greeting_that_waits_is_known_until_it_is_received():
    async def scenario():
        async with connected() as (joining, listening):
            await joining.send(FRAME)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(listening.wait_greeting(), 0.3)
            await joining.send(bytes((GREETING,)) + b"hello")
            await asyncio.wait_for(listening.wait_greeting(), 5)
            assert await listening.receive() == FRAME
            await asyncio.wait_for(listening.wait_greeting(), 0.1)
            await listening.receive()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(listening.wait_greeting(), 0.1)

    asyncio.run(scenario())


PLACES = (0, 70, 500, 1000)
"""Bytes after which a deed is done: in the greeting of ZeroMQ, in the handshake, in the first frames."""


async def recovered_from(deed, direction, after_bytes):
    """Whether the channel comes back by itself after one deed on the wire; None where the wire was too quiet for it."""
    (ours, our_secret), (theirs, their_secret) = key_pair(), key_pair()
    port = free_port()
    done = OneDeed(deed, direction, after_bytes)
    with Relay(port, done) as relay:
        client = Transport(sections(relay.port)[0], ChannelKeys(our_secret, theirs))
        server = Transport(sections(port)[1], ChannelKeys(their_secret, ours))
        await server.start()
        await client.start()
        try:
            for _ in range(50):
                if done.done:
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.5)
            for _ in range(150):  # what was queued may be lost with its connection, so it is said again
                if client.is_present and server.is_present:
                    with contextlib.suppress(TransportError, TimeoutError):
                        await client.send(FRAME)
                        return done.done and await asyncio.wait_for(server.receive(), 1) == FRAME
                await asyncio.sleep(0.1)
            return False
        finally:
            await client.stop()
            await server.stop()


@pytest.mark.parametrize("direction", [FORWARD, BACKWARD])
def test_whatever_is_done_to_the_bytes_once_the_channel_comes_back(direction):
    async def scenario():
        tried = [(deed, after_bytes) for deed in DEEDS for after_bytes in PLACES]
        return dict(zip(tried, await asyncio.gather(*(recovered_from(deed, direction, after) for deed, after in tried)), strict=True))

    assert [case for case, came_back in asyncio.run(scenario()).items() if not came_back] == []


def stop_while_handshakes_fail():
    """Stop a connecting end that the other one refuses, each socket taking longer to close than an attempt to connect takes."""
    close = LoopSocket.close

    def slow(self):
        close(self)
        time.sleep(0.6)

    async def scenario():
        (ours, our_secret), (_, their_secret) = key_pair(), key_pair()
        joining, listening = sections(free_port())
        ends = Transport(joining, ChannelKeys(our_secret, key_pair()[0])), Transport(listening, ChannelKeys(their_secret, ours))
        for end in reversed(ends):
            await end.start()
        while not ends[0].counts.failed_handshakes:  # noqa: ASYNC110 - counters tell nobody
            await asyncio.sleep(0.02)
        for end in ends:
            await end.stop()

    with mock.patch.object(LoopSocket, "close", slow):
        asyncio.run(scenario())


def test_an_end_stops_while_its_handshakes_fail():
    """An event that ZeroMQ tells to nobody, because we have stopped to listen, would hold its thread and ours for ever."""
    stopping = multiprocessing.get_context("spawn").Process(target=stop_while_handshakes_fail)
    stopping.start()
    stopping.join(60)
    status = stopping.exitcode
    stopping.kill()
    stopping.join()

    assert status == 0


def test_a_port_in_use_is_named():
    async def scenario():
        async with connected() as (_, listening):
            public, secret = key_pair()
            second = Transport(listening._settings, ChannelKeys(secret, public))
            with pytest.raises(ConfigurationError, match=r"channel\.bind tcp://127\.0\.0\.1:\d+: Address already in use"):
                await second.start()

    asyncio.run(scenario())


@pytest.mark.parametrize("delay_seconds", [0.0, 0.1])
def test_round_trips_are_measured_by_signs_of_life(monkeypatch, delay_seconds):
    """The answer to a sign is held back until the next heartbeat: what counts is the way, not the wait."""
    read = Transport._read_sign

    async def late(self, frame):
        await asyncio.sleep(delay_seconds)
        await read(self, frame)

    monkeypatch.setattr(Transport, "_read_sign", late)

    async def scenario():
        async with connected(heartbeat_seconds=0.05) as ends:
            while any(end.round_trip_seconds is None for end in ends):  # noqa: ASYNC110 - a sign tells nobody
                await asyncio.sleep(0.05)
            return [end.round_trip_seconds for end in ends]

    for seconds in asyncio.run(asyncio.wait_for(scenario(), 10)):
        assert 2 * delay_seconds <= seconds < 2 * delay_seconds + 5.0


def test_a_sign_is_read_as_it_was_written_and_nothing_else_is_one():
    sign = Sign(busy=True, answer=False, sent_us=3, echoed_us=2**63, held_us=1)

    assert Sign.read(sign.frame()) == sign
    assert Sign.read(sign.frame() + b"\0") is None
    assert Sign.read(sign.frame()[:2]) is None
