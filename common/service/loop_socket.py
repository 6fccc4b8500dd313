"""A ZeroMQ socket on the event loop, read and written without a future for every message.

``zmq.asyncio`` makes several futures for a message and asks the socket for its state after each; at thousands of messages a second that
is a third of what the loop does. Here a message that has come is taken at once, and one for which there is room is sent at once; only
who has to wait gets a future. Used by ``transport``.

References
----------
ZeroMQ manual, zmq_getsockopt, ZMQ_FD: the file descriptor tells of a change, which may be consumed by any call, so whoever waits is looked
after behind every call.
"""

from __future__ import annotations

import asyncio

import zmq

MOST_AT_ONCE = 64
"""Messages taken in a row before everything else on the loop gets its turn."""

_RECEIVE, _SEND = int(zmq.POLLIN), int(zmq.POLLOUT)


class LoopSocket:
    """One socket; one task reads it and one at a time writes to it.

    Parameters
    ----------
    socket : zmq.Socket
        A blocking one, configured; closed by ``close``.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket
        self._loop = asyncio.get_running_loop()
        self._file = int(socket.get(zmq.FD))
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._count_at_once = 0
        self._loop.add_reader(self._file, self._look)

    async def receive(self) -> list[bytes]:
        """Wait for a message.

        Returns
        -------
        list[bytes]
            The parts of the next one.
        """
        if self._count_at_once >= MOST_AT_ONCE:
            self._count_at_once = 0
            await asyncio.sleep(0)
        while True:
            try:
                parts = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                self._count_at_once = 0
                await self._wait(_RECEIVE)
            else:
                self._count_at_once += 1
                self._look_after(_SEND)
                return parts

    def send_at_once(self, parts: list[bytes]) -> bool:
        """Send a message if there is room for it.

        Parameters
        ----------
        parts : list[bytes]
            Its parts.

        Returns
        -------
        bool
            Whether it is on its way.

        Raises
        ------
        zmq.ZMQError
            If there is nobody to send it to.
        """
        try:
            self.socket.send_multipart(parts, zmq.DONTWAIT)
        except zmq.Again:
            return False
        finally:
            self._look_after(_RECEIVE)  # a sender that waits looks once more itself
        return True

    async def send(self, parts: list[bytes]) -> None:
        """Send a message of these ``parts``, waiting for room; raises as ``send_at_once`` does."""
        while not self.send_at_once(parts):
            await self._wait(_SEND)

    def close(self) -> None:
        """Close the socket; nobody may wait for it any more."""
        self._loop.remove_reader(self._file)
        self.socket.close()

    async def _wait(self, what: int) -> None:
        """Wait until ``what`` may be possible; looked at only once we are known to wait, for looking consumes the word."""
        waiter = self._waiting[what] = self._loop.create_future()
        try:
            self._look()
            if waiter.done():
                await asyncio.sleep(0)  # whatever the state promises, everybody else gets a turn before the next try
            await waiter
        finally:
            del self._waiting[what]

    def _look_after(self, what: int) -> None:
        """Wake who waits for ``what``, if the call just made has consumed the word that it may go on."""
        if what in self._waiting:
            self._look()

    def _look(self) -> None:
        state = int(self.socket.get(zmq.EVENTS))
        for what, waiter in self._waiting.items():
            if state & what and not waiter.done():
                waiter.set_result(None)
