"""Key on its way out: handouts that are in the ledger, and are read bit after bit by whoever asked for them.

A handout may be far larger than memory. It enters the ledger whole, in one durable change; then its bytes are unsealed as they are asked
for, in order, each once, and the data keys of sealed pieces are destroyed behind them. What is still to be read here keeps the sealed
piece it lies in, also where another handout has read the rest of that piece. Nothing of this survives a crash: the ledger says that the key
is spent, and the store destroys it when it is opened again.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator

from common.errors import KeyNotFoundError
from common.keystore.interface import Handout, Piece
from common.keystore.ownership import Pool

Opener = Callable[[Pool, Piece, memoryview], None]
"""Fills a buffer with the bytes of a piece."""


class OpenHandout:
    """A handout that has not been read to its end, or is not final.

    Parameters
    ----------
    handout : Handout
        What the ledger says.
    is_final : bool
        Whether key may be destroyed once it has been read.
    step_bytes : int
        Sealed pieces begin at multiples of it.
    """

    def __init__(self, handout: Handout, is_final: bool, step_bytes: int) -> None:
        self.handout = handout
        self.is_final = is_final
        self._unread = deque(_cut(handout.pieces, step_bytes))
        self._behind: list[Piece] = []
        self._needed: dict[int, list[Piece]] = defaultdict(list)
        for piece in self._unread:
            self._needed[piece.block].append(piece)
        self._opened = bytearray()
        self._reached = 0

    @property
    def is_read(self) -> bool:
        """Whether nothing is left to be read."""
        return not self._unread and self._reached == len(self._opened)

    def read(self, into: memoryview, opener: Opener) -> None:
        """Read the next bytes.

        Parameters
        ----------
        into : memoryview
            Filled to its end.
        opener : callable
            Unseals a piece.

        Raises
        ------
        KeyNotFoundError
            If fewer bytes are left.
        """
        filled = 0
        while filled < len(into):
            if self._reached == len(self._opened):
                self._open_next(opener)
            count = min(len(into) - filled, len(self._opened) - self._reached)
            with memoryview(self._opened) as view:
                into[filled : filled + count] = view[self._reached : self._reached + count]
            filled += count
            self._reached += count

    def awaits(self, pool: Pool, place: Piece) -> bool:
        """Whether any byte of a ``place`` in ``pool`` is still to be unsealed, here or after this handout was given back."""
        if pool is not self.handout.pool:
            return False
        return any(piece.first_byte < place.end_byte and place.first_byte < piece.end_byte for piece in self._needed.get(place.block, ()))

    def take_behind(self) -> list[Piece]:
        """Return the pieces that nobody needs to read any more, each once."""
        behind, self._behind = self._behind, []
        for piece in behind:
            needed = self._needed[piece.block]
            needed.remove(piece)
            if not needed:
                del self._needed[piece.block]
        return behind

    def forget(self) -> None:
        """Overwrite what is open, and give up what has not been read."""
        self._opened[:] = bytes(len(self._opened))
        self._reached = len(self._opened)
        self._behind += self._unread
        self._unread.clear()

    def _open_next(self, opener: Opener) -> None:
        self._opened[:] = bytes(len(self._opened))
        if not self._unread:
            raise KeyNotFoundError(f"handout {self.handout.number} has fewer bytes left than were to be read")
        piece = self._unread.popleft()
        self._behind.append(piece)
        opened = bytearray(piece.count_bytes)
        opener(self.handout.pool, piece, memoryview(opened))
        self._opened, self._reached = opened, 0


class OpenHandouts:
    """All handouts of a store that are on their way out."""

    def __init__(self) -> None:
        self._open: dict[int, OpenHandout] = {}

    def add(self, opened: OpenHandout) -> None:
        """Begin to hand out what was ``opened``."""
        self._open[opened.handout.number] = opened

    def find(self, number: int) -> OpenHandout | None:
        """Return the open handout ``number``, or None."""
        return self._open.get(number)

    def get(self, number: int) -> OpenHandout:
        """Return the open handout ``number``.

        Raises
        ------
        KeyNotFoundError
            If there is none.
        """
        try:
            return self._open[number]
        except KeyError:
            raise KeyNotFoundError(f"handout {number} is not open: read to its end, given back, or the node was restarted") from None

    def touching(self, blocks: Collection[int] | None) -> list[OpenHandout]:
        """Return the open handouts that have key in any of ``blocks``, or all."""
        return [one for one in self._open.values() if blocks is None or any(piece.block in blocks for piece in one.handout.pieces)]

    def awaits(self, pool: Pool, place: Piece) -> bool:
        """Whether anybody may still read a byte of a ``place`` in ``pool``."""
        return any(one.awaits(pool, place) for one in self._open.values())

    def end(self, number: int) -> None:
        """Forget the handout ``number``, if it is open."""
        ended = self._open.pop(number, None)
        if ended is not None:
            ended.forget()

    def end_all(self) -> None:
        """Forget all of them."""
        for number in tuple(self._open):
            self.end(number)


def _cut(pieces: Iterable[Piece], step_bytes: int) -> Iterator[Piece]:
    """Cut pieces where sealed ones end, so that each of these is opened once."""
    for piece in pieces:
        first = piece.first_byte
        while first < piece.end_byte:
            end = min(piece.end_byte, (first // step_bytes + 1) * step_bytes)
            yield Piece(piece.block, first, end - first)
            first = end
