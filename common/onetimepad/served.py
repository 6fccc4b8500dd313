"""A pad whose key comes from the store of a running node, asked for over the node's admin socket.

The node enters a message's key into its ledger whole and hands it out bit after bit; it is asked for the next stretch while the last one is
being used, and none is kept. The connection is the pledge: when it ends, however it ends, the node destroys or takes back what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from common.channel.codec import Party
from common.errors import AuthenticationError, ConfigurationError, KeyAlreadyTakenError, KeyNotFoundError, KeyStoreError, TransportError
from common.keystore.interface import Piece
from common.onetimepad.cipher import CHUNK_BYTES
from common.onetimepad.envelope import OVERHEAD_BYTES, TAG_BYTES, Contents, Header
from common.onetimepad.interface import Incoming, Outgoing
from common.onetimepad.store_envelope import MOST_HEADER_BYTES, StoreHeader

PURPOSE = "one-time pad"


class Daemon(Protocol):
    """A connection to a running node; see ``common.service.admin_client``."""

    def ask_for_key(self, command: str, **fields: Any) -> tuple[dict[str, Any], bytearray]:
        """Return the result of a ``command`` with its ``fields``, and the key that came with it."""

    def send(self, command: str, **fields: Any) -> None:
        """Send a ``command`` with its ``fields``."""

    def receive(self) -> tuple[dict[str, Any], bytearray]:
        """Return the answer to the oldest command that was sent."""


class ServedPad:
    """The pads of a running node.

    Parameters
    ----------
    daemon : Daemon
        Where it answers.

    Raises
    ------
    TransportError
        If it does not.
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        status, _ = daemon.ask_for_key("pad status")
        self.end = Party[status["end"].upper()]
        self.precious: frozenset[Path] = frozenset()
        self._pad_id = bytes.fromhex(status["pad_id"])

    @property
    def most_encrypted_bytes(self) -> int:
        """Length above which no encrypted message can be for this pad."""
        return MOST_HEADER_BYTES + int(self._status()["bits"]["receive"]) // 8 + TAG_BYTES

    def count_left_bits(self) -> int:
        """Return how many bits are left for messages from this end, tags included."""
        return int(self._status()["bits"]["send"])

    @contextmanager
    def sending(self, contents: Contents) -> Iterator[Outgoing]:
        """Spend key on a message.

        Parameters
        ----------
        contents : Contents
            What is to be encrypted.

        Yields
        ------
        Outgoing
            Header and key.
        """
        count_bytes = OVERHEAD_BYTES + contents.count_bytes
        result, tag_key = self._daemon.ask_for_key("pad reserve", count_bytes=count_bytes, purpose=PURPOSE)
        header = StoreHeader(self._pad_id, self.end, tuple(Piece(*piece) for piece in result["pieces"]), contents)
        with self._reading(result["handout"], tag_key, count_bytes) as key:
            key.is_final = True
            yield Outgoing(header, key)

    @contextmanager
    def receiving(self, header: Header, *, what: str) -> Iterator[Incoming]:
        """Find the key of a message; it is given back unless the body burns it.

        Parameters
        ----------
        header : Header
            As it arrived, not yet authenticated.
        what : str
            Where it comes from, for messages.

        Yields
        ------
        Incoming
            The key.

        Raises
        ------
        ConfigurationError
            If its key lies in a key file or in the store of another link, or it was encrypted at this end.
        KeyAlreadyTakenError
            If it was decrypted before.
        KeyNotFoundError
            If its key is not here.
        """
        if not isinstance(header, StoreHeader):
            raise ConfigurationError(f"{what} was encrypted with a key file: decrypt it with --key in place of --config")
        if header.pad_id != self._pad_id:
            raise ConfigurationError(f"{what} was encrypted on another link: decrypt it at the other end of that")
        if header.sender is self.end:
            raise ConfigurationError(f"{what} was encrypted at this end ({self.end.name.capitalize()}): decrypt it at the other")
        pieces = [(piece.block, piece.first_byte, piece.count_bytes) for piece in header.pieces]
        try:
            result, tag_key = self._daemon.ask_for_key("pad follow", pieces=pieces, purpose=PURPOSE)
        except KeyAlreadyTakenError as spent:
            raise KeyAlreadyTakenError(
                f"{what} was decrypted before, or an attempt was interrupted: its key is spent ({spent}); ask for it anew"
            ) from None
        except KeyNotFoundError as missing:
            raise KeyNotFoundError(
                f"{what} needs key that is not here ({missing}): try again once both ends have settled it, or ask for it anew"
            ) from None
        with self._reading(result["handout"], tag_key, header.count_key_bytes) as key:
            yield Incoming(key, key.burn)

    def _status(self) -> dict[str, Any]:
        return self._daemon.ask_for_key("pad status")[0]

    @contextmanager
    def _reading(self, handout: int, tag_key: bytearray, count_bytes: int) -> Iterator[_Stream]:
        stream = _Stream(self._daemon, handout, bytes(tag_key), count_bytes)
        try:
            yield stream
        except AuthenticationError:
            stream.end("pad close" if stream.is_final else "pad return")
            raise
        finally:
            stream.end("pad close")


class _Stream:
    """The key of one message; the next stretch is on its way while the last one is used."""

    def __init__(self, daemon: Daemon, handout: int, tag_key: bytes, count_bytes: int) -> None:
        self.tag_key = tag_key
        self.is_final = False
        self._daemon = daemon
        self._handout = handout
        self._unasked = count_bytes
        self._asked = 0
        self._stretch = bytearray()
        self._reached = 0
        self._is_open = True

    def read(self, count_bytes: int) -> bytearray:
        """Return the next bytes; what was returned before may be wiped."""
        if self._reached == len(self._stretch):
            self._fetch(count_bytes)
        if not self._reached and len(self._stretch) == count_bytes:
            self._reached = count_bytes
            return self._stretch
        key, filled = bytearray(count_bytes), 0
        while filled < count_bytes:
            if self._reached == len(self._stretch):
                self._fetch(count_bytes - filled)
            count = min(count_bytes - filled, len(self._stretch) - self._reached)
            key[filled : filled + count] = self._stretch[self._reached : self._reached + count]
            self._reached += count
            filled += count
        return key

    def burn(self) -> None:
        """Spend the key: its message is true."""
        self._daemon.ask_for_key("pad burn", handout=self._handout)
        self.is_final = True

    def end(self, command: str) -> None:
        """Tell the node that nothing more is read, and why."""
        self._wipe()
        if self._is_open:
            self._is_open = False
            with suppress(TransportError, KeyStoreError):  # whatever hinders it: the node settles it when the connection ends
                if self._asked:
                    self._receive()
                    self._wipe()
                self._daemon.ask_for_key(command, handout=self._handout)

    def _fetch(self, count_bytes: int) -> None:
        if not self._asked:
            self._ask(count_bytes)
        self._wipe()
        self._receive()
        if self.is_final:  # before, the node gives no more than the tag takes
            self._ask(CHUNK_BYTES)

    def _ask(self, count_bytes: int) -> None:
        self._asked = min(count_bytes, self._unasked)
        self._unasked -= self._asked
        if self._asked:
            self._daemon.send("pad read", handout=self._handout, count_bytes=self._asked)

    def _receive(self) -> None:
        self._asked = 0
        _, self._stretch = self._daemon.receive()
        self._reached = 0

    def _wipe(self) -> None:
        self._stretch[:] = bytes(len(self._stretch))
        self._reached = len(self._stretch)
