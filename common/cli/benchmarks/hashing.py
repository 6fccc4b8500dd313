"""Verification of a block and authentication of messages: the hash over GF(2^128), and OpenSSL's GMAC."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from common.bits import Bits
from common.blocks import BasisCounts, BlockCounts
from common.channel.authentication import ChannelSecrets, SessionSeal
from common.channel.codec import Party
from common.channel.transcript import RunningHash
from common.cli.benchmarks.measurement import Measurement, Request, fastest, installed
from common.conversation.rehearsal import rehearse
from common.distillation.values import ClosedBlock, KeyBits
from common.distillation.verification import block_hash, check_hash, send_hash
from common.leakage import Leakage
from common.randomness import SystemRandomness

MESSAGE_BYTES = (1 << 10, 1 << 16)
"""Messages to authenticate: a short one, and one of the size that batches aim at."""

TOTAL_BYTES = 1 << 24
"""Bytes authenticated in one run."""

OPENSSL_GMAC = f"GMAC of cryptography {installed('cryptography')}"


def measure_verification(request: Request) -> Iterator[Measurement]:
    """Measure verification.

    Parameters
    ----------
    request : Request
        What to measure.

    Yields
    ------
    Measurement
        For each block length the conversation and the hash alone.
    """
    for block_bits in request.lengths((1_000_000, 10_000_000), (100_000,)):
        key = Bits.from_flags(np.random.default_rng(5).integers(0, 2, block_bits, np.uint8))
        block = _block(key)
        (seconds,) = fastest(request, lambda block=block: rehearse(send_hash([block]), check_hash([block])))  # type: ignore[misc]
        yield Measurement(
            stage="verification",
            method="hash and verdict, both halves",
            block_bits=block_bits,
            mbit_per_second=block_bits / seconds / 1e6,
            note="every message coded, authenticated and hashed as on a channel",
        )
        yield hash_alone(request, key)


def hash_alone(request: Request, key: Bits) -> Measurement:
    """Measure the hash of a block at one end.

    Parameters
    ----------
    request : Request
        Whether two runs have to do.
    key : Bits
        The block.

    Returns
    -------
    Measurement
        Beside GMAC.
    """
    hash_key, data, gmac = bytes(range(16)), key.to_bytes(), AESGCM(bytes(32))
    seconds, peer_seconds = fastest(request, lambda: block_hash(key, hash_key), lambda: gmac.encrypt(bytes(12), b"", data), repetitions=20)
    return Measurement(
        stage="verification",
        method="hash of one half, kernel",
        block_bits=key.count,
        mbit_per_second=key.count / seconds / 1e6,
        peer=OPENSSL_GMAC,
        ratio_to_peer=peer_seconds / seconds,
    )


def _block(bits: Bits) -> ClosedBlock:
    """Make a block of nothing but bits."""
    none = BasisCounts(0, 0, 0, 0)
    counts = BlockCounts(pulses=1, frames=1, detections=bits.count, cross_clicks=0, z=none, x=none)
    return ClosedBlock(0, KeyBits(bits, Bits.from_flags(np.zeros(bits.count, np.uint8))), counts, (0, 0), 1, 0, Leakage())


def measure_authentication(request: Request) -> Iterator[Measurement]:
    """Measure the code behind every message, made and checked, and the hash of transcripts.

    Parameters
    ----------
    request : Request
        Whether two runs have to do.

    Yields
    ------
    Measurement
        For each length of message.
    """
    secrets = ChannelSecrets.draw(SystemRandomness(), 1)
    for count_bytes in MESSAGE_BYTES:
        count = max(1, request.size(TOTAL_BYTES, 1 << 18) // count_bytes)
        messages = [SystemRandomness().draw(count_bytes) for _ in range(count)]
        yield from _authentication(request, secrets, messages)


def _authentication(request: Request, secrets: ChannelSecrets, messages: list[bytes]) -> Iterator[Measurement]:
    megabits = 8e-6 * sum(map(len, messages))
    seal = SessionSeal(secrets, bytes(32), bytes(32))

    def sealed() -> None:
        for sequence, message in enumerate(messages, 1):
            seal.check(Party.ALICE, sequence, message, seal.code(Party.ALICE, sequence, message))

    def keyed_sha256() -> None:
        for message in messages:
            hmac.compare_digest(*(hmac.digest(secrets.authentication_secret, message, hashlib.sha256) for _ in range(2)))

    seconds, peer_seconds = fastest(request, sealed, keyed_sha256)
    yield Measurement(
        stage="authentication",
        method="message code, made and checked",
        block_bits=8 * len(messages[0]),
        mbit_per_second=megabits / seconds,
        peer="HMAC-SHA256 of Python",
        ratio_to_peer=peer_seconds / seconds,
        note=f"{OPENSSL_GMAC}; messages of {len(messages[0])} bytes",
    )
    gmac = AESGCM(bytes(32))

    def transcript() -> None:
        running = RunningHash(secrets.hash_key[:16])
        for message in messages:
            running.append(message)
        running.digest()

    def sealed_once() -> None:
        for sequence, message in enumerate(messages):
            gmac.encrypt(sequence.to_bytes(12, "big"), b"", message)

    seconds, peer_seconds = fastest(request, transcript, sealed_once)
    yield Measurement(
        stage="authentication",
        method="transcript hash",
        block_bits=8 * len(messages[0]),
        mbit_per_second=megabits / seconds,
        peer=OPENSSL_GMAC,
        ratio_to_peer=peer_seconds / seconds,
        note=f"information-theoretic; messages of {len(messages[0])} bytes",
    )
