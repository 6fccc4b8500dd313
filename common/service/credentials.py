"""Keys and secrets a node was provisioned with: read once, and only from files that nobody else can read.

Written by ``qkd provision``; goes to the transport (channel keys) and to the sessions (authentication secret). The file of the
authentication secret holds 32 bytes from which message keys are derived, the key of the transcript hash, and mask pairs.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

import zmq
from zmq.utils import z85

from common.channel.authentication import HASH_KEY_BYTES, ChannelSecrets
from common.errors import ConfigurationError
from common.keystore.credentials import forbidden_bits
from common.keystore.masks import ProvisionedMasks

CHANNEL_KEY_BYTES = 40
"""Length of a CURVE key in the Z85 alphabet (ZeroMQ RFC 32)."""

GENERATION_BYTES = 8
"""What a file of renewed masks begins with: their generation, little-endian."""

SECRET_BYTES = 32
"""Length of the secret from which message keys are derived."""


class ChannelKeys:
    """Keys of the encrypted channel; without repr.

    Parameters
    ----------
    secret : bytes
        Our secret key, Z85.
    peer_public : bytes
        The only key we let in, Z85.

    Raises
    ------
    ConfigurationError
        If the secret is no key.
    """

    __slots__ = ("peer_public", "public", "secret")

    def __init__(self, secret: bytes, peer_public: bytes) -> None:
        self.secret = secret
        self.peer_public = peer_public
        try:
            self.public = zmq.curve_public(secret)
        except (ValueError, zmq.ZMQError):
            raise ConfigurationError("the channel key is not a CURVE key: provision the link again") from None

    def __repr__(self) -> str:
        return "ChannelKeys()"


def read_private(path: Path, what: str) -> bytes:
    """Read a file that must be ours alone.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What it holds, for the message.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    ConfigurationError
        If it cannot be read, belongs to somebody else, or others may read it.
    """
    with _opened(path, what) as file:
        state = os.fstat(file.fileno())  # of the very file that is read, not of whatever the path names by then
        if state.st_uid not in {os.geteuid(), 0}:
            raise ConfigurationError(f"{what} {path}: belongs to user {state.st_uid}; give it to the user of this service (chown)")
        if state.st_mode & forbidden_bits(path):
            raise ConfigurationError(f"{what} {path}: others may read it (mode {state.st_mode & 0o777:04o}); run chmod 600 {path}")
        return file.read()


def _opened(path: Path, what: str) -> BinaryIO:
    """Open a regular file; anything else is refused, and a FIFO must not hold up the start."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as refused:
        raise ConfigurationError(f"{what} {path}: {refused.strerror}; run qkd provision, or correct the path") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigurationError(f"{what} {path}: not a regular file; run qkd provision, or correct the path")
    return os.fdopen(descriptor, "rb")


def read_channel_keys(key: Path, peer_key: Path) -> ChannelKeys:
    """Read our secret channel key and the peer's public one.

    Parameters
    ----------
    key, peer_key : Path
        The files.

    Returns
    -------
    ChannelKeys
        Both.

    Raises
    ------
    ConfigurationError
        If a file is missing or no key.
    """
    secret = read_private(key, "channel key").strip()
    with _opened(peer_key, "channel key of the peer") as file:
        peer_public = file.read().strip()
    for path, found in ((key, secret), (peer_key, peer_public)):
        if len(found) != CHANNEL_KEY_BYTES:
            raise ConfigurationError(
                f"channel key {path}: {len(found)} characters, a CURVE key has {CHANNEL_KEY_BYTES}; run qkd provision, or correct the path"
            )
        if not _is_z85(found):
            raise ConfigurationError(f"channel key {path}: not in the Z85 alphabet; run qkd provision, or correct the path")
    return ChannelKeys(secret, peer_public)


def _is_z85(key: bytes) -> bool:
    """Whether every five characters of ``key`` are a number of 32 bits (ZeroMQ RFC 32)."""
    values = [z85.Z85MAP.get(character, 85**5) for character in key]
    return all(
        sum(85**place * value for place, value in enumerate(reversed(values[start : start + 5]))) < 1 << 32
        for start in range(0, len(values), 5)
    )


def read_secrets(path: Path) -> ChannelSecrets:
    """Read the authentication secret of ``path``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ChannelSecrets
        Message secret, hash key and the masks provisioned.

    Raises
    ------
    ConfigurationError
        If it is unreadable, too short, or readable for others.
    """
    data = read_private(path, "authentication secret")
    first, second = SECRET_BYTES, SECRET_BYTES + HASH_KEY_BYTES
    try:
        return ChannelSecrets(data[:first], data[first:second], data[second:])
    except ConfigurationError as wrong:
        raise ConfigurationError(f"authentication secret {path}: {wrong}; provision the link again") from None


def read_masks(secrets: ChannelSecrets, renewal: Path) -> ProvisionedMasks:
    """Return the masks given by hand last.

    Parameters
    ----------
    secrets : ChannelSecrets
        With the masks of the first provisioning.
    renewal : Path
        Masks of a renewal; where there is no such file, there was none.

    Returns
    -------
    ProvisionedMasks
        With their generation.

    Raises
    ------
    ConfigurationError
        If the file is damaged, or readable for others.
    """
    if not renewal.exists():
        return ProvisionedMasks(secrets.masks)
    data = read_private(renewal, "renewed masks")
    try:
        if len(data) < GENERATION_BYTES:
            raise ConfigurationError("too short")
        return ProvisionedMasks(data[GENERATION_BYTES:], int.from_bytes(data[:GENERATION_BYTES], "little"))
    except ConfigurationError as wrong:
        raise ConfigurationError(f"renewed masks {renewal}: {wrong}; run qkd provision --renew again") from None


def masks_to_bytes(masks: ProvisionedMasks) -> bytes:
    """Return ``masks`` as ``read_masks`` reads them."""
    return masks.generation.to_bytes(GENERATION_BYTES, "little") + masks.masks


def secrets_to_bytes(secrets: ChannelSecrets) -> bytes:
    """Return ``secrets`` as ``read_secrets`` reads them."""
    return secrets.authentication_secret + secrets.hash_key + secrets.masks
