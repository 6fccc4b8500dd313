"""What encrypts and decrypts messages, wherever its key comes from: a key file (``pad``) or the store of a running node (``served``)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from common.channel.codec import Party
from common.onetimepad.cipher import KeyStream
from common.onetimepad.envelope import Contents, Header


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be encrypted, its key spent: ``header`` and ``key``."""

    header: Header
    key: KeyStream = field(repr=False)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message to be decrypted.

    Attributes
    ----------
    key : KeyStream
        Gives the mask of the tag; the pad only after ``burn``.
    burn : callable
        Spends the key, once the tag has proved right; durable when it returns.
    """

    key: KeyStream = field(repr=False)
    burn: Callable[[], None]


class OneTimePad(Protocol):
    """A pad at one end."""

    @property
    def end(self) -> Party:
        """Which end this is."""

    @property
    def precious(self) -> frozenset[Path]:
        """Files that must not be written over."""

    @property
    def most_encrypted_bytes(self) -> int:
        """Length above which no encrypted message can be for this pad."""

    def count_left_bits(self) -> int:
        """Return how many bits are left for messages from this end, tags included."""

    def sending(self, contents: Contents) -> AbstractContextManager[Outgoing]:
        """Spend key on a message; what the body leaves unread of it is lost.

        Parameters
        ----------
        contents : Contents
            What is to be encrypted.

        Returns
        -------
        context manager
            Gives header and key.

        Raises
        ------
        KeyExhaustedError
            If the key is too short; nothing is spent then.
        """

    def receiving(self, header: Header, *, what: str) -> AbstractContextManager[Incoming]:
        """Find the key of a message; it is given back unless the body burns it.

        Parameters
        ----------
        header : Header
            As it arrived, not yet authenticated.
        what : str
            Where it comes from, for messages.

        Returns
        -------
        context manager
            Gives the key.

        Raises
        ------
        ConfigurationError
            If it belongs to another key, or was encrypted at this end.
        AuthenticationError
            If it claims what no sender writes.
        KeyAlreadyTakenError
            If it was decrypted before.
        """
