"""Keys at rest: every piece sealed under a data key of its own, every data key wrapped by the master key.

Destroying a piece means destroying 60 bytes of wrapped data key first; what is left then is noise, wherever a disk may keep copies of it.
A data key seals exactly one piece, so its nonce may stand still; wraps draw random nonces, for a store restored from an old copy
would repeat any counter. Both bind what they seal to store, block, pool and place, so that rows cannot be swapped.

The master key comes from a file only its owner can read, from a systemd credential, or from the environment; it is never written.
"""

from __future__ import annotations

import ctypes
import os
import stat
from binascii import Error as BinasciiError
from binascii import unhexlify
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from common.errors import ConfigurationError, KeyStoreError
from common.keystore.credentials import CREDENTIAL, credential_path, forbidden_bits

MASTER_KEY_BYTES = 32
DATA_KEY_BYTES = 32
NONCE_BYTES = 12
WRAPPED_BYTES = NONCE_BYTES + DATA_KEY_BYTES + 16
"""Length of a wrapped data key: nonce, key, code."""

_STILL_NONCE = bytes(NONCE_BYTES)


class DamagedSealError(KeyStoreError):
    """Sealed key cannot be opened: it was altered, or belongs elsewhere."""


class MasterKey:
    """The key that wraps all data keys; without repr, never pickled.

    Parameters
    ----------
    key : bytes
        32 random bytes.

    Raises
    ------
    ConfigurationError
        If the length is wrong.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != MASTER_KEY_BYTES:
            raise ConfigurationError(f"master key of {MASTER_KEY_BYTES} bytes expected, found {len(key)}")
        self._cipher = AESGCM(key)

    @classmethod
    def draw(cls) -> MasterKey:
        """Draw a fresh one that nothing outlives, for tests and stores in memory."""
        return cls(os.urandom(MASTER_KEY_BYTES))

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """Return ``data_key`` encrypted, bound to its ``context``."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data_key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Decrypt a data key.

        Parameters
        ----------
        wrapped, context : bytes
            As ``wrap`` returned it, and what it was bound to.

        Returns
        -------
        bytes
            The data key.

        Raises
        ------
        DamagedSealError
            If it was altered, bound to something else, or wrapped by another master key.
        """
        if len(wrapped) != WRAPPED_BYTES:
            raise DamagedSealError("a wrapped data key has the wrong length")
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except InvalidTag:
            raise DamagedSealError("a data key cannot be unwrapped") from None

    def __repr__(self) -> str:
        return "MasterKey()"

    def __reduce__(self) -> str:
        raise TypeError("the master key is not pickled")


def seal(master: MasterKey, key: bytes | memoryview, context: bytes) -> tuple[bytes, bytes]:
    """Seal a piece of key under a fresh data key.

    Parameters
    ----------
    master : MasterKey
        Wraps the data key.
    key : bytes | memoryview
        What to seal.
    context : bytes
        Where it belongs.

    Returns
    -------
    tuple[bytes, bytes]
        Wrapped data key and sealed piece.
    """
    data_key = os.urandom(DATA_KEY_BYTES)
    return master.wrap(data_key, context), AESGCM(data_key).encrypt(_STILL_NONCE, key, context)


def unseal(master: MasterKey, wrapped: bytes, sealed: bytes, context: bytes) -> bytes:
    """Open a sealed piece of key.

    Parameters
    ----------
    master : MasterKey
        Wraps the data key.
    wrapped, sealed, context : bytes
        As ``seal`` returned them, and where the piece belongs.

    Returns
    -------
    bytes
        The key.

    Raises
    ------
    DamagedSealError
        If anything was altered or belongs elsewhere.
    """
    try:
        return AESGCM(master.unwrap(wrapped, context)).decrypt(_STILL_NONCE, sealed, context)
    except InvalidTag:
        raise DamagedSealError("a sealed piece of key cannot be opened") from None


def load_master_key(source: str, directory: Path) -> MasterKey:
    """Load the master key.

    Parameters
    ----------
    source : str
        A file name; or ``credential:NAME`` for a systemd credential; or ``env:NAME`` for an environment variable in hexadecimal, which is
        removed from our environment once read.
    directory : Path
        What a relative file name is relative to.

    Returns
    -------
    MasterKey
        Ready for use.

    Raises
    ------
    ConfigurationError
        If there is none, others may read it, or it is no key.
    """
    kind, _, name = source.partition(":")
    if kind == "env":
        return MasterKey(decoded(_taken_from_environment(name), f"environment variable {name}"))
    if source.startswith(CREDENTIAL):
        return MasterKey(decoded(read_key_file(credential_path(source)), source))
    path = directory / source
    return MasterKey(decoded(read_key_file(path), str(path)))


def master_key_file(source: str, directory: Path) -> Path | None:
    """Return the file that a ``source`` names, relative to ``directory``; None for a credential or the environment."""
    return None if source.startswith(("env:", CREDENTIAL)) else directory / source


def _taken_from_environment(name: str) -> bytes:
    """Return a variable and leave nothing of it: what the process was started with would else stay readable in /proc."""
    value = os.environb.get(name.encode(), b"")
    library = ctypes.CDLL(None)
    library.getenv.restype = ctypes.c_void_p
    place = library.getenv(name.encode())
    if place and value:
        ctypes.memset(place, 0, len(value))
    os.environ.pop(name, None)
    return value


def read_key_file(path: Path) -> bytes:
    """Read a small file that nobody else may read; the open file is what is checked.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bytes
        What is in it.

    Raises
    ------
    ConfigurationError
        If there is none, or others may read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not hold up the start
    except OSError as error:
        raise ConfigurationError(f"master key {path}: {error.strerror}; 'qkd provision' writes one") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"master key {path} is not a regular file; 'qkd provision' writes one")
        if status.st_mode & forbidden_bits(path):
            raise ConfigurationError(f"master key {path} can be read by others (mode {status.st_mode & 0o777:o}): chmod 600 {path}")
        return os.read(descriptor, 1024)
    finally:
        os.close(descriptor)


def decoded(data: bytes, where: str) -> bytes:
    """Read a master key.

    Parameters
    ----------
    data : bytes
        The key, or its hexadecimal digits.
    where : str
        Where it is from, for the error.

    Returns
    -------
    bytes
        32 bytes.

    Raises
    ------
    ConfigurationError
        If it is none.
    """
    if len(data) == MASTER_KEY_BYTES:
        return data
    try:
        key = unhexlify(data.strip())
    except (BinasciiError, ValueError):
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise ConfigurationError(
            f"master key from {where}: {MASTER_KEY_BYTES} bytes, or {2 * MASTER_KEY_BYTES} hexadecimal digits, expected"
        )
    return key
