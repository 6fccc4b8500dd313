"""Both ends of a tunnel change to the same key, whatever happens to their messages, to their nodes and to themselves."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from common.tunnels.agreement import Ask, Drop, Fetch, Holder, Install, Miss, Order, Orderer
from common.tunnels.messages import Check, Hold, Question, Refused, Reply, State, Use, encoded, question, reply

FATES = st.sampled_from(["goes"] * 12 + ["question lost", "answer lost", "question twice", "old question first", "all old questions first"])
ORDERERS = st.sampled_from(["has key"] * 9 + ["short"])
FETCHES = st.sampled_from(["found"] * 15 + ["later", "never"])
INSTALLS = st.sampled_from(["done"] * 9 + ["fails"])
CRASHES = st.sampled_from([None] * 100 + ["ordering end", "holding end"])


class CrashError(Exception):
    """An end ends, in the middle of whatever it does."""


@dataclass
class World:
    """Two ends, what their tunnels really use, what is still on its way, and the choices of an adversary."""

    choose: Any
    orderer: Orderer = field(default_factory=Orderer)
    holder: Holder = field(default_factory=Holder)
    tunnel: dict = field(default_factory=lambda: {"ordering": None, "holding": None})
    sent: list[Question] = field(default_factory=list)
    keys: int = 0
    ever_used: set[str] = field(default_factory=set)
    held: dict = field(default_factory=lambda: {"ordering": set(), "holding": set()})
    disturbed: bool = True
    faults_of_holding_end: int = 0

    def pick(self, strategy, usual):
        return self.choose(strategy) if self.disturbed else usual

    def may_crash(self, end):
        if self.pick(CRASHES, None) == f"{end} end":
            raise CrashError(end)

    def perform(self, end, effect):
        match effect:
            case Order():
                if self.pick(ORDERERS, "has key") == "short":
                    return None
                self.keys += 1
                key_id = f"00000000-0000-0000-0000-{self.keys:012x}"
                self.held[end].add(key_id)
                return key_id
            case Fetch(key_id):
                found = self.pick(FETCHES, "found")
                if found == "found":
                    self.held[end].add(key_id)
                    return None
                return Miss(found == "never", "as the adversary likes")
            case Install(key_id):
                assert key_id in self.held[end], "a key is put into the tunnel that this end does not hold"
                if self.pick(INSTALLS, "done") == "fails":
                    return False
                assert end == "holding" or key_id in self.ever_used, "the ordering end changes first"
                self.ever_used.add(key_id)
                self.tunnel[end] = key_id
                return True
            case Drop(key_id):
                self.held[end].discard(key_id)
                return None
        raise AssertionError(effect)

    def run(self, end, steps, ask=None):
        done = None
        while True:
            self.may_crash(end)
            try:
                effect = steps.send(done)
            except StopIteration as stop:
                return stop.value
            self.may_crash(end)
            done = ask(effect.question) if isinstance(effect, Ask) else self.perform(end, effect)

    def answered(self, asked: Question) -> Reply | None:
        try:
            return self.run("holding", self.holder.answer(question(encoded(asked)), is_failing=False))
        except CrashError:
            self.holder = Holder()
            self.held["holding"].clear()
            self.sent.clear()  # what was on its way to it ends with its connections
            self.faults_of_holding_end += 1
            return None

    def carry(self, asked: Question) -> Reply | None:
        fate = self.pick(FATES, "goes")
        self.sent.append(asked)
        if fate == "question lost":
            return None
        if fate == "old question first":
            self.answered(self.choose(st.sampled_from(self.sent)))
        if fate == "all old questions first":
            for old in tuple(self.sent):
                self.answered(old)
        if fate == "question twice":
            self.answered(asked)
        answer = self.answered(asked)
        return None if fate == "answer lost" or answer is None else reply(encoded(answer))

    def advance(self, *, is_due):
        try:
            return self.run("ordering", self.orderer.advance(is_due=is_due, is_failing=False), self.carry)
        except CrashError:
            self.orderer = Orderer()
            self.held["ordering"].clear()
            return False

    def late(self):
        """Questions of before arrive once more: some of them, or the first ones in their order."""
        if self.sent:
            some = st.lists(st.sampled_from(self.sent), max_size=6)
            first = st.integers(0, len(self.sent)).map(lambda count: self.sent[:count])
            for old in tuple(self.choose(some | first)):
                self.answered(old)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), steps=st.integers(1, 12))
def test_no_end_believes_in_a_key_that_the_other_does_not_use(data, steps):
    world = World(data.draw)
    faults = -1
    for _ in range(steps):
        if world.advance(is_due=data.draw(st.booleans())):
            faults = world.faults_of_holding_end
        for _ in range(2):
            # What a holding end that was started anew does shows in the next check.
            if world.orderer.is_settled and world.faults_of_holding_end == faults:
                assert world.tunnel["ordering"] == world.tunnel["holding"] == world.orderer.used
            world.late()


@settings(max_examples=150, deadline=None)
@given(data=st.data(), steps=st.integers(1, 12))
def test_a_difference_is_seen_by_the_next_check(data, steps):
    world = World(data.draw)
    for _ in range(steps):
        world.advance(is_due=data.draw(st.booleans()))
        world.late()
    world.disturbed = False
    differs = world.tunnel["ordering"] != world.tunnel["holding"]
    answer = world.answered(Check())

    if differs:
        assert isinstance(answer, State)
        assert not world.orderer.is_settled or answer.used != world.orderer.used


@settings(max_examples=150, deadline=None)
@given(data=st.data(), steps=st.integers(0, 12))
def test_once_nothing_is_disturbed_both_ends_soon_have_the_same_key_and_keep_nothing_else(data, steps):
    world = World(data.draw)
    for _ in range(steps):
        world.advance(is_due=data.draw(st.booleans()))
        world.late()
    world.disturbed = False
    advances = 0
    while not world.advance(is_due=False):
        advances += 1
        assert advances <= 3
    used = world.tunnel["ordering"]

    assert used == world.tunnel["holding"] == world.orderer.used == world.holder.used
    assert world.orderer.is_settled
    assert world.held["ordering"] == set()
    assert world.advance(is_due=True)
    assert world.tunnel["ordering"] == world.tunnel["holding"] != used
    assert world.held == {"ordering": set(), "holding": set()}


def test_without_disturbance_a_change_is_three_questions_and_one_key():
    world = World(None, disturbed=False)

    assert world.advance(is_due=True)
    assert [asked.kind for asked in world.sent] == ["check", "hold", "use"]
    assert world.advance(is_due=False)
    assert world.keys == 1


class Losing(World):
    """A world that loses the answers to one kind of question."""

    lost: type = Use

    def carry(self, asked):
        answer = super().carry(asked)
        return None if isinstance(asked, self.lost) else answer


def test_who_hears_nothing_of_a_change_is_in_doubt_until_it_knows():
    world = Losing(None, disturbed=False)
    world.lost = type(None)
    assert world.advance(is_due=True)
    world.lost = Use
    assert not world.advance(is_due=True)

    assert world.tunnel["ordering"] != world.tunnel["holding"]
    assert world.orderer.in_doubt
    assert not world.orderer.is_settled
    world.lost = type(None)
    assert world.advance(is_due=False)
    assert world.orderer.is_settled
    assert world.tunnel["ordering"] == world.tunnel["holding"]


def test_what_comes_late_of_an_earlier_round_is_refused_and_takes_no_key_back():
    world = World(None, disturbed=False)
    assert world.advance(is_due=True)
    late = [asked for asked in world.sent if isinstance(asked, Hold | Use)]
    steps: Any = world.orderer.advance(is_due=True, is_failing=False)
    ask = next(steps)
    ask = steps.send(world.answered(ask.question))
    ask = steps.send(world.perform("ordering", ask))
    assert isinstance(ask.question, Hold)
    held = world.answered(ask.question)

    for old in late:
        answer = world.answered(old)
        assert isinstance(answer, Refused)
        assert answer.is_final
    assert world.answered(ask.question) == held, "what is held for the round under way is held still"
    assert world.held["holding"] == {ask.question.key_id}
