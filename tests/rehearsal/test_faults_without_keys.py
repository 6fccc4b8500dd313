"""An adversary on the wire who has no keys: whatever is done to bytes is refused before it is decoded, and costs time at most."""

import pytest

from common.channel.authentication import MAC_BYTES
from common.channel.codec import MAXIMUM_MESSAGE_BYTES, Party, decode
from common.conversation.events import Arrived
from common.conversation.session import SessionState
from common.errors import TransportError
from tests.support.adversaries import RANDOM_BITS, Disturbed, bits_to_flip, with_bit_flipped
from tests.support.keystores import ledger_of
from tests.support.links import check_invariants, check_recovery
from tests.support.scenarios import world

BOTH_METHODS = ["ldpc-increments", "cascade"]


@pytest.mark.parametrize("scenario", BOTH_METHODS)
def test_every_altered_bit_is_refused_and_the_message_itself_still_taken(scenario, monkeypatch):
    decoded = []

    def noted(body):
        decoded.append(body)
        return decode(body)

    monkeypatch.setattr("common.conversation.engine.decode", noted)
    count_altered = dict.fromkeys(Party, 0)

    def wire(sender, data):
        for bit in bits_to_flip(len(data), seed=len(data)):
            count_altered[sender.peer] += 1
            yield sender.peer, with_bit_flipped(data, bit)
        yield sender.peer, data

    link = world(scenario)
    run = link.session(wire)

    check_invariants(link)
    assert run.failures == [None, None]
    assert {party: session.count_refused for party, session in run.sessions.items()} == count_altered
    assert len(decoded) == len(run.sent)  # nothing that was refused was ever looked into
    assert sum(count_altered.values()) > 10 * RANDOM_BITS
    assert run.secret_bits == world(scenario).session().secret_bits


def test_shortened_lengthened_and_oversized_messages_are_refused():
    def wire(sender, data):
        for length in (0, 1, MAC_BYTES - 1, MAC_BYTES, len(data) - 1):
            yield sender.peer, data[:length]
        yield sender.peer, data + b"\0"
        yield sender.peer, b"\0" + data
        yield sender.peer, data

    link = world("ldpc")
    run = link.session(wire)
    assert run.failures == [None, None]
    assert sum(session.count_refused for session in run.sessions.values()) == 7 * len(run.sent)

    session = world("ldpc").prepare().sessions[Party.BOB]
    session.start()
    session.handle(Arrived(bytes(MAXIMUM_MESSAGE_BYTES + MAC_BYTES + 1)))
    assert session.count_refused == 1


@pytest.mark.parametrize("deed", ["drop", "duplicate", "swap", "reflect", "divert", "replay"])
@pytest.mark.parametrize("scenario", BOTH_METHODS)
def test_no_order_of_messages_releases_a_key_that_the_other_end_lacks(scenario, deed):
    count = len(world(scenario).session(most_blocks=1).sent)
    for index in chosen(count):
        link = world(scenario)
        run = link.session(Disturbed(deed, index), most_blocks=1)

        check_invariants(link)
        if deed in {"duplicate", "reflect", "replay"}:  # nothing genuine is missing: the link shrugs
            assert run.failures == [None, None]
            assert sum(session.count_refused for session in run.sessions.values()) == (index if deed == "replay" else 1)
        else:
            assert all(isinstance(failure, TransportError) for failure in run.failures if failure)
        check_recovery(link)


def test_a_whole_earlier_session_replayed_before_each_message_changes_nothing():
    link = world("ldpc")
    earlier = link.session(most_blocks=1).sent[3:]
    for index in range(6, 20, 3):
        link.session(Disturbed("replay", index, earlier), most_blocks=1)
        check_invariants(link)
        check_recovery(link)


def test_a_replayed_greeting_opens_a_session_in_which_nothing_can_be_said():
    link = world("ldpc")
    earlier = link.session(most_blocks=1).sent
    late = link.prepare()
    late.rehearsal.add(Party.BOB, late.sessions[Party.BOB].start())
    late.rehearsal.add(Party.BOB, late.sessions[Party.BOB].handle(Arrived(earlier[0][1])))
    for sender, data in earlier:
        late.rehearsal.add(sender.peer, late.sessions[sender.peer].handle(Arrived(data)) if sender is Party.ALICE else [])
    late.rehearsal.run()

    assert late.sessions[Party.BOB].state is SessionState.FAILED  # its deadline passed
    check_invariants(link)
    check_recovery(link)


@pytest.mark.parametrize("has_restarted", [False, True], ids=["running", "restarted"])
def test_replayed_hellos_change_nothing_in_a_store(has_restarted):
    """Not even where they show an old copy, which calls for another hash key: who plays them back could use up all pairs."""
    link = world("ldpc")
    hello = next(data for sender, data in check_recovery(link).sent if sender is Party.ALICE)
    check_recovery(link)
    check_recovery(link)
    store = link.stores[Party.BOB]
    if has_restarted:
        store.close()
    before, met = ledger_of(store), store.levels().met
    assert before.next_block > 2, "the old Hello knows of fewer blocks than Bob holds"

    for _ in range(3):
        run = link.prepare()
        run.rehearsal.add(Party.BOB, run.sessions[Party.BOB].start())
        run.rehearsal.add(Party.BOB, run.sessions[Party.BOB].handle(Arrived(hello)))
        run.rehearsal.run()
        assert isinstance(run.sessions[Party.BOB].failure, TransportError)
        assert (ledger_of(store), store.levels().met) == (before, met)
    check_recovery(link)


@pytest.mark.parametrize("count_greeting", [1, 2])
def test_a_replayed_confirmation_vouches_for_no_replayed_hello(count_greeting):
    link = world("ldpc")
    hello, confirm = [data for sender, data in link.session(most_blocks=1).sent if sender is Party.ALICE][:2]
    before = ledger_of(link.stores[Party.BOB])
    late = link.prepare(wire=lambda sender, _data: [(Party.BOB, confirm)] * count_greeting if sender is Party.BOB else [])
    late.rehearsal.add(Party.BOB, late.sessions[Party.BOB].start())
    late.rehearsal.add(Party.BOB, late.sessions[Party.BOB].handle(Arrived(hello)))
    late.rehearsal.run()

    assert str(late.sessions[Party.BOB].failure) == "the peer confirmed another greeting"
    assert ledger_of(link.stores[Party.BOB]) == before
    check_recovery(link)


def test_a_replayed_welcome_ends_the_session_before_anything_was_done():
    link = world("ldpc")
    earlier = link.session(most_blocks=1).sent

    from_bob = [earlier[1][1]]

    def wire(sender, data):
        return [(Party.ALICE, from_bob.pop())] if sender is Party.BOB and from_bob else [(sender.peer, data)]

    run = link.session(wire)
    assert str(run.failures[0]) == "the peer welcomed another greeting"
    check_invariants(link)
    check_recovery(link)


def chosen(count):
    """Every message, but of many like rounds only the first and last few."""
    return range(count) if count <= 60 else [*range(14), *range(count - 16, count)]
