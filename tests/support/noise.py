"""What somebody without any key can do to the bytes between two processes; given to a ``Relay`` as its ``touch``."""

import random
from collections import Counter

DEEDS = ("flip", "flip first", "drop", "duplicate", "truncate", "inject", "swap")


class OneDeed:
    """Does ``deed`` once, to the first piece after ``after_bytes`` bytes of one direction."""

    def __init__(self, deed: str, direction: str, after_bytes: int) -> None:
        self.done = False
        self._deed, self._direction, self._after_bytes = deed, direction, after_bytes
        self._count = 0
        self._held = b""

    def __call__(self, direction: str, data: bytes) -> bytes:
        if direction != self._direction:
            return data
        self._count += len(data)
        if self._held:
            late, self._held = self._held, b""
            return data + late
        if self.done or self._count <= self._after_bytes:
            return data
        self.done = True
        if self._deed == "swap":
            self._held = data
            return b""
        return meddled(self._deed, data, random.Random(self._count))


class Storm:
    """Does a random deed to every so many bytes of both directions, for as long as it is ``on``."""

    def __init__(self, seed: int, every_bytes: int) -> None:
        self.on = False
        self.deeds: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._every_bytes = every_bytes
        self._left = every_bytes

    def __call__(self, _direction: str, data: bytes) -> bytes:
        self._left -= len(data)
        if not self.on or self._left > 0:
            return data
        self._left = self._random.randrange(1, 2 * self._every_bytes)
        deed = self._random.choice([deed for deed in DEEDS if deed != "swap"])
        self.deeds[deed] += 1
        return meddled(deed, data, self._random)


def meddled(deed: str, data: bytes, chance: random.Random) -> bytes:
    """``data`` after ``deed``."""
    match deed:
        case "flip" | "flip first":
            place = 0 if deed == "flip first" else chance.randrange(len(data))
            return data[:place] + bytes((data[place] ^ 1 << chance.randrange(8),)) + data[place + 1 :]
        case "drop":
            return b""
        case "duplicate":
            return data + data
        case "truncate":
            return data[: len(data) // 2]
        case "inject":
            return chance.randbytes(chance.randrange(1, 600)) + data
    raise AssertionError(deed)
