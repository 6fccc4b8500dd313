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
from common.distillation.values import ClosedBlock, Discarded
from common.errors import AbortReason, RemoteProtocolError
from common.kernels.polynomial_hash import polynomial_hash

TAG_BITS = 128
"""Bits of the tag. Two different blocks of n bits collide with probability at most (ceil(n / 128) + 1) 2^-128: 2.3e-33 at 1e8 bits."""


def send_hash(blocks: list[ClosedBlock]) -> Conversation[list[ClosedBlock | Discarded]]:
    """Send the hashes of our blocks and learn whether the peer's are the same.

    One hash key serves all blocks of a group: for each of them it is fresh.

    Parameters
    ----------
    blocks : list[ClosedBlock]
        After reconciliation.

    Returns
    -------
    list[ClosedBlock | Discarded]
        The same blocks with tag and verdict charged, discarded where the hashes differ.
    """
    hash_key = yield from draw(TAG_BITS // 8)
    tags = yield from compute(block_hashes, blocks, hash_key)
    yield from send(VerificationHash(hash_key, b"".join(tags)))
    verdict = yield from receive(VerificationVerdict)
    return _concluded(blocks, Bits.from_bytes(verdict.equal, len(blocks)))


def check_hash(blocks: list[ClosedBlock]) -> Conversation[list[ClosedBlock | Discarded]]:
    """Compare the peer's hashes with those of our ``blocks`` and say which are equal; the other half of ``send_hash``.

    Parameters
    ----------
    blocks : list[ClosedBlock]
        After reconciliation.

    Returns
    -------
    list[ClosedBlock | Discarded]
        As at the other end.

    Raises
    ------
    RemoteProtocolError
        If there is not one hash for each block.
    """
    said = yield from receive(VerificationHash)
    if len(said.tags) != len(blocks) * (TAG_BITS // 8):
        raise RemoteProtocolError(f"{len(said.tags)} bytes of hashes for {len(blocks)} blocks")
    ours = yield from compute(block_hashes, blocks, said.hash_key)
    theirs = [said.tags[first : first + TAG_BITS // 8] for first in range(0, len(said.tags), TAG_BITS // 8)]
    # Both are public by now: no secret is compared, so no constant-time comparison is owed.
    equal = Bits.from_flags(np.array([a == b for a, b in zip(ours, theirs, strict=True)], np.bool_))
    yield from send(VerificationVerdict(equal.to_bytes()))
    return _concluded(blocks, equal)


def block_hashes(blocks: list[ClosedBlock], hash_key: bytes) -> list[bytes]:
    """Hash the bits of each of ``blocks`` under the 16 bytes of ``hash_key``."""
    return [block_hash(block.key.bits, hash_key) for block in blocks]


def block_hash(bits: Bits, hash_key: bytes) -> bytes:
    """Hash ``bits`` under the 16 bytes of ``hash_key`` to 16 bytes."""
    return polynomial_hash(bits.words, bits.count, np.frombuffer(hash_key, np.uint64).copy()).tobytes()


def _concluded(blocks: list[ClosedBlock], equal: Bits) -> list[ClosedBlock | Discarded]:
    concluded: list[ClosedBlock | Discarded] = []
    for block, is_equal in zip(blocks, equal.to_flags().tolist(), strict=True):
        leakage = block.leakage.charged("verification tag", TAG_BITS).charged("verification verdict", 1)
        charged = dataclasses.replace(block, leakage=leakage)
        concluded.append(charged if is_equal else Discarded(charged, AbortReason.VERIFICATION_FAILED))
    return concluded
