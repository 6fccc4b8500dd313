"""Message authentication: what the two ends were given beforehand, and the code that every single message carries.

Two layers. Each message carries a code under a key per direction (this module): it drops forgeries at once, before anything is decoded.
Each block carries an information-theoretic tag per direction (``common.channel.transcript``): key is released only behind it.

The greeting precedes the session's nonces, so its code is HMAC-SHA256, which needs none; session messages carry AES-256-GMAC whose nonce is
the sequence, under keys that no other session ever has.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.channel.codec import Party
from common.channel.pairs import PROVISIONED_HASH_KEY
from common.errors import AbortReason, AuthenticationError, BlockAborted, ConfigurationError, KeyNotFoundError

if TYPE_CHECKING:
    from common.randomness import Randomness

MAC_BYTES = 16
"""Length of the code behind every message."""

MASK_BYTES = 16
"""Length of one transcript mask."""

HASH_KEY_BYTES = 32
"""Length of the key of the transcript hash: one half for the transcripts, the other for what joins their hashes."""

GREETING_SESSION = bytes(16)
"""Session id before there is a session."""


class MaskSource(Protocol):
    """Where the one-time masks of transcript tags and new hash keys come from: what was provisioned, or a key store that refills them."""

    @property
    def count_masks(self) -> int:
        """Lowest mask pair above all there are."""

    def mask(self, mask_index: int, sender: Party) -> bytes:
        """Return one mask.

        Parameters
        ----------
        mask_index : int
            The pair; ``TakeMask`` has marked it as used, durably, before it is asked for.
        sender : Party
            Whose mask of the pair.

        Returns
        -------
        bytes
            ``MASK_BYTES`` bytes.

        Raises
        ------
        BlockAborted
            If there is no such pair left.
        """

    def hash_key_of(self, number: int) -> bytes:
        """Return the hash key that ``MeetPeer`` has taken into use.

        Parameters
        ----------
        number : int
            Mask pair it is made of; never that of the provisioned one.

        Returns
        -------
        bytes
            ``HASH_KEY_BYTES`` bytes.

        Raises
        ------
        KeyNotFoundError
            If it is not the one in use.
        """


class ChannelSecrets:
    """What both ends were provisioned with; without repr, compared with nothing, never pickled.

    Parameters
    ----------
    authentication_secret : bytes
        32 bytes from which message keys are derived.
    hash_key : bytes
        32 bytes, the two independent keys of the transcript hash; reused with a fresh mask for every tag, until a tag is wrong.
    masks : bytes
        Pairs of one-time masks, two of ``MASK_BYTES`` for every block that makes key; some of them are kept for hash keys.

    Raises
    ------
    ConfigurationError
        If a length is wrong.
    """

    __slots__ = ("authentication_secret", "hash_key", "masks")

    def __init__(self, authentication_secret: bytes, hash_key: bytes, masks: bytes) -> None:
        if len(authentication_secret) != 32 or len(hash_key) != HASH_KEY_BYTES or len(masks) % (2 * MASK_BYTES):
            raise ConfigurationError(
                f"authentication secret of 32 bytes, hash key of {HASH_KEY_BYTES} and pairs of {MASK_BYTES}-byte masks expected"
            )
        self.authentication_secret = authentication_secret
        self.hash_key = hash_key
        self.masks = masks

    @classmethod
    def draw(cls, randomness: Randomness, count_pairs: int) -> ChannelSecrets:
        """Draw fresh secrets.

        Parameters
        ----------
        randomness : Randomness
            The system's, outside of rehearsals.
        count_pairs : int
            Pairs of masks; seven in eight authenticate a block of key each.

        Returns
        -------
        ChannelSecrets
            To be given to both ends.
        """
        return cls(randomness.draw(32), randomness.draw(HASH_KEY_BYTES), randomness.draw(2 * MASK_BYTES * count_pairs))

    @property
    def count_masks(self) -> int:
        """Mask pairs that were provisioned."""
        return len(self.masks) // (2 * MASK_BYTES)

    def mask(self, mask_index: int, sender: Party) -> bytes:
        """Return the mask of ``sender`` in pair ``mask_index``.

        Raises
        ------
        BlockAborted
            If there is no such pair.
        """
        offset = (2 * mask_index + sender - Party.ALICE) * MASK_BYTES
        mask = self.masks[offset : offset + MASK_BYTES]
        if len(mask) != MASK_BYTES:
            raise BlockAborted(AbortReason.MASKS_EXHAUSTED)
        return mask

    def hash_key_of(self, number: int) -> bytes:
        """Return the provisioned hash key; any other ``number`` is a matter of key stores.

        Raises
        ------
        KeyNotFoundError
            For any other.
        """
        if number != PROVISIONED_HASH_KEY:
            raise KeyNotFoundError(f"hash key {number} is not the provisioned one")
        return self.hash_key

    def __repr__(self) -> str:
        return "ChannelSecrets()"

    def __reduce__(self) -> str:
        raise TypeError("channel secrets are not pickled")


class MessageSeal(Protocol):
    """Computes and checks the code behind each message."""

    session: bytes

    def code(self, sender: Party, sequence: int, data: bytes) -> bytes:
        """Compute the code behind a message.

        Parameters
        ----------
        sender : Party
            Who sends it.
        sequence : int
            Its number, from 1, never repeated under the same keys.
        data : bytes
            The encoded envelope.

        Returns
        -------
        bytes
            ``MAC_BYTES`` bytes.
        """

    def check(self, sender: Party, sequence: int, data: bytes, code: bytes) -> None:
        """Check the code behind a message.

        Parameters
        ----------
        sender : Party
            Who claims to have sent it.
        sequence : int
            The number it must have.
        data, code : bytes
            The encoded envelope, and what stood behind it.

        Raises
        ------
        AuthenticationError
            If the code is not the one ``sender`` would have put there.
        """


class GreetingSeal:
    """HMAC-SHA256, cut to 16 bytes, for the messages that agree on a session.

    Parameters
    ----------
    secrets : ChannelSecrets
        The provisioned secrets.
    """

    def __init__(self, secrets: ChannelSecrets) -> None:
        self.session = GREETING_SESSION
        self._keys = {party: _derived(secrets.authentication_secret, b"", b"greeting", party) for party in Party}

    def code(self, sender: Party, sequence: int, data: bytes) -> bytes:
        """Return the code of ``data``; the sequence is covered as well."""
        return hmac.digest(self._keys[sender], sequence.to_bytes(8, "big") + data, hashlib.sha256)[:MAC_BYTES]

    def check(self, sender: Party, sequence: int, data: bytes, code: bytes) -> None:
        """Raise ``AuthenticationError`` unless ``code`` is right."""
        if not hmac.compare_digest(self.code(sender, sequence, data), code):
            raise AuthenticationError("greeting with a wrong code: other secrets, or not from the peer")


class SessionSeal:
    """AES-256-GMAC with the sequence as nonce, under keys of this session only.

    Parameters
    ----------
    secrets : ChannelSecrets
        The provisioned secrets.
    hello_nonce, welcome_nonce : bytes
        32 bytes each, drawn afresh by the two ends for this session.
    """

    def __init__(self, secrets: ChannelSecrets, hello_nonce: bytes, welcome_nonce: bytes) -> None:
        salt = hello_nonce + welcome_nonce
        self.session = hashlib.sha256(b"qkdlink session" + salt).digest()[:16]
        self._ciphers = {party: AESGCM(_derived(secrets.authentication_secret, salt, b"session", party)) for party in Party}

    def code(self, sender: Party, sequence: int, data: bytes) -> bytes:
        """Return the code of ``data`` under the nonce ``sequence``, which must never repeat."""
        return self._ciphers[sender].encrypt(sequence.to_bytes(12, "big"), b"", data)

    def check(self, sender: Party, sequence: int, data: bytes, code: bytes) -> None:
        """Raise ``AuthenticationError`` unless ``code`` is right for exactly this sequence."""
        try:
            self._ciphers[sender].decrypt(sequence.to_bytes(12, "big"), code, data)
        except InvalidTag:
            raise AuthenticationError("message with a wrong code: altered, repeated, out of order, or not from the peer") from None


def _derived(secret: bytes, salt: bytes, purpose: bytes, sender: Party) -> bytes:
    """Return 32 bytes of key for one purpose and one direction."""
    return HKDF(SHA256(), 32, salt, b"qkdlink " + purpose + b" from " + sender.name.encode()).derive(secret)
