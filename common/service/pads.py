"""Pads of messages, as a running node hands them out: into the ledger whole, then read bit after bit over the connection that asked.

A sender reserves all the key of its message at once, so that either all of it is there or nothing is spent. A receiver follows with the
pieces that the message names, and gets enough of them to check its tag; only when it has said that the tag is right is the key spent, and
the rest of it read. What a connection leaves open when it ends is settled by the node: key that was spent is destroyed, key that was only
tried is given back.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from common.channel.codec import Party
from common.errors import ConfigurationError, KeyExhaustedError, KeyNotFoundError, KeyStoreError, QkdError
from common.keystore.interface import Handout, KeyStore, Piece
from common.keystore.ownership import PADS, Pool
from common.observability.audit import AuditTrail
from common.observability.logs import logger
from common.onetimepad.envelope import OVERHEAD_BYTES, PAD_ID_BYTES
from common.service.admin import Answer, Connection, Handler, asking
from common.service.credentials import ChannelKeys
from common.service.workers import Workers


@dataclass(slots=True)
class _Held:
    """A handout, and the connection that may read it."""

    handout: Handout
    is_final: bool
    connection: Connection
    count_read: int = 0


class PadCommands:
    """Hands out pads of one node.

    Parameters
    ----------
    party : Party
        Which end it is.
    pad_id : bytes
        8 bytes that name the link's pads.
    workers : Workers
        The store's thread is theirs.
    open_store : callable
        Returns the key store.
    audit : AuditTrail
        Where every handout is noted.
    explained : callable
        Adds to an error how long the link needs for what is missing of a pool.
    """

    def __init__(
        self,
        party: Party,
        pad_id: bytes,
        workers: Workers,
        open_store: Callable[[], KeyStore],
        audit: AuditTrail,
        explained: Callable[[Pool, KeyExhaustedError], KeyExhaustedError],
    ) -> None:
        self._party = party
        self._pad_id = pad_id
        self._workers = workers
        self._open_store = open_store
        self._audit = audit
        self._explained = explained
        self._open: dict[int, _Held] = {}
        self.count_forged = 0
        self.handlers: dict[str, Handler] = {
            "pad status": self.status,
            "pad reserve": self.reserve,
            "pad follow": self.follow,
            "pad read": self.read,
            "pad burn": self.burn,
            "pad return": self.give_back,
            "pad close": self.close,
        }

    async def status(self, _request: Mapping[str, Any]) -> Answer:
        """Say whose pads these are, and how much of them is left."""
        levels = await self._workers.write(self._open_store().levels)
        bits = {name: levels.pool_bits.get(PADS[party], 0) for name, party in (("send", self._party), ("receive", self._party.peer))}
        return Answer({"end": self._party.name.lower(), "pad_id": self._pad_id.hex(), "bits": bits})

    async def reserve(self, request: Mapping[str, Any]) -> Answer:
        """Spend pad for a message from this end; ``pad read`` gives it.

        Parameters
        ----------
        request : dict
            ``count_bytes`` and ``purpose``.

        Returns
        -------
        Answer
            Number of the handout and its pieces, and the key of its tag.

        Raises
        ------
        KeyExhaustedError
            If the pad is too short; nothing is spent then.
        """
        pool, count_bytes = PADS[self._party], count_of(request, "count_bytes")
        try:
            handout = await self._workers.write(self._open_store().reserve, pool, count_bytes, purpose_of(request))
        except KeyExhaustedError as short:
            raise self._explained(pool, short) from None
        return await self._begin(handout, request, is_final=True)

    async def follow(self, request: Mapping[str, Any]) -> Answer:
        """Find the pad of a message from the peer, by its ``pieces``; its tag is checked before it is spent."""
        pool = PADS[self._party.peer]
        handout = await self._workers.write(self._open_store().follow, pool, pieces_of(request), purpose_of(request))
        return await self._begin(handout, request, is_final=False)

    async def read(self, request: Mapping[str, Any]) -> Answer:
        """Give the next bytes of a pad.

        Parameters
        ----------
        request : dict
            ``handout`` and ``count_bytes``.

        Returns
        -------
        Answer
            Nothing but key.

        Raises
        ------
        KeyStoreError
            If more than the mask of a tag is asked for before the key is burnt.
        """
        held, count_bytes = self._held(request), count_of(request, "count_bytes")
        number = held.handout.number
        if not held.is_final and held.count_read + count_bytes > OVERHEAD_BYTES:
            raise KeyStoreError(f"handout {number}: until it is burnt, only the {OVERHEAD_BYTES} bytes that check its tag are read")
        held.count_read += count_bytes
        return Answer({}, await self._workers.write(self._open_store().read, number, count_bytes))

    async def burn(self, request: Mapping[str, Any]) -> Answer:
        """Spend the pad of a message whose tag has proved right."""
        held = self._held(request)
        await self._workers.write(self._open_store().burn, held.handout.number)
        held.is_final = True
        return Answer({"handout": held.handout.number})

    async def give_back(self, request: Mapping[str, Any]) -> Answer:
        """Take back the pad of a message that turned out to be forged."""
        handout = self._held(request).handout.number
        await self._workers.write(self._open_store().give_back, handout)
        self._forget(handout)
        self.count_forged += 1
        logger("pad").warning("message refused: its tag is wrong", handout=handout, refused=self.count_forged)
        await self._workers.write(self._audit.record, "key returned", handout=handout)
        return Answer({"handout": handout})

    async def close(self, request: Mapping[str, Any]) -> Answer:
        """End a handout that was read far enough."""
        number = self._held(request).handout.number
        await self._end(number)
        return Answer({"handout": number})

    async def _begin(self, handout: Handout, request: Mapping[str, Any], *, is_final: bool) -> Answer:
        connection, number = asking(), handout.number
        self._open[number] = _Held(handout, is_final, connection)
        connection.endings[number] = partial(self._end, number)
        place = {"pool": handout.pool.value, "handout": number}
        await self._workers.write(self._audit.record, "key handed out", bytes=handout.count_bytes, purpose=purpose_of(request), **place)
        key = await self._workers.write(self._open_store().tag_key, number)
        return Answer({**place, "pieces": [(piece.block, piece.first_byte, piece.count_bytes) for piece in handout.pieces]}, bytearray(key))

    def _held(self, request: Mapping[str, Any]) -> _Held:
        held = self._open.get(count_of(request, "handout"))
        if held is None or held.connection is not asking():
            raise KeyNotFoundError(f"handout {request['handout']} is none that this connection asked for")
        return held

    async def _end(self, number: int) -> None:
        """Settle what was left open; a store that is closed by then settles it when it is opened again."""
        held = self._forget(number)
        if held is not None:
            with contextlib.suppress(QkdError, RuntimeError):
                store = self._open_store()
                await self._workers.write(store.release if held.is_final else store.give_back, number)

    def _forget(self, number: int) -> _Held | None:
        held = self._open.pop(number, None)
        if held is not None:
            held.connection.endings.pop(number, None)
        return held


def pad_id(keys: ChannelKeys) -> bytes:
    """Name the pads of a link, alike at both ends, by the public parts of its channel ``keys``."""
    return hashlib.sha256(b"qkdlink pad 2" + b"".join(sorted((keys.public, keys.peer_public)))).digest()[:PAD_ID_BYTES]


def count_of(request: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Read a count from a request.

    Parameters
    ----------
    request : dict
        From the admin socket.
    name : str
        Which entry.
    default : int | None
        Where there is no such entry; None asks for one.

    Returns
    -------
    int
        Not negative.

    Raises
    ------
    ConfigurationError
        If it is no count.
    """
    value = request.get(name, default)
    if type(value) is not int or value < 0:
        raise ConfigurationError(f"admin socket: {name} has to be a count")
    return value


def purpose_of(request: Mapping[str, Any]) -> str:
    """Read the purpose of a handout from a ``request``.

    Raises
    ------
    ConfigurationError
        If it is no text.
    """
    purpose = request.get("purpose", "one-time pad")
    if not isinstance(purpose, str):
        raise ConfigurationError("admin socket: purpose has to be a text")
    return purpose


def pieces_of(request: Mapping[str, Any]) -> list[Piece]:
    """Read the pieces that a ``request`` names.

    Raises
    ------
    ConfigurationError
        If they are no lists of three numbers.
    """
    pieces = request.get("pieces")
    if not isinstance(pieces, list) or not all(
        isinstance(piece, list) and len(piece) == 3 and all(type(number) is int for number in piece) for piece in pieces
    ):
        raise ConfigurationError("admin socket: pieces are lists of block, first byte and length")
    return [Piece(*piece) for piece in pieces]
