"""The header of a one-time-pad file: which key encrypts it, in which direction, and how long it is.

It stands in front of the ciphertext, and all of it is covered by the tag behind (``cipher``). Files begin with the header; pictures carry
header and tag in a private chunk of the PNG (``pictures``). Where the key comes from a key file, the header names a stretch of it, in 64
bytes, little-endian; where it comes from a key store, the header names pieces of that (``store_envelope``). Both begin alike:

======  =====  ==================================================================================
offset  bytes  meaning
======  =====  ==================================================================================
0       8      magic ``QKDPAD``, 0x1A, line feed: a transfer as text breaks it visibly
8       1      version, 2
9       1      kind: 0 bytes, 1 picture, 2 bytes with their length hidden, 3 segment of a stream (``streams``)
10      1      sender: 1 Alice, 2 Bob; names the direction and with it the half of the pad
11      1      picture: channels a pixel (1 grey, 3 colour, 4 colour and opacity); else 0
12      4      picture: width in pixels; else 0
16      4      picture: height in pixels; else 0
20      4      pieces of the key store; 0 for a key file
24      8      pad id: the first bytes of the key, which are published and never used as pad
32      8      usable bytes of the key, pad id included
40      8      boundary: offset in the key at which Bob's part begins
48      8      offset in the key of the stretch used: mask, then pad
56      8      length of the message in bytes
======  =====  ==================================================================================

Version 1 took the hash key of each tag from the stretch itself. Whoever knew a message that never arrived knew its pad, and could name that
as the hash key of a message of her own; such files are refused, for an adversary can write the old version into any header.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from common.channel.codec import Party
from common.errors import AuthenticationError

MAGIC = b"QKDPAD\x1a\n"
VERSION = 2
MOST_MESSAGE_BYTES = 1 << 40
PAD_ID_BYTES = 8
"""Bytes of the key given away as its name: two pads of one user share a name with probability 2^-64."""

TAG_KEY_BYTES = 16
"""Key at the beginning of each direction's part of a key file that hashes all its messages."""

MASK_BYTES = 16
TAG_BYTES = 16
OVERHEAD_BYTES = MASK_BYTES
"""Key that every message spends on its tag."""

_LAYOUT = struct.Struct("<8sBBBBIII8sQQQQ")
HEADER_BYTES = _LAYOUT.size


class Kind(IntEnum):
    """What was encrypted."""

    BYTES = 0
    PICTURE = 1
    PADDED = 2
    SEGMENT = 3


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the key.

    Attributes
    ----------
    offset, count_bytes : int
        Where it begins in the key file, and how long it is; bytes.
    """

    offset: int
    count_bytes: int

    @property
    def end(self) -> int:
        """First byte behind it."""
        return self.offset + self.count_bytes

    def overlaps(self, other: Stretch) -> bool:
        """Tell whether a byte lies in both this stretch and ``other``."""
        return self.offset < other.end and other.offset < self.end


@dataclass(frozen=True, slots=True)
class PadName:
    """What both ends must agree on before a stretch means the same to them.

    Attributes
    ----------
    pad_id : bytes[8]
        The first bytes of the key.
    count_bytes : int
        Usable bytes of the key, pad id included.
    boundary : int
        Offset at which Bob's part begins.
    """

    pad_id: bytes
    count_bytes: int
    boundary: int

    def part_of(self, sender: Party) -> Stretch:
        """Return the part of the key that encrypts messages from ``sender``; the two parts share no byte."""
        parts = {
            Party.ALICE: Stretch(PAD_ID_BYTES, self.boundary - PAD_ID_BYTES),
            Party.BOB: Stretch(self.boundary, self.count_bytes - self.boundary),
        }
        return parts[sender]


@dataclass(frozen=True, slots=True)
class Contents:
    """What is encrypted.

    Attributes
    ----------
    count_bytes : int
        Length of what is encrypted, bytes.
    kind : Kind
        Bytes or a picture.
    width, height, channels : int
        Shape of a picture; 0 otherwise.
    """

    count_bytes: int
    kind: Kind = Kind.BYTES
    width: int = 0
    height: int = 0
    channels: int = 0

    @property
    def is_consistent(self) -> bool:
        """Whether shape and length say the same."""
        pixels = self.width * self.height * self.channels
        return pixels == (self.count_bytes if self.kind is Kind.PICTURE else 0) and 0 <= self.count_bytes <= MOST_MESSAGE_BYTES


class Header(Protocol):
    """A header of any version; ``encoded`` is what the tag covers."""

    @property
    def sender(self) -> Party:
        """Who encrypted."""

    @property
    def contents(self) -> Contents:
        """What was encrypted."""

    @property
    def count_bytes(self) -> int:
        """Length of what was encrypted, bytes."""

    @property
    def count_key_bytes(self) -> int:
        """Key that the message spends, its tag included, bytes."""

    def encoded(self) -> bytes:
        """Return the bytes of the header."""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """A header where the key lies in a key file.

    Attributes
    ----------
    pad : PadName
        The pad.
    sender : Party
        Who encrypted.
    offset : int
        Offset in the key of the stretch used, bytes.
    contents : Contents
        What was encrypted.
    """

    pad: PadName
    sender: Party
    offset: int
    contents: Contents

    @property
    def count_bytes(self) -> int:
        """Length of what was encrypted, bytes."""
        return self.contents.count_bytes

    @property
    def count_key_bytes(self) -> int:
        """Key that the message spends, its tag included, bytes."""
        return OVERHEAD_BYTES + self.count_bytes

    @property
    def stretch(self) -> Stretch:
        """The stretch of key that this message spends, its tag included."""
        return Stretch(self.offset, self.count_key_bytes)

    def encoded(self) -> bytes:
        """Return the 64 bytes."""
        pad, contents = self.pad, self.contents
        shape = (contents.channels, contents.width, contents.height, 0)
        place = (pad.pad_id, pad.count_bytes, pad.boundary, self.offset, contents.count_bytes)
        return _LAYOUT.pack(MAGIC, VERSION, contents.kind, self.sender, *shape, *place)

    @classmethod
    def decoded(cls, data: bytes, *, what: str) -> FileHeader:
        """Read a header; nothing in it is trusted before the tag has been checked.

        Parameters
        ----------
        data : bytes
            64 bytes that begin with magic and version and name no pieces.
        what : str
            Where they come from, for messages.

        Returns
        -------
        FileHeader
            The fields, each within its range.

        Raises
        ------
        AuthenticationError
            If a field is out of range or the header is cut off.
        """
        if len(data) < HEADER_BYTES:
            raise cut_off(what)
        _, _, kind, sender, channels, width, height, _, *place = _LAYOUT.unpack_from(data)
        pad_id, count_bytes, boundary, offset, length = place
        try:
            contents = Contents(length, Kind(kind), width, height, channels)
            header = cls(PadName(pad_id, count_bytes, boundary), Party(sender), offset, contents)
        except ValueError:
            raise altered(what, "names a kind or a sender that do not exist") from None
        if not contents.is_consistent:
            raise altered(what, "contradicts itself in its header")
        return header


def altered(what: str, finding: str) -> AuthenticationError:
    """Return the error for a message ``what`` in which something is as no sender writes it: the ``finding``."""
    return AuthenticationError(f"{what} {finding}: it was altered on the way")


def cut_off(what: str) -> AuthenticationError:
    """Return the error for a message ``what`` that ends too early."""
    return AuthenticationError(f"{what} is cut off within its header: ask for it again")
