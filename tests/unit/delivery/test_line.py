"""The line between the two ends: opened by both, forged by nobody, repeated by nobody."""

import itertools
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.channel.authentication import ChannelSecrets
from common.channel.codec import Party
from common.channel.delivery_messages import KeyReserved, KeySettled
from common.delivery.line import Line
from common.errors import TransportError

SECRETS = ChannelSecrets(bytes(range(32)), bytes(32), bytes(32))
OTHER_SECRETS = ChannelSecrets(bytes(range(1, 33)), bytes(32), bytes(32))


class Ends:
    """Both ends and what is under way between them."""

    def __init__(self, secrets=(SECRETS, SECRETS)):
        self.lines = {party: Line(own, party) for party, own in zip(Party, secrets, strict=True)}
        self.under_way: deque = deque()
        self.overheard = []
        self.heard: dict[Party, list] = {party: [] for party in Party}
        self.openings = dict.fromkeys(Party, 0)

    def send(self, sender, data):
        self.overheard.append((sender, data))
        self.under_way.append((sender, data))

    def deliver(self):
        for _ in range(50):
            if not self.under_way:
                return
            sender, data = self.under_way.popleft()
            self.take(sender.peer, data)
        raise AssertionError("the greeting never ends")

    def take(self, receiver, data):
        heard = self.lines[receiver].receive(data)
        self.openings[receiver] += heard.is_opened
        if heard.message is not None:
            self.heard[receiver].append(heard.message)
        for reply in heard.replies:
            self.send(receiver, reply)

    def open(self, *greeters):
        for party in greeters:
            self.send(party, self.lines[party].greet())
        self.deliver()
        return self


def both_open(ends):
    return all(line.is_open for line in ends.lines.values())


@pytest.mark.parametrize("greeters", [(Party.ALICE,), (Party.BOB,), (Party.ALICE, Party.BOB), (Party.ALICE, Party.ALICE, Party.BOB)])
def test_the_line_opens_whoever_greets_and_carries_messages_both_ways(greeters):
    ends = Ends().open(*greeters)

    assert both_open(ends)
    for party in Party:
        for number in range(3):
            ends.send(party, ends.lines[party].seal(KeySettled(number)))
    ends.deliver()
    assert ends.heard == {party: [KeySettled(0), KeySettled(1), KeySettled(2)] for party in Party}


def test_greetings_that_cross_open_one_line():
    ends = Ends().open(*[Party.ALICE] * 3, *[Party.BOB] * 3)

    assert both_open(ends)
    assert ends.openings == {Party.ALICE: 1, Party.BOB: 1}


def test_an_end_whose_last_answer_was_lost_gives_it_again():
    ends = Ends()
    ends.send(Party.ALICE, ends.lines[Party.ALICE].greet())
    for _ in range(2):
        sender, data = ends.under_way.popleft()
        ends.take(sender.peer, data)
    ends.under_way.clear()
    assert ends.openings == {Party.ALICE: 1, Party.BOB: 0}
    ends.open(Party.BOB)

    assert both_open(ends)
    assert ends.openings == {Party.ALICE: 1, Party.BOB: 1}


def test_nothing_is_sealed_before_the_line_is_open():
    with pytest.raises(TransportError):
        Line(SECRETS, Party.ALICE).seal(KeySettled(1))


def test_other_secrets_open_no_line():
    ends = Ends((SECRETS, OTHER_SECRETS)).open(Party.ALICE, Party.BOB)

    assert not any(line.is_open for line in ends.lines.values())
    assert all(line.count_refused == 1 for line in ends.lines.values())


def test_an_end_that_was_started_anew_opens_the_line_again():
    ends = Ends().open(Party.ALICE)
    before = ends.lines[Party.ALICE].seal(KeyReserved(1, 0))
    ends.lines[Party.BOB] = Line(SECRETS, Party.BOB)
    ends.open(Party.BOB)

    assert both_open(ends)
    assert ends.openings == {Party.ALICE: 2, Party.BOB: 2}
    ends.take(Party.BOB, before)
    assert ends.heard[Party.BOB] == []


def test_a_message_is_taken_once_and_none_that_is_older():
    ends = Ends().open(Party.ALICE)
    first, second = (ends.lines[Party.ALICE].seal(KeySettled(number)) for number in (1, 2))

    for data in (second, first, second):
        ends.take(Party.BOB, data)

    assert ends.heard[Party.BOB] == [KeySettled(2)]
    assert ends.lines[Party.BOB].count_refused == 2


def test_a_message_thrown_back_is_refused():
    ends = Ends().open(Party.ALICE)
    ends.take(Party.ALICE, ends.lines[Party.ALICE].seal(KeySettled(1)))

    assert ends.heard[Party.ALICE] == []


def test_whatever_was_overheard_opens_no_line_whose_messages_could_be_repeated():
    ends = Ends().open(Party.ALICE)
    ends.send(Party.ALICE, ends.lines[Party.ALICE].seal(KeySettled(7)))
    ends.deliver()
    overheard = list(ends.overheard)
    for sender, data in itertools.chain(overheard, reversed(overheard)):
        ends.take(sender.peer, data)
        ends.under_way.clear()  # whoever plays back cannot answer what comes

    assert ends.heard[Party.BOB] == [KeySettled(7)]
    assert ends.openings == {Party.ALICE: 1, Party.BOB: 1}


@given(st.data())
def test_an_altered_message_is_refused(data):
    ends = Ends().open(Party.ALICE)
    sealed = bytearray(ends.lines[Party.ALICE].seal(KeyReserved(5, 3)))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    ends.take(Party.BOB, bytes(sealed))

    assert ends.heard[Party.BOB] == []


@given(st.binary(max_size=100))
def test_random_bytes_are_refused(noise):
    line = Ends().open(Party.ALICE).lines[Party.BOB]
    heard = line.receive(noise)

    assert heard.message is None
    assert not heard.replies
    assert line.count_refused == 1
