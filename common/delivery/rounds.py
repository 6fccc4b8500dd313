"""What goes into one round of the desk, under which numbers, and what the peer is told where keys are not held."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from common.delivery.peer import FAILED, FULL, NOT_HERE, NOT_READY, TAKEN_BEFORE
from common.errors import KeyAlreadyTakenError, KeyNotCommittedError, KeyNotFoundError, KeyStoreError
from common.keystore.orders import HoldsTooMuchError

MOST_WAITING = 1024
"""Requests that wait at a time; more are refused, to be asked again."""

MOST_ROUND_KEYS = 8192
"""Keys in one round, so that a message to the peer stays short of its limit."""

KEY_ID_VERSION = 7

NOT_YET = -1
"""Not said to the peer: the keys are of a block that we are about to commit."""

_T = TypeVar("_T")


def new_key_id(now_s: Callable[[], float] = time.time) -> bytes:
    """Return a fresh number for a key: a UUID of version 7, by the time in ``now_s``, so that those of a moment lie together on disk.

    References
    ----------
    RFC 9562, section 5.7.
    """
    drawn = bytearray(round(now_s() * 1000).to_bytes(6, "big") + os.urandom(10))
    drawn[6] = KEY_ID_VERSION << 4 | drawn[6] & 0x0F
    drawn[8] = 0x80 | drawn[8] & 0x3F
    return bytes(drawn)


def taken(waiting: list[_T], count_keys: Callable[[_T], int]) -> list[_T]:
    """Take as much as goes into one round; one at least.

    Parameters
    ----------
    waiting : list
        Loses from its front what is taken.
    count_keys : callable
        Returns the keys of one of it.

    Returns
    -------
    list
        What is taken.
    """
    count, total = 0, 0
    for one in waiting[:MOST_WAITING]:
        total += count_keys(one)
        if count and total > MOST_ROUND_KEYS:
            break
        count += 1
    front = waiting[:count]
    del waiting[:count]
    return front


REFUSALS = {
    NOT_HERE: "it lacks the key",
    TAKEN_BEFORE: "it has handed the key out",
    NOT_READY: "it has not met us yet",
    FULL: "it holds as many keys as it may",
}
"""Why the peer could not hold keys, in words."""


def answer_to(refused: KeyStoreError) -> int:
    """Return what the peer is told where keys are ``refused``, or ``NOT_YET``."""
    if isinstance(refused, KeyNotCommittedError):
        return NOT_YET
    if isinstance(refused, HoldsTooMuchError):
        return FULL
    return NOT_HERE if isinstance(refused, KeyNotFoundError) else TAKEN_BEFORE if isinstance(refused, KeyAlreadyTakenError) else FAILED
