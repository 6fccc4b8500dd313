"""Both ends' key stores, opened, fed with blocks and brought together, without a protocol around them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.bits import Bits, SecretBits, count_bytes, count_words
from common.channel.codec import Party
from common.channel.pairs import agreed_hash_key, next_mask
from common.conversation.operations import CommitKeys, Ledger, MeetPeer, OpenBlock, ReadLedger, Settle, StageKeys, TakeMask
from common.keystore.masks import ProvisionedMasks
from common.keystore.ownership import OwnershipRule
from common.keystore.sealing import MasterKey
from common.keystore.sqlite import SqliteKeyStore

MASTER = MasterKey(bytes(range(32)))
MASKS = ProvisionedMasks(bytes(range(256)) * 2)
"""16 pairs."""

RULE = OwnershipRule(reserve_target_pairs=20)


def key_bytes(block: int, count_bits: int) -> bytes:
    """The key that block ``block`` has in tests."""
    data = bytearray(hashlib.shake_256(f"block {block}".encode()).digest(count_bytes(count_bits)))
    if count_bits & 7:
        data[-1] &= (1 << (count_bits & 7)) - 1
    return bytes(data)


def secret(block: int, count_bits: int) -> SecretBits:
    words = np.zeros(8 * count_words(count_bits), np.uint8)
    data = key_bytes(block, count_bits)
    words[: len(data)] = np.frombuffer(data, np.uint8)
    return SecretBits(Bits(words.view(np.uint64), count_bits))


def opened(path: Path, owner: Party = Party.ALICE, **options: Any) -> SqliteKeyStore:
    chosen: dict[str, Any] = {"masks": MASKS, "rule": RULE} | options
    return SqliteKeyStore(path, owner, MASTER, **chosen)


def ledger_of(store: Any) -> Ledger:
    ledger = store.apply(ReadLedger())
    assert isinstance(ledger, Ledger)
    return ledger


def greet(ends: Sequence[Any]) -> tuple[Settle, Settle]:
    """What the greeting does for two stores, the settlements not yet carried out."""
    one, other = ends
    ledgers = [ledger_of(store) for store in ends]
    settlements = []
    has_old_copy = any(max(this.lengths, default=0) >= that.next_block for this, that in (tuple(ledgers), tuple(reversed(ledgers))))
    hash_key = agreed_hash_key(*ledgers, renewed=has_old_copy)
    for store, ours, theirs in ((one, *ledgers), (other, *reversed(ledgers))):
        store.apply(MeetPeer(theirs.next_block, max(theirs.lengths, default=0), hash_key))
        shared = tuple(block for block, count in ours.lengths.items() if theirs.lengths.get(block) == count)
        settlements.append(Settle(shared, tuple(ours.lengths.keys() - set(shared))))
    return settlements[0], settlements[1]


def distil(ends: Sequence[Any], count_bits: int, settlements: tuple[Settle, Settle] | None = None, count_blocks: int = 1) -> int:
    """What the commitment of a group of blocks does for two stores, in its order; returns the number of the last block."""
    one, other = ends
    ledgers = [ledger_of(store) for store in ends]
    first = max(ledger.next_block for ledger in ledgers)
    group = range(first, first + count_blocks)
    mask_index = next_mask(max(ledger.mask_cursor for ledger in ledgers))
    for store in (one, other):
        store.apply(OpenBlock(group[-1]))
    one.apply(TakeMask(mask_index))
    one.apply(StageKeys({block: secret(block, count_bits) for block in group}))
    other.apply(TakeMask(mask_index))
    if settlements:
        other.apply(settlements[1])
    other.apply(StageKeys({block: secret(block, count_bits) for block in group}))
    if settlements:
        one.apply(settlements[0])
    one.apply(CommitKeys(tuple(group)))
    other.apply(CommitKeys(tuple(group)))
    return group[-1]
