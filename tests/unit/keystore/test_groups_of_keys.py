"""The keys of a group of blocks enter a store together, whatever store it is."""

import pytest

from common.channel.codec import Party
from common.conversation.operations import CommitKeys, ReadLedger, Settle, StageKeys
from common.errors import KeyNotFoundError, KeyStoreError
from tests.support.keystores import distil, greet, secret


def test_the_keys_of_a_group_are_staged_and_committed_together(make):
    store = make()
    store.apply(StageKeys({block: secret(block, 1000 * block) for block in (3, 1, 2)}))
    assert store.apply(ReadLedger()).lengths == {1: 1000, 2: 2000, 3: 3000}
    store.apply(CommitKeys((2, 3, 1)))

    assert store.levels().count_committed == 3


def test_of_a_group_with_an_erased_block_nothing_is_staged(make):
    store = make()
    store.apply(StageKeys({2: secret(2, 1000)}))
    store.apply(Settle((), (2,)))
    with pytest.raises(KeyStoreError, match="block 2 was erased"):
        store.apply(StageKeys({block: secret(block, 1000) for block in (1, 2, 3)}))

    assert store.apply(ReadLedger()).lengths == {}


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_of_a_group_that_was_not_staged_whole_nothing_is_committed(make, missing):
    store = make()
    store.apply(StageKeys({block: secret(block, 1000) for block in {1, 2, 3} - {missing}}))
    with pytest.raises(KeyNotFoundError, match=f"block {missing}"):
        store.apply(CommitKeys((1, 2, 3)))

    assert store.levels().count_committed == 0


def test_a_group_that_comes_after_a_later_block_is_not_committed(make):
    store = make()
    store.apply(StageKeys({block: secret(block, 1000) for block in (1, 2, 3)}))
    store.apply(CommitKeys((2,)))
    with pytest.raises(KeyStoreError, match="block 1 is to be committed after a later one"):
        store.apply(CommitKeys((1, 2, 3)))

    assert store.levels().count_committed == 1


def test_groups_are_shared_out_alike_at_both_ends(make):
    ends = [make(Party.ALICE), make(Party.BOB)]
    distil(ends, 9000, greet(ends), 3)
    distil(ends, 9000, count_blocks=2)

    levels = [store.levels().pool_bits for store in ends]
    assert levels[0] == levels[1]
