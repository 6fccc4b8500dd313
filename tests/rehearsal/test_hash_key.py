"""The hash key is replaced after a tag that was wrong, and the old one never used again, wherever the power goes and whatever is forged."""

import contextlib
import dataclasses
import os

import numpy as np
import pytest

from common.channel.codec import Party
from common.channel.messages import Abort, Hello, TranscriptTag, Welcome
from common.errors import AuthenticationError, KeyExhaustedError, QkdError
from common.keystore.masks import ProvisionedMasks
from tests.support.adversaries import MacHolder, StopAt, Stopped, passed_on, stop_one, with_bit_flipped
from tests.support.keystores import ledger_of
from tests.support.links import RecordingStore, check_invariants, check_recovery, start
from tests.support.scenarios import world

EXHAUSTIVE = os.environ.get("QKD_EXHAUSTIVE") == "1"


def breaking(whose: Party, *, silenced=False, forge=None):
    """Alter a tag of ``whose``; ``silenced``: nobody hears that it was noticed; ``forge``: change greetings."""

    def script(sender, envelope):
        message = envelope.message
        if isinstance(message, TranscriptTag) and sender is whose:
            envelope = dataclasses.replace(envelope, message=dataclasses.replace(message, tag=with_bit_flipped(message.tag, 77)))
        if isinstance(message, Hello | Welcome) and forge:
            envelope = dataclasses.replace(envelope, message=dataclasses.replace(message, **forge))
        if not (silenced and isinstance(message, Abort)):
            yield sender.peer, envelope

    return script


def forging(towards=tuple(Party), altered=None, **changes):
    """Change greetings that go to some ends, with right codes; note in ``altered`` which were not like this before."""

    def script(sender, envelope):
        if isinstance(envelope.message, Hello | Welcome) and sender.peer in towards:
            forged = dataclasses.replace(envelope, message=dataclasses.replace(envelope.message, **changes))
            if altered is not None and forged != envelope:
                altered.append(sender)
            envelope = forged
        yield sender.peer, envelope

    return script


def attack(link, script, most_blocks=1):
    run = link.session(MacHolder(link.secrets, script), most_blocks=most_blocks)
    check_invariants(link)
    assert all(failure is None or isinstance(failure, QkdError) for failure in run.failures)
    return run


def hash_keys(link):
    return [ledger_of(link.stores[party]).hash_key for party in Party]


def least(link):
    return [ledger_of(link.stores[party]).least_hash_key for party in Party]


def used_in(run):
    return [session.hash_key for session in run.sessions.values()]


def test_the_hash_key_stays_as_long_as_tags_are_right():
    link = world("cascade")
    for _ in range(3):
        assert used_in(check_recovery(link)) == [0, 0]
    assert least(link) == [0, 0]


@pytest.mark.parametrize("scenario", ["ldpc", "cascade"])
@pytest.mark.parametrize("whose", Party)
def test_a_wrong_tag_ends_the_session_at_both_ends_and_the_next_one_has_another_hash_key(scenario, whose):
    link = world(scenario)
    run = attack(link, breaking(whose), most_blocks=3)

    assert [type(failure) for failure in run.failures] == [AuthenticationError] * 2
    assert not any(run.secret_bits.values())
    assert not link.stores[Party.ALICE].committed
    assert not link.stores[Party.BOB].committed
    assert least(link) == [1, 1], "both ends have given the hash key up"
    assert used_in(check_recovery(link)) == [7, 7]
    assert used_in(check_recovery(link)) == [7, 7]
    keys = {store.hash_key_of(7) for store in link.stores.values()}
    assert keys == {link.secrets.masks[7 * 32 : 8 * 32]}


@pytest.mark.parametrize("whose", Party)
def test_an_end_that_never_hears_of_it_learns_it_from_the_next_greeting(whose):
    link = world("ldpc")
    run = attack(link, breaking(whose, silenced=True))

    assert isinstance(run.sessions[whose.peer].failure, AuthenticationError)
    assert sorted(least(link)) == [0, 1]
    assert used_in(check_recovery(link)) == [7, 7]


def test_it_is_replaced_as_often_as_a_tag_is_wrong():
    link = world("ldpc")
    for count in range(1, 5):
        attack(link, breaking(Party.ALICE if count % 2 else Party.BOB))
        assert used_in(check_recovery(link)) == [8 * count - 1] * 2
    masks = link.stores[Party.ALICE].masks
    assert len(masks) >= 8
    assert all(mask % 8 != 7 for mask in masks)


@pytest.mark.parametrize("towards", [(Party.ALICE,), (Party.BOB,), tuple(Party)])
def test_a_forged_greeting_that_hides_it_brings_no_key_and_no_end_goes_back(towards):
    link = world("ldpc")
    attack(link, breaking(Party.ALICE, silenced=True))  # Bob has noticed, Alice has not
    for _ in range(3):
        altered: list[Party] = []
        run = attack(link, forging(towards, altered, least_hash_key=0, hash_key=0))
        assert not (altered and all(run.secret_bits.values()))
    check_recovery(link)
    assert hash_keys(link)[0] == hash_keys(link)[1] >= 7


def test_a_forged_greeting_that_asks_for_another_costs_pairs_and_nothing_else():
    link = world("ldpc")
    for count in range(1, 4):
        attack(link, forging(least_hash_key=hash_keys(link)[0] + 1))  # the same for both: they take the same one, and the tag is wrong
        assert hash_keys(link)[0] == hash_keys(link)[1]
        assert hash_keys(link)[0] <= 16 * count
    check_recovery(link)


@pytest.mark.parametrize(
    "changes",
    [
        {"hash_key": 15, "mask_cursor": 40},
        {"hash_key": 7, "mask_cursor": 8},
        {"hash_key": 5},
        {"hash_key": 7, "mask_cursor": 0},
        {"hash_key": 2**40 - 1, "mask_cursor": 2**40},
        {"hash_key": 2**31 - 1, "mask_cursor": 2**31},
        {"least_hash_key": 2**31, "mask_cursor": 2**31},
        {"least_hash_key": 2**50},
        {"least_hash_key": 30, "mask_cursor": 29},
    ],
    ids=str,
)
@pytest.mark.parametrize("towards", [(Party.ALICE,), (Party.BOB,), tuple(Party)])
def test_a_forged_number_of_a_hash_key_releases_nothing_and_does_not_break_the_link(changes, towards):
    link = world("ldpc")
    check_recovery(link)
    for _ in range(2):
        run = attack(link, forging(towards, **changes))
        assert not all(run.secret_bits.values())
    check_recovery(link)


def test_a_reserve_without_a_pair_for_it_refuses_until_it_is_renewed():
    link = world("ldpc")
    for store in link.stores.values():
        store.keep_masks(7)
    attack(link, breaking(Party.ALICE))
    for _ in range(2):
        run = link.session(most_blocks=1)
        check_invariants(link)
        assert [type(failure) for failure in run.failures] == [KeyExhaustedError] * 2
        assert "provision --renew" in str(run.failures[0])
        assert hash_keys(link) == [0, 0]
        assert not any(run.secret_bits.values())

    renewed = ProvisionedMasks(bytes(range(256)) * 4, generation=1)
    for store in link.stores.values():
        store.renew(renewed)
    assert used_in(check_recovery(link)) == [renewed.first + 7] * 2


def test_one_end_that_was_renewed_alone_waits_for_the_other():
    link = world("ldpc")
    for store in link.stores.values():
        store.keep_masks(7)
    attack(link, breaking(Party.ALICE))
    renewed = ProvisionedMasks(bytes(range(256)) * 4, generation=1)
    link.stores[Party.ALICE].renew(renewed)
    for _ in range(3):
        assert not any(link.session(most_blocks=1).secret_bits.values())
        check_invariants(link)
    assert hash_keys(link)[0] == renewed.first + 7, "taken once, and kept for the day when the other end has it too"
    link.stores[Party.BOB].renew(renewed)
    assert used_in(check_recovery(link)) == [renewed.first + 7] * 2


@pytest.mark.parametrize("whose", Party)
def test_an_old_copy_does_not_bring_an_old_hash_key_back(whose):
    """The copy is from the very beginning: it knows neither which hash key is not trusted nor which came after it."""
    link = world("ldpc")
    check_recovery(link)
    attack(link, breaking(Party.ALICE))
    assert used_in(check_recovery(link)) == [7, 7]
    link.stores[whose] = RecordingStore(whose, link.secrets.masks)

    assert used_in(check_recovery(link)) == [15, 15], "the copy may have forgotten that it does not trust the last one either"
    for _ in range(2):
        check_recovery(link)


def replacing_session():
    """A link whose next session takes a new hash key, and both ends settle what the last one left."""
    link = world("ldpc")
    attack(link, breaking(Party.BOB))
    return link


def moments():
    counter = StopAt()
    replacing_session().session(interrupter=counter, most_blocks=1)
    greeting = next(i for i, (_, output, _) in enumerate(counter.moments) if type(output).__name__ == "RunComputation")
    last = len(counter.moments)
    return range(last) if EXHAUSTIVE else [*range(greeting + 6), *range(greeting + 6, last, 5)]


def test_both_ends_stop_while_they_take_a_new_hash_key_and_resume():
    for index in moments():
        link = replacing_session()
        with pytest.raises(Stopped):
            link.session(interrupter=StopAt(index), most_blocks=1)
        check_invariants(link)
        run = check_recovery(link)
        assert used_in(run) == [7, 7], "an end that was stopped follows the other: no second pair is spent"


def test_one_end_stops_while_they_take_a_new_hash_key_and_both_resume():
    for index in moments():
        link = replacing_session()
        interrupter = StopAt(index)
        run = link.prepare(interrupter=interrupter, most_blocks=1)
        start(run)
        with pytest.raises(Stopped):
            run.rehearsal.run()
        stop_one(run.rehearsal, interrupter.moments[index][0])
        run.rehearsal.run()
        check_invariants(link)
        assert used_in(check_recovery(link)) == [7, 7]


def test_a_stop_between_the_wrong_tag_and_its_entry_in_the_store_tells_nobody():
    """The hash key is given up before anything is said: whoever listens can know of the wrong tag only when it is."""
    interrupter = StopAt()
    link = world("ldpc")
    run = link.session(MacHolder(link.secrets, breaking(Party.ALICE)), interrupter, most_blocks=1)
    assert any(run.failures)
    kinds = [
        type(getattr(output, "operation", None)).__name__
        for party, output, when in interrupter.moments
        if party is Party.BOB and when == "before"
    ]
    entered = kinds.index("DistrustHashKey")
    outputs = [output for party, output, when in interrupter.moments if party is Party.BOB and when == "before"]
    assert type(outputs[entered + 1]).__name__ == "Transmit"
    assert "Transmit" not in [type(output).__name__ for output in outputs[kinds.index("TakeMask") : entered]]


@pytest.mark.parametrize("seed", range(100 if EXHAUSTIVE else 15))
def test_any_mixture_of_wrong_tags_stops_and_forged_greetings_is_survived(seed):
    dice = np.random.default_rng(seed)
    link = world("ldpc")
    for _ in range(6):
        deed = dice.integers(5)
        whose = Party(int(dice.integers(1, 3)))
        numbers = {"hash_key": int(dice.integers(0, 5)) * 8 + 7, "least_hash_key": int(dice.integers(0, 30))}
        numbers = {name: value for name, value in numbers.items() if dice.integers(2)}
        script = [
            passed_on,
            breaking(whose),
            breaking(whose, silenced=True),
            breaking(whose, silenced=True, forge={"least_hash_key": 0}),
            forging((whose,), **numbers),
        ][deed]
        stop = StopAt(int(dice.integers(0, 200))) if dice.integers(2) else StopAt()
        with contextlib.suppress(Stopped):
            link.session(MacHolder(link.secrets, script), stop, most_blocks=2)
        check_invariants(link)
    if ledger_of(link.stores[Party.ALICE]).mask_cursor > 50:
        pytest.skip("the adversary has used up all masks, as he may")
    check_recovery(link)
