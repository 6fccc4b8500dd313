"""Tags: what they cover, and the bound on forging them."""

import math

import numpy as np
import pytest

from common.channel.authentication import ChannelSecrets
from common.channel.codec import Party
from common.channel.transcript import BlockTranscript, SessionTranscript, TranscriptAuthenticator, forgery_bound
from common.errors import AbortReason, AuthenticationError, BlockAborted, KeyNotFoundError, LocalProtocolError
from common.randomness import SeededRandomness
from tests.reference import polynomial_hash as slow

HASH_KEY = bytes(range(32))


def authenticator(hash_key=HASH_KEY, count_masks=2):
    return TranscriptAuthenticator(ChannelSecrets(bytes(32), hash_key, SeededRandomness(1, "masks").draw(32 * count_masks)))


class Talk:
    """Both ends' records of one talk; every word arrives as it was said unless ``say`` is told otherwise."""

    def __init__(self, one=None):
        self.one = one or authenticator()
        self.session = {party: SessionTranscript(self.one) for party in Party}
        self.block = {party: BlockTranscript(self.one) for party in Party}
        self.count = dict.fromkeys(Party, 0)

    def say(self, sender, body, arrives=None):
        self.count[sender] += 1
        self.block[sender].sent(body, self.count[sender])
        if arrives != b"":
            self.block[sender.peer].heard(arrives or body)

    def greet(self, sender, body, arrives=None):
        self.session[sender].sent.append(body)
        self.session[sender.peer].heard.append(arrives or body)

    def tagged(self, sender, mask_index=0, heard=None):
        sealed = self.block[sender].seal(self.session[sender], mask_index, sender)
        self.block[sender.peer].expect_tag(self.session[sender.peer], self.count[sender.peer] if heard is None else heard)
        self.block[sender.peer].check(mask_index, sender, sealed.tag)
        return sealed


def honest():
    talk = Talk()
    talk.greet(Party.ALICE, b"hello")
    talk.greet(Party.BOB, b"welcome")
    talk.say(Party.BOB, b"announcement")
    talk.say(Party.ALICE, b"reply")
    return talk


def test_an_honest_talk_passes_in_both_directions_under_one_mask_pair():
    talk = honest()
    tags = {talk.tagged(party).tag for party in Party}

    assert len(tags) == 2


@pytest.mark.parametrize("sender", Party)
def test_every_word_of_either_direction_is_covered_by_both_tags(sender):
    for teller in Party:
        talk = honest()
        talk.say(teller, b"said", arrives=b"heard")
        with pytest.raises(AuthenticationError):
            talk.tagged(sender)


@pytest.mark.parametrize("sender", Party)
def test_a_lost_word_and_words_run_together_are_noticed(sender):
    talk = honest()
    talk.say(sender, b"lost", arrives=b"")
    with pytest.raises(AuthenticationError):
        talk.tagged(sender)

    talk = Talk()
    talk.block[sender].sent(b"ab", 1)
    talk.block[sender].sent(b"c", 2)
    for word in (b"a", b"bc"):
        talk.block[sender.peer].heard(word)
    with pytest.raises(AuthenticationError):
        talk.tagged(sender)


def test_the_greeting_of_the_tags_sender_is_covered_by_every_tag_of_his():
    talk = honest()
    talk.greet(Party.ALICE, b"said", arrives=b"heard")
    for mask_index in (0, 1):
        with pytest.raises(AuthenticationError):
            talk.tagged(Party.ALICE, mask_index)
    talk.tagged(Party.BOB)


def test_a_tag_may_overtake_our_last_words():
    talk = honest()
    sealed = talk.block[Party.BOB].seal(talk.session[Party.BOB], 0, Party.BOB)
    talk.say(Party.ALICE, b"on its way")
    talk.block[Party.ALICE].expect_tag(talk.session[Party.ALICE], heard_by_peer=1)
    talk.block[Party.ALICE].check(0, Party.BOB, sealed.tag)


def test_another_mask_another_sender_or_another_tag_fails():
    talk = honest()
    sealed = talk.tagged(Party.ALICE)
    for mask_index, sender, tag in ((1, Party.ALICE, sealed.tag), (0, Party.BOB, sealed.tag), (0, Party.ALICE, sealed.tag[:-1] + b"x")):
        with pytest.raises(AuthenticationError):
            talk.block[Party.BOB].check(mask_index, sender, tag)


def test_without_masks_there_is_no_tag_and_before_one_arrives_nothing_to_check():
    talk = honest()
    with pytest.raises(BlockAborted) as aborted:
        talk.tagged(Party.ALICE, mask_index=2)
    assert aborted.value.reason is AbortReason.MASKS_EXHAUSTED
    with pytest.raises(LocalProtocolError):
        BlockTranscript(talk.one).check(0, Party.ALICE, bytes(16))


def square_root(element):
    """The one root in GF(2^128)."""
    for _ in range(127):
        element = slow.multiply(element, element)
    return element


def test_changes_in_two_directions_that_cancel_under_one_hash_key_do_not_under_two():
    """Under one key for transcripts and joint, these changes went unnoticed for every key with x^64 key^2 below 2^64: 2^64 of 2^128."""
    said = {"sent": bytearray(24), "heard": bytearray(24)}  # with their lengths, two coefficients each
    altered = {name: bytearray(data) for name, data in said.items()}
    altered["sent"][8] ^= 0x87  # second coefficient by x^128: the hash by x^128 key^2
    altered["heard"][0] ^= 1  # first coefficient by x^64: the hash by x^64 key^3
    generator = np.random.default_rng(5)
    for _ in range(5):
        key = square_root(slow.multiply(int(generator.integers(1, 2**63)), pow_x(-64))).to_bytes(16, "little")
        assert joint_tag(authenticator(key + key), said) == joint_tag(authenticator(key + key), altered)
        other = generator.bytes(16)
        assert joint_tag(authenticator(key + other), said) != joint_tag(authenticator(key + other), altered)


def pow_x(exponent):
    """x to a power in GF(2^128), by the order of the group."""
    result, base, exponent = 1, 2, exponent % (2**128 - 1)
    while exponent:
        if exponent & 1:
            result = slow.multiply(result, base)
        base = slow.multiply(base, base)
        exponent >>= 1
    return result


def joint_tag(one, body):
    block = BlockTranscript(one)
    block.sent(bytes(body["sent"]), 1)
    block.heard(bytes(body["heard"]))
    return block.seal(SessionTranscript(one), 0, Party.ALICE).tag


def test_the_bound_counts_every_coefficient_of_all_four_hashes():
    talk = honest()
    talk.say(Party.ALICE, bytes(1000))
    count_bytes = talk.tagged(Party.BOB).count_bytes
    said = sum(8 + len(word) for word in (b"announcement", b"reply", bytes(1000), b"welcome"))

    assert count_bytes == said + 3 * (8 + 16)
    lengths = [8 + 12, 8 + 5 + 8 + 1000, 8 + 7, 72]
    assert forgery_bound(count_bytes) >= sum(math.ceil(length / 16) + 1 for length in lengths) * 2.0**-128


def test_a_greeting_is_kept_as_it_is_until_there_is_a_hash_key():
    one, kept, known = authenticator(), SessionTranscript(), SessionTranscript(authenticator())
    for transcript in (kept, known):
        transcript.sent.append(b"hello")
        transcript.heard.append(b"welcome")
        transcript.sent.append(b"")
    with pytest.raises(LocalProtocolError, match="before a hash key"):
        kept.sent.digest()
    assert kept.sent.count_bytes == known.sent.count_bytes
    hashed = kept.hashed(one)

    assert (hashed.sent.digest(), hashed.heard.digest()) == (known.sent.digest(), known.heard.digest())
    assert repr(kept.sent) == "KeptMessages()"
    with pytest.raises(LocalProtocolError, match="hashed before"):
        hashed.hashed(one)


def test_the_hash_key_is_the_one_that_was_agreed_on():
    secrets = ChannelSecrets(bytes(32), HASH_KEY, bytes(64))
    with pytest.raises(KeyNotFoundError, match="hash key 7"):
        TranscriptAuthenticator(secrets, None, 7)

    class Store(ChannelSecrets):
        def hash_key_of(self, number):
            return bytes([number]) * 32

    other = TranscriptAuthenticator(secrets, Store(bytes(32), HASH_KEY, bytes(64)), 7)
    for one, key in ((TranscriptAuthenticator(secrets), HASH_KEY), (other, bytes([7]) * 32)):
        expected = authenticator(key)
        ours, wanted = one.joined(b"x"), expected.joined(b"x")
        assert ours.digest() == wanted.digest()


def test_digests_and_authenticators_do_not_show_themselves():
    one = authenticator()
    assert repr(one.running()) == "RunningHash()"
    assert repr(one) == "TranscriptAuthenticator()"
