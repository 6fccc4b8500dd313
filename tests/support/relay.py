"""A wire between two processes that a test can listen to, cut in one direction, delay, and tamper with; plain TCP, one thread."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

PIECE_BYTES = 1 << 16

FORWARD, BACKWARD = "forward", "backward"
"""From whoever connects to whoever listens, and the other way."""


def untouched(_direction: str, data: bytes) -> bytes:
    return data


class Relay:
    """Listens on a loopback port of its own and passes everything on to ``target_port``.

    ``touch`` sees every piece of bytes and returns what travels on in its place. A direction in ``cut`` swallows bytes in silence, as a
    firewall that drops packets would; bytes swallowed are gone, so a stream that was cut is only good for being closed afterwards
    (``drop_connections``). A direction in ``held`` keeps them until it is let go.
    """

    def __init__(self, target_port: int, touch: Callable[[str, bytes], bytes] = untouched, delay_seconds: float = 0.0) -> None:
        self.target_port = target_port
        self.touch = touch
        self.delay_seconds = delay_seconds
        self.cut: set[str] = set()
        self.held: set[str] = set()
        self.count_bytes: Counter[str] = Counter()
        self.count_connections = 0
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), name="relay", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        self._loop.close()

    def drop_connections(self) -> None:
        """Reset every connection; both ends may connect anew."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._over.wait()
        self._abort()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count_connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.close()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._pass_on(FORWARD, reader, far_writer), self._pass_on(BACKWARD, far_reader, writer))
        except OSError:
            pass
        finally:
            self._writers -= both
            for end in both:
                end.transport.abort()

    async def _pass_on(self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(PIECE_BYTES):
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            while direction in self.held:  # noqa: ASYNC110 - set from the test's thread
                await asyncio.sleep(0.01)
            if direction in self.cut:
                continue
            self.count_bytes[direction] += len(data)
            writer.write(self.touch(direction, data))
            await writer.drain()
        writer.close()
