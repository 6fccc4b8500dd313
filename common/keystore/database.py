"""The SQLite file below a key store: opened by one process at a time, migrated, durable at every commit.

Write-ahead logging with ``synchronous=FULL``: when a transaction returns it is on the disk. ``secure_delete`` overwrites deleted rows. One
connection; the store above lets one thread in at a time.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from common.errors import ConfigurationError, KeyStoreError

PAGE_BYTES = 16384
"""Page size of new stores: sealed pieces are large, and long chains of small pages are slow to follow."""

CACHE_KIBIBYTES = 2048
"""Memory for pages: sealed key is read once, so more makes nothing faster (measured), and would take hours of link to fill up."""

FILE_MODE = 0o600

BUSY_SECONDS = 5.0
"""How long a change waits for somebody who is reading the file."""

_SET_ASIDE = "; set it aside and let the peer's greeting settle what is lost"

SqlValue = int | float | str | bytes | None


class DamagedFileError(KeyStoreError):
    """A page of the store file cannot be read."""


def migrations() -> list[tuple[int, str]]:
    """Return number and text of every migration, in order."""
    folder = resources.files("common.keystore") / "migrations"
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return sorted((int(entry.name.split("_")[0]), entry.read_text(encoding="utf-8")) for entry in found)


def read_only(path: Path) -> sqlite3.Connection:
    """Open a store file for looking at it as it stands now, whether or not a process has it open.

    Parameters
    ----------
    path : Path
        The file; it is not changed.

    Returns
    -------
    sqlite3.Connection
        Within one transaction.

    Raises
    ------
    ConfigurationError
        If there is no such file, or a newer version wrote it.
    KeyStoreError
        If it cannot be read.
    """
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such key store")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise KeyStoreError(f"{path}: {error}") from None
    try:
        ((version,),) = connection.execute("PRAGMA user_version")
        if version > migrations()[-1][0]:
            raise ConfigurationError(f"{path} was written by a newer version: update qkdlink")
        connection.execute("BEGIN")
    except sqlite3.Error as error:
        connection.close()
        raise KeyStoreError(f"{path}: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


class Database:
    """An open store file.

    Parameters
    ----------
    path : Path
        The file; made, readable by its owner only, where there is none.
    most_pages : int | None
        Most pages the file may grow to, or None for all the disk has.

    Raises
    ------
    ConfigurationError
        If others may read it, another process has it open, or a newer version wrote it.
    KeyStoreError
        If it cannot be opened.
    """

    def __init__(self, path: Path, most_pages: int | None = None) -> None:
        self.path = path
        self._failed = False
        _ensure_private(path)
        self._guard = _locked(path)
        try:
            self._connection = sqlite3.connect(path, BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256)
        except sqlite3.Error as error:
            os.close(self._guard)
            raise KeyStoreError(f"{path}: {error}") from None
        try:
            self._prepare(most_pages)
        except BaseException:
            self.close()
            raise

    def rows(self, sql: str, parameters: Sequence[SqlValue] = ()) -> list[tuple[SqlValue, ...]]:
        """Run a statement and return its rows.

        Parameters
        ----------
        sql : str
            One statement.
        parameters : sequence
            Its values.

        Returns
        -------
        list[tuple]
            All rows.

        Raises
        ------
        KeyStoreError
            If the file is damaged or the disk is full.
        """
        if self._failed:
            raise KeyStoreError(f"{self.path}: the disk failed while writing: check it, then start again")
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._explained(error) from None
        except UnicodeDecodeError:
            raise DamagedFileError(f"{self.path}: the file is damaged (a text in it is none){_SET_ASIDE}") from None

    def integer(self, sql: str, parameters: Sequence[SqlValue] = ()) -> int:
        """Return the one number a statement yields.

        Parameters
        ----------
        sql : str
            One statement.
        parameters : sequence
            Its values.

        Returns
        -------
        int
            The number; 0 for null.
        """
        ((value,),) = self.integers(sql, parameters)
        return value

    def integers(self, sql: str, parameters: Sequence[SqlValue] = ()) -> list[tuple[int, ...]]:
        """Return the rows of a statement whose columns are all integers.

        Parameters
        ----------
        sql : str
            One statement.
        parameters : sequence
            Its values.

        Returns
        -------
        list[tuple[int, ...]]
            All rows; 0 for null, and for what a damaged row holds in place of an integer.
        """
        return [tuple(value if isinstance(value, int) else 0 for value in row) for row in self.rows(sql, parameters)]

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Make everything inside one change that is on disk when the block is left, or not made at all.

        Parameters
        ----------
        durable : bool
            False for tidying up, which is repeated when the store is opened if a crash undoes it.

        Yields
        ------
        None
            Inside the transaction.
        """
        if not durable:
            self.rows("PRAGMA synchronous = NORMAL")
        try:
            self.rows("BEGIN IMMEDIATE")
            try:
                yield
                self.rows("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        finally:
            if not durable:
                self._connection.execute("PRAGMA synchronous = FULL")

    def check_table(self, table: str) -> None:
        """Make sure that a table and its indexes say the same; indexes that do not are made anew.

        Parameters
        ----------
        table : str
            Its name.

        Raises
        ------
        DamagedFileError
            If the table itself cannot be read from end to end.
        """
        self.rows("PRAGMA ignore_check_constraints = ON")  # values that no row may have are dealt with where they are read
        try:
            if not self._is_whole(table):
                self.rows(f"REINDEX {table}")
                if not self._is_whole(table):
                    raise DamagedFileError(f"{self.path}: the file is damaged (table {table}){_SET_ASIDE}")
        finally:
            self.rows("PRAGMA ignore_check_constraints = OFF")

    def _is_whole(self, table: str) -> bool:
        return self.rows(f"PRAGMA integrity_check({table})") == [("ok",)]

    def write_back(self) -> None:
        """Carry the log over into the file and empty it: what was deleted is until then still to be read in one or the other."""
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def write_anew(self) -> None:
        """Write the whole file anew and empty the log, so that neither keeps anything that was deleted or overwritten before.

        Raises
        ------
        KeyStoreError
            If the disk has no room for a second copy, or somebody else is reading the file.
        """
        folder = str(self.path.resolve().parent).replace("'", "''")
        self.rows("PRAGMA temp_store = FILE")  # in memory a second copy may be too large
        self.rows(f"PRAGMA temp_store_directory = '{folder}'")  # on no other disk, which would keep wraps that are destroyed here later
        try:
            self.rows("VACUUM")
        finally:
            self.rows("PRAGMA temp_store_directory = ''")
            self.rows("PRAGMA temp_store = MEMORY")
        ((is_busy, _, _),) = self.integers("PRAGMA wal_checkpoint(TRUNCATE)")
        if is_busy:
            raise KeyStoreError(f"{self.path}: another process reads the store, so its log cannot be emptied: end that one first")

    def close(self) -> None:
        """Write the log back, empty it, and let go of the file."""
        if self._guard < 0:
            return
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, UnicodeDecodeError):
            pass  # what is committed is in the log, which the next one to open the store reads
        finally:
            self._connection.close()
            os.close(self._guard)
            self._guard = -1

    def _prepare(self, most_pages: int | None) -> None:
        for setting in (
            f"page_size = {PAGE_BYTES}",
            f"cache_size = -{CACHE_KIBIBYTES}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "secure_delete = ON",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            "trusted_schema = OFF",
        ):
            self.rows(f"PRAGMA {setting}")
        if most_pages is not None:
            self.rows(f"PRAGMA max_page_count = {most_pages:d}")
        known = migrations()
        version = self.integer("PRAGMA user_version")
        if version > known[-1][0]:
            raise ConfigurationError(
                f"{self.path} was written by a newer version (schema {version}, known is {known[-1][0]}): update qkdlink"
            )
        for number, text in known:
            if number > version:
                try:
                    self._connection.executescript(f"BEGIN IMMEDIATE;\n{text}\nPRAGMA user_version = {number:d};\nCOMMIT;")
                except sqlite3.Error as error:
                    raise self._explained(error) from None

    def _explained(self, error: sqlite3.Error) -> KeyStoreError:
        name = getattr(error, "sqlite_errorname", "") or ""
        if name == "SQLITE_FULL":
            return KeyStoreError(f"{self.path}: the disk is full; nothing of this change was kept, make room")
        if name.startswith("SQLITE_IOERR"):
            self._failed = True  # after a failed write nobody knows what the disk holds; the next start reads what it does
            return KeyStoreError(f"{self.path}: the disk failed ({name}); the store stands still until it is opened again")
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or "Could not decode" in str(error):
            return DamagedFileError(f"{self.path}: the file is damaged ({error}){_SET_ASIDE}")
        return KeyStoreError(f"{self.path}: {error}")


def _ensure_private(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise ConfigurationError(f"key store {path}: {error.strerror}; name a file that this user can write to") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"key store {path} is not a regular file")
        if status.st_mode & 0o077:
            raise ConfigurationError(f"key store {path} can be read by others (mode {status.st_mode & 0o777:o}): chmod 600 {path}")
    finally:
        os.close(descriptor)


def _locked(path: Path) -> int:
    path = path.resolve()  # one lock a file, by whatever name it is opened
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise ConfigurationError(f"lock of the key store {lock}: {error.strerror}; make it a file that this user can write to") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigurationError(f"key store {path} is open in another process: one daemon a store") from None
    return descriptor
