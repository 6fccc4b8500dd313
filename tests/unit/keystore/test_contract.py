"""What every key store does, in memory or on disk."""

import pytest

from common.channel.codec import Party
from common.channel.pairs import is_hash_key
from common.conversation.operations import (
    CommitKeys,
    Ledger,
    MeetPeer,
    OpenBlock,
    ReadLedger,
    Settle,
    StageKeys,
    TakeMask,
)
from common.errors import AbortReason, BlockAborted, KeyAlreadyTakenError, KeyExhaustedError, KeyNotFoundError, KeyStoreError
from common.keystore.interface import EXPECTED_GRACE_SECONDS, MOST_TAKEN_BYTES, Piece, UseKind
from common.keystore.masks import GENERATION_PAIRS, ProvisionedMasks
from common.keystore.ownership import OwnershipRule, Pool
from tests.support.keystores import MASKS, distil, greet, key_bytes, secret

NO_RESERVE = OwnershipRule(reserve_target_pairs=0)


class Clock:
    def __init__(self):
        self.now_s = 1e9

    def __call__(self):
        return self.now_s


@pytest.fixture
def pair(make):
    """Both ends, met and without a reserve to fill."""
    ends = make(rule=NO_RESERVE), make(Party.BOB, rule=NO_RESERVE)
    greet(ends)
    return ends


def test_a_new_store_has_used_nothing(make):
    assert make().apply(ReadLedger()) == Ledger(1, 0, {})


def test_a_block_number_is_opened_once(make):
    store = make()
    store.apply(OpenBlock(3))

    with pytest.raises(KeyStoreError, match="block 3"):
        store.apply(OpenBlock(3))
    assert store.apply(ReadLedger()).next_block == 4


def test_a_mask_pair_is_taken_once(make):
    store = make()
    store.apply(TakeMask(5))

    with pytest.raises(KeyStoreError, match="mask pair 5"):
        store.apply(TakeMask(5))
    assert store.apply(ReadLedger()).mask_cursor == 6


def test_staging_and_committing_may_be_asked_again(make):
    store = make()
    for _ in range(2):
        store.apply(StageKeys({1: secret(1, 1000)}))
    assert store.apply(ReadLedger()).lengths == {1: 1000}
    assert store.levels().staged_bits == 1000
    for _ in range(2):
        store.apply(CommitKeys((1,)))
    store.apply(StageKeys({1: secret(1, 1000)}))

    assert store.levels().staged_bits == 0
    assert store.levels().count_committed == 1


def test_what_was_never_staged_is_not_committed(make):
    with pytest.raises(KeyNotFoundError, match="block 9"):
        make().apply(CommitKeys((9,)))


def test_a_staged_key_is_not_handed_out(make):
    store = make()
    store.apply(MeetPeer(1, 0))
    store.apply(StageKeys({1: secret(1, 100_000)}))

    with pytest.raises(KeyExhaustedError):
        store.take(Pool.ALICE_PAD, 1, "test")


def test_an_erased_block_is_gone_and_its_number_with_it(make):
    store = make()
    store.apply(StageKeys({1: secret(1, 1000)}))
    store.apply(Settle((), (1, 7)))

    assert store.apply(ReadLedger()).lengths == {}
    with pytest.raises(KeyNotFoundError):
        store.apply(CommitKeys((1,)))
    with pytest.raises(KeyStoreError, match="erased"):
        store.apply(StageKeys({1: secret(1, 1000)}))


def test_settling_commits_and_erases_at_once(make):
    store = make()
    for block in (1, 2, 3):
        store.apply(StageKeys({block: secret(block, 1000)}))
    store.apply(Settle((3, 1), (2,)))

    assert store.apply(ReadLedger()).lengths == {1: 1000, 3: 1000}
    assert store.levels().count_committed == 2


def test_nothing_is_handed_out_before_the_peer_was_met(make):
    store = make(rule=NO_RESERVE)
    store.apply(StageKeys({1: secret(1, 1000)}))
    store.apply(CommitKeys((1,)))

    with pytest.raises(KeyStoreError, match="met"):
        store.take(Pool.ALICE_PAD, 1, "test")
    store.apply(OpenBlock(1))
    store.apply(MeetPeer(2, 1))
    assert store.take(Pool.ALICE_PAD, 1, "test").key == key_bytes(1, 1000)[:1]


def test_key_is_handed_out_once_and_in_order(pair):
    alice, bob = pair
    first, second = distil((alice, bob), 1856), distil((alice, bob), 1856)  # 232 bytes each: 75 75 25 25 16 16
    taken = alice.take(Pool.ALICE_PAD, 100, "letter")

    assert taken.pieces == (Piece(first, 0, 75), Piece(second, 0, 25))
    assert taken.key == key_bytes(first, 1856)[:75] + key_bytes(second, 1856)[:25]
    assert alice.take(Pool.ALICE_PAD, 50, "letter").pieces == (Piece(second, 25, 50),)
    with pytest.raises(KeyExhaustedError, match="8 bits short"):
        alice.take(Pool.ALICE_PAD, 1, "letter")


def test_the_peer_follows_with_the_same_key(pair):
    alice, bob = pair
    for _ in range(3):
        distil((alice, bob), 4001)
    for pool, giver, follower in ((Pool.ALICE_PAD, alice, bob), (Pool.BOB_PAD, bob, alice), (Pool.BOB_DELIVERY, bob, alice)):
        taken = giver.take(pool, 120, "letter")
        assert follower.expect(pool, taken.pieces, "letter").key == taken.key


def test_too_much_spends_nothing(pair):
    alice, _ = pair
    distil(pair, 1856)
    with pytest.raises(KeyExhaustedError):
        alice.take(Pool.ALICE_PAD, 76, "too much")

    assert alice.take(Pool.ALICE_PAD, 75, "just right").pieces == (Piece(1, 0, 75),)


def test_letters_may_arrive_in_any_order_but_only_once(pair):
    alice, bob = pair
    distil(pair, 1856)
    one, other = (alice.take(Pool.ALICE_PAD, 20, "letter") for _ in range(2))

    assert bob.expect(Pool.ALICE_PAD, other.pieces, "letter").key == other.key
    assert bob.expect(Pool.ALICE_PAD, one.pieces, "letter").key == one.key
    for pieces in (one.pieces, [Piece(1, 19, 2)], [Piece(1, 0, 75)], [Piece(1, 30, 30)]):
        with pytest.raises(KeyAlreadyTakenError):
            bob.expect(Pool.ALICE_PAD, pieces, "again")
    assert bob.levels().pool_bits[Pool.ALICE_PAD] == 8 * 35


@pytest.mark.parametrize("pieces", [[], [Piece(9, 0, 1)], [Piece(1, 0, 76)], [Piece(1, -1, 2)], [Piece(1, 0, 0)], [Piece(1 << 70, 0, 1)]])
def test_pieces_that_are_not_here_are_not_found(pair, pieces):
    distil(pair, 1856)
    with pytest.raises(KeyNotFoundError):
        pair[1].expect(Pool.ALICE_PAD, pieces, "letter")


def test_the_same_key_named_twice_in_one_request_is_refused(pair):
    distil(pair, 1856)
    with pytest.raises(KeyAlreadyTakenError):
        pair[1].expect(Pool.ALICE_PAD, [Piece(1, 0, 10), Piece(1, 9, 2)], "letter")


def test_a_forged_letter_gives_its_key_back_until_it_is_burnt(pair):
    _, bob = pair
    distil(pair, 1856)
    forged = bob.expect(Pool.ALICE_PAD, [Piece(1, 10, 20)], "forged")
    bob.give_back(forged.handout)
    with pytest.raises(KeyNotFoundError):
        bob.give_back(forged.handout)
    true = bob.expect(Pool.ALICE_PAD, [Piece(1, 10, 20)], "true")
    assert true.key == forged.key
    bob.burn(true.handout)

    for conclude in (bob.give_back, bob.burn):
        with pytest.raises(KeyNotFoundError):
            conclude(true.handout)
    with pytest.raises(KeyAlreadyTakenError):
        bob.expect(Pool.ALICE_PAD, [Piece(1, 10, 20)], "again")


def test_key_of_our_own_pools_never_comes_back(pair):
    distil(pair, 1856)
    taken = pair[0].take(Pool.ALICE_PAD, 5, "letter")
    for conclude in (pair[0].give_back, pair[0].burn):
        for handout in (taken.handout, 0, 99):
            with pytest.raises(KeyNotFoundError):
                conclude(handout)


@pytest.mark.parametrize("pool", [Pool.BOB_PAD, Pool.BOB_DELIVERY, Pool.RESERVE])
def test_nobody_takes_from_a_pool_of_the_peer_or_from_the_reserve(pair, pool):
    distil(pair, 1856)
    with pytest.raises(KeyStoreError, match=pool.value):
        pair[0].take(pool, 1, "test")


@pytest.mark.parametrize("pool", [Pool.ALICE_PAD, Pool.RESERVE])
def test_nobody_follows_the_peer_in_his_own_pool(pair, pool):
    distil(pair, 1856)
    with pytest.raises(KeyStoreError, match=pool.value):
        pair[0].expect(pool, [Piece(1, 0, 1)], "test")


@pytest.mark.parametrize(("count_bytes", "purpose"), [(0, "x"), (-1, "x"), (MOST_TAKEN_BYTES + 1, "x"), (1, "x" * 201), (1, "a\nb")])
def test_an_unbounded_request_is_refused(pair, count_bytes, purpose):
    with pytest.raises(KeyStoreError):
        pair[0].take(Pool.ALICE_PAD, count_bytes, purpose)


def test_the_ledger_names_every_handout_and_no_key(pair):
    distil(pair, 1856)
    taken = pair[0].take(Pool.ALICE_PAD, 5, "letter to Bob")
    (entry,) = pair[0].audit()

    assert (entry.handout, entry.kind, entry.pool, entry.piece) == (taken.handout, UseKind.TAKEN, Pool.ALICE_PAD, Piece(1, 0, 5))
    assert entry.purpose == "letter to Bob"
    assert pair[0].audit(after=entry.use) == []
    assert "key" not in repr(taken)
    taken.wipe()
    assert taken.key == bytes(5)


def test_provisioned_masks_come_first_and_refilled_ones_follow(make):
    ends = make(), make(Party.BOB)  # 16 provisioned, target 20
    greet(ends)
    assert ends[0].count_masks == 16
    distil(ends, 10_000)  # takes pair 0, so that 15 are left: adds 5
    assert [store.count_masks for store in ends] == [21, 21]
    assert ends[0].levels().reserve_pairs == 20
    for index in (index for index in range(1, 21) if not is_hash_key(index)):
        for store in ends:
            store.apply(TakeMask(index))
        masks = [store.mask(index, party) for store in ends for party in Party]
        pair = MASKS.masks[32 * index : 32 * index + 32] if index < 16 else key_bytes(1, 10_000)[32 * (index - 16) : 32 * (index - 15)]
        assert masks == [pair[:16], pair[16:]] * 2
    ends[0].apply(TakeMask(21))
    with pytest.raises(BlockAborted) as aborted:
        ends[0].mask(21, Party.ALICE)
    assert aborted.value.reason is AbortReason.MASKS_EXHAUSTED
    assert ends[0].levels().reserve_pairs == 0
    assert ends[0].levels().reserve_low


def test_a_mask_is_not_read_before_it_is_marked_as_used(make):
    with pytest.raises(BlockAborted):
        make().mask(0, Party.ALICE)


def test_skipped_masks_are_in_the_ledger(make):
    ends = make(), make(Party.BOB)
    greet(ends)
    distil(ends, 10_000)
    ends[0].apply(TakeMask(18))

    assert [(entry.kind, entry.piece) for entry in ends[0].audit()] == [
        (UseKind.SKIPPED, Piece(1, 0, 64)),
        (UseKind.MASK, Piece(1, 64, 32)),
    ]


def test_the_reserve_is_refilled_before_anything_else_gets_key(make):
    ends = make(masks=ProvisionedMasks()), make(Party.BOB, masks=ProvisionedMasks())
    greet(ends)
    distil(ends, 1000)

    bits = ends[0].levels().pool_bits
    assert bits[Pool.RESERVE] == 768
    assert sum(bits.values()) == 1000
    distil(ends, 20_000)
    assert ends[0].levels().pool_bits == ends[1].levels().pool_bits
    assert ends[0].levels().reserve_pairs == 20


def test_a_renewal_begins_above_everything_in_use(make):
    store = make(masks=ProvisionedMasks(bytes(64), generation=2))
    assert store.apply(ReadLedger()).mask_cursor == 2 * GENERATION_PAIRS
    assert store.count_masks == 2 * GENERATION_PAIRS + 2
    store.apply(TakeMask(2 * GENERATION_PAIRS))
    assert store.mask(2 * GENERATION_PAIRS, Party.BOB) == bytes(16)


def test_key_expires_first_where_it_is_handed_out(make):
    clock = Clock()
    ends = make(rule=NO_RESERVE, expiry_seconds=100, clock=clock), make(Party.BOB, rule=NO_RESERVE, expiry_seconds=100, clock=clock)
    greet(ends)
    distil(ends, 1856)
    assert [store.expire() for store in ends] == [0, 0]
    clock.now_s += 101
    assert [store.expire() for store in ends] == [800, 800]
    assert ends[0].levels().pool_bits == dict.fromkeys(Pool, 0) | {Pool.BOB_PAD: 600, Pool.BOB_DELIVERY: 200, Pool.BOB_TAG: 128}
    clock.now_s += EXPECTED_GRACE_SECONDS
    assert [store.expire() for store in ends] == [800, 800]
    assert ends[0].apply(ReadLedger()).lengths == {1: 1856}, "an expired block is accounted for, not forgotten"


def test_masks_do_not_expire_and_without_an_age_nothing_does(make):
    clock = Clock()
    store = make(masks=ProvisionedMasks(), expiry_seconds=100, clock=clock)
    store.apply(StageKeys({1: secret(1, 5120)}))
    store.apply(CommitKeys((1,)))
    clock.now_s += 1e9
    assert store.expire() == 0
    assert make(Party.BOB).expire() == 0


def test_a_full_store_says_so_and_keeps_what_comes(make):
    ends = make(rule=NO_RESERVE, capacity_bits=3000), make(Party.BOB, rule=NO_RESERVE)
    greet(ends)
    distil(ends, 1856)
    assert not ends[0].levels().full
    distil(ends, 1856)
    assert ends[0].levels().full
    ends[0].take(Pool.ALICE_PAD, 100, "letter")
    assert not ends[0].levels().full


def test_a_peer_that_holds_what_was_never_opened_here_casts_doubt(pair):
    alice, _ = pair
    distil(pair, 1856)
    alice.apply(MeetPeer(8, 7))
    assert alice.levels().doubted
    with pytest.raises(KeyStoreError, match="old copy"):
        alice.take(Pool.ALICE_PAD, 1, "letter")
    alice.apply(OpenBlock(9))
    alice.apply(MeetPeer(8, 7))
    assert alice.levels().doubted, "opening further blocks does not make the copy newer"
    alice.apply(Settle((1,), ()))

    assert not alice.levels().doubted
    assert alice.levels().pool_bits == dict.fromkeys(Pool, 0)
    assert {entry.kind for entry in alice.audit()} == {UseKind.FORGONE}


def test_a_peer_that_never_opened_what_is_committed_here_casts_doubt(pair):
    alice, _ = pair
    distil(pair, 1856)
    alice.apply(MeetPeer(1, 0))
    assert alice.levels().doubted


def test_doubt_that_no_tag_vouches_for_passes_with_the_next_greeting(pair):
    alice, bob = pair
    distil(pair, 1856)
    alice.apply(MeetPeer(1 << 40, 1 << 40))
    greet((alice, bob))
    assert alice.take(Pool.ALICE_PAD, 75, "letter").key == key_bytes(1, 1856)[:75]


def test_blocks_committed_by_a_later_session_are_shared_out_alike(make):
    """The block closes under one rule at both ends; one end commits it only after masks, rule and provisioning have moved on."""
    ends = make(), make(Party.BOB)
    greet(ends)
    distil(ends, 9000)
    for store in ends:
        store.apply(OpenBlock(2))
        store.apply(TakeMask(1))
        store.apply(StageKeys({2: secret(2, 9000)}))
    ends[0].apply(CommitKeys((2,)))
    for index in (5, 9):
        ends[1].apply(TakeMask(index))
    distil(ends, 9000, greet(ends))

    assert ends[0].count_masks == ends[1].count_masks
    bits = [store.levels().pool_bits for store in ends]
    assert {pool: bits[0][pool] for pool in PADS_AND_DELIVERIES} == {pool: bits[1][pool] for pool in PADS_AND_DELIVERIES}


PADS_AND_DELIVERIES = [pool for pool in Pool if pool.asker]


def test_what_is_reserved_is_read_bit_after_bit_and_once(pair):
    alice, bob = pair
    distil(pair, 1856), distil(pair, 1856)
    handout = alice.reserve(Pool.ALICE_PAD, 100, "file")

    assert handout.pieces == (Piece(1, 0, 75), Piece(2, 0, 25))
    assert handout.count_bytes == 100
    assert b"".join(alice.read(handout.number, count) for count in (10, 70, 20)) == key_bytes(1, 1856)[:75] + key_bytes(2, 1856)[:25]
    with pytest.raises(KeyNotFoundError):
        alice.read(handout.number, 1)
    assert bob.expect(Pool.ALICE_PAD, handout.pieces, "file").key == key_bytes(1, 1856)[:75] + key_bytes(2, 1856)[:25]


def test_a_reservation_is_spent_whole_whether_it_is_read_or_not(pair):
    alice, _ = pair
    distil(pair, 1856)
    with pytest.raises(KeyExhaustedError):
        alice.reserve(Pool.ALICE_PAD, 76, "too much")
    handout = alice.reserve(Pool.ALICE_PAD, 60, "file")
    alice.read(handout.number, 20)
    alice.release(handout.number)
    alice.release(handout.number)

    with pytest.raises(KeyNotFoundError):
        alice.read(handout.number, 1)
    assert alice.take(Pool.ALICE_PAD, 15, "letter").pieces == (Piece(1, 60, 15),)


def test_what_is_followed_comes_back_unless_it_is_burnt(pair):
    _, bob = pair
    distil(pair, 1856)
    forged = bob.follow(Pool.ALICE_PAD, [Piece(1, 0, 40)], "file")
    tried = bob.read(forged.number, 16)
    bob.release(forged.number)
    bob.give_back(forged.number)
    with pytest.raises(KeyNotFoundError):
        bob.read(forged.number, 1)
    true = bob.follow(Pool.ALICE_PAD, [Piece(1, 0, 40)], "file")
    assert bob.read(true.number, 16) == tried
    bob.burn(true.number)
    assert bob.read(true.number, 24) == key_bytes(1, 1856)[16:40]

    for conclude in (bob.give_back, bob.burn):
        with pytest.raises(KeyNotFoundError):
            conclude(true.number)
    with pytest.raises(KeyAlreadyTakenError):
        bob.follow(Pool.ALICE_PAD, [Piece(1, 39, 1)], "again")


def test_both_ends_have_the_same_key_for_tags_which_nobody_gets_as_pad(pair):
    alice, bob = pair
    distil(pair, 1856)
    sent = alice.reserve(Pool.ALICE_PAD, 20, "file")
    received = bob.follow(Pool.ALICE_PAD, sent.pieces, "file")
    back = bob.reserve(Pool.BOB_PAD, 20, "file")

    assert alice.tag_key(sent.number) == bob.tag_key(received.number) == key_bytes(1, 1856)[200:216]
    assert bob.tag_key(back.number) == key_bytes(1, 1856)[216:232]
    with pytest.raises(KeyNotFoundError):
        alice.tag_key(alice.reserve(Pool.ALICE_DELIVERY, 10, "file").number)
    for pool in (Pool.ALICE_TAG, Pool.BOB_TAG):
        with pytest.raises(KeyStoreError):
            alice.take(pool, 1, "letter")
        with pytest.raises(KeyStoreError):
            bob.expect(pool, [Piece(1, 0, 1)], "letter")


def test_key_that_is_being_read_does_not_grow_too_old(make):
    clock = Clock()
    ends = make(rule=NO_RESERVE, expiry_seconds=100, clock=clock), make(Party.BOB, rule=NO_RESERVE, expiry_seconds=100, clock=clock)
    greet(ends)
    distil(ends, 1856)
    handout = ends[0].reserve(Pool.ALICE_PAD, 50, "file")
    clock.now_s += 101

    assert ends[0].expire() == 200, "only the deliveries"
    assert ends[0].read(handout.number, 50) == key_bytes(1, 1856)[:50]
    assert ends[0].expire() == 200, "the rest of the pad"
