"""What Alice prepared: her reading of the emission record, checked against her link.

The record holds every secret of the quantum channel, so it stays inside this object: it is looked up, never printed, copied or
pickled. Comes from ``emission.h5`` (a laboratory's or the emulator's), goes to sifting on Alice's side and to the search for the
frame offset.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn, final

import numpy as np
from numpy.typing import NDArray

from common.profiles.link import LinkProfile
from common.timetags.emission_record import EmissionRecord, require_settings


@final
class Emission:
    """Alice's settings by slot.

    Parameters
    ----------
    record : EmissionRecord
        The settings.
    profile : LinkProfile
        The link she serves.

    Attributes
    ----------
    clock_hz : float
        Pulses a second.
    first_slot, count_slots : int
        Slots of the record.
    settings : tuple[str, ...]
        Names of the settings; a setting's number is its place here.
    settings_randomness : str
        ``"computational"`` where the settings come from an expander, ``"recorded"`` where they were written down one by one; the
        ledger carries it.

    Raises
    ------
    ConfigurationError
        If the record's settings, their probabilities or its clock are not those of the link.
    """

    __slots__ = ("_record", "clock_hz", "count_slots", "first_slot", "settings", "settings_randomness")

    def __init__(self, record: EmissionRecord, profile: LinkProfile) -> None:
        require_settings(record, profile.prepared.settings, profile.setting_probabilities, profile.source.clock_hz)
        self._record = record
        self.clock_hz = record.header.clock_hz
        self.first_slot = record.header.first_slot
        self.count_slots = record.header.count_slots
        self.settings = record.header.settings
        self.settings_randomness = "computational" if record.source == "expanded" else "recorded"

    def lookup(self, slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the settings of scattered slots.

        Parameters
        ----------
        slots : int64[n]
            Absolute slots inside the record, in any order; see ``covers``.

        Returns
        -------
        uint8[n]
            Indices into ``settings``.
        """
        return self._record.lookup(slots)

    def window(self, first_slot: int, count: int) -> NDArray[np.uint8]:
        """Return the settings of consecutive slots.

        Parameters
        ----------
        first_slot : int
            First absolute slot.
        count : int
            Slots wanted.

        Returns
        -------
        uint8[count]
            Indices into ``settings``.
        """
        return self._record.window(first_slot, count)

    def covers(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which slots the record holds: int64[n] in, bool[n] out."""
        return np.asarray((slots >= self.first_slot) & (slots < self.first_slot + self.count_slots))

    def __repr__(self) -> str:
        return f"Emission(first_slot={self.first_slot}, count_slots={self.count_slots})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an emission record is not pickled")


def open_emission(path: Path, profile: LinkProfile) -> Emission:
    """Open Alice's emission record.

    Parameters
    ----------
    path : Path
        ``emission.h5``; a key file it names lies beside it.
    profile : LinkProfile
        The link she serves.

    Returns
    -------
    Emission
        Her settings.
    """
    from common.timetags.emission_file import read_emission  # brings HDF5, which the service does without

    return Emission(read_emission(path), profile)
