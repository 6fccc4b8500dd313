"""Verification: both ends hold the same reconciled block, except with probability epsilon_correctness.

The hashing half draws a hash key only after reconciliation has ended, so no error pattern can be aimed at it. The
hash covers the whole block: a hash over a part of it bounds nothing about the rest. The tag's bits and the verdict's
one are charged to the leakage account.

References
----------
[Carter1979] universal hashing; [Tomamichel2017] section 3.3, correctness by hashing; status: rigorous.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from common.bits import Bits
from common.channel.messages import VerificationHash, VerificationVerdict
from common.conversation.effects import Conversation, compute, draw, receive, send
from common.distillation.values import ClosedBlock
from common.errors import AbortReason, BlockAborted
from common.kernels.polynomial_hash import polynomial_hash

TAG_BITS = 128
"""Bits of the tag. Two different blocks of n bits collide with probability at most (ceil(n / 128) + 1) 2^-128: 2.3e-33 at 1e8 bits."""


def send_hash(block: ClosedBlock) -> Conversation[ClosedBlock]:
    """Send the hash of our block and learn whether the peer's is the same.

    Parameters
    ----------
    block : ClosedBlock
        After reconciliation.

    Returns
    -------
    ClosedBlock
        The same block with tag and verdict charged.

    Raises
    ------
    BlockAborted
        ``VERIFICATION_FAILED`` if the hashes differ.
    """
    hash_key = yield from draw(TAG_BITS // 8)
    tag = yield from compute(block_hash, block.key.bits, hash_key)
    yield from send(VerificationHash(hash_key, tag))
    verdict = yield from receive(VerificationVerdict)
    return _concluded(block, verdict.equal)


def check_hash(block: ClosedBlock) -> Conversation[ClosedBlock]:
    """Compare the peer's hash with that of our ``block`` and say which it is; the other half of ``send_hash``."""
    theirs = yield from receive(VerificationHash)
    ours = yield from compute(block_hash, block.key.bits, theirs.hash_key)
    equal = ours == theirs.tag  # both are public by now: no secret is compared, so no constant-time comparison is owed
    yield from send(VerificationVerdict(equal))
    return _concluded(block, equal)


def block_hash(bits: Bits, hash_key: bytes) -> bytes:
    """Hash ``bits`` under the 16 bytes of ``hash_key`` to 16 bytes."""
    return polynomial_hash(bits.words, bits.count, np.frombuffer(hash_key, np.uint64).copy()).tobytes()


def _concluded(block: ClosedBlock, equal: bool) -> ClosedBlock:
    leakage = block.leakage.charged("verification tag", TAG_BITS).charged("verification verdict", 1)
    if not equal:
        raise BlockAborted(AbortReason.VERIFICATION_FAILED, leakage)
    return dataclasses.replace(block, leakage=leakage)
