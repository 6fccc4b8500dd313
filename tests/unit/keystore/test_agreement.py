"""Both ends share a block out alike whatever a person does meanwhile, and a doubt that was none leaves nothing behind."""

from common.channel.codec import Party
from common.conversation.operations import CommitKeys, MeetPeer, OpenBlock, Settle, StageKeys, TakeMask
from common.keystore.masks import GENERATION_PAIRS, ProvisionedMasks
from common.keystore.ownership import Pool
from tests.support.keystores import greet, secret


def test_masks_renewed_between_a_mask_and_its_key_change_nothing_about_the_block(make):
    ends = make(), make(Party.BOB)
    greet(ends)
    for store in ends:
        store.apply(OpenBlock(1))
        store.apply(TakeMask(0))
    assert ends[1].renew(ProvisionedMasks(bytes(32 * 128), 1))
    for store in ends:
        store.apply(StageKeys({1: secret(1, 80_000)}))
        store.apply(CommitKeys((1,)))

    levels = [store.levels().pool_bits for store in ends]
    assert levels[0] == levels[1]
    assert GENERATION_PAIRS > 128
    taken = ends[0].take(Pool.ALICE_PAD, 100, "")
    assert ends[1].expect(Pool.ALICE_PAD, taken.pieces, "").key == taken.key


def test_an_old_greeting_and_a_cut_wire_cost_no_key_later(make):
    store = make(Party.BOB)
    store.apply(MeetPeer(1, 0))
    store.apply(OpenBlock(1))
    store.apply(TakeMask(0))
    store.apply(StageKeys({1: secret(1, 80_000)}))
    store.apply(CommitKeys((1,)))
    before = store.levels().pool_bits[Pool.BOB_PAD]

    store.apply(MeetPeer(1, 0))  # as the peer once stood
    assert store.levels().doubted
    store.apply(MeetPeer(2, 1))
    assert not store.levels().doubted
    store.apply(OpenBlock(2))  # the peer stages it, and the wire is cut
    store.apply(MeetPeer(3, 2))

    assert not store.levels().doubted
    store.apply(Settle((), (2,)))
    assert store.levels().pool_bits[Pool.BOB_PAD] == before > 0


def test_an_end_that_lacks_a_block_remembers_it_until_a_tag_vouches(make):
    store = make(Party.BOB)
    store.apply(MeetPeer(3, 2))
    assert store.levels().doubted
    store.apply(OpenBlock(3))

    store.apply(MeetPeer(4, 2))

    assert store.levels().doubted
