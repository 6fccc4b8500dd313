"""An adversary who holds all message keys holds light back and asks for the answer before it is measured: the fresh bytes stop him."""

import dataclasses

import pytest

from common.channel.codec import Party
from common.channel.messages import DetectionAnnouncement, FrameRange, SiftingReply
from common.errors import AuthenticationError
from tests.support.adversaries import MacHolder, with_bit_flipped
from tests.support.links import check_invariants, check_recovery
from tests.support.scenarios import world


def asking_early(announcement):
    """Say ``announcement`` to the sender of the light before the receiver has measured anything, and keep the answer until he has."""
    kept, stage = [], iter(["asked", "answered", "measured"])

    def script(sender, envelope):
        match envelope.message:
            case FrameRange(found=True):
                assert next(stage) == "asked"
                kept.append(envelope)
                yield Party.ALICE, announcement
            case SiftingReply() if len(kept) == 1:
                assert next(stage) == "answered"
                kept.append(envelope)
                yield Party.BOB, kept[0]  # only now can he begin
            case DetectionAnnouncement() if len(kept) == 2:
                assert next(stage) == "measured"
                yield Party.BOB, kept[1]
                kept.append(envelope)
            case _:
                yield sender.peer, envelope

    return script


def foretold():
    """What will be announced, to the last bit: nobody could know so much."""
    envelopes = world("ldpc").session(most_blocks=1).envelopes()
    return next(envelope for envelope in envelopes if isinstance(envelope.message, DetectionAnnouncement))


@pytest.mark.parametrize("bit", [0, 77, 127])
def test_whoever_foretells_everything_but_the_fresh_bytes_gets_no_key(bit):
    true = foretold()
    guessed = dataclasses.replace(true, message=dataclasses.replace(true.message, fresh=with_bit_flipped(true.message.fresh, bit)))
    link = world("ldpc")
    run = link.session(MacHolder(link.secrets, asking_early(guessed)), most_blocks=1)

    check_invariants(link)
    assert [type(failure) for failure in run.failures] == [AuthenticationError] * 2
    assert not any(run.secret_bits.values())
    check_recovery(link)


def test_the_fresh_bytes_alone_stop_him():
    """With those guessed as well everything passes: nothing else in the protocol would have noticed."""
    link = world("ldpc")
    run = link.session(MacHolder(link.secrets, asking_early(foretold())), most_blocks=1)

    assert run.failures == [None, None]
    assert all(run.secret_bits.values())
