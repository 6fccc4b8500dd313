"""The header of a message whose key comes from the store of a running node: the pieces of the store that encrypt it.

Little-endian, covered by the tag; the first 24 bytes are laid out as in every header:

======  =====  ==================================================================================
offset  bytes  meaning
======  =====  ==================================================================================
0       8      magic ``QKDPAD``, 0x1A, line feed
8       1      version, 2
9       1      kind: 0 bytes, 1 picture, 2 bytes with their length hidden, 3 segment of a stream (``streams``)
10      1      sender: 1 Alice, 2 Bob; names the direction and with it the pool of both stores
11      1      picture: channels a pixel; else 0
12      4      picture: width in pixels; else 0
16      4      picture: height in pixels; else 0
20      4      pieces, 1 to 65536
24      8      pad id: names the link whose stores hold the key
32      8      length of the message in bytes
40      24     for each piece: block, first byte within the pool's part of the block, length in bytes
======  =====  ==================================================================================

Mask and pad are the bytes of the pieces in their order; all pieces together are 16 bytes longer than the message. The hash key of the
tag is that of the block in which the first piece lies, and no piece of any pad.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from common.channel.codec import Party
from common.errors import ConfigurationError
from common.keystore.interface import MOST_PIECES, Piece
from common.onetimepad.envelope import (
    HEADER_BYTES,
    MAGIC,
    OVERHEAD_BYTES,
    VERSION,
    Contents,
    FileHeader,
    Kind,
    altered,
    cut_off,
)

_BEGINNING = struct.Struct("<8sBBBBIII8sQ")
_PIECE = struct.Struct("<QQQ")

MOST_HEADER_BYTES = _BEGINNING.size + MOST_PIECES * _PIECE.size
"""Length of the longest header."""


@dataclass(frozen=True, slots=True)
class StoreHeader:
    """A header where the key lies in the key store.

    Attributes
    ----------
    pad_id : bytes[8]
        Names the link.
    sender : Party
        Who encrypted.
    pieces : tuple[Piece, ...]
        The key.
    contents : Contents
        What was encrypted.
    """

    pad_id: bytes
    sender: Party
    pieces: tuple[Piece, ...]
    contents: Contents

    @property
    def count_bytes(self) -> int:
        """Length of what was encrypted, bytes."""
        return self.contents.count_bytes

    @property
    def count_key_bytes(self) -> int:
        """Key that the message spends, its tag included, bytes."""
        return OVERHEAD_BYTES + self.count_bytes

    def encoded(self) -> bytes:
        """Return the bytes of the header."""
        contents = self.contents
        shape = (contents.channels, contents.width, contents.height)
        beginning = _BEGINNING.pack(MAGIC, VERSION, contents.kind, self.sender, *shape, len(self.pieces), self.pad_id, contents.count_bytes)
        return beginning + b"".join(_PIECE.pack(piece.block, piece.first_byte, piece.count_bytes) for piece in self.pieces)

    @classmethod
    def decoded(cls, data: bytes, *, what: str) -> StoreHeader:
        """Read a header; nothing in it is trusted before the tag has been checked.

        Parameters
        ----------
        data : bytes
            A whole header that begins with magic and version.
        what : str
            Where it comes from, for messages.

        Returns
        -------
        StoreHeader
            The fields, each within its range.

        Raises
        ------
        AuthenticationError
            If a field is out of range.
        """
        _, _, kind, sender, channels, width, height, _, pad_id, length = _BEGINNING.unpack_from(data)
        pieces = tuple(Piece(*place) for place in _PIECE.iter_unpack(data[_BEGINNING.size :]))
        try:
            header = cls(pad_id, Party(sender), pieces, Contents(length, Kind(kind), width, height, channels))
        except ValueError:
            raise altered(what, "names a kind or a sender that do not exist") from None
        if not header.contents.is_consistent or sum(piece.count_bytes for piece in pieces) != header.count_key_bytes:
            raise altered(what, "contradicts itself in its header")
        return header


def read_header(read: Callable[[int], bytes], *, what: str) -> FileHeader | StoreHeader:
    """Read a header of either kind from the beginning of a message.

    Parameters
    ----------
    read : callable
        Returns the next bytes, at most so many.
    what : str
        Where they come from, for messages.

    Returns
    -------
    FileHeader | StoreHeader
        By where the key lies; nothing in it is trusted before the tag has been checked.

    Raises
    ------
    ConfigurationError
        If this is no one-time-pad file, or one of another version.
    AuthenticationError
        If a field is out of range or the header is cut off.
    """
    beginning = read(_BEGINNING.size)
    if not beginning.startswith(MAGIC):
        raise ConfigurationError(f"{what} is not a one-time-pad file: it does not begin with {MAGIC[:6].decode()}")
    if len(beginning) < _BEGINNING.size:
        raise cut_off(what)
    version = beginning[len(MAGIC)]
    if version == 1:
        raise ConfigurationError(
            f"{what} has format version 1, whose tags can be forged by whoever knows a message: have it encrypted anew"
        )
    if version != VERSION:
        raise ConfigurationError(f"{what} has format version {version}, this program reads {VERSION}: use the version that wrote it")
    count_pieces = _BEGINNING.unpack(beginning)[7]
    if not count_pieces:
        return FileHeader.decoded(beginning + read(HEADER_BYTES - len(beginning)), what=what)
    if count_pieces > MOST_PIECES:
        raise altered(what, f"names {count_pieces} pieces of key")
    pieces = read(count_pieces * _PIECE.size)
    if len(pieces) < count_pieces * _PIECE.size:
        raise cut_off(what)
    return StoreHeader.decoded(beginning + pieces, what=what)
