"""Numbers of pairs: every pair is a mask or a hash key, and two ends that greet choose the same hash key."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from common.channel.pairs import HASH_KEY_EVERY, agreed_hash_key, is_hash_key, next_hash_key, next_mask

numbers = st.integers(0, 100) | st.integers(0, 1 << 40)


@dataclass(frozen=True)
class Stands:
    mask_cursor: int
    hash_key: int
    least_hash_key: int


@st.composite
def standings(draw):
    """What a store can say: a hash key below its cursor, and at most that one distrusted, or one that it could not take."""
    cursor = draw(numbers)
    kept = [number for number in (next_hash_key(draw(numbers)), next_hash_key(draw(st.integers(0, 30)))) if number < cursor]
    return Stands(cursor, draw(st.sampled_from([0, *kept])), draw(st.sampled_from([0, 1, *(number + 1 for number in kept)])))


@given(numbers)
def test_a_pair_is_a_mask_or_kept_for_a_hash_key_and_the_next_of_either_is_near(number):
    assert (next_mask(number) == number) != (next_hash_key(number) == number)
    assert not is_hash_key(next_mask(number))
    assert is_hash_key(next_hash_key(number))
    assert number <= next_mask(number) <= number + 1
    assert number <= next_hash_key(number) < number + HASH_KEY_EVERY
    assert next_hash_key(number) != 0, "0 is the provisioned one"


@given(standings(), standings(), st.booleans())
def test_both_ends_choose_the_same_and_it_is_trusted_and_never_older(ours, theirs, renewed):
    chosen = agreed_hash_key(ours, theirs, renewed=renewed)

    assert chosen == agreed_hash_key(theirs, ours, renewed=renewed)
    assert chosen >= max(ours.hash_key, theirs.hash_key, ours.least_hash_key, theirs.least_hash_key)
    assert chosen in {0, ours.hash_key, theirs.hash_key} or (is_hash_key(chosen) and chosen >= max(ours.mask_cursor, theirs.mask_cursor))
    if renewed:
        assert chosen > max(ours.hash_key, theirs.hash_key)


@given(standings(), standings(), st.booleans())
def test_an_end_that_was_left_behind_follows_and_both_stay_there(ours, theirs, only_one):
    """One end, or both, take what was chosen; the next greeting chooses the same again."""
    chosen = agreed_hash_key(ours, theirs)
    taken = Stands(max(ours.mask_cursor, chosen + 1 if chosen else 0), chosen, ours.least_hash_key)
    follower = theirs if only_one else Stands(max(theirs.mask_cursor, chosen + 1 if chosen else 0), chosen, theirs.least_hash_key)

    assert agreed_hash_key(taken, follower) == chosen
