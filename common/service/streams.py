"""Live streams from a socket or a FIFO: a reading thread that connects, reconnects and hands on what the parser found.

A stream that can be paused (an emulator, a file) is slowed by not reading it; one that cannot (hardware) loses batches while the queue is
full, whatever they hold, and the next batch says so. Bytes go through ``common.timetags.live``; items go to the live stations of
``alice`` and ``bob``, either at once or through ``BatchQueue``.
"""

from __future__ import annotations

import dataclasses
import os
import select
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final, Literal, Self

from common.errors import ConfigurationError, QkdError, StreamError
from common.observability.logs import SparingLogger
from common.timetags.live import TAG_BYTES, StreamItem, StreamKind, StreamParser, TagBatch, TagStream

READ_BYTES: Final = 1 << 20
"""Bytes asked for at a time."""

POLL_SECONDS: Final = 0.2
"""How long a read waits before it looks whether it should stop."""

CONNECT_SECONDS: Final = 5.0
"""Patience for a connection."""

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 2.0
"""Pause before the first and before late attempts to reconnect; it doubles between them."""

QUEUE_BYTES: Final = 16 << 20
"""Tags that wait: 1.8 million; what a sender that does not wait may be ahead of us."""

PAUSABLE_QUEUE_BYTES: Final = 1 << 19
"""Tags that wait where the sender waits as well: a few batches do, and whoever matches slots anew has less to search."""

LONGEST_UNIX_PATH: Final = 107
"""Bytes of a unix socket's path the kernel takes."""


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """Where a stream is served.

    Attributes
    ----------
    scheme : str
        ``unix``, ``tcp`` or ``fifo``.
    path : Path
        Of a unix socket or FIFO.
    host, port : str, int
        Of a TCP socket.
    """

    scheme: Literal["unix", "tcp", "fifo"]
    path: Path = Path()
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str, folder: Path) -> Self:
        """Read an address.

        Parameters
        ----------
        text : str
            ``unix:PATH``, ``tcp://HOST:PORT`` or ``fifo:PATH``.
        folder : Path
            Relative paths begin here.

        Returns
        -------
        StreamAddress
            The address.

        Raises
        ------
        ConfigurationError
            If it is none of these, or the path too long for a socket.
        """
        scheme, _, rest = text.partition(":")
        if scheme == "tcp":
            host, colon, port = rest.removeprefix("//").rpartition(":")
            if not rest.startswith("//") or not colon or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
                raise ConfigurationError(f"stream address {text!r}: write tcp://HOST:PORT")
            return cls("tcp", host=host.strip("[]"), port=int(port))
        if scheme not in {"unix", "fifo"} or not rest:
            raise ConfigurationError(f"stream address {text!r}: write unix:PATH, tcp://HOST:PORT or fifo:PATH")
        path = folder / rest
        if scheme == "unix" and len(os.fsencode(path)) > LONGEST_UNIX_PATH:
            raise ConfigurationError(f"stream address {text!r}: a unix socket's path has at most {LONGEST_UNIX_PATH} bytes, this one more")
        return cls("unix" if scheme == "unix" else "fifo", path=path)

    def __str__(self) -> str:
        return f"tcp://{self.host}:{self.port}" if self.scheme == "tcp" else f"{self.scheme}:{self.path}"


@dataclass(slots=True)
class StreamCounts:
    """What a stream has brought.

    Attributes
    ----------
    connections, batches, items : int
        Connections that brought a beginning, batches read, and tags in them.
    gaps : int
        Batches behind a gap, reconnections and overload included.
    dropped_batches, dropped_tags : int
        Lost because the queue was full.
    problem : str
        The last reason for a reconnection; empty while all is well.
    """

    connections: int = 0
    batches: int = 0
    items: int = 0
    gaps: int = 0
    dropped_batches: int = 0
    dropped_tags: int = 0
    problem: str = ""


class BatchQueue:
    """A bounded queue between the reading thread and a station; what waits of an earlier run of the sender is dropped when another begins.

    Parameters
    ----------
    pausable : bool
        Whether the reading thread waits while the queue is full; else tags that arrive then are dropped.
    capacity_bytes : int | None
        Tags that may wait; chosen by what the sender does unless given.
    """

    def __init__(self, *, pausable: bool = True, capacity_bytes: int | None = None) -> None:
        self.count_dropped_batches = self.count_dropped_tags = 0
        self._pausable = pausable
        self._capacity_bytes = capacity_bytes or (PAUSABLE_QUEUE_BYTES if pausable else QUEUE_BYTES)
        self._waiting: deque[StreamItem] = deque()
        self._waiting_bytes = 0
        self._is_closed = self._has_dropped = False
        self._run = ""
        self._changed = threading.Condition()

    def put(self, item: StreamItem) -> None:
        """Add an item; waits, or drops it, while the queue is full.

        Parameters
        ----------
        item : StreamItem
            The next item.
        """
        size = _size(item)
        with self._changed:
            if isinstance(item, TagStream) and item.run:
                if item.run != self._run:
                    self._forget()  # of another time scale: who emitted them has moved on as well, and no session could match them
                self._run = item.run
            if self._pausable:
                self._changed.wait_for(lambda: self._is_closed or self._has_room(size))
            elif isinstance(item, TagBatch) and not item.ended:
                if not self._has_room(size):
                    self.count_dropped_batches += 1
                    self.count_dropped_tags += int(item.t_ps.size)
                    self._has_dropped = True
                    return
                if self._has_dropped:
                    item = dataclasses.replace(item, gap=True)
                    self._has_dropped = False
            self._waiting.append(item)
            self._waiting_bytes += size
            self._changed.notify_all()

    def next(self, timeout_seconds: float) -> StreamItem | None:
        """Return the next item, or None where none comes within ``timeout_seconds``.

        Raises
        ------
        StreamError
            If the queue has been closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or bool(self._waiting), timeout_seconds)
            if self._is_closed:
                raise StreamError("the stream is closed: the node is stopping")
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            self._waiting_bytes -= _size(item)
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Wake everybody who waits; nothing is handed out any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _forget(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0
        self._has_dropped = False

    def _has_room(self, size: int) -> bool:
        return not self._waiting or self._waiting_bytes + size <= self._capacity_bytes


def _size(item: StreamItem) -> int:
    return TAG_BYTES * int(item.t_ps.size) if isinstance(item, TagBatch) else 0


class StreamClient:
    """Reads a stream in a thread of its own, for as long as it is open.

    Parameters
    ----------
    address : StreamAddress
        Where it is served.
    kind : str
        ``tags`` or ``emission``.
    deliver : callable
        Takes each item, in the reading thread; what it raises of ours ends the connection, and another is made.
    """

    def __init__(self, address: StreamAddress, kind: StreamKind, deliver: Callable[[StreamItem], None]) -> None:
        self.address = address
        self.counts = StreamCounts()
        self._kind: StreamKind = kind
        self._deliver = deliver
        self._log = SparingLogger("stream")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{kind}-stream", daemon=True)

    def start(self) -> None:
        """Begin to connect and read."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading; returns once the thread has ended, or after two seconds."""
        self._stopping.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(2.0)

    def _run(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began, before = monotonic(), self.counts.batches
            try:
                self._read_connection()
            except (OSError, QkdError) as problem:
                reason = getattr(problem, "strerror", None) or problem
                self.counts.problem = f"{self.address}: {reason}"
                self._log.warning(f"no {self._kind} stream", address=str(self.address), error=str(reason), advice="does anybody serve it?")
            if self.counts.batches > before or monotonic() - began > LONGEST_PAUSE_SECONDS:
                pause_seconds = FIRST_PAUSE_SECONDS
            self._stopping.wait(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)

    def _read_connection(self) -> None:
        descriptor = _connected(self.address)
        try:
            parser = StreamParser(self._kind)
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            while not self._stopping.is_set():
                if not poll.poll(1000 * POLL_SECONDS):
                    continue
                data = os.read(descriptor, READ_BYTES)
                if not data:
                    cut = "" if parser.is_between_items else " in the middle of a batch"
                    raise StreamError(f"the sender closed the {self._kind} stream{cut}")
                for item in parser.feed(data):
                    self._count(item)
                    self._deliver(item)
        finally:
            os.close(descriptor)

    def _count(self, item: StreamItem) -> None:
        if isinstance(item, TagBatch):
            self.counts.items += int(item.t_ps.size)
            self.counts.gaps += item.gap
        if hasattr(item, "sequence"):
            self.counts.batches += 1
        else:
            self.counts.connections += 1
            self.counts.problem = ""


def _connected(address: StreamAddress) -> int:
    """Return the descriptor of a fresh connection, or of the opened FIFO."""
    if address.scheme == "fifo":
        descriptor = os.open(address.path, os.O_RDONLY | os.O_NONBLOCK)
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StreamError(f"{address.path} is not a FIFO; make one with mkfifo")
        os.set_blocking(descriptor, True)
        return descriptor
    if address.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(address.path))
        except OSError:
            connection.close()
            raise
    else:
        connection = socket.create_connection((address.host, address.port), CONNECT_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.settimeout(None)
    return connection.detach()
