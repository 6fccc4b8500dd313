"""Messages with key from running nodes: all of it or nothing, checked before a byte is shown, and never the same key twice."""

import io
import sys
import time
from types import SimpleNamespace

import pytest

from common.channel.codec import Party
from common.errors import (
    AuthenticationError,
    ConfigurationError,
    KeyAlreadyTakenError,
    KeyExhaustedError,
    KeyNotFoundError,
    KeyStoreError,
    PeerNotMetError,
    TransportError,
)
from common.keystore.interface import Piece, UseKind
from common.keystore.ownership import Pool
from common.onetimepad.cipher import Decryption, combine, encrypt
from common.onetimepad.envelope import Contents
from common.onetimepad.files import PIPE, encrypt_file
from common.onetimepad.store_envelope import StoreHeader, read_header
from common.service.admin_client import AdminClient
from tests.support.pads import PAD_ID, ServedEnds
from tests.unit.onetimepad.ends import Ends

MESSAGE = b"the quick brown fox jumps over the lazy dog"
BLOCK_BITS = 8 * (2 * 1000 + 32)
"""A thousand bytes of pad for each direction."""


@pytest.fixture
def ends(tmp_path):
    both = ServedEnds(tmp_path, BLOCK_BITS, BLOCK_BITS)
    yield both
    both.close()
    assert both.faults() == []


def header_of(path):
    with path.open("rb") as file:
        return read_header(file.read, what=str(path))


def kinds(ends, party):
    return [entry.kind for entry in ends.stores[party].audit()]


def settled(condition):
    """Wait until a node has noticed that a connection has ended."""
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


def test_both_directions_work_side_by_side_and_in_any_order(ends):
    there = [ends.send(bytes([i]) * 50, f"m{i}") for i in range(3)]
    back = ends.send(b"and back", "back", Party.BOB)

    assert ends.receive(back, Party.ALICE) == b"and back"
    for i in (2, 0, 1):
        assert ends.receive(there[i]) == bytes([i]) * 50


def test_a_message_may_lie_in_two_blocks_and_may_be_empty(ends):
    across = ends.send(bytes(range(256)) * 5, "across")

    assert header_of(across).pieces == (Piece(1, 0, 1000), Piece(2, 0, 296))
    assert ends.receive(across) == bytes(range(256)) * 5
    assert ends.receive(ends.send(b"", "empty")) == b""


def test_a_message_spends_its_length_and_a_mask(ends):
    before = ends.levels(Party.ALICE)
    ends.receive(ends.send(MESSAGE))

    assert before - ends.levels(Party.ALICE) == before - ends.levels(Party.BOB) == 8 * (len(MESSAGE) + 16)


def test_key_that_is_spent_is_destroyed_at_both_ends(ends):
    ends.receive(ends.send(bytes(2000 - 16)))
    for party in Party:
        rows = ends.stores[party]._database.rows("SELECT 1 FROM pieces JOIN piece_keys USING (piece) WHERE pool = 'alice-pad'")
        assert not rows, party


def test_too_little_key_is_refused_as_a_whole_and_says_how_long_it_takes(ends):
    before = ends.levels(Party.ALICE)
    with pytest.raises(KeyExhaustedError, match=r"alice-pad is 8 bits short.*about 12 s") as short:
        ends.send(bytes(2001 - 16))

    assert (short.value.missing_bits, short.value.wait_seconds) == (8, 12.5)
    assert ends.levels(Party.ALICE) == before
    assert not (ends.folder / "message.otp").exists()


def test_a_replay_is_refused(ends):
    encrypted = ends.send(MESSAGE)
    ends.receive(encrypted)

    with pytest.raises(KeyAlreadyTakenError, match="decrypted before"):
        ends.receive(encrypted)


def test_the_wrong_end_and_the_wrong_link_are_named(ends, tmp_path_factory):
    encrypted = ends.send(MESSAGE)
    with pytest.raises(ConfigurationError, match="encrypted at this end"):
        ends.receive(encrypted, Party.ALICE)

    data = bytearray(encrypted.read_bytes())
    data[24] ^= 1
    encrypted.write_bytes(data)
    with pytest.raises(ConfigurationError, match="another link"):
        ends.receive(encrypted)

    with pytest.raises(ConfigurationError, match="--key"):
        ends.receive(Ends.with_key(tmp_path_factory.mktemp("keys"), 1000).send(MESSAGE))
    with pytest.raises(ConfigurationError, match="--config"):
        Ends.with_key(tmp_path_factory.mktemp("keys"), 1000).receive(ends.send(MESSAGE, "again"))


def test_a_message_of_the_first_format_is_refused(ends):
    encrypted = ends.send(MESSAGE)
    data = bytearray(encrypted.read_bytes())
    data[8] = 1
    encrypted.write_bytes(data)

    with pytest.raises(ConfigurationError, match="format version 1"):
        ends.receive(encrypted)


def test_key_that_is_not_here_is_named(ends):
    encrypted = ends.send(MESSAGE)
    header = header_of(encrypted)
    elsewhere = StoreHeader(header.pad_id, header.sender, (Piece(9, 0, header.count_key_bytes),), header.contents)
    encrypted.write_bytes(elsewhere.encoded() + encrypted.read_bytes()[len(header.encoded()) :])

    with pytest.raises(KeyNotFoundError, match="block 9"):
        ends.receive(encrypted)


def test_nothing_is_handed_out_before_the_peer_was_met(ends):
    ends.stores[Party.ALICE]._met = False
    with pytest.raises(PeerNotMetError, match="before the peer was met"):
        ends.send(MESSAGE)
    ends.stores[Party.ALICE]._met = True


def test_a_forged_message_is_counted_and_the_true_one_still_decrypts(ends):
    encrypted = ends.send(MESSAGE)
    true = encrypted.read_bytes()
    encrypted.write_bytes(true[:-1] + bytes([true[-1] ^ 1]))
    for _ in range(2):
        with pytest.raises(AuthenticationError, match="tag is wrong"):
            ends.receive(encrypted)
    encrypted.write_bytes(true)

    assert ends.receive(encrypted) == MESSAGE
    assert ends.nodes[Party.BOB].commands.count_forged == 2
    assert '"key returned"' in (ends.folder / "bob.jsonl").read_text()


def test_who_knows_a_message_that_never_arrived_cannot_use_its_pad_for_a_tag_of_her_own(ends):
    """She knows message and ciphertext, so the pad; she names pad she knows as mask and pad of a message that she makes."""
    known = bytes(200)
    encrypted = ends.send(known)
    header = header_of(encrypted)
    pad = combine(encrypted.read_bytes()[len(header.encoded()) : -16], known)

    class Known:
        def __init__(self, tag_key):
            self.tag_key, self.left = tag_key, pad

        def read(self, count_bytes):
            key, self.left = self.left[:count_bytes], self.left[count_bytes:]
            return key

    forged = StoreHeader(PAD_ID, Party.ALICE, (Piece(1, 16, 16 + 11),), Contents(11))
    for guess in (pad[:16], pad[16:32], bytes(16)):
        encrypted.write_bytes(forged.encoded() + b"".join(encrypt(Known(guess), forged, [b"attack now!"])))
        with pytest.raises(AuthenticationError):
            ends.receive(encrypted)


@pytest.mark.parametrize("pool", [Pool.ALICE_TAG, Pool.BOB_TAG])
def test_the_key_of_tags_is_never_handed_out(ends, pool):
    for store in ends.stores.values():
        for ask in (lambda s=store: s.take(pool, 16, "pad"), lambda s=store: s.expect(pool, [Piece(1, 0, 16)], "pad")):
            with pytest.raises(KeyStoreError):
                ask()


def test_the_key_of_tags_goes_when_the_pad_of_its_block_is_used_up(ends):
    ends.receive(ends.send(bytes(1000 - 16)))
    for party in Party:
        assert ends.stores[party].expire() == 0
        assert kinds(ends, party).count(UseKind.RETIRED) == 1
        assert ends.stores[party].levels().pool_bits[Pool.ALICE_TAG] == 128
    assert ends.receive(ends.send(b"from the second block", "second")) == b"from the second block"


def test_a_sender_that_goes_away_loses_its_key_and_nothing_else(ends):
    with AdminClient(ends.nodes[Party.ALICE].socket) as client:
        client.ask_for_key("pad reserve", count_bytes=500)
    assert settled(lambda: not ends.stores[Party.ALICE]._open._open)

    assert header_of(ends.send(MESSAGE)).pieces[0].first_byte == 500
    assert ends.receive(ends.folder / "message.otp") == MESSAGE


def test_a_receiver_that_goes_away_before_it_burns_gives_back(ends):
    encrypted = ends.send(MESSAGE)
    with AdminClient(ends.nodes[Party.BOB].socket) as client:
        result, _ = client.ask_for_key("pad follow", pieces=[[1, 0, 59]])
        client.ask_for_key("pad read", handout=result["handout"], count_bytes=16)
    assert settled(lambda: not ends.stores[Party.BOB]._open._open)

    assert ends.receive(encrypted) == MESSAGE
    assert ends.nodes[Party.BOB].commands.count_forged == 0


def test_no_pad_is_read_before_it_is_burnt_nor_over_another_connection(ends):
    ends.send(MESSAGE)
    with AdminClient(ends.nodes[Party.BOB].socket) as client:
        result, _ = client.ask_for_key("pad follow", pieces=[[1, 0, 59]])
        handout = result["handout"]
        with pytest.raises(KeyStoreError, match="until it is burnt"):
            client.ask_for_key("pad read", handout=handout, count_bytes=17)
        for command in ("pad read", "pad burn", "pad return", "pad close"):
            with pytest.raises(KeyNotFoundError, match="this connection"):
                ends.ask(Party.BOB, command, handout=handout, count_bytes=16)


def test_who_holds_a_pad_may_be_quiet_for_as_long_as_checking_it_takes(ends, monkeypatch):
    monkeypatch.setattr("common.service.admin.IDLE_SECONDS", 0.05)
    with AdminClient(ends.nodes[Party.ALICE].socket) as client:
        result, _ = client.ask_for_key("pad reserve", count_bytes=16)
        time.sleep(0.3)
        assert len(client.ask_for_key("pad read", handout=result["handout"], count_bytes=16)[1]) == 16


def test_each_byte_is_read_once(ends):
    with AdminClient(ends.nodes[Party.ALICE].socket) as client:
        result, _ = client.ask_for_key("pad reserve", count_bytes=100)
        handout = result["handout"]
        first, second = (client.ask_for_key("pad read", handout=handout, count_bytes=50)[1] for _ in range(2))
        assert first != second
        with pytest.raises(KeyNotFoundError):
            client.ask_for_key("pad read", handout=handout, count_bytes=1)


def test_a_node_that_goes_away_leaves_nothing_half_written(ends, monkeypatch):
    """The node dies after it has given some of the key."""
    true_read = ends.stores[Party.ALICE].read
    calls = []

    def dying(handout, count_bytes):
        calls.append(count_bytes)
        if len(calls) == 2:
            raise TransportError("gone")
        return true_read(handout, count_bytes)

    monkeypatch.setattr(ends.stores[Party.ALICE], "read", dying)
    before = {path.name for path in ends.folder.iterdir()}
    with pytest.raises(TransportError):
        ends.send(MESSAGE)
    assert {path.name for path in ends.folder.iterdir()} == before | {"message"}
    monkeypatch.undo()
    assert ends.receive(ends.send(MESSAGE)) == MESSAGE


@pytest.mark.parametrize("length", [0, 1, 8, 9, 200, 247, 248, 249])
def test_the_length_can_be_hidden(ends, length):
    message = bytes(range(1, 256))[:length]
    encrypted = ends.send(message, pad_to=256)

    assert header_of(encrypted).count_bytes == (256 if length <= 248 else 512)
    assert ends.receive(encrypted) == message


def test_a_message_that_changes_between_check_and_release_is_not_shown(tmp_path, monkeypatch):
    ends = ServedEnds(tmp_path, 8 * 300_000)
    encrypted = ends.send(bytes(100_000))
    true_check = Decryption.check

    def check_then_alter(self, chunks):
        true_check(self, chunks)
        data = bytearray(encrypted.read_bytes())
        data[-20] ^= 1
        encrypted.write_bytes(data)

    monkeypatch.setattr(Decryption, "check", check_then_alter)
    with pytest.raises(AuthenticationError):
        ends.receive(encrypted)
    assert not encrypted.with_suffix(".bob").exists()
    ends.close()


def test_a_restarted_node_goes_on_behind_what_it_gave(ends):
    first = ends.send(MESSAGE, "first")
    for party in Party:
        ends.restart(party)

    assert header_of(ends.send(MESSAGE, "second")).pieces[0].first_byte == header_of(first).count_key_bytes
    assert ends.receive(first) == ends.receive(ends.folder / "second.otp") == MESSAGE


def test_key_comes_from_many_small_blocks(tmp_path):
    ends = ServedEnds(tmp_path, *[8 * 132] * 30)
    message = bytes(range(100)) * 14
    encrypted = ends.send(message)

    assert len(header_of(encrypted).pieces) == 29
    assert ends.receive(encrypted) == message
    ends.close()
    assert ends.faults() == []


def test_a_message_larger_than_what_lies_sealed_together_passes(tmp_path):
    ends = ServedEnds(tmp_path, 8 * 5_300_000)
    message = bytes(range(251)) * 10_000
    encrypted = ends.send(message)

    assert ends.receive(encrypted) == message
    ends.close()
    assert ends.faults() == []


def test_two_handouts_at_a_time_do_not_take_each_others_key(tmp_path):
    """They share a sealed piece; whoever reads first must not destroy what the other has yet to read."""
    ends = ServedEnds(tmp_path, BLOCK_BITS)
    with AdminClient(ends.nodes[Party.ALICE].socket) as one, AdminClient(ends.nodes[Party.ALICE].socket) as other:
        handouts = [client.ask_for_key("pad reserve", count_bytes=500)[0]["handout"] for client in (one, other)]
        late = other.ask_for_key("pad read", handout=handouts[1], count_bytes=500)[1]
        early = one.ask_for_key("pad read", handout=handouts[0], count_bytes=500)[1]
    theirs = ends.stores[Party.BOB].expect(Pool.ALICE_PAD, [Piece(1, 0, 1000)], "both")

    assert theirs.key == early + late
    ends.close()


def test_what_lies_in_too_many_pieces_is_refused_unspent(tmp_path, monkeypatch):
    monkeypatch.setattr("common.keystore.book.MOST_PIECES", 3)
    ends = ServedEnds(tmp_path, *[8 * 132] * 4)
    with pytest.raises(KeyStoreError, match="4 pieces, at most 3"):
        ends.send(bytes(170))
    assert ends.levels(Party.ALICE) == 8 * 4 * 50
    ends.close()


def test_a_store_opened_again_destroys_what_a_crash_left(tmp_path):
    ends = ServedEnds(tmp_path, BLOCK_BITS)
    store = ends.stores[Party.ALICE]
    store.reserve(Pool.ALICE_PAD, 1000, "never read")
    ends.restart(Party.ALICE)

    assert not ends.stores[Party.ALICE]._database.rows("SELECT 1 FROM pieces JOIN piece_keys USING (piece) WHERE pool = 'alice-pad'")
    ends.close()
    assert ends.faults() == []


def test_a_pipe_never_takes_more_than_the_pad_can_pay(ends, monkeypatch, tmp_path):
    endless = io.BytesIO(bytes(1 << 20))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=endless))
    with ends.pad(Party.ALICE) as pad, pytest.raises(KeyExhaustedError):
        encrypt_file(pad, PIPE, tmp_path / "out")
    assert endless.tell() == 2001
