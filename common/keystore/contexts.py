"""What each sealed thing is bound to: its store and its place, so that nothing opens anywhere else.

A staged block is bound to what its sharing out will rest on as well: were one of these numbers altered on disk, the two ends would split
the same key differently, and nothing else would show it.
"""

from __future__ import annotations

import hashlib
import struct


def piece_context(store_id: bytes, shelf: str, block: int, first_byte: int, count_bytes: int, sharing: bytes = b"") -> bytes:
    """Return what a sealed piece is bound to.

    Parameters
    ----------
    store_id : bytes
        16 bytes that name the store.
    shelf : str
        Name of a pool, or that of the staged blocks.
    block, first_byte, count_bytes : int
        Where the piece lies on the shelf.
    sharing : bytes
        Of a staged block ``sharing_context``.

    Returns
    -------
    bytes
        Never the same for two pieces.
    """
    return b"qkdlink piece 1" + store_id + struct.pack("<qqq", block, first_byte, count_bytes) + shelf.encode() + sharing


def sharing_context(count_bits: int, rule: str, mask_cursor: int, reserve_floor: int) -> bytes:
    """Return what a staged block is bound to beside its place: all that its sharing out rests on.

    Parameters
    ----------
    count_bits : int
        Length of the block.
    rule : str
        By which it will be shared out.
    mask_cursor, reserve_floor : int
        Lowest unused mask pair, and the lowest above all provisioned ones, when it was staged.

    Returns
    -------
    bytes
        Of these.
    """
    return struct.pack("<qqq", count_bits, mask_cursor, reserve_floor) + rule.encode()


def held_key_context(store_id: bytes, key_id: bytes, master: str) -> bytes:
    """Return what a key held for applications is bound to.

    Parameters
    ----------
    store_id : bytes
        16 bytes that name the store.
    key_id : bytes
        The key's number.
    master : str
        Who ordered it.

    Returns
    -------
    bytes
        Never the same for two keys.
    """
    return b"qkdlink held key 1" + store_id + struct.pack("<I", len(key_id)) + key_id + master.encode()


def hash_key_context(store_id: bytes, number: int) -> bytes:
    """Return what the hash key ``number`` of the store ``store_id`` is bound to."""
    return b"qkdlink hash key 1" + store_id + number.to_bytes(8, "little", signed=True)


def master_check_context(store_id: bytes) -> bytes:
    """Return what the wrap is bound to by which the store ``store_id`` knows its master key."""
    return b"qkdlink master key check" + store_id


def row_guard(*facts: object) -> bytes:
    """Return 8 bytes by which a row is known to hold the ``facts`` it was written with; against damage, not against malice."""
    return hashlib.sha256(repr(facts).encode()).digest()[:8]
