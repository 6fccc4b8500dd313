"""The quantum channel as a process: serves Alice what she emits and Bob his time tags, and turns when somebody turns it.

Stretch by stretch the link is emulated (or a recorded run played) in a thread and sent to whoever is connected. A consumer that is slow or
absent stops a pausable link, so memory stays bounded at one stretch and the sockets' buffers; one that dies misses what was on its way,
and the next batch says so. ``python -m common.emulator`` and ``qkd-fibre`` run it; the live stations of both ends read it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, TypeVar

import numpy as np

from common.emulator.actuators import MOST_LINE_BYTES, Actuator, ActuatorBoard, number
from common.emulator.settings import FibreSettings
from common.emulator.sources import PlayedStretch, StretchSource
from common.errors import ConfigurationError
from common.observability.logs import logger
from common.service.streams import StreamAddress
from common.timetags.live import (
    FLAG_END,
    FLAG_GAP,
    MOST_ITEMS,
    emission_content,
    encode_line,
    encode_progress,
    encode_settings,
    encode_tags,
)

BATCH_TAGS: Final = 1 << 14
"""Tags in a batch: 144 KiB."""

BUFFER_BYTES: Final = 1 << 18
"""Bytes that wait for a consumer before the link waits with them; whoever matches slots anew has to search all that is under way."""

LARGEST_LAG_SECONDS: Final = 1.0
"""A link held to a speed makes up for pauses no longer than this."""

T = TypeVar("T")


class Consumer:
    """One end's connection: at most one at a time, the newest.

    Parameters
    ----------
    name : str
        For the log.
    pausable : bool
        Whether sending waits for it.
    """

    def __init__(self, name: str, *, pausable: bool) -> None:
        self.name = name
        self.has_missed = False
        self.connected = asyncio.Event()
        self.sequence = 0
        self._pausable = pausable
        self._was_connected = False
        self._writer: asyncio.StreamWriter | None = None

    async def attach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeting: list[bytes]) -> None:
        """Serve a new connection until it ends.

        Parameters
        ----------
        reader, writer : asyncio.StreamReader, asyncio.StreamWriter
            The connection.
        greeting : list[bytes]
            What is sent first.
        """
        self.detach(self._writer)
        writer.transport.set_write_buffer_limits(high=BUFFER_BYTES)
        try:
            for part in greeting:
                writer.write(part)
                await writer.drain()
            self.has_missed |= self._was_connected
            self._was_connected = True
            self._writer = writer
            self.connected.set()
            logger("fibre").info("consumer connected", consumer=self.name)
            while await reader.read(MOST_LINE_BYTES):
                pass  # consumers have nothing to say; the end of what they say is the end of the connection
        except OSError:
            pass
        finally:
            self.detach(writer)

    def detach(self, writer: asyncio.StreamWriter | None) -> None:
        """Close a connection; the consumer is absent if it was the present one, ``writer``."""
        if writer is None:
            return
        writer.transport.abort()
        if writer is self._writer:
            self._writer = None
            self.connected.clear()
            logger("fibre").info("consumer gone", consumer=self.name)

    async def send(self, encoded: Callable[[int, int], bytes]) -> None:
        """Send one batch; waits for a consumer, or lets it miss the batch.

        Parameters
        ----------
        encoded : callable
            ``encoded(sequence, flags)`` gives the bytes, gap flag included.
        """
        if self._pausable:
            await self.connected.wait()
        writer = self._writer
        self.sequence += 1
        if writer is None or (not self._pausable and writer.transport.get_write_buffer_size() > BUFFER_BYTES):
            self.has_missed = True
            return
        flags, self.has_missed = FLAG_GAP if self.has_missed else 0, False
        try:
            writer.write(encoded(self.sequence, flags))
            if self._pausable:
                await writer.drain()
        except OSError:
            self.detach(writer)
            self.has_missed = True


class Fibre:
    """The process without its signals.

    Parameters
    ----------
    settings : FibreSettings
        Checked.
    source : StretchSource
        What is played.

    Attributes
    ----------
    run_name : str
        Names this run; another run is another time scale.
    alice, bob : Consumer
        The two ends.
    """

    def __init__(self, settings: FibreSettings, source: StretchSource) -> None:
        self.run_name = secrets.token_hex(8)
        self._settings = settings
        self._source = source
        self.alice = Consumer("alice", pausable=settings.fibre.pausable)
        self.bob = Consumer("bob", pausable=settings.fibre.pausable)
        self._turn = asyncio.Lock()
        self._speed = settings.fibre.speed
        self._pace_from = (monotonic(), 0.0)
        self._emitted_through_slot = source.record.header.first_slot - 1
        self._is_over = False
        speed = Actuator(lambda: self._speed, self._set_speed)
        self._board = ActuatorBoard(source.actuators | {"speed": speed}, lambda: source.link_seconds)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Serve until cancelled.

        Parameters
        ----------
        ready : callable
            Called once all sockets listen.

        Raises
        ------
        ConfigurationError
            If a socket cannot be had.
        """
        serve = self._settings.serve
        servers: list[asyncio.Server] = []
        addresses: list[StreamAddress] = []
        try:
            for text, handler in ((serve.alice, self._greet_alice), (serve.bob, self._greet_bob), (serve.control, self._control)):
                addresses.append(StreamAddress.parse(text, self._settings.folder))
                servers.append(await _listening(addresses[-1], handler))
            ready()
            await self._play()
            await asyncio.Event().wait()  # the streams have ended, and whoever comes is told so
        finally:
            for server in servers:
                server.close()
            for address in addresses[: len(servers)]:
                address.path.unlink(missing_ok=True) if address.scheme == "unix" else None
            self.alice.detach(self.alice._writer)  # noqa: SLF001 - ours
            self.bob.detach(self.bob._writer)  # noqa: SLF001 - ours

    async def _play(self) -> None:
        while True:
            if self._settings.fibre.pausable:
                await self.alice.connected.wait()
                await self.bob.connected.wait()
            async with self._turn:
                stretch = await _in_thread(self._source.next_stretch)
            if stretch is None:
                break
            await self._hold_pace(stretch.link_seconds)
            await self._publish(stretch)
        self._is_over = True
        await self.alice.send(self._last_of_alice)
        await self.bob.send(_last_of_bob)
        logger("fibre").info("link time is over", link_seconds=self._source.link_seconds)

    async def _publish(self, stretch: PlayedStretch) -> None:
        """Tell Alice first, so that she knows what Bob is about to ask for."""
        before, self._emitted_through_slot = self._emitted_through_slot, stretch.emitted_through_slot
        if self._source.record.expander_key is not None:
            await self.alice.send(lambda sequence, flags: encode_progress(stretch.emitted_through_slot, sequence, flags & ~FLAG_GAP))
        elif before != stretch.emitted_through_slot:
            await self._send_packed()
        for first in range(0, stretch.t_ps.size, BATCH_TAGS):
            t_ps, channel = stretch.t_ps[first : first + BATCH_TAGS], stretch.channel[first : first + BATCH_TAGS]
            await self.bob.send(lambda sequence, flags, t=t_ps, c=channel: encode_tags(t, c, sequence, flags))  # type: ignore[misc]

    async def _send_packed(self) -> None:
        for part in self._packed_parts():
            await self.alice.send(lambda sequence, _flags, part=part: encode_settings(part, sequence))  # type: ignore[misc]

    def _packed_parts(self) -> list[Any]:
        """A packed record comes from a recorded run and is sent whole."""
        record = self._source.record
        return [record.packed_part(start, MOST_ITEMS) for start in range(0, record.header.packed_bytes, MOST_ITEMS)]

    def _last_of_alice(self, sequence: int, _flags: int) -> bytes:
        if self._source.record.expander_key is None:
            return encode_settings(self._source.record.packed_part(0, 0), sequence, FLAG_END)
        return encode_progress(self._emitted_through_slot, sequence, FLAG_END)

    async def _greet_alice(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        record, alice = self._source.record, self.alice
        greeting = [encode_line(emission_content(record.header, record.expander_key, self.run_name))]
        emitted = self._emitted_through_slot >= record.header.first_slot
        if emitted and record.expander_key is None:
            for part in self._packed_parts():
                alice.sequence += 1
                greeting.append(encode_settings(part, alice.sequence))
        if emitted or self._is_over:
            alice.sequence += 1
            if self._is_over:
                greeting.append(self._last_of_alice(alice.sequence, 0))
            elif record.expander_key is not None:
                greeting.append(encode_progress(self._emitted_through_slot, alice.sequence))
        await alice.attach(reader, writer, greeting)

    async def _greet_bob(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channels, divider = self._source.channels, self._source.sync_divider
        greeting = [encode_line({"channels": channels, "sync_divider": divider, "run": self.run_name})]
        if self._is_over:
            self.bob.sequence += 1
            greeting.append(_last_of_bob(self.bob.sequence, FLAG_GAP))
        await self.bob.attach(reader, writer, greeting)

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readuntil(b"\n"):
                async with self._turn:
                    answer = self._board.answer(line)
                logger("fibre").info("actuator", request=line.decode(errors="replace").strip(), answer=answer.decode().strip())
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            writer.close()

    def _set_speed(self, value: object) -> None:
        speed = None if value is None else number("speed", value)
        if speed is not None and not 0.0 < speed < float("inf"):
            raise ConfigurationError(f"speed: {speed!r}; choose seconds of link a second, or null for as fast as the consumers")
        self._speed = speed
        self._pace_from = (monotonic(), self._source.link_seconds)

    async def _hold_pace(self, link_seconds: float) -> None:
        """Wait until so much link time may have passed."""
        if self._speed is None:
            return
        since, from_link_seconds = self._pace_from
        due = since + (link_seconds - from_link_seconds) / self._speed
        ahead_seconds = due - monotonic()
        if ahead_seconds < -LARGEST_LAG_SECONDS:
            self._pace_from = (monotonic(), link_seconds)
        elif ahead_seconds > 0.0:
            await asyncio.sleep(ahead_seconds)


def _last_of_bob(sequence: int, flags: int) -> bytes:
    return encode_tags(np.zeros(0, np.int64), np.zeros(0, np.uint8), sequence, flags | FLAG_END)


async def _listening(address: StreamAddress, handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> asyncio.Server:
    """Listen at an address; a unix socket left behind by a dead process is replaced."""
    try:
        if address.scheme == "tcp":
            return await asyncio.start_server(handler, address.host, address.port, limit=MOST_LINE_BYTES)
        address.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if address.path.exists() and stat.S_ISSOCK(address.path.stat().st_mode):
            try:
                _, writer = await asyncio.open_unix_connection(address.path)
            except OSError:
                address.path.unlink(missing_ok=True)
            else:
                writer.close()
                raise ConfigurationError(f"serve: {address} is in use; is another qkd-fibre running?")
        before = os.umask(0o177)  # what Alice emits is secret: nobody else may connect
        try:
            return await asyncio.start_unix_server(handler, address.path, limit=MOST_LINE_BYTES)
        finally:
            os.umask(before)
    except OSError as refused:
        raise ConfigurationError(f"serve: {address}: {refused.strerror or refused}; choose another address") from None


async def _in_thread(function: Callable[[], T]) -> T:
    """Run a function in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function()
        except Exception as raised:  # noqa: BLE001 - handed to whoever waits
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="emulation", daemon=True).start()
    return await done
