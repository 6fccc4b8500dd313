"""Every bit of a block has one owner, whoever computes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.channel.codec import Party
from common.errors import ConfigurationError
from common.keystore.masks import GENERATION_PAIRS, ProvisionedMasks, mask_of
from common.keystore.ownership import DELIVERIES, PADS, TAG_KEY_BYTES, BlockFacts, OwnershipRule, Pool, share_out

weights = st.tuples(*[st.integers(0, 50)] * 4).filter(any)
rules = st.builds(lambda target, four: OwnershipRule(target, *four), st.integers(0, 300), weights)
facts = st.builds(BlockFacts, st.integers(0, 1 << 24), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
near_facts = st.builds(BlockFacts, st.integers(0, 1 << 17), st.integers(0, 400), st.integers(0, 400))


@given(facts | near_facts, rules)
def test_every_bit_has_exactly_one_owner(known, rule):
    parts = share_out(known, rule).parts

    reached = 0
    for part in parts:
        assert part.first_bit == reached
        assert part.count_bits > 0
        reached += part.count_bits
    assert reached == known.count_bits
    assert len({part.pool for part in parts}) == len(parts)
    assert all(part.first_bit % 8 == part.count_bits % 8 == 0 for part in parts if part.pool)
    assert sum(part.count_bits for part in parts if part.pool is None) < 8


@given(facts | near_facts, rules)
def test_both_ends_compute_the_same(known, rule):
    assert share_out(known, rule) == share_out(known, OwnershipRule.of_text(rule.text))


@given(near_facts, rules)
def test_the_reserve_is_filled_first_and_never_above_its_target(known, rule):
    shared = share_out(known, rule)
    level = max(0, known.reserve_end - known.mask_cursor)

    assert shared.reserve_pairs == 0 or level + shared.reserve_pairs <= rule.reserve_target_pairs
    if level + shared.reserve_pairs < rule.reserve_target_pairs:
        assert known.count_bits - 256 * shared.reserve_pairs < 256, "the reserve is short and other pools got key"


@given(near_facts, rules)
def test_new_masks_lie_above_all_that_were_ever_used(known, rule):
    shared = share_out(known, rule)
    assert shared.reserve_first >= max(known.mask_cursor, known.reserve_end)


@given(st.integers(0, 1 << 20), weights)
def test_shares_follow_their_weights_to_a_byte(count_bits, four):
    shared = share_out(BlockFacts(count_bits, 0, 0), OwnershipRule(0, *four))
    sizes = {part.pool: part.count_bits // 8 for part in shared.parts}
    tags = [sizes.get(pool, 0) for pool in (Pool.ALICE_TAG, Pool.BOB_TAG)]
    assert sum(tags) == min(2 * TAG_KEY_BYTES, count_bits // 8)
    assert max(tags) <= TAG_KEY_BYTES
    for pool, weight in zip([pool for pool in Pool if pool.asker], four, strict=True):
        assert abs(sizes.get(pool, 0) - (count_bits // 8 - sum(tags)) * weight / sum(four)) < 1
        assert not sizes.get(pool) or tags == [TAG_KEY_BYTES, TAG_KEY_BYTES], "a pad without the key of its tags"


def test_each_end_asks_for_its_own_pools():
    assert {PADS[party].asker for party in Party} == {DELIVERIES[party].asker for party in Party} == set(Party)
    assert all(PADS[party].asker is DELIVERIES[party].asker is party for party in Party)
    assert Pool.RESERVE.asker is None


@pytest.mark.parametrize("numbers", [(-1,), (1 << 21,), (1, 0, 0, 0, 0)])
def test_a_rule_that_shares_out_nothing_is_refused(numbers):
    with pytest.raises(ConfigurationError):
        OwnershipRule(*numbers)


@pytest.mark.parametrize("text", ["", "1:1,1,1,1,1", "2:1,1,1,1", "2:1,1,1,1,x", "2:-1,1,1,1,1"])
def test_a_stored_rule_that_is_unknown_is_refused(text):
    with pytest.raises(ConfigurationError):
        OwnershipRule.of_text(text)


def test_rules_differ_in_their_digest():
    assert OwnershipRule().digest == OwnershipRule().digest != OwnershipRule(alice_pad=4).digest


def test_provisioned_masks_are_numbered_by_generation():
    masks = ProvisionedMasks(bytes(range(64)), 1)
    assert (masks.first, masks.end) == (GENERATION_PAIRS, GENERATION_PAIRS + 2)
    assert masks.pair(0) is None
    assert masks.pair(masks.end) is None
    pair = masks.pair(masks.first + 1)
    assert pair
    assert [mask_of(pair, party) for party in Party] == [bytes(range(32, 48)), bytes(range(48, 64))]
    assert "\\x" not in repr(masks)


@pytest.mark.parametrize(("masks", "generation"), [(b"x", 0), (b"", -1), (b"", 1 << 31)])
def test_masks_that_are_no_pairs_are_refused(masks, generation):
    with pytest.raises(ConfigurationError):
        ProvisionedMasks(masks, generation)
