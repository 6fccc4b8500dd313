"""The expander is pinned: these bytes may never change under its name."""

import hashlib
import hmac

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from common.errors import ConfigurationError
from common.expander import Expander, derive_key, permutation

KEY = bytes(range(32))
PINNED_STREAM = "656407b071ee6db2"
PINNED_PERMUTATION = [7, 5, 0, 3, 1, 4, 6, 2]


def test_the_stream_is_chacha20_under_a_subkey_for_the_purpose():
    subkey = hmac.new(KEY, b"qkdlink chacha20-v1 test", hashlib.sha256).digest()
    stream = Cipher(algorithms.ChaCha20(subkey, bytes(16)), mode=None).encryptor().update(bytes(1000))

    assert derive_key(KEY, "test") == subkey
    assert Expander(KEY, "test").bytes_at(0, 1000) == stream
    assert stream[:8].hex() == PINNED_STREAM


@pytest.mark.parametrize("offset", [0, 1, 63, 64, 65, 500])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 200])
def test_any_stretch_of_the_stream_can_be_read(offset, count):
    expander = Expander(KEY, "test")

    assert expander.bytes_at(offset, count) == expander.bytes_at(0, 1000)[offset : offset + count]


def test_the_stream_goes_on_where_the_low_word_of_the_counter_wraps():
    wrap = 64 << 32
    expander = Expander(KEY, "test")

    across = expander.bytes_at(wrap - 70, 140)

    assert across == expander.bytes_at(wrap - 70, 70) + expander.bytes_at(wrap, 70)
    assert expander.bytes_at(wrap, 64) != expander.bytes_at(0, 64)


def test_labels_separate_streams():
    assert Expander(KEY, "one").bytes_at(0, 32) != Expander(KEY, "two").bytes_at(0, 32)


@pytest.mark.parametrize(("key", "label"), [(bytes(31), "test"), (bytes(33), "test"), (KEY, "")])
def test_a_key_of_the_wrong_length_or_a_use_without_a_name_is_refused(key, label):
    with pytest.raises(ConfigurationError):
        Expander(key, label)


@pytest.mark.parametrize(("offset", "count"), [(-1, 4), (0, -1), (64 << 64, 1)])
def test_a_stretch_outside_the_stream_is_refused(offset, count):
    with pytest.raises(ConfigurationError):
        Expander(KEY, "test").bytes_at(offset, count)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_a_permutation_holds_every_index_once(count):
    order = permutation(KEY, "shuffle", count)

    assert order.dtype == np.uint32
    assert np.array_equal(np.sort(order), np.arange(count))


def test_a_permutation_is_pinned():
    assert permutation(KEY, "shuffle", 8).tolist() == PINNED_PERMUTATION


def test_all_orders_of_four_elements_come_up_alike():
    """Chi-squared with 23 degrees of freedom, 2,400 permutations; false alarm 1e-6 at 71.0."""
    counts: dict[bytes, int] = {}
    for trial in range(2400):
        order = permutation(KEY, f"shuffle {trial}", 4).tobytes()
        counts[order] = counts.get(order, 0) + 1

    assert len(counts) == 24
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 71.0


def test_equal_words_lead_to_a_fresh_draw(monkeypatch):
    draws = [np.array([5, 3, 5], np.uint64), np.array([9, 1, 4], np.uint64)]
    asked = []

    def words_at(_, first_word, count):
        asked.append((first_word, count))
        return draws[len(asked) - 1]

    monkeypatch.setattr(Expander, "words_at", words_at)

    assert permutation(KEY, "shuffle", 3).tolist() == [1, 2, 0]
    assert asked == [(0, 3), (3, 3)]
