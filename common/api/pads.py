"""The one-time pad for Python programs: messages, files, pictures and streams, with key from a running node or from a key file.

::

    from common.api.pads import PadClient

    pad = PadClient.of_node("nodes/alice/config.toml")
    sent = pad.encrypt(b"meet me at noon")

and at the other end ``pad.decrypt(sent)``. For a stream of any length ``pad.encrypting(sink)`` gives what is written into, and
``pad.decrypting(source)`` what is read from.

The program has to run as the user of the node, or as root: it asks over the node's admin socket, as ``qkd otp`` does, which is made of
this. Key is spent before it is used; where it runs out ``KeyExhaustedError`` says how many bits are missing and how long the link needs for
them. Python copies bytes as it pleases: what this module holds of key it overwrites, what you are given decrypted is yours to overwrite.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from common.channel.codec import Party
from common.errors import ConfigurationError
from common.onetimepad.envelope import Contents, Header
from common.onetimepad.files import decrypt_file, encrypt_file
from common.onetimepad.interface import Incoming, OneTimePad, Outgoing
from common.onetimepad.messages import decrypt_message, encrypt_message
from common.onetimepad.pad import Pad
from common.onetimepad.served import ServedPad
from common.onetimepad.streams import MOST_SEGMENT_BYTES, DecryptingStream, EncryptingStream, Sink, Source
from common.service.admin_client import AdminClient
from common.service.settings import NodeSettings, load_settings

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class Passed:
    """What became of a message.

    Attributes
    ----------
    message_bits : int
        Length of what was encrypted, filling included.
    key_bits : int
        Key that was spent on it, its tag included.
    """

    message_bits: int
    key_bits: int

    @classmethod
    def of(cls, header: Header) -> Passed:
        """Read it off the ``header`` of the message."""
        return cls(8 * header.count_bytes, 8 * header.count_key_bytes)


class PadClient:
    """The one-time pad of one end.

    Nothing is held open between two messages, so it may be kept for as long as a program runs, and threads may share it; a stream belongs
    to one thread.

    Parameters
    ----------
    pad : OneTimePad
        Where key comes from; ``of_node`` and ``of_key_file`` make one.
    """

    def __init__(self, pad: OneTimePad) -> None:
        self._pad = pad

    @classmethod
    def of_node(cls, config: Path | str) -> PadClient:
        """Use the pads of a running node.

        Parameters
        ----------
        config : Path | str
            The node's configuration.

        Returns
        -------
        PadClient
            Its end is that of the node.

        Raises
        ------
        ConfigurationError
            If the configuration cannot be read.
        TransportError
            If no node answers.
        """
        settings = load_settings(Path(config), NodeSettings)
        return cls.of_socket(settings.resolved(settings.admin.socket))

    @classmethod
    def of_socket(cls, path: Path | str) -> PadClient:
        """Use the pads of the node whose admin socket lies at ``path``."""
        return cls(_NodePad(lambda: AdminClient(Path(path))))

    @classmethod
    def of_key_file(cls, key: Path | str, end: str | None = None, alice_share: float | None = None) -> PadClient:
        """Use a key file; its ledger is kept beside it.

        Parameters
        ----------
        key : Path | str
            This end's copy of the key.
        end : str | None
            ``alice`` or ``bob``, where the name of the file does not say it.
        alice_share : float | None
            Share of the key for messages from Alice, fixed at first use and the same at both ends; a half where nobody says.

        Returns
        -------
        PadClient
            For this end.

        Raises
        ------
        ConfigurationError
            If the file cannot be used, or was used otherwise before.
        """
        if end is not None and end not in {"alice", "bob"}:
            raise ConfigurationError(f"end {end!r}: say alice or bob")
        return cls(Pad(Path(key), Party[end.upper()] if end else None, alice_share))

    @property
    def end(self) -> str:
        """Which end this is: ``alice`` or ``bob``."""
        return self._pad.end.name.lower()

    def left_bits(self) -> int:
        """Return how much key is left for messages from this end, tags included; bits."""
        return self._pad.count_left_bits()

    def encrypt(self, message: Buffer, pad_to: int | None = None) -> bytes:
        """Encrypt a message.

        Parameters
        ----------
        message : buffer
            Bytes of any number.
        pad_to : int | None
            Fill it up to a multiple of so many bytes, so that its length does not show.

        Returns
        -------
        bytes
            To be sent; anybody may see it.

        Raises
        ------
        KeyExhaustedError
            If there is too little key; nothing is spent then.
        """
        encrypted = BytesIO()
        with memoryview(message) as view:
            encrypt_message(self._pad, BytesIO(view), view.nbytes, lambda: contextlib.nullcontext(encrypted), pad_to)
        return encrypted.getvalue()

    def decrypt(self, encrypted: Buffer) -> bytearray:
        """Decrypt what the other end encrypted with ``encrypt``.

        Parameters
        ----------
        encrypted : buffer
            As it was sent.

        Returns
        -------
        bytearray
            The message.

        Raises
        ------
        AuthenticationError
            If it was altered; its key is not spent, so that the true message still decrypts.
        KeyAlreadyTakenError
            If it was decrypted before.
        KeyNotFoundError
            If its key is not here: the other end may have had its block a moment earlier.
        ConfigurationError
            If this is no such message, or one of another key or direction.
        """
        message = BytesIO()
        with memoryview(encrypted) as view:
            decrypt_message(self._pad, BytesIO(view), view.nbytes, lambda: contextlib.nullcontext(message), what="the message")
        with message.getbuffer() as view:
            found = bytearray(view)
            view[:] = bytes(len(view))
        return found

    def encrypt_file(self, source: Path, target: Path, pad_to: int | None = None) -> Passed:
        """Encrypt a file; what is written appears under its name complete or not at all.

        Parameters
        ----------
        source, target : Path
            What is read and what is written; ``-`` stands for standard input and output.
        pad_to : int | None
            Fill the message up to a multiple of so many bytes, so that its length does not show.

        Returns
        -------
        Passed
            How much was encrypted, and the key it took.
        """
        return Passed.of(encrypt_file(self._pad, source, target, pad_to))

    def decrypt_file(self, source: Path, target: Path) -> Passed:
        """Decrypt a file, of which nothing is written before all of it was found true.

        Parameters
        ----------
        source, target : Path
            What is read and what is written; ``-`` stands for standard input and output.

        Returns
        -------
        Passed
            How much was decrypted, and the key it took.
        """
        return Passed.of(decrypt_file(self._pad, source, target))

    def encrypt_picture(self, source: Path, target: Path) -> Passed:
        """Encrypt the pixels of the picture ``source``; the PNG ``target`` is a picture to look at."""
        from common.onetimepad.pictures import encrypt_picture

        return Passed.of(encrypt_picture(self._pad, source, target))

    def decrypt_picture(self, source: Path, target: Path) -> Passed:
        """Decrypt the encrypted picture ``source`` into the PNG ``target``."""
        from common.onetimepad.pictures import decrypt_picture

        return Passed.of(decrypt_picture(self._pad, source, target))

    def encrypting(self, sink: Sink, segment_bytes: int = MOST_SEGMENT_BYTES) -> EncryptingStream:
        """Begin a stream of any length, in constant memory.

        Parameters
        ----------
        sink : Sink
            Takes what is encrypted: an open file, or that of a socket (``socket.makefile("wb")``).
        segment_bytes : int
            What is gathered before it is encrypted; its ``flush`` encrypts less.

        Returns
        -------
        EncryptingStream
            To be written into, in a ``with`` statement.
        """
        return EncryptingStream(self._pad, sink, segment_bytes)

    def decrypting(self, source: Source) -> DecryptingStream:
        """Read a stream that the other end writes.

        Parameters
        ----------
        source : Source
            Gives what is encrypted: an open file, or that of a socket (``socket.makefile("rb")``).

        Returns
        -------
        DecryptingStream
            To be read from, in a ``with`` statement; each segment is given once it was found true.
        """
        return DecryptingStream(self._pad, source)


class _NodePad:
    """The pads of a running node, over a connection for each message: nodes serve few of these at a time, and end quiet ones."""

    def __init__(self, connect: Callable[[], AdminClient]) -> None:
        self._connect = connect
        self.precious: frozenset[Path] = frozenset()
        with self._opened() as pad:
            self.end = pad.end

    @property
    def most_encrypted_bytes(self) -> int:
        """Length above which no encrypted message can be for this pad."""
        with self._opened() as pad:
            return pad.most_encrypted_bytes

    def count_left_bits(self) -> int:
        """Return how many bits are left for messages from this end."""
        with self._opened() as pad:
            return pad.count_left_bits()

    @contextmanager
    def sending(self, contents: Contents) -> Iterator[Outgoing]:
        """Spend key on a message."""
        with self._opened() as pad, pad.sending(contents) as message:
            yield message

    @contextmanager
    def receiving(self, header: Header, *, what: str) -> Iterator[Incoming]:
        """Find the key of a message."""
        with self._opened() as pad, pad.receiving(header, what=what) as message:
            yield message

    @contextmanager
    def _opened(self) -> Iterator[ServedPad]:
        with self._connect() as client:
            yield ServedPad(client)
