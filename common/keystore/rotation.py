"""A fresh master key for a store that stands still: every data key is wrapped anew, and the old master key opens nothing of it any more.

The order of events is what makes it safe to be killed at any instant:

1. the fresh key lies in a file beside the old one, on disk, before the store is touched,
2. all wraps change in one transaction, and with them the mark by which a store knows its master key,
3. the file is written anew from end to end and the log emptied, so that neither free pages nor the log keep an old wrap,
4. the fresh key takes the place of the old one, which is overwritten.

Whoever opens a store and finds a fresh key beside the old one calls ``finish``: the store says which of the two it is sealed with, so a
rotation that was interrupted is either completed or never happened.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from common.errors import ConfigurationError, KeyStoreError
from common.keystore.contexts import master_check_context
from common.keystore.database import FILE_MODE, Database
from common.keystore.inventory import inventory, is_sealed_with
from common.keystore.sealing import MASTER_KEY_BYTES, DamagedSealError, MasterKey, decoded, read_key_file

FRESH_SUFFIX = ".new"
"""The fresh key lies beside the old one under this name until it takes its place."""

COPIES = 2
"""How much room a rotation needs, in sizes of the store: the log holds one copy, and a temporary file another."""

_NO_WRAP = b""
"""In place of a wrap that does not open: its key is lost with either master key, and is named when it is asked for."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did.

    Attributes
    ----------
    count_wraps : int
        Data keys wrapped anew.
    damaged_blocks : tuple[int, ...]
        Blocks of which a data key did not open with the old master key either.
    """

    count_wraps: int
    damaged_blocks: tuple[int, ...]


def rotate(store: Path, key_file: Path) -> Rotation:
    """Give a store a fresh master key.

    Parameters
    ----------
    store : Path
        The store file; no process may have it open.
    key_file : Path
        Where its master key is kept, and the fresh one will be, as bytes or hexadecimal digits like the old one.

    Returns
    -------
    Rotation
        What was done.

    Raises
    ------
    ConfigurationError
        If there is no store or no key, the key is not the store's, the store is open elsewhere, or the key file cannot be replaced.
    KeyStoreError
        If the disk is full or fails; the store is then as it was, or is finished by whoever opens it next.
    """
    key_file = key_file.resolve()
    if not store.is_file():
        raise ConfigurationError(f"{store}: no such key store; a node makes one when it is first started")
    finish(store, key_file)
    old_text = read_key_file(key_file)
    old = MasterKey(decoded(old_text, str(key_file)))
    with closing(Database(store)) as database:
        if not is_sealed_with(database.rows, old):
            raise ConfigurationError(f"{store}: the master key {key_file} is not the one this store was sealed with")
        _check_fit(database)
        fresh_key = os.urandom(MASTER_KEY_BYTES)
        fresh_file = _fresh_file(key_file)
        _write_private(fresh_file, fresh_key if len(old_text) == MASTER_KEY_BYTES else fresh_key.hex().encode() + b"\n", key_file)
        with database.transaction():
            done = _wrap_anew(database, old, MasterKey(fresh_key))
        database.write_anew()
        _take_place(fresh_file, key_file)
    return done


def finish(store: Path, key_file: Path) -> None:
    """Complete a rotation that was interrupted, or take back what was begun of it; does nothing where there was none.

    Parameters
    ----------
    store : Path
        The store file; no process may have it open.
    key_file : Path
        Where its master key is kept.

    Raises
    ------
    ConfigurationError
        If neither key is the store's, or the key file cannot be replaced.
    KeyStoreError
        If the disk is full or fails.
    """
    key_file = key_file.resolve()
    fresh_file = _fresh_file(key_file)
    if not fresh_file.exists() or not store.is_file():
        return
    with closing(Database(store)) as database:
        if _is_key_of(database, fresh_file):
            database.write_anew()
            _take_place(fresh_file, key_file)
        elif _is_key_of(database, key_file):
            fresh_file.unlink(missing_ok=True)  # the store was not reached: nothing is sealed with the fresh key
        else:
            raise ConfigurationError(f"{store}: neither {key_file} nor {fresh_file} is the master key this store was sealed with")


def _is_key_of(database: Database, key_file: Path) -> bool:
    """Whether a file holds the store's master key; one that a crash cut short does not."""
    try:
        return is_sealed_with(database.rows, MasterKey(decoded(read_key_file(key_file), str(key_file))))
    except ConfigurationError:
        return False


def _check_fit(database: Database) -> None:
    """Refuse before anything is touched what could not be brought to its end."""
    ((found, *_),) = database.rows("PRAGMA quick_check(1)")
    if found != "ok":
        raise KeyStoreError(f"{database.path}: the file is damaged ({found!r}): it cannot be written anew, and keeps its master key")
    needed = COPIES * database.path.stat().st_size
    if shutil.disk_usage(database.path.parent).free < needed:
        raise KeyStoreError(f"{database.path}: the disk is too full to write the store anew: make room for {needed} bytes")


def _wrap_anew(database: Database, old: MasterKey, fresh: MasterKey) -> Rotation:
    ((store_id, check),) = database.rows("SELECT store_id, master_check FROM state")
    if not isinstance(store_id, bytes) or not isinstance(check, bytes):
        raise KeyStoreError(f"{database.path}: the row that names the store is damaged")
    context = master_check_context(store_id)
    database.rows("UPDATE state SET master_check = ?", (fresh.wrap(old.unwrap(check, context), context),))
    count, damaged = 0, set[int]()
    for sealed in inventory(database.rows, store_id):
        try:
            again = fresh.wrap(old.unwrap(sealed.wrapped, sealed.context), sealed.context)
            count += 1
        except DamagedSealError:
            again = _NO_WRAP
            if sealed.block is not None:
                damaged.add(sealed.block)
        database.rows(sealed.change, (again, sealed.row))
    for block in damaged:
        database.rows("UPDATE blocks SET damaged = 1 WHERE block = ?", (block,))
    database.rows("DELETE FROM piece_keys WHERE piece NOT IN (SELECT piece FROM pieces JOIN blocks USING (block))")
    return Rotation(count, tuple(sorted(damaged)))


def _fresh_file(key_file: Path) -> Path:
    return key_file.with_name(key_file.name + FRESH_SUFFIX)


def _write_private(path: Path, content: bytes, like: Path) -> None:
    """Write a new file that belongs to whom another belongs to, and wait until it and its name are on disk."""
    try:
        owner = like.stat()
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        _sync_folder(path.parent)
    except OSError as refused:
        raise ConfigurationError(f"master key {path}: {refused.strerror}; rotate as a user that may write to its folder") from None


def _take_place(fresh_file: Path, key_file: Path) -> None:
    """Put the fresh key in the place of the old one, and overwrite that; of a file that was put there meanwhile nothing is overwritten."""
    try:
        with _old_key(key_file, fresh_file.stat().st_uid) as overwritten:
            fresh_file.replace(key_file)
            _sync_folder(key_file.parent)
            overwritten.write(bytes(os.fstat(overwritten.fileno()).st_size))
            overwritten.flush()
            os.fsync(overwritten)
    except OSError as refused:
        raise ConfigurationError(f"master key {key_file}: {refused.strerror}; {fresh_file} is to take its place") from None


def _old_key(key_file: Path, owner: int) -> BinaryIO:
    """Open the file whose place is taken: no link, for it would be followed, and of the same ``owner``; a new one where it is gone."""
    descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or (status.st_size and status.st_uid != owner):
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "another file lies there now")
    return os.fdopen(descriptor, "wb")


def _sync_folder(folder: Path) -> None:
    """Wait until what was made or renamed in a ``folder`` is on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
