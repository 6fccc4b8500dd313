"""Everything that a master key seals in a store file: where it lies, what it is bound to, and whether it opens.

Key lies there in pieces of blocks, in keys held for applications and in the hash key of the tags, each sealed under a data key of its own.
Rotation wraps all of these anew, and ``damaged`` opens all of them, to say what is lost before anybody asks for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigurationError, KeyStoreError
from common.keystore.contexts import hash_key_context, held_key_context, master_check_context, piece_context, sharing_context
from common.keystore.database import SqlValue, read_only
from common.keystore.sealing import DamagedSealError, MasterKey, unseal
from common.keystore.shelf import STAGED

Rows = Callable[[str, Sequence[SqlValue]], list[tuple[SqlValue, ...]]]
"""Runs a statement with its values and returns all rows."""

AT_ONCE = 1024
"""Wraps read at a time."""

_PIECES = """
SELECT piece_keys.piece, wrapped, block, pool, first_byte, pieces.count_bytes, count_bits, rule, mask_cursor, reserve_floor
FROM piece_keys JOIN pieces USING (piece) JOIN blocks USING (block) WHERE piece_keys.piece > ? ORDER BY piece_keys.piece LIMIT ?"""
_HELD_KEYS = "SELECT key_id, wrapped, master FROM held_keys WHERE key_id > ? ORDER BY key_id LIMIT ?"
_HASH_KEY = "SELECT id, wrapped, number FROM hash_key WHERE id > ? AND wrapped IS NOT NULL ORDER BY id LIMIT ?"


@dataclass(frozen=True, slots=True)
class Sealed:
    """Something sealed.

    Attributes
    ----------
    name : str
        For people.
    block : int | None
        The block it is a piece of.
    row : SqlValue
        By which its row is known.
    wrapped, context : bytes
        Its data key, wrapped, and what it is bound to.
    change, look_up : str
        Statements that put another wrap in the place of this one, and that read what is sealed.
    """

    name: str
    block: int | None
    row: SqlValue
    wrapped: bytes
    context: bytes
    change: str
    look_up: str


def inventory(rows: Rows, store_id: bytes) -> Iterator[Sealed]:
    """List everything sealed in a store, read some rows at a time.

    Parameters
    ----------
    rows : callable
        Runs statements on the store.
    store_id : bytes
        Its name.

    Yields
    ------
    Sealed
        Pieces of blocks, then held keys, then the hash key.
    """
    for piece, wrapped, block, pool, first, length, bits, rule, cursor, floor in _every(rows, _PIECES, 0):
        shelf, number, first_byte, count_bytes = str(pool), _number(block), _number(first), _number(length)
        sharing = sharing_context(_number(bits), str(rule), _number(cursor), _number(floor)) if pool == STAGED else b""
        yield Sealed(
            f"block {number}, {shelf}, bytes {first_byte} to {first_byte + count_bytes}",
            number,
            piece,
            _bytes(wrapped),
            piece_context(store_id, shelf, number, first_byte, count_bytes, sharing),
            "UPDATE piece_keys SET wrapped = ? WHERE piece = ?",
            "SELECT sealed FROM pieces WHERE piece = ?",
        )
    for key_id, wrapped, master in _every(rows, _HELD_KEYS, b""):
        yield Sealed(
            f"key {_bytes(key_id).hex()}, held for an application",
            None,
            key_id,
            _bytes(wrapped),
            held_key_context(store_id, _bytes(key_id), str(master)),
            "UPDATE held_keys SET wrapped = ? WHERE key_id = ?",
            "SELECT sealed FROM held_keys WHERE key_id = ?",
        )
    for row, wrapped, number_of_key in _every(rows, _HASH_KEY, 0):
        yield Sealed(
            f"hash key {_number(number_of_key)}",
            None,
            row,
            _bytes(wrapped),
            hash_key_context(store_id, _number(number_of_key)),
            "UPDATE hash_key SET wrapped = ? WHERE id = ?",
            "SELECT sealed FROM hash_key WHERE id = ?",
        )


def is_sealed_with(rows: Rows, master: MasterKey) -> bool:
    """Return whether the store that ``rows`` reads was sealed with ``master``."""
    for store_id, check in rows("SELECT store_id, master_check FROM state", ()):
        try:
            master.unwrap(_bytes(check), master_check_context(_bytes(store_id)))
        except DamagedSealError:
            return False
        return True
    return False


def damaged(path: Path, master: MasterKey) -> list[Sealed]:
    """Open everything sealed in a store file, and forget it.

    Parameters
    ----------
    path : Path
        The store file; it is not changed.
    master : MasterKey
        Its master key.

    Returns
    -------
    list[Sealed]
        What does not open: it is lost.

    Raises
    ------
    ConfigurationError
        If the master key is not the store's.
    KeyStoreError
        If the file cannot be read.
    """
    with closing(read_only(path)) as connection:

        def rows(sql: str, values: Sequence[SqlValue]) -> list[tuple[SqlValue, ...]]:
            return connection.execute(sql, values).fetchall()

        try:
            if not is_sealed_with(rows, master):
                raise ConfigurationError(f"{path}: the master key is not the one this store was sealed with")
            ((store_id,),) = rows("SELECT store_id FROM state", ())
            return [sealed for sealed in inventory(rows, _bytes(store_id)) if not _opens(rows, master, sealed)]
        except sqlite3.Error as error:
            raise KeyStoreError(f"{path}: {error}") from None


def _opens(rows: Rows, master: MasterKey, sealed: Sealed) -> bool:
    try:
        ((content,),) = rows(sealed.look_up, (sealed.row,))
        unseal(master, sealed.wrapped, _bytes(content), sealed.context)
    except (DamagedSealError, sqlite3.DatabaseError):
        return False
    return True


def _every(rows: Rows, sql: str, before: SqlValue) -> Iterator[Sequence[SqlValue]]:
    """Read rows, some at a time, in the order of their first column."""
    while found := rows(sql, (before, AT_ONCE)):
        yield from found
        before = found[-1][0]


def _number(value: SqlValue) -> int:
    return value if isinstance(value, int) else 0


def _bytes(value: SqlValue) -> bytes:
    return value if isinstance(value, bytes) else b""
