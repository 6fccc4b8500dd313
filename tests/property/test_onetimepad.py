"""Whatever the message: it arrives unchanged once, and nothing else does."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from common.channel.codec import Party
from common.errors import KeyAlreadyTakenError, QkdError
from common.onetimepad.cipher import Decryption, combine, encrypt
from common.onetimepad.envelope import MASK_BYTES, PAD_ID_BYTES, TAG_BYTES, TAG_KEY_BYTES, Contents, FileHeader, PadName
from tests.reference.polynomial_hash import bits_of, hash_of
from tests.unit.onetimepad.ends import Ends

KEY_BYTES = 2000
MESSAGES = st.binary(max_size=700)
FEW = settings(max_examples=25)


@contextmanager
def two_ends(count_bytes=KEY_BYTES):
    with tempfile.TemporaryDirectory() as folder:
        yield Ends.with_key(Path(folder), count_bytes)


class Key:
    """A key in memory."""

    def __init__(self, tag_key, data):
        self.tag_key = tag_key
        self.data = data
        self.reached = 0

    def read(self, count_bytes):
        self.reached += count_bytes
        return self.data[self.reached - count_bytes : self.reached]


@st.composite
def sealed(draw):
    """A key, a header and the chunks of a message."""
    chunks = draw(st.lists(st.binary(max_size=60), max_size=6))
    length = sum(map(len, chunks))
    tag_key = draw(st.binary(min_size=TAG_KEY_BYTES, max_size=TAG_KEY_BYTES))
    key = draw(st.binary(min_size=MASK_BYTES + length, max_size=MASK_BYTES + length))
    pad = PadName(bytes(PAD_ID_BYTES), 10_000, 10_000)
    return tag_key, key, FileHeader(pad, Party.ALICE, PAD_ID_BYTES + TAG_KEY_BYTES, Contents(length)), chunks


@given(sealed())
def test_cipher_and_tag_agree_with_their_definition(given_message):
    tag_key, key, header, chunks = given_message
    *ciphertext, tag = encrypt(Key(tag_key, key), header, chunks)
    mask, pad = key[:16], key[16:]
    message = b"".join(chunks)

    assert b"".join(ciphertext) == bytes(a ^ b for a, b in zip(message, pad, strict=True))
    hashed = hash_of(bits_of(header.encoded() + b"".join(ciphertext)), int.from_bytes(tag_key, "little"))
    assert int.from_bytes(tag, "little") == hashed ^ int.from_bytes(mask, "little")
    decryption = Decryption(Key(tag_key, key), header, tag)
    decryption.check(ciphertext)
    assert b"".join(decryption.release(ciphertext)) == message


@given(st.binary(max_size=300), st.data())
def test_combining_twice_gives_back_what_there_was(data, draw):
    pad = draw.draw(st.binary(min_size=len(data), max_size=len(data)))

    assert combine(combine(data, pad), pad) == data


@FEW
@given(MESSAGES, st.sampled_from(Party))
def test_a_message_arrives_unchanged_and_once(message, sender):
    with two_ends() as ends:
        encrypted = ends.send(message, sender=sender)

        assert len(encrypted.read_bytes()) == 64 + len(message) + TAG_BYTES
        assert ends.receive(encrypted, sender.peer) == message
        with pytest.raises(KeyAlreadyTakenError):
            ends.receive(encrypted, sender.peer)


@FEW
@given(MESSAGES, st.data())
def test_any_flipped_bit_is_refused_and_the_true_message_still_decrypts(message, data):
    with two_ends() as ends:
        encrypted = ends.send(message)
        true = encrypted.read_bytes()
        for _ in range(8):
            bit = data.draw(st.integers(0, 8 * len(true) - 1))
            forged = bytearray(true)
            forged[bit // 8] ^= 1 << bit % 8
            encrypted.write_bytes(forged)
            with pytest.raises(QkdError):
                ends.receive(encrypted)
            assert not encrypted.with_suffix(".bob").exists()
        encrypted.write_bytes(true)

        assert ends.receive(encrypted) == message


@FEW
@given(st.lists(st.tuples(st.sampled_from(Party), st.integers(0, 120)), max_size=8), st.floats(0.2, 0.8))
def test_no_two_messages_share_a_byte_of_key(messages, alice_share):
    with two_ends() as ends:
        for party in Party:
            ends.pad(party, alice_share)
        stretches = []
        for number, (sender, length) in enumerate(messages):
            try:
                encrypted = ends.send(bytes(length), f"m{number}", sender)
            except QkdError:
                assume(False)
            stretches.append(FileHeader.decoded(encrypted.read_bytes(), what="it").stretch)

        assert not any(a.overlaps(b) for i, a in enumerate(stretches) for b in stretches[:i])
        assert all(stretch.offset >= PAD_ID_BYTES + TAG_KEY_BYTES and stretch.end <= KEY_BYTES for stretch in stretches)


@given(st.integers(PAD_ID_BYTES, 10_000), st.floats(0, 1))
def test_the_two_directions_share_the_key_without_overlap(count_bytes, alice_share):
    name = PadName(bytes(8), count_bytes, PAD_ID_BYTES + int((count_bytes - PAD_ID_BYTES) * alice_share))
    there, back = name.part_of(Party.ALICE), name.part_of(Party.BOB)

    assert not there.overlaps(back)
    assert PAD_ID_BYTES + there.count_bytes + back.count_bytes == count_bytes
