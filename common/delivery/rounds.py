"""What goes into one round of the desk, under which numbers, and what the peer is told where keys are not held."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from common.delivery.peer import FAILED, FULL, NOT_HERE, NOT_READY, TAKEN_BEFORE
from common.delivery.refusals import RefusalError, unavailable
from common.errors import KeyAlreadyTakenError, KeyNotCommittedError, KeyNotFoundError, KeyStoreError
from common.keystore.orders import Allowance, HoldsTooMuchError, Order

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


def too_little(order: Order, left_bytes: int, seconds_to_make: Callable[[int], float | None]) -> RefusalError:
    """Return the refusal of an order there is too little key for.

    Parameters
    ----------
    order : Order
        What was asked.
    left_bytes : int
        What there is; as much as was asked, or more, where that cannot be read.
    seconds_to_make : callable
        Says how long the link needs for so many bits; None where no key comes at present.

    Returns
    -------
    RefusalError
        Says how many bits are missing, and how long the link needs for them.
    """
    details: dict[str, int | float] = {"asked_bits": 8 * order.total_bytes}
    missing_bits = 8 * (order.total_bytes - left_bytes)
    if missing_bits > 0:
        details["missing_bits"] = missing_bits
        wait = seconds_to_make(missing_bits)
        details |= {} if wait is None else {"wait_seconds": round(wait, 1)}
    return unavailable("not enough key", **details)


def over_quota(order: Order, allowance: Allowance) -> RefusalError:
    """Return the refusal of an order that a quota does not allow.

    Parameters
    ----------
    order : Order
        What was asked.
    allowance : Allowance
        What the application may have.

    Returns
    -------
    RefusalError
        Says what is left, and when there is enough; not when, where the quota is less than what was asked.
    """
    asked, left = 8 * order.total_bytes, 8 * allowance.left_bytes
    details = {"asked_bits": asked, "quota_bits": 8 * allowance.quota_bytes, "left_bits": left, "missing_bits": asked - left}
    wait = {} if allowance.wait_seconds is None else {"wait_seconds": round(allowance.wait_seconds, 1)}
    return unavailable("quota of this SAE is used up", **details, **wait)


def answer_to(refused: KeyStoreError) -> int:
    """Return what the peer is told where keys are ``refused``, or ``NOT_YET``."""
    if isinstance(refused, KeyNotCommittedError):
        return NOT_YET
    if isinstance(refused, HoldsTooMuchError):
        return FULL
    return NOT_HERE if isinstance(refused, KeyNotFoundError) else TAKEN_BEFORE if isinstance(refused, KeyAlreadyTakenError) else FAILED
