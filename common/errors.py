"""Every error the project raises on purpose, sorted by who is to blame and what follows.

A message names what, where and what to do. Keys, seeds and tags never appear in one.
"""

from __future__ import annotations

from enum import IntEnum

from common.leakage import Leakage


class QkdError(Exception):
    """The root of all errors raised on purpose."""


class ConfigurationError(QkdError):
    """A setting or argument is wrong: refuse to start, say which and why."""


class ProtocolError(QkdError):
    """The conversation with the peer left its rules."""


class LocalProtocolError(ProtocolError):
    """We broke the rules: a bug on this side."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the message catalogue or the order of messages."""


class AuthenticationError(QkdError):
    """A message or transcript was not what the peer sent; never downgraded to a discarded block."""


class StreamError(QkdError):
    """A detection or emission stream is unreadable or lies about itself."""


class TransportError(QkdError):
    """The classical channel is gone or too slow; the supervisor tries again."""


class TunnelError(QkdError):
    """The program that carries a tunnel does not do what it was asked."""


class KeyStoreError(QkdError):
    """The key store cannot do what was asked."""


class PeerNotMetError(KeyStoreError):
    """Until the peer is met and both stores agree, no key is handed out."""


class KeyExhaustedError(KeyStoreError):
    """Fewer bits are left than were asked for.

    Parameters
    ----------
    message : str
        What is short, and by how much.
    missing_bits : int | None
        How many bits are missing, where that is known.
    wait_seconds : float | None
        How long the link needs for them at its present rate; None where it makes no key at present, or nobody knows.
    """

    def __init__(self, message: str, *, missing_bits: int | None = None, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.missing_bits = missing_bits
        self.wait_seconds = wait_seconds


class QuotaExhaustedError(KeyExhaustedError):
    """An application has taken as much key as it may for now; the link may have more."""


class KeyNotFoundError(KeyStoreError):
    """No such key."""


class KeyNotCommittedError(KeyNotFoundError):
    """The key is of a block that is staged: whether it becomes key is known in a moment."""


class KeyAlreadyTakenError(KeyStoreError):
    """The key was handed out before; it is never given twice."""


class AbortReason(IntEnum):
    """Why a block makes no key; the number is the wire code of ``Abort``."""

    NO_CLICKS = 1
    TOO_FEW_TESTED = 2
    PHASE_ERROR_BOUND = 3
    MULTI_PHOTON_BOUND = 4
    LEAKAGE_EXCEEDS_ENTROPY = 5
    RECONCILIATION_FAILED = 6
    VERIFICATION_FAILED = 7
    KEY_LENGTH_DISAGREEMENT = 8
    AUTHENTICATION_FAILED = 9
    PEER_ABORTED = 10
    CLOCK_NOT_FOUND = 11
    MASKS_EXHAUSTED = 12
    MISSING_CROSS_CLICKS = 13
    DETECTOR_BLINDING = 14
    BACKGROUND_OUT_OF_RANGE = 15
    EFFICIENCY_MISMATCH = 16
    DETECTION_RATE_OUT_OF_RANGE = 17
    DOUBLE_CLICKS_OUT_OF_RANGE = 18

    @property
    def is_monitor(self) -> bool:
        """Whether a monitor of a device says so, out of its certified range."""
        return AbortReason.DETECTOR_BLINDING <= self <= AbortReason.DOUBLE_CLICKS_OUT_OF_RANGE

    @property
    def label(self) -> str:
        """The reason as it appears in reports and metrics."""
        return self.name.lower().replace("_", "-")


class BlockAborted(QkdError):  # noqa: N818 - an expected outcome of physics, not an error of anyone
    """Expected physics ended the block; caught in exactly one place, where it becomes ``Discarded``."""

    def __init__(self, reason: AbortReason, leakage: Leakage | None = None) -> None:
        super().__init__(reason.label)
        self.reason = reason
        self.leakage = leakage
