"""Hunts for known secrets in bytes of any kind: as they are, in hexadecimal, base64, escapes, lists of numbers, and mangled into text.

Eight bytes of a secret in a row are enough to be found.
"""

import base64
import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

WINDOW_BYTES = 8
PIECE_BYTES = 1 << 24

HEXADECIMAL = re.compile(rb"[0-9a-fA-F]{16,}")
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
NUMBERS = re.compile(rb"(?:\d{1,3}[,;:\s]\s*){7,}\d{1,3}")
ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|u00([0-9a-fA-F]{2})|([nrtabfv0\\'\"]))")
SHORT_ESCAPES = dict(zip(b"nrtabfv0\\'\"", b"\n\r\t\a\b\f\v\0\\'\"", strict=True))


def windows(data: bytes) -> NDArray[np.uint64]:
    """Every eight bytes in a row of ``data``, as numbers."""
    if len(data) < WINDOW_BYTES:
        return np.zeros(0, np.uint64)
    rows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), WINDOW_BYTES)
    return np.ascontiguousarray(rows).view("<u8").ravel()


class Hunter:
    """Knows ``secrets`` by name, 8 bytes each at least."""

    def __init__(self, secrets: dict[str, bytes]) -> None:
        assert all(len(secret) >= WINDOW_BYTES for secret in secrets.values())
        self._names = list(secrets)
        all_windows = [windows(secret) for secret in secrets.values()]
        owners = np.concatenate([np.full(found.size, index) for index, found in enumerate(all_windows)])
        numbers = np.concatenate(all_windows)
        order = np.argsort(numbers, kind="stable")
        self._numbers, self._owners = numbers[order], owners[order]

    def found_in(self, data: bytes) -> set[str]:
        """Names of the secrets of which eight bytes in a row are in ``data`` in any form."""
        return {name for view in views(data) for name in self._found_raw(view)}

    def found_among(self, places: Iterable[tuple[str, bytes]]) -> set[tuple[str, str]]:
        """Place and secret of every find."""
        return {(place, name) for place, data in places for name in self.found_in(data)}

    def _found_raw(self, data: bytes) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(data), PIECE_BYTES):
            numbers = windows(data[start : start + PIECE_BYTES + WINDOW_BYTES - 1])
            places = np.minimum(np.searchsorted(self._numbers, numbers), self._numbers.size - 1)
            found |= {self._names[owner] for owner in np.unique(self._owners[places[self._numbers[places] == numbers]])}
        return found


def views(data: bytes) -> Iterator[bytes]:
    """``data``, and what is found in it if it is read as text of some kind."""
    yield data
    for run in HEXADECIMAL.findall(data):
        for start in (0, 1):
            yield bytes.fromhex(run[start : start + (len(run) - start) // 2 * 2].decode())
    for run in BASE64.findall(data):
        letters = run.translate(bytes.maketrans(b"-_", b"+/"))
        for start in range(4):
            chunk = letters[start : start + (len(letters) - start) // 4 * 4]
            rest = letters[start + len(chunk) :]
            yield base64.b64decode(chunk + (rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""))
    for run in NUMBERS.findall(data):
        yield bytes(int(number) & 0xFF for number in re.findall(rb"\d+", run))
    if b"\\" in data:
        yield ESCAPE.sub(_unescaped, data)
    yield data.decode("utf-8", "ignore").encode("latin-1", "ignore")


def _unescaped(escape: re.Match[bytes]) -> bytes:
    digits = escape[1] or escape[2]
    return bytes.fromhex(digits.decode()) if digits else bytes((SHORT_ESCAPES[escape[3][0]],))
