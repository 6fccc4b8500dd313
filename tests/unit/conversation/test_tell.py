"""What conversations tell whoever watches changes nothing."""

from common.channel.authentication import ChannelSecrets, SessionSeal
from common.channel.codec import Party
from common.channel.transcript import TranscriptAuthenticator
from common.conversation.effects import tell
from common.conversation.engine import Engine
from common.conversation.events import Ended, TaskKey, Told
from common.conversation.rehearsal import rehearse
from common.randomness import SystemRandomness


def talkative(values):
    for value in values:
        yield from tell(value)
    return len(values)


def test_what_is_told_comes_out_in_order_and_nobody_answers():
    secrets = ChannelSecrets.draw(SystemRandomness(), 1)
    engine = Engine(Party.ALICE, SessionSeal(secrets, bytes(32), bytes(32)), TranscriptAuthenticator(secrets))

    outputs = engine.start(talkative(["one", "two"]), 1, 1)

    here = TaskKey(1, 1)
    assert outputs == [Told(here, "one"), Told(here, "two"), Ended(here, 2, None)]


def test_a_rehearsal_does_not_listen():
    assert rehearse(talkative(["one"]), talkative([])) == (1, 0, [])
