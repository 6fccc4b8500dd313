"""A key file used as a one-time pad: split between the directions, burnt before use, erased behind it.

Both ends hold the same file. Its first 8 bytes name it and are never used as pad; the rest belongs to the two directions: Alice's part
up to the boundary, Bob's from there on. The first 16 bytes of a part hash the messages of its direction and are never pad either. The
parts are fixed at first use, for ends that do not talk to each other cannot share one supply: Alice counting from the front and Bob from
the back would meet without noticing.

A stretch goes through three states. It is *burnt* in the ledger (durable), then read, then erased from the key file. Stopped anywhere, the
program loses key and never gives it twice; and somebody who takes the key file later can read nothing that was sent with it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.channel.codec import Party
from common.errors import AuthenticationError, ConfigurationError, KeyAlreadyTakenError, KeyExhaustedError
from common.onetimepad import ledger as ledgers
from common.onetimepad.cipher import CHUNK_BYTES
from common.onetimepad.envelope import (
    HEADER_BYTES,
    OVERHEAD_BYTES,
    PAD_ID_BYTES,
    TAG_BYTES,
    TAG_KEY_BYTES,
    Contents,
    FileHeader,
    Header,
    PadName,
    Stretch,
)
from common.onetimepad.interface import Incoming, Outgoing

DEFAULT_ALICE_SHARE = 0.5
"""Alice's share of the key, unless told at first use."""


class Pad:
    """A key file at one end.

    Parameters
    ----------
    path : Path
        The key file; the ledger lies beside it, with ``.ledger`` behind its name.
    end : Party | None
        Whose key file this is; None takes it from the ledger, or from a file name that begins with ``alice`` or ``bob``.
    alice_share : float | None
        Share of the key that encrypts messages from Alice, 0 to 1, the same at both ends; None takes the ledger's, or a half.

    Raises
    ------
    ConfigurationError
        If the file is missing, others may read it, it is too short, or the ledger says something else about it.
    KeyAlreadyTakenError
        If the key was used before and its ledger is gone.
    KeyStoreError
        If the ledger cannot be read.
    """

    def __init__(self, path: Path, end: Party | None = None, alice_share: float | None = None) -> None:
        self.path = path
        self.ledger_path = path.with_name(path.name + ".ledger")
        self.precious = frozenset({path.resolve(), self.ledger_path.resolve()})
        count_bytes = _checked_size(path)
        pad_id = self.read(0, PAD_ID_BYTES)
        with ledgers.locked(self.ledger_path) as ledger:
            known = ledger.opening
            if known is None:
                share = DEFAULT_ALICE_SHARE if alice_share is None else alice_share
                boundary = PAD_ID_BYTES + int((count_bytes - PAD_ID_BYTES) * share)
                known = ledgers.Opening(PadName(pad_id, count_bytes, boundary), end or _end_of_name(path))
                self._refuse_erased(known.pad)
                ledger.open_with(known)
        self.name, self.end = known.pad, known.end
        if (self.name.pad_id, self.name.count_bytes) != (pad_id, count_bytes):
            raise ConfigurationError(f"{self.ledger_path} is the ledger of another key: keep each key beside its own ledger")
        if end is not None and end is not self.end:
            raise ConfigurationError(
                f"{path} has been used as {self.end.name.capitalize()}'s key: each end uses its own copy, or both would spend the same bits"
            )
        if alice_share is not None and PAD_ID_BYTES + int((count_bytes - PAD_ID_BYTES) * alice_share) != self.name.boundary:
            raise ConfigurationError(f"--alice-share {alice_share:g}: the parts of {path} were fixed otherwise at its first use")

    @property
    def most_encrypted_bytes(self) -> int:
        """Length above which no encrypted message can be for this pad."""
        return HEADER_BYTES + self.name.count_bytes + TAG_BYTES

    def count_left_bits(self) -> int:
        """Return how many bits are left for messages from this end, tags included."""
        with ledgers.locked(self.ledger_path) as ledger:
            return 8 * max(0, self.name.part_of(self.end).end - self._next_offset(ledger))

    @contextmanager
    def sending(self, contents: Contents) -> Iterator[Outgoing]:
        """Spend key on a message, and erase it once the message is written.

        Parameters
        ----------
        contents : Contents
            What is to be encrypted.

        Yields
        ------
        Outgoing
            Header and key.
        """
        header = FileHeader(self.name, self.end, self.burn_to_send(contents.count_bytes), contents)
        yield Outgoing(header, _Stream(self, header))
        self.erase(header.stretch)

    @contextmanager
    def receiving(self, header: Header, *, what: str) -> Iterator[Incoming]:
        """Find the key of a message, and erase it once the message is written.

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
            If its key lies in a key store.
        """
        if not isinstance(header, FileHeader):
            raise ConfigurationError(f"{what} was encrypted with key of a running node: decrypt it with --config in place of --key")
        self.expect(header, what=what)
        yield Incoming(_Stream(self, header), lambda: self.burn_received(header, what=what))
        self.erase(header.stretch)

    def burn_to_send(self, count_bytes: int) -> int:
        """Spend key on a message to the other end; durable when this returns.

        Parameters
        ----------
        count_bytes : int
            Length of the message, bytes.

        Returns
        -------
        int
            Offset of the stretch, for the header.

        Raises
        ------
        KeyExhaustedError
            If the part of this end is too short; nothing is spent then.
        KeyAlreadyTakenError
            If the stretch has been erased: the ledger is older than the key file.
        """
        with ledgers.locked(self.ledger_path) as ledger:
            part = self.name.part_of(self.end)
            stretch = Stretch(self._next_offset(ledger), OVERHEAD_BYTES + count_bytes)
            missing = stretch.end - part.end
            if missing > 0:
                left = max(0, part.end - stretch.offset)
                raise KeyExhaustedError(
                    f"{self.path} is {8 * missing} bits short: the message takes {8 * count_bytes} bits and its tag {8 * OVERHEAD_BYTES}, "
                    f"{8 * left} are left for messages from {self.end.name.capitalize()}. "
                    "Distil more key; no other cipher stands in for it",
                    missing_bits=8 * missing,
                )
            ledger.burn("sent", stretch)
        self._refuse_erased_stretch(stretch)
        return stretch.offset

    def expect(self, header: FileHeader, *, what: str) -> None:
        """Check that a message can be one from the other end that was not decrypted before; spends nothing.

        Parameters
        ----------
        header : FileHeader
            As it arrived, not yet authenticated.
        what : str
            Where it comes from, for messages.

        Raises
        ------
        ConfigurationError
            If it belongs to another key, or was encrypted at this end.
        AuthenticationError
            If it names other parts of the key than ours has, or its stretch lies outside of the sender's part.
        KeyAlreadyTakenError
            If it was decrypted before, or overlaps something that was.
        """
        if (header.pad.pad_id, header.pad.count_bytes) != (self.name.pad_id, self.name.count_bytes):
            raise ConfigurationError(
                f"{what} was encrypted with another key than {self.path}: both files begin with the same bytes if it fits"
            )
        if header.pad.boundary != self.name.boundary:
            raise AuthenticationError(
                f"{what} names other parts of the key than {self.path} has: it was altered on the way, or the two ends were given "
                "different --alice-share, and then only a new key helps"
            )
        if header.sender is self.end:
            raise ConfigurationError(f"{what} was encrypted at this end ({self.end.name.capitalize()}): decrypt it at the other")
        part = self.name.part_of(header.sender)
        if header.offset < part.offset + TAG_KEY_BYTES or header.stretch.end > part.end:
            raise AuthenticationError(f"{what} claims key outside of its sender's part: it was altered on the way")
        with ledgers.locked(self.ledger_path) as ledger:
            self._refuse_replay(ledger, header.stretch, what)
        self._refuse_erased_stretch(header.stretch)

    def burn_received(self, header: FileHeader, *, what: str) -> None:
        """Spend the key of a message whose tag is right; durable when this returns.

        Parameters
        ----------
        header : FileHeader
            Authenticated.
        what : str
            Where it comes from, for messages.

        Raises
        ------
        KeyAlreadyTakenError
            If another process has decrypted it meanwhile.
        """
        with ledgers.locked(self.ledger_path) as ledger:
            self._refuse_replay(ledger, header.stretch, what)
            ledger.burn("received", header.stretch)

    def read(self, offset: int, count_bytes: int) -> bytes:
        """Read key.

        Parameters
        ----------
        offset, count_bytes : int
            Which bytes.

        Returns
        -------
        bytes
            Exactly so many.

        Raises
        ------
        ConfigurationError
            If the file is shorter than it was.
        """
        with _opened(self.path, os.O_RDONLY) as descriptor:
            key = os.pread(descriptor, count_bytes, offset)
        if len(key) != count_bytes:
            raise ConfigurationError(f"{self.path} holds {len(key)} bytes from {offset} on where {count_bytes} were expected: it was cut")
        return key

    def erase(self, stretch: Stretch) -> None:
        """Overwrite key that has been used with zeros.

        A file system or a disk that writes elsewhere than where it read may keep the old bytes; what is certain is that this file no
        longer shows them.

        Parameters
        ----------
        stretch : Stretch
            Burnt in the ledger.
        """
        with _opened(self.path, os.O_WRONLY) as descriptor:
            for offset in range(stretch.offset, stretch.end, CHUNK_BYTES):
                os.pwrite(descriptor, bytes(min(CHUNK_BYTES, stretch.end - offset)), offset)
            os.fsync(descriptor)

    def _next_offset(self, ledger: ledgers.OpenLedger) -> int:
        """Where the next message from this end begins; the ledger is append-only, so it only grows."""
        ends = [stretch.end for use, stretch in ledger.burnt if use == "sent"]
        return max([self.name.part_of(self.end).offset + TAG_KEY_BYTES, *ends])

    def _refuse_replay(self, ledger: ledgers.OpenLedger, stretch: Stretch, what: str) -> None:
        for _, spent in ledger.burnt:
            if spent == stretch:
                raise KeyAlreadyTakenError(f"{what} was decrypted before, or an attempt was interrupted: its key is spent; ask for it anew")
            if spent.overlaps(stretch):
                raise KeyAlreadyTakenError(f"{what} claims key that another message has spent already; ask for it anew")

    def _refuse_erased_stretch(self, stretch: Stretch) -> None:
        """Key that reads as zeros was used and erased, whatever the ledger says; true key does so with probability 2^-128."""
        if not any(self.read(stretch.offset, OVERHEAD_BYTES)):
            raise KeyAlreadyTakenError(f"{self.path} was used beyond what {self.ledger_path} says: an old ledger; distil a new key")

    def _refuse_erased(self, name: PadName) -> None:
        for party in Party:
            part = name.part_of(party)
            if part.count_bytes >= TAG_KEY_BYTES + OVERHEAD_BYTES and not any(self.read(part.offset + TAG_KEY_BYTES, OVERHEAD_BYTES)):
                raise KeyAlreadyTakenError(f"{self.path} was used before and {self.ledger_path} is gone: distil a new key")


class _Stream:
    """The key of one message in a key file."""

    def __init__(self, pad: Pad, header: FileHeader) -> None:
        self._pad = pad
        self._reached = header.offset
        self._tag_key_offset = pad.name.part_of(header.sender).offset

    @property
    def tag_key(self) -> bytes:
        return self._pad.read(self._tag_key_offset, TAG_KEY_BYTES)

    def read(self, count_bytes: int) -> bytes:
        key = self._pad.read(self._reached, count_bytes)
        self._reached += count_bytes
        return key


def _checked_size(path: Path) -> int:
    """Return the size of a key file that nobody else can read."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such key file; 'qkd distil' writes alice.key and bob.key") from None
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{path} is not a regular file: key is read from files only, for its ledger lies beside it")
    if status.st_mode & 0o077:
        raise ConfigurationError(f"{path} can be read by others (mode {status.st_mode & 0o777:o}): keep keys to yourself with chmod 600")
    if status.st_size < PAD_ID_BYTES:
        raise KeyExhaustedError(
            f"{path} holds {8 * status.st_size} bits: that is no key; distil one, and see its report.json where it is empty"
        )
    return status.st_size


def _end_of_name(path: Path) -> Party:
    for party in Party:
        if path.name.lower().startswith(party.name.lower()):
            return party
    raise ConfigurationError(f"{path}: say whose key file this is with --end alice or --end bob; each end uses its own part of the key")


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
