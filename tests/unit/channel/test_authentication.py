"""Codes of single messages, and secrets that do not show themselves."""

import copy
import pickle

import numpy as np
import pytest

from common.bits import Bits, SecretBits
from common.channel.authentication import HASH_KEY_BYTES, MAC_BYTES, ChannelSecrets, GreetingSeal, SessionSeal
from common.channel.codec import Party
from common.errors import AuthenticationError, ConfigurationError
from common.randomness import SeededRandomness

SECRETS = ChannelSecrets.draw(SeededRandomness(1, "authentication"), 2)
SEALS = {"greeting": GreetingSeal(SECRETS), "session": SessionSeal(SECRETS, bytes(32), bytes(31) + b"\1")}


@pytest.mark.parametrize("seal", SEALS.values(), ids=SEALS)
def test_a_code_is_right_for_its_sender_sequence_and_bytes_only(seal):
    code = seal.code(Party.ALICE, 7, b"words")
    seal.check(Party.ALICE, 7, b"words", code)

    assert len(code) == MAC_BYTES
    for sender, sequence, data in ((Party.BOB, 7, b"words"), (Party.ALICE, 8, b"words"), (Party.ALICE, 7, b"word"), (Party.ALICE, 7, b"")):
        with pytest.raises(AuthenticationError):
            seal.check(sender, sequence, data, code)
    for wrong in (bytes(MAC_BYTES), code[:-1], code + b"\0", b""):
        with pytest.raises(AuthenticationError):
            seal.check(Party.ALICE, 7, b"words", wrong)


def test_sessions_with_other_nonces_or_secrets_share_nothing():
    nonces = (bytes(32), bytes(31) + b"\1")
    session = SessionSeal(SECRETS, *nonces)
    others = [SessionSeal(SECRETS, nonces[1], nonces[0]), SessionSeal(ChannelSecrets.draw(SeededRandomness(2, "x"), 1), *nonces)]

    assert session.session != others[0].session
    for other in others:
        with pytest.raises(AuthenticationError):
            other.check(Party.ALICE, 1, b"words", session.code(Party.ALICE, 1, b"words"))


@pytest.mark.parametrize(
    ("secret", "hash_key", "masks"), [(31, HASH_KEY_BYTES, 32), (32, 16, 32), (32, HASH_KEY_BYTES, 31), (32, HASH_KEY_BYTES, 48)]
)
def test_secrets_of_a_wrong_length_are_refused(secret, hash_key, masks):
    with pytest.raises(ConfigurationError):
        ChannelSecrets(bytes(secret), bytes(hash_key), bytes(masks))


@pytest.mark.parametrize("secret", [SECRETS, SecretBits(Bits.from_flags(np.ones(70, np.uint8)))])
def test_secrets_do_not_show_themselves_and_are_not_copied_out(secret):
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert text.strip("[]") == f"{type(secret).__name__}()"
    for copier in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            copier(secret)
    assert not hasattr(secret, "__dict__")


def test_bits_show_their_number_only():
    assert repr(Bits.from_flags(np.ones(70, np.uint8))) == "Bits(count=70)"
