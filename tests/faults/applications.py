"""Two applications at work while a link is being killed: each takes key at its own end and follows at the other, and remembers every byte.

What was handed out is kept in memory, outside of what is killed, so that "used twice" means what an application sees and not what a
ledger says.
"""

import random
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from common.errors import KeyAlreadyTakenError, KeyExhaustedError, KeyNotFoundError, KeyStoreError, TransportError
from common.service.admin_client import AdminClient
from tests.integration.live.processes import LiveLink

PEER = {"alice": "bob", "bob": "alice"}

KINDS = ("pad", "delivery")

SIZES = (1, 16, 32, 100, 700, 3000)

Place = tuple[str, int]
"""Pool and block."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Key taken at one end, to be followed at the other."""

    giver: str
    kind: str
    pool: str
    pieces: tuple[tuple[int, int, int], ...]
    key: bytes


class Handed:
    """Every byte of key that applications were given, by end."""

    def __init__(self) -> None:
        self.bytes: dict[str, dict[Place, dict[tuple[int, int], bytes]]] = {"alice": defaultdict(dict), "bob": defaultdict(dict)}
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def give(self, end: str, pool: str, pieces: tuple[tuple[int, int, int], ...], key: bytes) -> None:
        """Remember key; the very same piece given before is a fault at once."""
        reached = 0
        with self._lock:
            for block, first, count in pieces:
                known = self.bytes[end][pool, block]
                if (first, count) in known:
                    self.faults.append(f"{end}: {pool}, block {block}: bytes {first} to {first + count} were handed out twice")
                known[first, count] = key[reached : reached + count]
                reached += count

    def verdict(self) -> list[str]:
        """Faults: key that was handed out twice at one end, or differs between the ends."""
        found = list(self.faults)
        for end, places in self.bytes.items():
            for (pool, block), pieces in places.items():
                for (first, count), (second, _) in pairwise(sorted(pieces)):
                    if second < first + count:
                        found.append(f"{end}: {pool}, block {block}: byte {second} was handed out twice")
        for place in self.bytes["alice"].keys() & self.bytes["bob"].keys():
            ours, theirs = (_by_byte(self.bytes[end][place]) for end in ("alice", "bob"))
            wrong = sum(ours[at] != theirs[at] for at in ours.keys() & theirs.keys())
            if wrong:
                found.append(f"{place[0]}, block {place[1]}: {wrong} bytes differ between the ends")
        return found

    def count_bytes(self, end: str) -> int:
        return sum(len(key) for pieces in self.bytes[end].values() for key in pieces.values())


def _by_byte(pieces: dict[tuple[int, int], bytes]) -> dict[int, int]:
    return {first + at: byte for (first, _), key in pieces.items() for at, byte in enumerate(key)}


class Application:
    """Takes at ``giver`` and follows at the other end, in a thread of its own, until told to stop.

    It rests for up to ``most_rest_seconds`` at a time.
    """

    def __init__(self, link: LiveLink, giver: str, handed: Handed, seed: str, most_rest_seconds: float = 0.06) -> None:
        self.counts: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self._link, self._giver, self._handed = link, giver, handed
        self._dice = random.Random(f"{seed} {giver}")
        self._most_rest_seconds = most_rest_seconds
        self._letters: deque[Letter] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"application of {giver}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, give_up: Callable[[], bool]) -> None:
        """Take no more, and follow with all that was taken until nothing is left or ``give_up`` says so."""
        self._stopping.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "an application hangs"
        while self._letters and not give_up():
            self._follow()

    @property
    def count_waiting(self) -> int:
        """Letters whose key could not be had at the other end yet."""
        return len(self._letters)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if self._dice.random() < 0.5:
                    self._take()
                if self._letters and self._dice.random() < 0.7:
                    self._follow()
                self._stopping.wait(self._dice.uniform(0.0, self._most_rest_seconds))
        except BaseException as failure:  # noqa: BLE001 - whatever it is, the test has to hear of it
            self.failure = failure

    def _take(self) -> None:
        kind, size = self._dice.choice(KINDS), self._dice.choice(SIZES)
        try:
            if kind == "pad":
                named, key = self._link.take_pad(self._giver, size)
            else:
                named, key = self._link.ask(self._giver, "keys export", count_bytes=size, yes=True)
        except TransportError:
            self.counts["take: no answer"] += 1  # what the ledger calls spent and nobody got is lost, as a crash may lose key
            return
        except (KeyExhaustedError, KeyStoreError) as refused:
            self.counts[f"take: {type(refused).__name__}"] += 1
            return
        pieces = tuple((block, first, count) for block, first, count in named["pieces"])
        self._handed.give(self._giver, named["pool"], pieces, bytes(key))
        self._letters.append(Letter(self._giver, kind, named["pool"], pieces, bytes(key)))
        self.counts["taken"] += 1

    def _follow(self) -> None:
        """Ask the other end for the oldest letter's key; what cannot be had yet is asked for later."""
        letter, there = self._letters.popleft(), PEER[self._giver]
        try:
            if letter.kind == "pad" and self._dice.random() < 0.1:
                self._give_back(letter)
                self._letters.append(letter)
                return
            key = self._expect(letter)
        except KeyAlreadyTakenError:
            self.counts["follow: answer lost before"] += 1
            return
        except TransportError:
            self.counts["follow: no answer"] += 1
            self._letters.append(letter)
            return
        except (KeyNotFoundError, KeyStoreError) as later:
            self.counts[f"follow: {type(later).__name__}"] += 1
            self._letters.append(letter)
            return
        if key != letter.key:
            self._handed.faults.append(f"{letter.pool}: {letter.pieces} differ between the ends")
        self._handed.give(there, letter.pool, letter.pieces, bytes(key))
        self.counts["followed"] += 1
        if self._dice.random() < 0.2:
            self._try_again(letter)

    def _expect(self, letter: Letter) -> bytes:
        there, pieces = PEER[self._giver], [list(piece) for piece in letter.pieces]
        if letter.kind == "pad":
            return bytes(self._link.follow_pad(there, pieces)[1])
        return bytes(self._link.ask(there, "keys export", pieces=pieces, yes=True)[1])

    def _give_back(self, letter: Letter) -> None:
        """Find a pad and give it back as if its message had been forged; where the daemon dies over it, it may or may not be back."""
        with AdminClient.of(self._link.config(PEER[self._giver])) as client:
            named = client.ask("pad follow", pieces=[list(piece) for piece in letter.pieces], purpose="letter")
            client.ask("pad return", handout=named["handout"])
        self.counts["returned"] += 1

    def _try_again(self, letter: Letter) -> None:
        """Ask for the same key once more: it must be refused."""
        try:
            self._expect(letter)
        except (TransportError, KeyStoreError):
            self.counts["second asking refused"] += 1
        else:
            self._handed.faults.append(f"{PEER[self._giver]}: {letter.pool}: {letter.pieces} were handed out a second time")
