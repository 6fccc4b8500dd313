"""A monitor out of its certified range: the block is given up at both ends for the same reason, and key comes back with the next one."""

from dataclasses import replace

import pytest

from common.channel.codec import Party
from common.channel.messages import MonitorVerdict
from common.conversation.effects import Receive, Send
from common.distillation.monitoring import exchange_verdicts
from common.distillation.values import ClosedBlock, Discarded, MonitorReading
from common.errors import AbortReason, RemoteProtocolError
from common.security.certified import Estimate
from tests.support.blocks import closed_block
from tests.support.links import World, check_invariants, tiny_recipe

BLINDED = MonitorReading("coincidence", Estimate(0.0, 0.0, 0.1), 0.4, 2.5, AbortReason.DETECTOR_BLINDING)
QUIET = MonitorReading("background", Estimate(1.0, 0.9, 1.1), 0.5, 2.0)
UNEVEN = MonitorReading("efficiency Z to X", Estimate(2.0, 1.9, 2.1), 0.8, 1.25, AbortReason.EFFICIENCY_MISMATCH)


def test_a_block_out_of_range_is_given_up_at_both_ends_and_the_others_make_key():
    world = World.new(tiny_recipe("cascade"))
    world.detections.readings = {1: (QUIET,), 2: (QUIET, UNEVEN, BLINDED), 3: (QUIET,)}

    run = world.session(most_blocks=3)

    check_invariants(world)
    assert run.failures == [None, None]
    for session in run.sessions.values():
        assert [outcome.reason for outcome in session.outcomes] == [None, AbortReason.DETECTOR_BLINDING, None]
        assert [bool(outcome.secret_bits) for outcome in session.outcomes] == [True, False, True]
    seen = run.sessions[Party.BOB].outcomes[1].block
    assert seen is not None
    assert seen.readings == (QUIET, UNEVEN, BLINDED)


def test_without_certified_ranges_nobody_is_asked():
    recipe = tiny_recipe("cascade", "direct", 1500, "name=unwatched")
    world = World.new(replace(recipe, is_monitored=False))
    world.detections.readings = {1: (BLINDED,)}

    run = world.session(most_blocks=1)

    assert not any(isinstance(envelope.message, MonitorVerdict) for envelope in run.envelopes())
    assert all(run.secret_bits.values())


def exchanged(readings, answer: bytes) -> list[ClosedBlock | Discarded]:
    """One end's conversation, the peer's verdicts given."""
    blocks = [closed_block(100, number=number) for number in range(len(readings))]
    conversation = exchange_verdicts(lambda block: readings[block.number], blocks)
    reply = None
    try:
        while True:
            effect = conversation.send(reply)
            if isinstance(effect, Send):
                reply = None
            elif isinstance(effect, Receive):
                reply = MonitorVerdict(answer)
            else:
                reply = effect.function(*effect.arguments)  # type: ignore[union-attr]
    except StopIteration as ended:
        return ended.value


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ((), 0, None),
        ((QUIET,), 0, None),
        ((UNEVEN,), 0, AbortReason.EFFICIENCY_MISMATCH),
        ((), AbortReason.EFFICIENCY_MISMATCH, AbortReason.EFFICIENCY_MISMATCH),
        ((UNEVEN,), AbortReason.DETECTOR_BLINDING, AbortReason.DETECTOR_BLINDING),
        ((BLINDED, UNEVEN), AbortReason.DOUBLE_CLICKS_OUT_OF_RANGE, AbortReason.DETECTOR_BLINDING),
    ],
)
def test_both_ends_give_the_reason_with_the_lower_number(ours, theirs, reason):
    first, second = exchanged([ours, ()], bytes([theirs, 0]))

    assert isinstance(second, ClosedBlock)
    if reason is None:
        assert isinstance(first, ClosedBlock)
        assert first.readings == ours
    else:
        assert isinstance(first, Discarded)
        assert (first.reason, first.block.readings) == (reason, ours)


@pytest.mark.parametrize("answer", [b"", b"\0", b"\0\0\0", b"\0\1", b"\0\xff", bytes([0, AbortReason.AUTHENTICATION_FAILED])])
def test_verdicts_that_are_none_are_refused(answer):
    with pytest.raises(RemoteProtocolError, match="verdict"):
        exchanged([(), ()], answer)
