"""Whatever is changed about a message with key from running nodes: it is refused before anything is shown; the true one still decrypts."""

import contextlib
import tempfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from common.channel.codec import Party
from common.errors import QkdError
from common.keystore.interface import Piece
from common.onetimepad.envelope import Contents, Kind
from common.onetimepad.pictures import CHUNK_NAME, decrypt_picture, encrypt_picture
from common.onetimepad.store_envelope import StoreHeader, read_header
from tests.support.pads import ServedEnds

MEMORY_DISK = Path("/dev/shm")
BLOCK_BITS = 8 * (2 * 20_000 + 32)


@contextlib.contextmanager
def two_nodes(*blocks_bits):
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None) as folder:
        ends = ServedEnds(Path(folder), *blocks_bits)
        try:
            yield ends
        finally:
            ends.close()
            assert ends.faults() == []


@pytest.fixture(scope="module")
def nodes():
    with two_nodes(BLOCK_BITS, BLOCK_BITS) as ends:
        yield ends


def flipped(data, position):
    forged = bytearray(data)
    forged[position] ^= 1 << position % 8
    return bytes(forged)


@pytest.mark.parametrize("pad_to", [None, 16])
@pytest.mark.parametrize("message", [b"", b"noon!"])
def test_any_byte_changed_anywhere_is_refused(nodes, message, pad_to):
    encrypted = nodes.send(message, pad_to=pad_to)
    true = encrypted.read_bytes()
    for position in range(len(true)):
        encrypted.write_bytes(flipped(true, position))
        with pytest.raises(QkdError):
            nodes.receive(encrypted)
        assert not encrypted.with_suffix(".bob").exists()
    encrypted.write_bytes(true)

    assert nodes.receive(encrypted) == message


def test_any_byte_added_or_cut_off_is_refused(nodes):
    encrypted = nodes.send(b"noon!")
    true = encrypted.read_bytes()
    for forged in [true[:length] for length in range(len(true))] + [true + b"\0", b"\0" + true]:
        encrypted.write_bytes(forged)
        with pytest.raises(QkdError):
            nodes.receive(encrypted)
    encrypted.write_bytes(true)

    assert nodes.receive(encrypted) == b"noon!"


def with_envelope(png, envelope):
    """The PNG with another envelope in its private chunk, its checksum right."""
    begin = png.index(CHUNK_NAME) - 4
    length = int.from_bytes(png[begin : begin + 4], "big")
    chunk = CHUNK_NAME + envelope
    return png[:begin] + len(envelope).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + png[begin + 12 + length :]


def envelope_of(png):
    begin = png.index(CHUNK_NAME)
    return png[begin + 4 : begin + 4 + int.from_bytes(png[begin - 4 : begin], "big")]


def test_any_byte_of_a_pictures_envelope_or_pixels_changed_is_refused(nodes):
    picture = np.arange(4 * 3 * 3, dtype=np.uint8).reshape(3, 4, 3)
    Image.fromarray(picture).save(nodes.folder / "true.png")
    with nodes.pad(Party.ALICE) as pad:
        encrypt_picture(pad, nodes.folder / "true.png", nodes.folder / "noise.png")
    noise = (nodes.folder / "noise.png").read_bytes()
    envelope = envelope_of(noise)

    def receive():
        with nodes.pad(Party.BOB) as pad:
            decrypt_picture(pad, nodes.folder / "noise.png", nodes.folder / "seen.png")

    forgeries = [with_envelope(noise, flipped(envelope, position)) for position in range(len(envelope))]
    with Image.open(BytesIO(noise)) as opened:
        pixels = np.asarray(opened).copy()
    for position in range(pixels.size):
        altered = pixels.copy()
        altered.reshape(-1)[position] ^= 1 << position % 8
        packed = BytesIO()
        Image.fromarray(altered).save(packed, "PNG")
        png = packed.getvalue()
        chunk = CHUNK_NAME + envelope
        forgeries.append(png[:33] + len(envelope).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + png[33:])
    for forged in forgeries:
        (nodes.folder / "noise.png").write_bytes(forged)
        with pytest.raises(QkdError):
            receive()
        assert not (nodes.folder / "seen.png").exists()
    (nodes.folder / "noise.png").write_bytes(noise)
    receive()
    with Image.open(nodes.folder / "seen.png") as seen:
        assert np.array_equal(np.asarray(seen), picture)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Party), st.binary(max_size=300), st.sampled_from([None, 16, 100])), min_size=1, max_size=6))
def test_messages_of_any_length_arrive_unchanged_and_share_no_pad(messages):
    with two_nodes(*[8 * 1532] * 3) as ends:
        sent: list[tuple[Path, Party, bytes]] = []
        used: set[tuple[Party, int, int]] = set()
        for number, (sender, message, pad_to) in enumerate(messages):
            encrypted = ends.send(message, f"m{number}", sender, pad_to)
            with encrypted.open("rb") as file:
                header = read_header(file.read, what="it")
            assert isinstance(header, StoreHeader)
            places = {(sender, piece.block, byte) for piece in header.pieces for byte in range(piece.first_byte, piece.end_byte)}
            assert not used & places
            used |= places
            sent.append((encrypted, sender, message))

        for encrypted, sender, message in reversed(sent):
            assert ends.receive(encrypted, sender.peer) == message


places = st.builds(Piece, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(1, 2**20))


@given(st.binary(min_size=8, max_size=8), st.sampled_from(Party), st.lists(places, min_size=1, max_size=5), st.booleans())
def test_a_header_reads_back_and_has_one_spelling(pad_id, sender, pieces, is_padded):
    count_bytes = sum(piece.count_bytes for piece in pieces) - 16
    if count_bytes < 0:
        return
    header = StoreHeader(pad_id, sender, tuple(pieces), Contents(count_bytes, Kind.PADDED if is_padded else Kind.BYTES))
    encoded = header.encoded()

    assert len(encoded) == 40 + 24 * len(pieces)
    assert read_header(BytesIO(encoded + b"more").read, what="it") == header
