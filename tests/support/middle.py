"""A man in the middle who holds the channel keys of both ends: he ends both encrypted connections and passes frames on as he likes.

What he does to them is a script: ``script(sender, frame)`` gives pairs of destination and frame. ``Intruder`` adds forgeries beside every
honest frame, ``Thief`` takes or spoils single frames, ``Editor`` changes a message and, holding the message keys too, seals it anew.
"""

import contextlib
import dataclasses
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import zmq

from common.channel.authentication import MAC_BYTES, ChannelSecrets, SessionSeal
from common.channel.codec import Envelope, Party, decode, encode
from common.channel.messages import Hello, Message, Welcome
from common.service.transport import PEER
from common.service.wire import ALIVE, GREETING, OVER, REFUSED, SESSION, SESSION_BYTES
from tests.support.adversaries import with_bit_flipped

Frames = Iterable[tuple[Party, bytes]]


def passed_on(sender: Party, frame: bytes) -> Frames:
    return [(sender.peer, frame)]


class Middle:
    """Listens as Bob, connects as Alice, in a thread; ``nodes`` is what a link was provisioned into."""

    def __init__(self, nodes: Path, bobs_port: int) -> None:
        self.script: Callable[[Party, bytes], Frames] = passed_on
        self.port = 0
        self._bobs_port = bobs_port
        self._keys = {
            (end, kind): (nodes / end / f"channel.{kind}").read_bytes().strip() for end in ("alice", "bob") for kind in ("key", "pub")
        }
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="middle", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        context = zmq.Context()
        front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        try:
            self._disguise(front, back)
            poller = zmq.Poller()
            poller.register(front, zmq.POLLIN)
            poller.register(back, zmq.POLLIN)
            self._ready.set()
            while not self._over.is_set():
                for socket, _ in poller.poll(100):
                    sender = Party.ALICE if socket is front else Party.BOB
                    frame = socket.recv_multipart()[-1]
                    for destination, altered in passed_on(sender, frame) if frame[:1] == bytes((ALIVE,)) else self.script(sender, frame):
                        with contextlib.suppress(zmq.ZMQError):  # an end that is away misses it
                            if destination is Party.ALICE:
                                front.send_multipart([PEER, altered], zmq.DONTWAIT)
                            else:
                                back.send(altered, zmq.DONTWAIT)
        finally:
            context.destroy(linger=0)

    def _disguise(self, front: zmq.Socket, back: zmq.Socket) -> None:
        for socket, end in ((front, "bob"), (back, "alice")):
            socket.curve_secretkey, socket.curve_publickey = self._keys[end, "key"], self._keys[end, "pub"]
            socket.setsockopt(zmq.SNDHWM, 0)
        front.curve_server = True
        front.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self.port = front.bind_to_random_port("tcp://127.0.0.1")
        back.curve_serverkey = self._keys["bob", "pub"]
        back.setsockopt(zmq.ROUTING_ID, PEER)
        back.connect(f"tcp://127.0.0.1:{self._bobs_port}")


class Intruder:
    """Passes everything on, and puts one forgery in front of every session message: every kind in turn."""

    KINDS = (
        "bit flipped",
        "repeated",
        "old",
        "reflected",
        "cut short",
        "noise",
        "forged greeting",
        "old greeting",
        "forged notice",
        "old notice",
        "unknown frame",
        "empty",
    )

    def __init__(self, seed: int) -> None:
        self.made: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._seen: dict[tuple[Party, int], list[bytes]] = {}
        self._number = 0

    def __call__(self, sender: Party, frame: bytes) -> Iterator[tuple[Party, bytes]]:
        if frame[0] == SESSION:
            kind = self.KINDS[self._number % len(self.KINDS)]
            self._number += 1
            for destination, forgery in self._forged(kind, sender, frame):
                self.made[kind] += 1
                yield destination, forgery
        self._seen.setdefault((sender, frame[0]), []).append(frame)
        yield sender.peer, frame

    def _forged(self, kind: str, sender: Party, frame: bytes) -> Frames:
        usual = sender.peer
        match kind:
            case "bit flipped":
                return [(usual, frame[:1] + with_bit_flipped(frame[1:], self._random.randrange(8 * (len(frame) - 1))))]
            case "repeated":
                return [(usual, old) for old in self._seen.get((sender, SESSION), [])[-1:]]
            case "old":
                return [(usual, old) for old in self._seen.get((sender, SESSION), [])[:2]]
            case "reflected":
                return [(sender, frame)]
            case "cut short":
                return [(usual, frame[: self._random.randrange(2, len(frame))])]
            case "noise":
                return [(usual, bytes((SESSION,)) + self._random.randbytes(200))]
            case "forged greeting":
                return [(end, bytes((GREETING,)) + self._random.randbytes(120)) for end in Party]
            case "old greeting":
                return [(party.peer, old) for party in Party for old in self._seen.get((party, GREETING), [])[:2]]
            case "forged notice":
                return [(end, bytes((OVER,)) + frame[5 : 5 + SESSION_BYTES] + self._random.randbytes(MAC_BYTES)) for end in Party]
            case "old notice":
                return [(usual, bytes((REFUSED,))), *((usual, old) for old in self._seen.get((sender, OVER), [])[:2])]
            case "unknown frame":
                return [(usual, b"\x2a" + frame[1:])]
            case "empty":
                return [(usual, b""), (usual, bytes((SESSION,)))]
        raise AssertionError(kind)


class Thief:
    """Does ``deed`` to session message number ``index`` from ``victim``, once: drop, flip, swap with the next, or cut short."""

    def __init__(self, deed: str, victim: Party, index: int) -> None:
        self.done = False
        self._deed, self._victim, self._index = deed, victim, index
        self._count = 0
        self._held: list[tuple[Party, bytes]] = []

    def __call__(self, sender: Party, frame: bytes) -> Frames:
        if sender is not self._victim or frame[0] != SESSION:
            return passed_on(sender, frame)
        if self._held:
            late, self._held = self._held, []
            return [(sender.peer, frame), *late]
        self._count += 1
        if self.done or self._count <= self._index:
            return passed_on(sender, frame)
        self.done = True
        match self._deed:
            case "drop":
                return []
            case "swap":
                self._held = [(sender.peer, frame)]
                return []
            case "flip":
                return [(sender.peer, frame[:-1] + bytes((frame[-1] ^ 1,)))]
            case "cut short":
                return [(sender.peer, frame[: len(frame) // 2])]
        raise AssertionError(self._deed)


class Editor:
    """Holds the message keys as well: puts ``edit(message)`` in place of the first message that it changes, under a right code.

    ``block`` is then the block it belonged to. None from ``edit`` leaves a message as it is.
    """

    def __init__(self, secrets: ChannelSecrets, edit: Callable[[Message], Message | None]) -> None:
        self.block: int | None = None
        self._secrets = secrets
        self._edit = edit
        self._nonces: dict[type, bytes] = {}

    def __call__(self, sender: Party, frame: bytes) -> Frames:
        if frame[0] not in {GREETING, SESSION}:
            return passed_on(sender, frame)
        envelope = decode(frame[1:-MAC_BYTES])
        if frame[0] == GREETING:
            if isinstance(envelope.message, Hello | Welcome):
                self._nonces[type(envelope.message)] = envelope.message.nonce
        elif self.block is None and (altered := self._edit(envelope.message)) is not None and len(self._nonces) == 2:
            self.block = envelope.block
            return [(sender.peer, self._sealed(sender, dataclasses.replace(envelope, message=altered)))]
        return passed_on(sender, frame)

    def _sealed(self, sender: Party, envelope: Envelope) -> bytes:
        body = encode(envelope)
        seal = SessionSeal(self._secrets, self._nonces[Hello], self._nonces[Welcome])
        assert seal.session == envelope.session
        return bytes((SESSION,)) + body + seal.code(sender, envelope.sequence, body)
