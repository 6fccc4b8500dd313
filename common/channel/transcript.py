"""Transcript tags: an information-theoretic code over everything both ends said about a block.

A tag covers the block's messages of both directions, as its sender sent and heard them, and all session messages its
sender ever sent in this session, the greeting included. Whoever finds it right knows that the peer saw the very same
block: not only that no word reached us altered, but that none of ours did. Polynomial hashes of the three transcripts
are joined by a second one and hidden by a one-time mask. The hash keys are reused; each tag has a mask of its own, so
that the failure probabilities add up over the tags ([Portmann2014]). After a tag that was wrong they are replaced, in
the greeting of the next session; until a session has agreed on its hash keys, its messages are kept as they are. Status: rigorous.

The joining hash has a key of its own. Under one key for both, changes in two directions can be chosen that cancel for
2^64 of the 2^128 keys: the inner hashes are then no longer fixed before the outer key is drawn, which is what its
bound asks for.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from common.channel.authentication import HASH_KEY_BYTES, ChannelSecrets, MaskSource
from common.channel.codec import Party
from common.channel.pairs import PROVISIONED_HASH_KEY
from common.errors import AuthenticationError, LocalProtocolError
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


class RunningHash:
    """A running hash of a sequence of messages; without repr, and never shown to anyone without a mask.

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
        """Return the 16-byte hash so far."""
        return self._hash.digest()

    def __repr__(self) -> str:
        return "RunningHash()"


class KeptMessages:
    """Messages kept as they are until there is a hash key; without repr."""

    __slots__ = ("messages",)

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def append(self, data: bytes) -> None:
        """Keep one message."""
        self.messages.append(data)

    def digest(self) -> bytes:
        """Refuse: there is no hash key yet.

        Raises
        ------
        LocalProtocolError
            Always.
        """
        raise LocalProtocolError("a transcript tag was asked for before a hash key was agreed on")

    @property
    def count_bytes(self) -> int:
        """Bytes that a hash would cover."""
        return sum(len(data) + 8 for data in self.messages)

    def __repr__(self) -> str:
        return "KeptMessages()"


class TranscriptAuthenticator:
    """Makes and checks tags with one session's hash key, and masks.

    Parameters
    ----------
    secrets : ChannelSecrets
        The provisioned secrets.
    masks : MaskSource | None
        Where masks and later hash keys come from; None for the provisioned ones alone.
    hash_key : int
        Number of the hash key that the greeting agreed on.

    Raises
    ------
    KeyNotFoundError
        If it is not the one in use at this end.
    """

    def __init__(self, secrets: ChannelSecrets, masks: MaskSource | None = None, hash_key: int = PROVISIONED_HASH_KEY) -> None:
        self._masks = masks or secrets
        self._hash_key = (secrets if hash_key == PROVISIONED_HASH_KEY else self._masks).hash_key_of(hash_key)

    def __repr__(self) -> str:
        return "TranscriptAuthenticator()"

    @property
    def count_masks(self) -> int:
        """Lowest mask pair above all there are."""
        return self._masks.count_masks

    def running(self) -> RunningHash:
        """Begin the hash of a transcript."""
        return RunningHash(self._hash_key[: HASH_KEY_BYTES // 2])

    def joined(self, *digests: bytes) -> RunningHash:
        """Hash the hashes of several transcripts, under the key that no transcript is hashed with."""
        joint = RunningHash(self._hash_key[HASH_KEY_BYTES // 2 :])
        for digest in digests:
            joint.append(digest)
        return joint

    def tag(self, digest: bytes, mask_index: int, sender: Party) -> bytes:
        """Hide a hash under a mask.

        Parameters
        ----------
        digest : bytes
            16 bytes.
        mask_index : int
            Mask pair, never used before.
        sender : Party
            Whose mask of the pair.

        Returns
        -------
        bytes
            16 bytes.

        Raises
        ------
        BlockAborted
            If no mask is left.
        """
        return bytes(a ^ b for a, b in zip(digest, self._masks.mask(mask_index, sender), strict=True))

    def check(self, digest: bytes, mask_index: int, sender: Party, tag: bytes) -> None:
        """Compare the tag of a peer with our own record of what was said.

        Parameters
        ----------
        digest : bytes
            What the tag has to hide.
        mask_index : int
            Mask pair.
        sender : Party
            Who sent the tag.
        tag : bytes
            As received.

        Raises
        ------
        AuthenticationError
            If they differ: somebody changed, added or removed a message.
        BlockAborted
            If no mask is left.
        """
        if not hmac.compare_digest(self.tag(digest, mask_index, sender), tag):
            raise AuthenticationError("the transcript tag is wrong: a message of this block was not what the peer sent")


class SessionTranscript:
    """Session messages of both directions since the greeting began; every tag of a direction covers all of them.

    Parameters
    ----------
    authenticator : TranscriptAuthenticator | None
        Hash key and masks; None during the greeting, which only agrees on them.
    """

    __slots__ = ("heard", "sent")

    def __init__(self, authenticator: TranscriptAuthenticator | None = None) -> None:
        self.sent: RunningHash | KeptMessages = authenticator.running() if authenticator else KeptMessages()
        self.heard: RunningHash | KeptMessages = authenticator.running() if authenticator else KeptMessages()

    def hashed(self, authenticator: TranscriptAuthenticator) -> SessionTranscript:
        """Begin the transcript of a session with what its greeting kept.

        Parameters
        ----------
        authenticator : TranscriptAuthenticator
            With the hash key that the greeting agreed on.

        Returns
        -------
        SessionTranscript
            Covers the same messages.

        Raises
        ------
        LocalProtocolError
            If they were hashed already.
        """
        whole = SessionTranscript(authenticator)
        for kept, running in ((self.sent, whole.sent), (self.heard, whole.heard)):
            if not isinstance(kept, KeptMessages):
                raise LocalProtocolError("a session's messages were hashed before its greeting was over")
            for data in kept.messages:
                running.append(data)
        return whole


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
        self._sent = authenticator.running()
        self._heard = authenticator.running()
        self._sent_through: list[tuple[int, bytes]] = [(0, self._sent.digest())]
        self._expected: bytes | None = None

    def sent(self, body: bytes, sequence: int) -> None:
        """Record a message of ours and the digest of all up to it, which is needed if the peer tags before he hears the next."""
        self._sent.append(body)
        self._sent_through.append((sequence, self._sent.digest()))

    def heard(self, body: bytes) -> None:
        """Record a message of the peer."""
        self._heard.append(body)

    def seal(self, session: SessionTranscript, mask_index: int, sender: Party) -> SealedTranscript:
        """Compute our tag.

        Parameters
        ----------
        session : SessionTranscript
            Session messages so far.
        mask_index : int
            Mask pair, never used before.
        sender : Party
            Who we are.

        Returns
        -------
        SealedTranscript
            To be sent at once.

        Raises
        ------
        BlockAborted
            If no mask is left.
        """
        joint = self._authenticator.joined(self._sent.digest(), self._heard.digest(), session.sent.digest())
        tag = self._authenticator.tag(joint.digest(), mask_index, sender)
        parts = (self._sent, self._heard, session.sent, joint)
        return SealedTranscript(tag, sum(part.count_bytes for part in parts))

    def expect_tag(self, session: SessionTranscript, heard_by_peer: int) -> None:
        """Fix what the tag that just arrived has to cover: the peer had heard our messages up to ``heard_by_peer``."""
        ours = next(digest for sequence, digest in reversed(self._sent_through) if sequence <= heard_by_peer)
        self._expected = self._authenticator.joined(self._heard.digest(), ours, session.heard.digest()).digest()

    def check(self, mask_index: int, sender: Party, tag: bytes) -> None:
        """Compare the peer's tag with our record.

        Parameters
        ----------
        mask_index : int
            Mask pair.
        sender : Party
            The peer.
        tag : bytes
            As received.

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
        self._authenticator.check(self._expected, mask_index, sender, tag)


def forgery_bound(count_bytes: int) -> float:
    """Bound the probability that a changed transcript has the same tag.

    Parameters
    ----------
    count_bytes : int
        Bytes covered by the tag.

    Returns
    -------
    float
        Number of 16-byte coefficients over 2^128, summed over the four hashes; rounding up and a length block each make eight more.

    References
    ----------
    [Carter1979]; the union bound over the three transcripts and what joins them, under independent keys; status: rigorous.
    """
    return ((count_bytes + 15) // 16 + 8) * 2.0**-128
