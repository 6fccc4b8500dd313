"""What every message is: a class of the catalogue with a code on the wire."""

from __future__ import annotations

from typing import ClassVar


class Message:
    """Base of all messages; ``KIND`` is the code on the wire."""

    __slots__ = ()
    KIND: ClassVar[int]
