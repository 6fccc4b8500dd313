"""The emission record: which state Alice prepared in every slot, packed or expanded from a key.

A small link keeps two bits a slot; a fast one would need gigabytes a minute, so its settings come from the pinned expander and
are computed where somebody looks. Both kinds answer the same two questions, ``lookup`` and ``window``. The record comes from the
emulator or from ``emission.h5`` (``emission_file``) and goes to Alice alone: it says everything an eavesdropper wants to know.

References
----------
``docs/reference/formats`` defines the packing and the expansion; status of expanded settings: computational.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor, fsum, isclose, isfinite
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigurationError, StreamError
from common.expander import KEY_BYTES, Expander, derive_key
from common.kernels.chacha20 import chacha20_words
from common.kernels.settings import classify_words, gather_settings, pack_settings, unpack_settings

SETTINGS_LABEL: Final = "emission-settings"
"""Purpose under which the expander makes settings."""

BITS_PER_SETTING: Final = (1, 2, 4, 8)
"""Widths a packed setting may have."""

_PROBABILITY_TOLERANCE: Final = 1e-9
"""By how much a record's probabilities may differ from the profile's: what decimal text and sums of floats lose, and no more."""

_WINDOW_SLOTS: Final = 1 << 17
"""Slots expanded together: 512 KiB of random words, which stay in the second cache (measured)."""

_LOOKUP_SLOTS: Final = 1 << 16
"""Scattered slots looked up together: their random words stay in the second cache."""


@dataclass(frozen=True, slots=True)
class EmissionHeader:
    """What is public about an emission record.

    Attributes
    ----------
    clock_hz : float
        Pulses a second on Alice's clock: slot k has its emission centre at k/clock_hz.
    first_slot, count_slots : int
        The slots of the record, ``first_slot`` to ``first_slot + count_slots - 1``.
    settings : tuple[str, ...]
        Names of the settings, like ``"Z0"`` or ``"Z0/signal"``; a setting's number is its place here.
    probabilities : tuple[float, ...]
        Probability of each setting; their sum is 1.
    bits_per_setting : int
        1, 2, 4 or 8.

    Raises
    ------
    StreamError
        If an entry is out of range or they contradict each other.
    """

    clock_hz: float
    first_slot: int
    count_slots: int
    settings: tuple[str, ...]
    probabilities: tuple[float, ...]
    bits_per_setting: int = 2

    def __post_init__(self) -> None:
        if not (isfinite(self.clock_hz) and self.clock_hz > 0):
            raise StreamError(f"emission record: clock_hz is {self.clock_hz!r}, a positive frequency is needed")
        if self.count_slots < 1 or not -(1 << 62) < self.first_slot < (1 << 62) - self.count_slots:
            raise StreamError(f"emission record: {self.count_slots} slots from slot {self.first_slot} do not fit int64 slot numbers")
        if self.bits_per_setting not in BITS_PER_SETTING:
            raise StreamError(f"emission record: bits_per_setting is {self.bits_per_setting}, choose 1, 2, 4 or 8")
        if not 1 <= len(self.settings) <= 1 << self.bits_per_setting or len(set(self.settings)) != len(self.settings):
            raise StreamError(
                f"emission record: {len(self.settings)} settings do not fit {self.bits_per_setting} bits, or one is named twice"
            )
        if len(self.probabilities) != len(self.settings) or not all(0 <= p <= 1 for p in self.probabilities):
            raise StreamError("emission record: probabilities must be one for each setting, 0 to 1")
        if not isclose(fsum(self.probabilities), 1.0, abs_tol=1e-9):
            raise StreamError(f"emission record: the probabilities sum to {fsum(self.probabilities)!r}, not 1")

    @property
    def end_slot(self) -> int:
        """First slot after the record."""
        return self.first_slot + self.count_slots

    @property
    def packed_bytes(self) -> int:
        """Bytes the record takes when packed."""
        return -(-self.count_slots * self.bits_per_setting // 8)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EmissionRecord:
    """The setting of every slot; its repr shows the header only.

    Attributes
    ----------
    header : EmissionHeader
        Clock, slots, names and probabilities.
    packed : uint8[header.packed_bytes] or None
        Packed settings, in memory or mapped from a file; None if the record is expanded.
    expander_key : bytes or None
        32 bytes from which settings are expanded; None if the record is packed.

    Raises
    ------
    StreamError
        If neither or both are given, or one does not fit the header.
    """

    header: EmissionHeader
    packed: NDArray[np.uint8] | None = None
    expander_key: bytes | None = None
    _subkey: NDArray[np.uint32] = field(init=False)
    _thresholds: NDArray[np.uint32] = field(init=False)

    def __post_init__(self) -> None:
        header = self.header
        subkey = np.zeros(0, np.uint32)
        if (self.packed is None) == (self.expander_key is None):
            raise StreamError("emission record: give packed settings or an expander key, one of the two")
        if self.packed is not None and (self.packed.dtype != np.uint8 or self.packed.shape != (header.packed_bytes,)):
            raise StreamError(
                f"emission record: {header.count_slots} slots of {header.bits_per_setting} bits take {header.packed_bytes} bytes,"
                f" found {self.packed.dtype}{list(self.packed.shape)}"
            )
        if self.expander_key is not None:
            if len(self.expander_key) != KEY_BYTES:
                raise StreamError(f"emission record: the expander key has {len(self.expander_key)} bytes, {KEY_BYTES} are needed")
            if header.first_slot < 0:
                raise StreamError(f"emission record: expanded settings start at slot 0, first_slot is {header.first_slot}")
            subkey = np.frombuffer(derive_key(self.expander_key, SETTINGS_LABEL), np.uint32)
        object.__setattr__(self, "_subkey", subkey)
        object.__setattr__(self, "_thresholds", setting_thresholds(header.probabilities))

    @property
    def source(self) -> Literal["packed", "expanded"]:
        """How the record is kept, as the file names it."""
        return "expanded" if self.packed is None else "packed"

    def lookup(self, slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the settings of scattered slots.

        Parameters
        ----------
        slots : int64[n]
            Absolute slots, in any order; ascending ones that lie densely cost less.

        Returns
        -------
        uint8[n]
            Indices into ``header.settings``.

        Raises
        ------
        StreamError
            If a slot is outside the record; the message names the first one.
        """
        header = self.header
        if slots.size and not (header.first_slot <= int(slots.min()) and int(slots.max()) < header.end_slot):
            outside = (slots < header.first_slot) | (slots >= header.end_slot)
            raise StreamError(
                f"emission record: slot {int(slots[int(np.argmax(outside))])} asked for,"
                f" the record holds slots {header.first_slot} to {header.end_slot - 1}"
            )
        settings = np.empty(slots.size, np.uint8)
        if self.packed is not None:
            gather_settings(self.packed, header.bits_per_setting, slots - header.first_slot, settings)
            return settings
        words = np.empty(min(slots.size, _LOOKUP_SLOTS), np.uint32)
        for start in range(0, slots.size, _LOOKUP_SLOTS):
            part = np.ascontiguousarray(slots[start : start + _LOOKUP_SLOTS])
            chacha20_words(self._subkey, part, words[: part.size])
            classify_words(words[: part.size], self._thresholds, settings[start : start + part.size])
        return settings

    def window(self, first_slot: int, count: int) -> NDArray[np.uint8]:
        """Return the settings of consecutive slots.

        Parameters
        ----------
        first_slot : int
            First absolute slot.
        count : int
            Slots wanted, 0 or more.

        Returns
        -------
        uint8[count]
            Indices into ``header.settings``.

        Raises
        ------
        StreamError
            If the window leaves the record.
        """
        header = self.header
        if count < 0 or first_slot < header.first_slot or first_slot + count > header.end_slot:
            raise StreamError(
                f"emission record: slots {first_slot} to {first_slot + count - 1} asked for,"
                f" the record holds slots {header.first_slot} to {header.end_slot - 1}"
            )
        settings = np.empty(count, np.uint8)
        if self.packed is not None:
            unpack_settings(self.packed, header.bits_per_setting, first_slot - header.first_slot, settings)
            return settings
        expander = Expander(self.expander_key or b"", SETTINGS_LABEL)
        for start in range(0, count, _WINDOW_SLOTS):
            part = settings[start : start + _WINDOW_SLOTS]
            words = np.frombuffer(expander.bytes_at(4 * (first_slot + start), 4 * part.size), np.uint32)
            classify_words(words, self._thresholds, part)
        return settings

    def packed_part(self, first_byte: int, count: int) -> NDArray[np.uint8]:
        """Return part of the packed form, whatever form the record is kept in.

        Parameters
        ----------
        first_byte : int
            First byte of the packed form.
        count : int
            Bytes wanted; cut at the end of the record.

        Returns
        -------
        uint8[at most count]
            Packed settings.
        """
        header = self.header
        end_byte = min(first_byte + count, header.packed_bytes)
        if self.packed is not None:
            return np.asarray(self.packed[first_byte:end_byte])
        per_byte = 8 // header.bits_per_setting
        first = first_byte * per_byte
        settings = self.window(header.first_slot + first, min(end_byte * per_byte, header.count_slots) - first)
        packed = np.empty(end_byte - first_byte, np.uint8)
        pack_settings(settings, header.bits_per_setting, packed)
        return packed

    def as_packed(self) -> Self:
        """Return the same record packed in memory."""
        return type(self)(self.header, packed=self.packed_part(0, self.header.packed_bytes))

    def __repr__(self) -> str:
        return f"EmissionRecord({self.header!r}, source={self.source!r})"


def setting_thresholds(probabilities: tuple[float, ...]) -> NDArray[np.uint32]:
    """Return the thresholds that turn a 32-bit word into a setting.

    Parameters
    ----------
    probabilities : tuple[float, ...]
        Probability of each of the m settings.

    Returns
    -------
    uint32[m - 1]
        floor(2^32 (p_0 + ... + p_j)) for j = 0 to m - 2, at most 2^32 - 1; a word's setting is the number of thresholds at or
        below it, so a real probability differs from the wish by less than 2^-31.
    """
    sums = [fsum(probabilities[: rank + 1]) for rank in range(len(probabilities) - 1)]
    return np.array([min(floor(total * 2**32), 2**32 - 1) for total in sums], np.uint32)


def require_settings(record: EmissionRecord, settings: tuple[str, ...], probabilities: tuple[float, ...], clock_hz: float) -> None:
    """Refuse a record that does not belong to a link.

    The probabilities are no label: proofs of three states and of decoys divide by them. What is compared is what the record says of
    itself; every record has to say it (``EmissionHeader``).

    Parameters
    ----------
    record : EmissionRecord
        The record.
    settings : tuple[str, ...]
        Settings the protocol prepares, in its order.
    probabilities : tuple[float, ...]
        Probability of each of them by the link's profile.
    clock_hz : float
        Clock of the link's profile.

    Raises
    ------
    ConfigurationError
        If the settings, a probability (by more than 1e-9) or the clock (by more than 1e-9 of it) differ.
    """
    if record.header.settings != settings:
        raise ConfigurationError(f"emission record: settings {list(record.header.settings)}, the link's protocol prepares {list(settings)}")
    for name, recorded, expected in zip(settings, record.header.probabilities, probabilities, strict=True):
        if not abs(recorded - expected) <= _PROBABILITY_TOLERANCE:
            raise ConfigurationError(
                f"emission record: probability {recorded!r} of setting {name}, the link's profile gives {expected!r}; the bounds rely on"
                " it: correct source.probability_z or source.probability_intensity, or take the profile the record was made with"
            )
    if abs(record.header.clock_hz - clock_hz) > 1e-9 * clock_hz:
        raise ConfigurationError(f"emission record: clock {record.header.clock_hz!r} Hz, source.clock_hz of the link is {clock_hz!r} Hz")
