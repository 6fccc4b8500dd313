"""Transcript tags: an information-theoretic code over everything both ends said about a block.

A tag covers the block's messages of both directions, as its sender sent and heard them, and the session messages its sender sent since his last
tag. Whoever finds it right knows that the peer saw the very same block: not only that no word reached us altered, but that none of ours did. A polynomial
hash of all bytes is hidden by a one-time mask. The hash key is reused; each tag has a mask of its own, so that the
failure probabilities add up over the tags ([Portmann2014]). Status: rigorous.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from common.channel.authentication import MASK_BYTES, ChannelSecrets
from common.channel.codec import Party
from common.errors import AbortReason, AuthenticationError, BlockAborted, LocalProtocolError
from common.kernels.polynomial_hash import PolynomialHash


@dataclass(frozen=True, slots=True)
class SealedTranscript:
    """A tag, and how many bytes it covers.

    Attributes
    ----------
    tag : bytes
        16 bytes, ready to be sent.
    count_bytes : int
        Bytes covered; the forgery bound grows with them.
    """

    tag: bytes
    count_bytes: int


class _Digest:
    """A running hash of one direction.

    Parameters
    ----------
    hash_key : bytes
        16 bytes.
    """

    __slots__ = ("_hash", "count_bytes")

    def __init__(self, hash_key: bytes) -> None:
        self._hash = PolynomialHash(hash_key)
        self.count_bytes = 0

    def append(self, data: bytes) -> None:
        """Add one message; its length goes first, so that no two sequences of messages read alike."""
        self._hash.update(len(data).to_bytes(8, "little"))
        self._hash.update(data)
        self.count_bytes += len(data) + 8

    def digest(self) -> bytes:
        """Return the 16-byte hash so far; never shown to anyone without a mask."""
        return self._hash.digest()

    def __repr__(self) -> str:
        return "_Digest()"


class TranscriptAuthenticator:
    """Makes and checks tags with the provisioned hash key and masks.

    Parameters
    ----------
    secrets : ChannelSecrets
        The provisioned secrets; both directions of mask ``k`` are used for the ``k``-th block that makes key.
    """

    def __init__(self, secrets: ChannelSecrets) -> None:
        self._secrets = secrets

    @property
    def count_masks(self) -> int:
        """Blocks of key that the provisioned masks suffice for."""
        return len(self._secrets.masks) // (2 * MASK_BYTES)

    def digest(self, messages: Iterable[bytes] = ()) -> _Digest:
        """Begin a running hash, with ``messages`` already in it."""
        running = _Digest(self._secrets.hash_key)
        for message in messages:
            running.append(message)
        return running

    def tag(self, digest: bytes, mask_index: int, sender: Party) -> bytes:
        """Hide ``digest`` under mask ``mask_index`` of the direction of ``sender``.

        Raises
        ------
        BlockAborted
            If no mask is left.
        """
        offset = (2 * mask_index + (sender is Party.BOB)) * MASK_BYTES
        mask = self._secrets.masks[offset : offset + MASK_BYTES]
        if len(mask) != MASK_BYTES:
            raise BlockAborted(AbortReason.MASKS_EXHAUSTED)
        return bytes(a ^ b for a, b in zip(digest, mask, strict=True))

    def check(self, digest: bytes, mask_index: int, sender: Party, tag: bytes) -> None:
        """Compare the tag of ``sender`` with our own record of what he said.

        Raises
        ------
        AuthenticationError
            If they differ: somebody changed, added or removed a message.
        BlockAborted
            If no mask is left.
        """
        if not hmac.compare_digest(self.tag(digest, mask_index, sender), tag):
            raise AuthenticationError("the transcript tag is wrong: a message of this block was not what the peer sent")


class BlockTranscript:
    """What this end said and heard about one block.

    Parameters
    ----------
    authenticator : TranscriptAuthenticator
        Hash key and masks.
    """

    __slots__ = ("_authenticator", "_expected", "_heard", "_sent", "_sent_through")

    def __init__(self, authenticator: TranscriptAuthenticator) -> None:
        self._authenticator = authenticator
        self._sent = authenticator.digest()
        self._heard = authenticator.digest()
        self._sent_through: list[tuple[int, bytes]] = [(0, self._sent.digest())]
        self._expected: _Digest | None = None

    def sent(self, body: bytes, sequence: int) -> None:
        """Record a message of ours and the digest of all up to it, which is needed if the peer tags before he hears the next."""
        self._sent.append(body)
        self._sent_through.append((sequence, self._sent.digest()))

    def heard(self, body: bytes) -> None:
        """Record a message of the peer."""
        self._heard.append(body)

    def seal(self, session_messages: list[bytes], mask_index: int, sender: Party) -> SealedTranscript:
        """Compute our tag; takes the session messages we sent since the last one.

        Raises
        ------
        BlockAborted
            If no mask is left.
        """
        covered = self._authenticator.digest([self._sent.digest(), self._heard.digest(), *session_messages])
        tag = self._authenticator.tag(covered.digest(), mask_index, sender)
        session_messages.clear()
        return SealedTranscript(tag, self._sent.count_bytes + self._heard.count_bytes + covered.count_bytes)

    def expect_tag(self, session_messages: list[bytes], heard_by_peer: int) -> None:
        """Fix what the tag that just arrived has to cover: the peer had heard our messages up to ``heard_by_peer``."""
        ours = next(digest for sequence, digest in reversed(self._sent_through) if sequence <= heard_by_peer)
        self._expected = self._authenticator.digest([self._heard.digest(), ours, *session_messages])
        session_messages.clear()

    def check(self, mask_index: int, sender: Party, tag: bytes) -> None:
        """Compare the peer's tag with our record.

        Raises
        ------
        AuthenticationError
            If they differ: somebody changed, added or removed a message.
        BlockAborted
            If no mask is left.
        LocalProtocolError
            If no tag has arrived.
        """
        if self._expected is None:
            raise LocalProtocolError("no transcript tag of this block has arrived")
        self._authenticator.check(self._expected.digest(), mask_index, sender, tag)


def forgery_bound(count_bytes: int) -> float:
    """Bound the probability that a changed transcript has the same tag.

    Parameters
    ----------
    count_bytes : int
        Bytes covered by the tag.

    Returns
    -------
    float
        Twice the number of 16-byte coefficients, length blocks included, over 2^128: the two digests and the digest over them.

    References
    ----------
    [Carter1979]; status: rigorous.
    """
    return 2 * ((count_bytes + 15) // 16 + 3) * 2.0**-128
