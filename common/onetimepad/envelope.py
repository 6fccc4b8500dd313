"""The header of a one-time-pad file: which stretch of which pad encrypts it, in which direction, and how long it is.

64 bytes, little-endian, in front of the ciphertext; all of them are covered by the tag behind it (``cipher``). Files begin with the header;
pictures carry header and tag in a private chunk of the PNG (``pictures``).

======  =====  ==================================================================================
offset  bytes  meaning
======  =====  ==================================================================================
0       8      magic ``QKDPAD``, 0x1A, line feed: a transfer as text breaks it visibly
8       1      version, 1
9       1      kind: 0 bytes, 1 picture
10      1      sender: 1 Alice, 2 Bob; names the direction and with it the half of the pad
11      1      picture: channels a pixel (1 grey, 3 colour, 4 colour and opacity); else 0
12      4      picture: width in pixels; else 0
16      4      picture: height in pixels; else 0
20      4      reserved, 0
24      8      pad id: the first bytes of the key, which are published and never used as pad
32      8      usable bytes of the key, pad id included
40      8      boundary: offset in the key at which Bob's part begins
48      8      offset in the key of the stretch used: hash key, mask, then pad
56      8      length of the message in bytes
======  =====  ==================================================================================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from common.channel.codec import Party
from common.errors import AuthenticationError, ConfigurationError

MAGIC = b"QKDPAD\x1a\n"
VERSION = 1
PAD_ID_BYTES = 8
"""Bytes of the key given away as its name: two pads of one user share a name with probability 2^-64."""

HASH_KEY_BYTES = 16
MASK_BYTES = 16
TAG_BYTES = 16
OVERHEAD_BYTES = HASH_KEY_BYTES + MASK_BYTES
"""Key that every message spends on its tag."""

_LAYOUT = struct.Struct("<8sBBBBIII8sQQQQ")
HEADER_BYTES = _LAYOUT.size


class Kind(IntEnum):
    """What was encrypted."""

    BYTES = 0
    PICTURE = 1


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
class Header:
    """A header.

    Attributes
    ----------
    pad : PadName
        The pad.
    sender : Party
        Who encrypted.
    offset : int
        Offset in the key of the stretch used, bytes.
    count_bytes : int
        Length of the message, bytes.
    kind : Kind
        Bytes or a picture.
    width, height, channels : int
        Shape of a picture; 0 otherwise.
    """

    pad: PadName
    sender: Party
    offset: int
    count_bytes: int
    kind: Kind = Kind.BYTES
    width: int = 0
    height: int = 0
    channels: int = 0

    @property
    def stretch(self) -> Stretch:
        """The stretch of key that this message spends, its tag included."""
        return Stretch(self.offset, OVERHEAD_BYTES + self.count_bytes)

    def encoded(self) -> bytes:
        """Return the 64 bytes."""
        pad = self.pad
        shape = (self.channels, self.width, self.height, 0)
        place = (pad.pad_id, pad.count_bytes, pad.boundary, self.offset, self.count_bytes)
        return _LAYOUT.pack(MAGIC, VERSION, self.kind, self.sender, *shape, *place)

    @classmethod
    def decoded(cls, data: bytes, *, what: str) -> Header:
        """Read a header; nothing in it is trusted before the tag has been checked.

        Parameters
        ----------
        data : bytes
            Begins with the header.
        what : str
            Where it comes from, for messages.

        Returns
        -------
        Header
            The fields, each within its range.

        Raises
        ------
        ConfigurationError
            If this is no one-time-pad file, or one of a later version.
        AuthenticationError
            If a field is out of range or the header is cut off.
        """
        if not data.startswith(MAGIC):
            raise ConfigurationError(f"{what} is not a one-time-pad file: it does not begin with {MAGIC[:6].decode()}")
        if len(data) < HEADER_BYTES:
            raise AuthenticationError(f"{what} is cut off within its header: ask for it again")
        _, version, kind, sender, channels, width, height, reserved, *place = _LAYOUT.unpack_from(data)
        if version != VERSION:
            raise ConfigurationError(f"{what} has format version {version}, this program reads {VERSION}: use the version that wrote it")
        pad_id, count_bytes, boundary, offset, length = place
        try:
            header = cls(PadName(pad_id, count_bytes, boundary), Party(sender), offset, length, Kind(kind), width, height, channels)
        except ValueError:
            raise AuthenticationError(f"{what} names a kind or a sender that do not exist: it was altered on the way") from None
        pixels = width * height * channels
        if reserved or pixels != (length if header.kind is Kind.PICTURE else 0):
            raise AuthenticationError(f"{what} contradicts itself in its header: it was altered on the way")
        return header
