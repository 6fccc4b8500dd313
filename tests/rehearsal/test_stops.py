"""The power goes before or after any effect of either end, and comes back: no bit, block number or mask is used twice."""

import os

import pytest

from common.channel.codec import Party
from common.conversation.events import RunComputation, RunOperation, Transmit
from tests.support.adversaries import StopAt, Stopped, stop_one
from tests.support.links import check_invariants, check_recovery, start
from tests.support.scenarios import world

EXHAUSTIVE = os.environ.get("QKD_EXHAUSTIVE") == "1"


@pytest.fixture
def grouped(monkeypatch):
    """A link with five blocks in groups of two, three groups under way."""
    monkeypatch.setattr("common.distillation.sifting.MOST_GROUP_BLOCKS", 2)

    def made(scenario):
        link = world(scenario)
        link.detections.is_ahead = True
        return link

    return made


def grouped_moments(grouped, scenario):
    """Around every operation of a store, and some of all others."""
    counter = StopAt()
    run = grouped(scenario).session(interrupter=counter, most_blocks=5)
    assert sorted({envelope.block for envelope in run.envelopes()}) == [0, 1, 3, 5]
    operations = [index for index, (_, output, _) in enumerate(counter.moments) if isinstance(output, RunOperation)]
    around = {index + shift for index in operations for shift in (-1, 0, 1)}
    return sorted(around | set(range(0, len(counter.moments), 1 if EXHAUSTIVE else 11)) & set(range(len(counter.moments))))


@pytest.mark.parametrize("scenario", ["ldpc", "cascade"])
def test_both_ends_stop_and_resume_with_several_groups_under_way(grouped, scenario):
    for index in grouped_moments(grouped, scenario):
        link = grouped(scenario)
        with pytest.raises(Stopped):
            link.session(interrupter=StopAt(index), most_blocks=5)
        check_invariants(link)
        for store in link.stores.values():
            for group in ({1, 2}, {3, 4}):
                assert set(store.held) & group in (set(), group), "a group is staged whole or not at all"
                assert set(store.committed) & group in (set(), group), "a group is committed whole or not at all"
        check_recovery(link)


@pytest.mark.parametrize("scenario", ["ldpc-reverse", "cascade-reverse"])
def test_one_end_stops_with_several_groups_under_way_and_both_resume(grouped, scenario):
    for index in grouped_moments(grouped, scenario):
        link = grouped(scenario)
        interrupter = StopAt(index)
        run = link.prepare(interrupter=interrupter, most_blocks=5)
        start(run)
        with pytest.raises(Stopped):
            run.rehearsal.run()
        stop_one(run.rehearsal, interrupter.moments[index][0])
        run.rehearsal.run()
        check_invariants(link)
        check_recovery(link)


def moments(scenario):
    """Which moments to stop at: all of them, but of a long run of like rounds only the first and the last ones."""
    counter = StopAt()
    world(scenario).session(interrupter=counter, most_blocks=1)
    count = len(counter.moments)
    dull = [i for i, (_, output, _moment) in enumerate(counter.moments) if isinstance(output, RunComputation | Transmit)]
    skipped = set(dull[60:-40]) if not EXHAUSTIVE else set()
    return [index for index in range(count) if index not in skipped]


@pytest.mark.parametrize("scenario", ["ldpc", "cascade"])
def test_both_ends_stop_and_resume(scenario):
    for index in moments(scenario):
        link = world(scenario)
        with pytest.raises(Stopped):
            link.session(interrupter=StopAt(index), most_blocks=1)
        check_invariants(link)
        check_recovery(link)


@pytest.mark.parametrize("scenario", ["ldpc-reverse", "cascade-reverse"])
def test_one_end_stops_the_other_times_out_and_both_resume(scenario):
    for index in moments(scenario):
        link = world(scenario)
        interrupter = StopAt(index)
        run = link.prepare(interrupter=interrupter, most_blocks=1)
        start(run)
        with pytest.raises(Stopped):
            run.rehearsal.run()
        stop_one(run.rehearsal, interrupter.moments[index][0])
        run.rehearsal.run()
        check_invariants(link)
        check_recovery(link)


@pytest.mark.parametrize("scenario", ["ldpc"])
def test_a_stop_in_the_recovery_itself_is_survived_as_well(scenario):
    """The first session breaks where both have staged; the second, which has to settle it, breaks at every moment."""
    counter = StopAt()
    world(scenario).session(interrupter=counter, most_blocks=1)
    commits = [
        i for i, (party, output, _) in enumerate(counter.moments) if type(getattr(output, "operation", None)).__name__ == "CommitKeys"
    ]
    for index in range(0, len(counter.moments), 1 if EXHAUSTIVE else 3):
        link = world(scenario)
        with pytest.raises(Stopped):
            link.session(interrupter=StopAt(commits[0]), most_blocks=1)
        assert list(link.stores[Party.ALICE].held) == list(link.stores[Party.BOB].held) == [1]
        assert not link.stores[Party.ALICE].committed
        with pytest.raises(Stopped):
            link.session(interrupter=StopAt(index), most_blocks=1)
        check_invariants(link)
        check_recovery(link)
        assert 1 in link.stores[Party.ALICE].committed


def test_a_block_staged_at_one_end_only_is_erased():
    counter = StopAt()
    world("ldpc").session(interrupter=counter, most_blocks=1)
    staged = next(i for i, (_, output, when) in enumerate(counter.moments) if named(output) == "StageKeys" and when == "after")
    link = world("ldpc")
    with pytest.raises(Stopped):
        link.session(interrupter=StopAt(staged), most_blocks=1)

    assert list(link.stores[Party.ALICE].held) == [1]
    assert not link.stores[Party.BOB].held
    check_recovery(link)
    assert list(link.stores[Party.ALICE].held) == [2]


def named(output):
    return type(getattr(output, "operation", None)).__name__
