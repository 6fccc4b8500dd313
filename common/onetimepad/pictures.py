"""Pictures through the one-time pad: what is encrypted stays a picture to look at, of pixels that say nothing.

Every pixel's bytes are encrypted and kept as a PNG of the same size; header and tag travel in the PNG's private chunk ``qkDP`` (ancillary,
private, not safe to copy: a program that edits the picture drops it, and then it no longer decrypts, as it should). What else the original
file carried (time, place, camera, colour profile) is left behind.

The PNG around the ciphertext has to be unpacked before its tag can be checked; only PNG is accepted, and nothing larger than its header
says and the key can pay.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo

from common.errors import AuthenticationError, ConfigurationError
from common.onetimepad.cipher import CHUNK_BYTES, Decryption, encrypt
from common.onetimepad.envelope import TAG_BYTES, Contents, Header, Kind, altered
from common.onetimepad.files import PIPE, published, refuse_confusion
from common.onetimepad.interface import OneTimePad
from common.onetimepad.store_envelope import read_header

CHUNK_NAME = b"qkDP"
"""Name of the PNG chunk that holds header and tag."""

MOST_PIPED_BYTES = 1 << 28
"""Longest picture that is read from standard input, as a file."""

MODES = {"L": 1, "RGB": 3, "RGBA": 4}
"""Pillow's modes that are kept as they are, with their channels; others are converted to one of them."""

_MODE_OF_CHANNELS = {channels: mode for mode, channels in MODES.items()}


def encrypt_picture(pad: OneTimePad, source: Path, target: Path) -> Header:
    """Encrypt the pixels of a picture.

    Parameters
    ----------
    pad : OneTimePad
        Key of this end.
    source : Path
        A picture in any format that Pillow reads; ``-`` is standard input.
    target : Path
        A PNG; ``-`` is standard output.

    Returns
    -------
    Header
        Says which key was spent.

    Raises
    ------
    ConfigurationError
        If the source is no picture, or the target is the key or the source.
    KeyExhaustedError
        If the key is too short; nothing is spent or written then.
    """
    refuse_confusion(pad, source, target)
    picture = _plain(source)
    pixels = picture.tobytes()
    contents = Contents(len(pixels), Kind.PICTURE, picture.width, picture.height, MODES[picture.mode])
    with pad.sending(contents) as message:
        *ciphertext, tag = encrypt(message.key, message.header, _cut(pixels))
        chunks = PngInfo()
        chunks.add(CHUNK_NAME, message.header.encoded() + tag)
        with published(target) as sink:
            Image.frombytes(picture.mode, picture.size, b"".join(ciphertext)).save(sink, "PNG", pnginfo=chunks)
    return message.header


def decrypt_picture(pad: OneTimePad, source: Path, target: Path) -> Header:
    """Decrypt a picture, of which nothing is written before its tag has been checked.

    Parameters
    ----------
    pad : OneTimePad
        Key of this end.
    source, target : Path
        PNG, both; ``-`` stands for standard input and output.

    Returns
    -------
    Header
        Says which key was spent.

    Raises
    ------
    ConfigurationError
        If this is no encrypted picture, or one for another key.
    AuthenticationError
        If it was altered; its key is not spent, so that the true picture still decrypts.
    KeyAlreadyTakenError
        If it was decrypted before.
    """
    refuse_confusion(pad, source, target)
    what = _called(source)
    try:
        with Image.open(_opened(source), formats=("PNG",)) as picture:
            envelope = BytesIO(_envelope(picture, what))
            header, tag = read_header(envelope.read, what=what), envelope.read()
            contents = header.contents
            if contents.kind is not Kind.PICTURE or len(tag) != TAG_BYTES:
                raise altered(what, "contradicts itself in its header")
            if (*picture.size, MODES.get(picture.mode)) != (contents.width, contents.height, contents.channels):
                raise altered(what, "has not the size or the colours its header says")
            ciphertext = picture.tobytes()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as broken:
        if isinstance(broken, FileNotFoundError):
            raise ConfigurationError(f"{what}: no such file") from None
        raise AuthenticationError(f"{what} cannot be read as PNG: it was cut or altered on the way; ask for it again") from None
    with pad.receiving(header, what=what) as message:
        decryption = Decryption(message.key, header, tag)
        decryption.check(_cut(ciphertext))
        message.burn()
        pixels = b"".join(decryption.release(_cut(ciphertext)))
        with published(target, mode=0o600) as sink:
            Image.frombytes(_MODE_OF_CHANNELS[contents.channels], (contents.width, contents.height), pixels).save(sink, "PNG")
    return header


def count_picture_bits(source: Path) -> int:
    """Return the bits of pixels that encrypting the picture ``source`` takes, its tag not included.

    Raises
    ------
    ConfigurationError
        If it is no picture.
    """
    return 8 * len(_plain(source).tobytes())


def _plain(source: Path) -> Image.Image:
    """Read a picture, upright, in one of ``MODES``."""
    what = _called(source)
    try:
        with Image.open(_opened(source)) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode not in MODES:
                has_opacity = "A" in picture.getbands() or "transparency" in picture.info
                grey = picture.mode in {"1", "LA"} and not has_opacity
                picture = picture.convert("RGBA" if has_opacity else "L" if grey else "RGB")
            else:
                picture.load()
    except FileNotFoundError:
        raise ConfigurationError(f"{what}: no such file") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as broken:
        raise ConfigurationError(f"{what} cannot be read as a picture ({broken}): leave out --picture to encrypt it as a file") from None
    if not picture.width or not picture.height:
        raise ConfigurationError(f"{what} is a picture without pixels")
    return picture


def _envelope(picture: Image.Image, what: str) -> bytes:
    """Return header and tag."""
    private = picture.private_chunks if isinstance(picture, PngImageFile) else []
    found = [bytes(chunk[1]) for chunk in private if chunk[0] == CHUNK_NAME]
    if len(found) != 1:
        raise ConfigurationError(
            f"{what} is a picture but not an encrypted one, or a program has saved it anew: send the file as it was written"
        )
    return found[0]


def _cut(data: bytes) -> Iterator[bytes]:
    """Cut into chunks."""
    for first in range(0, len(data), CHUNK_BYTES):
        yield data[first : first + CHUNK_BYTES]


def _opened(source: Path) -> BytesIO:
    """Read a picture's file, or standard input, as it is."""
    if source != PIPE:
        return BytesIO(source.read_bytes())
    data = sys.stdin.buffer.read(MOST_PIPED_BYTES + 1)
    if len(data) > MOST_PIPED_BYTES:
        raise ConfigurationError(f"{_called(source)} is longer than {MOST_PIPED_BYTES} bytes: write it into a file and name that with --in")
    return BytesIO(data)


def _called(source: Path) -> str:
    return "the picture" if source == PIPE else str(source)
