"""Pictures that stay pictures."""

from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngImageFile, PngInfo

from common.channel.codec import Party
from common.errors import AuthenticationError, ConfigurationError, KeyAlreadyTakenError, KeyExhaustedError, QkdError
from common.onetimepad.files import PIPE, decrypt_file
from common.onetimepad.pictures import CHUNK_NAME, count_picture_bits, decrypt_picture, encrypt_picture
from tests.unit.onetimepad.ends import Ends


@pytest.fixture
def ends(tmp_path):
    return Ends.with_key(tmp_path, 40_000)


def picture(mode, width=12, height=9, seed=0):
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8), mode)


def sent(ends, shown, name="shown.png"):
    shown.save(ends.folder / name)
    encrypt_picture(ends.pad(Party.ALICE), ends.folder / name, ends.folder / "noise.png")
    return ends.folder / "noise.png"


def received(ends, encrypted):
    decrypt_picture(ends.pad(Party.BOB), encrypted, ends.folder / "seen.png")
    with Image.open(ends.folder / "seen.png") as seen:
        seen.load()
        return seen


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pixels_arrive_as_they_were_sent(ends, mode):
    shown = picture(mode)
    encrypted = sent(ends, shown)

    with Image.open(encrypted) as noise:
        assert (noise.mode, noise.size) == (mode, shown.size)
        assert np.mean(np.asarray(noise) == np.asarray(shown)) < 0.05
    seen = received(ends, encrypted)
    assert (seen.mode, seen.tobytes()) == (mode, shown.tobytes())


def test_other_kinds_of_pictures_are_converted(ends):
    palette = picture("RGB").quantize(16)

    assert received(ends, sent(ends, palette, "shown.gif")).tobytes() == palette.convert("RGB").tobytes()


def test_an_even_picture_leaves_no_trace(ends):
    """False alarm below 1e-9: each of 2000 bytes is uniform, so their mean is within 7 standard deviations of 127.5."""
    encrypted = sent(ends, Image.new("L", (50, 40), 255))

    with Image.open(encrypted) as noise:
        assert abs(float(np.mean(np.asarray(noise))) - 127.5) < 7 * 73.9 / 2000**0.5


def test_a_pixel_that_was_changed_is_refused_and_the_true_picture_still_decrypts(ends):
    encrypted = sent(ends, picture("RGB"))
    true = encrypted.read_bytes()
    with Image.open(encrypted) as noise:
        assert isinstance(noise, PngImageFile)
        envelope = dict(chunk[:2] for chunk in noise.private_chunks)[CHUNK_NAME]
        pixels = np.asarray(noise).copy()
    pixels[3, 4, 1] ^= 1
    info = PngInfo()
    info.add(CHUNK_NAME, envelope)
    Image.fromarray(pixels).save(encrypted, pnginfo=info)

    with pytest.raises(AuthenticationError, match="tag is wrong"):
        received(ends, encrypted)
    assert not (ends.folder / "seen.png").exists()
    encrypted.write_bytes(true)
    assert received(ends, encrypted).tobytes() == picture("RGB").tobytes()


def test_every_damaged_byte_of_the_file_is_refused_or_does_no_harm(ends):
    shown = picture("RGB", 3, 2)
    encrypted = sent(ends, shown)
    true = encrypted.read_bytes()
    received(ends, encrypted)
    spent = [ends.folder / name for name in ("bob.key.ledger", "seen.png")]
    key = (ends.folder / "bob.key").read_bytes()[:8] + np.random.default_rng(1).bytes(40_000)[8:]

    harmless = 0
    for position in range(len(true)):
        for path in spent:
            path.unlink(missing_ok=True)
        (ends.folder / "bob.key").write_bytes(key)
        damaged = bytearray(true)
        damaged[position] ^= 0x41
        encrypted.write_bytes(damaged)
        try:
            seen = received(ends, encrypted)
        except QkdError:
            assert not (ends.folder / "seen.png").exists()
        else:
            harmless += 1
            assert seen.tobytes() == shown.tobytes()
    assert harmless < 32  # checksums around what is tagged anyway, and the last chunk, which is empty


def test_a_replay_is_refused(ends):
    encrypted = sent(ends, picture("RGB"))
    received(ends, encrypted)

    with pytest.raises(KeyAlreadyTakenError):
        received(ends, encrypted)


def test_a_picture_saved_anew_has_lost_its_envelope(ends):
    encrypted = sent(ends, picture("RGB"))
    with Image.open(encrypted) as noise:
        noise.save(ends.folder / "again.png")

    with pytest.raises(ConfigurationError, match="saved it anew"):
        received(ends, ends.folder / "again.png")


def test_a_picture_needs_its_option(ends):
    encrypted = sent(ends, picture("RGB"))

    with pytest.raises(ConfigurationError, match="add --picture"):
        decrypt_file(ends.pad(Party.BOB), encrypted, ends.folder / "seen.png")


def test_a_file_that_is_no_picture_says_so(ends):
    (ends.folder / "letter.txt").write_text("not a picture", encoding="utf-8")

    with pytest.raises(ConfigurationError, match="leave out --picture"):
        encrypt_picture(ends.pad(Party.ALICE), ends.folder / "letter.txt", ends.folder / "noise.png")


def test_too_large_a_picture_spends_nothing(ends):
    picture("RGB", 200, 100).save(ends.folder / "large.png")
    assert count_picture_bits(ends.folder / "large.png") == 200 * 100 * 24

    with pytest.raises(KeyExhaustedError, match="short"):
        encrypt_picture(ends.pad(Party.ALICE), ends.folder / "large.png", ends.folder / "noise.png")
    assert ends.pad(Party.ALICE).count_left_bits() == 8 * (19_996 - 16)


def piped(monkeypatch, data=b""):
    """Standard input and output of bytes."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=BytesIO(data)))
    written = BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=written))
    return written


def test_a_picture_passes_through_pipes(ends, monkeypatch):
    shown, original = picture("RGB"), BytesIO()
    shown.save(original, "PNG")

    encrypted = piped(monkeypatch, original.getvalue())
    encrypt_picture(ends.pad(Party.ALICE), PIPE, PIPE)
    seen = piped(monkeypatch, encrypted.getvalue())
    decrypt_picture(ends.pad(Party.BOB), PIPE, PIPE)

    with Image.open(encrypted) as noise, Image.open(seen) as arrived:
        assert noise.size == arrived.size == shown.size
        assert arrived.tobytes() == shown.tobytes() != noise.tobytes()


def test_what_comes_through_a_pipe_and_is_no_picture_spends_nothing(ends, monkeypatch):
    pad = ends.pad(Party.ALICE)
    before = pad.count_left_bits()

    written = piped(monkeypatch, b"meet me at noon")
    with pytest.raises(ConfigurationError, match="the picture cannot be read as a picture"):
        encrypt_picture(pad, PIPE, PIPE)
    monkeypatch.setattr("common.onetimepad.pictures.MOST_PIPED_BYTES", 8)
    piped(monkeypatch, b"meet me at noon")
    with pytest.raises(ConfigurationError, match="longer than 8 bytes"):
        encrypt_picture(pad, PIPE, PIPE)
    assert pad.count_left_bits() == before
    assert not written.getvalue()


def test_nothing_comes_out_of_a_pipe_of_a_picture_that_was_altered(ends, monkeypatch):
    encrypted = sent(ends, picture("RGB"))
    with Image.open(encrypted) as noise:
        assert isinstance(noise, PngImageFile)
        noise.load()
        chunks = PngInfo()
        chunks.add(CHUNK_NAME, noise.private_chunks[0][1])
        altered = BytesIO()
        ImageOps.invert(noise).save(altered, "PNG", pnginfo=chunks)

    written = piped(monkeypatch, altered.getvalue())
    with pytest.raises(AuthenticationError):
        decrypt_picture(ends.pad(Party.BOB), PIPE, PIPE)
    assert not written.getvalue()
