"""What every key store does about hash keys, in memory or on disk, and when its reserve is empty."""

import pytest

from common.channel.codec import Party
from common.conversation.operations import DistrustHashKey, Ledger, MeetPeer, ReadLedger, TakeMask
from common.errors import KeyExhaustedError, KeyNotFoundError, KeyStoreError
from common.keystore.interface import UseKind
from common.keystore.masks import GENERATION_PAIRS, ProvisionedMasks
from common.keystore.ownership import OwnershipRule, Pool
from tests.support.keystores import MASKS, distil, greet

NO_RESERVE = OwnershipRule(reserve_target_pairs=0)


def test_a_hash_key_is_made_of_its_pair_and_stays_in_use(make):
    ends = make(), make(Party.BOB)
    for store in ends:
        store.apply(MeetPeer(1, 0, 7))
        store.apply(MeetPeer(1, 0, 7))

    assert [store.hash_key_of(7) for store in ends] == [MASKS.masks[7 * 32 : 8 * 32]] * 2
    assert ends[0].apply(ReadLedger()) == Ledger(1, 8, {}, hash_key=7)
    assert (ends[0].levels().hash_key, ends[0].levels().reserve_pairs) == (7, 8)
    for number in (0, 15):
        with pytest.raises(KeyNotFoundError, match="not the one in use"):
            ends[0].hash_key_of(number)


def test_a_hash_key_of_a_pair_that_a_block_brought_is_in_the_ledger(make):
    ends = make(), make(Party.BOB)
    greet(ends)
    distil(ends, 10_000)  # brings pairs 16 to 20
    ends[0].apply(TakeMask(16))
    distil(ends, 10_000, greet(ends))  # takes pair 17
    distil(ends, 10_000)  # 18
    for store in ends:
        store.apply(MeetPeer(4, 3, 23))

    keys = [store.hash_key_of(23) for store in ends]
    assert keys[0] == keys[1] != bytes(32)
    for store in ends:
        (entry,) = [entry for entry in store.audit() if entry.kind is UseKind.HASH_KEY]
        assert (entry.pool, entry.purpose) == (Pool.RESERVE, "mask pair 23")
        with pytest.raises(KeyStoreError, match="pair 23 was taken"):
            store.apply(TakeMask(23))


def test_a_pair_is_either_a_mask_or_a_hash_key(make):
    store = make()
    with pytest.raises(KeyStoreError, match="kept for a hash key"):
        store.apply(TakeMask(7))
    with pytest.raises(KeyStoreError, match="not kept for a hash key"):
        store.apply(MeetPeer(1, 0, 8))
    assert store.apply(ReadLedger()) == Ledger(1, 0, {})


def test_a_distrusted_hash_key_and_an_older_one_are_never_used_again(make):
    store = make()
    store.apply(DistrustHashKey(0))
    with pytest.raises(KeyStoreError, match="never used again"):
        store.apply(MeetPeer(1, 0, 0))
    store.apply(MeetPeer(1, 0, 7))
    assert store.apply(ReadLedger()) == Ledger(1, 8, {}, 7, 1)
    store.apply(DistrustHashKey(7))
    store.apply(DistrustHashKey(0))
    for number in (0, 7):
        with pytest.raises(KeyStoreError, match="never used again"):
            store.apply(MeetPeer(1, 0, number))
    store.apply(MeetPeer(1, 0, 15))
    assert store.hash_key_of(15) == MASKS.masks[15 * 32 : 16 * 32]


def test_a_hash_key_that_was_passed_over_is_given_up_for_good(make):
    store = make()
    store.apply(TakeMask(9))
    with pytest.raises(KeyStoreError, match="the next greeting takes another"):
        store.apply(MeetPeer(1, 0, 7))

    assert store.apply(ReadLedger()) == Ledger(1, 10, {}, 0, 8)
    store.apply(MeetPeer(1, 0, 15))


def test_an_empty_reserve_has_no_hash_key_and_nothing_changes(make):
    store = make()
    store.apply(TakeMask(14))
    with pytest.raises(KeyExhaustedError, match="provision --renew"):
        store.apply(MeetPeer(1, 0, 23))
    assert store.apply(ReadLedger()) == Ledger(1, 15, {})
    assert store.levels().met, "what was distilled before may still be used"


def test_a_reserve_is_empty_when_no_mask_is_left_or_no_hash_key_that_is_due(make):
    store = make(rule=NO_RESERVE)
    store.apply(TakeMask(13))
    assert not store.levels().reserve_empty
    store.apply(TakeMask(14))  # of 16 pairs, pair 15 is left
    assert store.levels().reserve_empty
    assert store.levels().reserve_low, "a reserve without target is low when it is empty"
    other = make(Party.BOB, masks=ProvisionedMasks(bytes(32 * 4)))
    assert not other.levels().reserve_empty
    other.apply(DistrustHashKey(0))
    assert other.levels().reserve_empty


def test_a_renewal_while_the_store_is_open(make):
    store = make(rule=NO_RESERVE)
    store.apply(TakeMask(14))
    renewed = ProvisionedMasks(bytes(range(32)) * 16, generation=1)

    assert store.renew(renewed)
    assert not store.renew(renewed)
    assert not store.renew(MASKS)
    assert store.apply(ReadLedger()).mask_cursor == GENERATION_PAIRS
    assert not store.levels().reserve_empty
    store.apply(MeetPeer(1, 0, GENERATION_PAIRS + 7))
    store.apply(TakeMask(GENERATION_PAIRS + 8))
    assert store.mask(GENERATION_PAIRS + 8, Party.BOB) == bytes(range(16, 32))
