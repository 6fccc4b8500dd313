"""Writing and reading ``emission.h5``: the emission record on disk, with a key file beside it where settings are expanded.

The file is written by ``qkd simulate`` or by a laboratory's own script and read on Alice's machine only. Packed settings lie
uncompressed and in one piece, so that a record is mapped rather than loaded. ``docs/reference/formats`` states every byte.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from common.errors import StreamError
from common.expander import EXPANDER_NAME, KEY_BYTES
from common.timetags.attribute import ROOT_ATTRIBUTE, VERSION, read_attribute
from common.timetags.emission_record import EmissionHeader, EmissionRecord

SETTINGS_DATASET: Final = "settings"
"""Dataset of the packed settings."""

PACKED_LIMIT_SLOTS: Final = 200_000_000
"""Slots up to which a record is written packed: 50 MB at two bits a slot."""

_BYTES_AT_A_TIME: Final = 1 << 22


def write_emission(path: Path, record: EmissionRecord) -> None:
    """Write an emission record.

    Up to ``PACKED_LIMIT_SLOTS`` slots, and always where the record has no key, the settings are packed; beyond that the file
    names the key file ``<stem>.key`` beside it, 32 bytes with mode 0600.

    Parameters
    ----------
    path : Path
        File to write, replaced if it exists; its folder exists.
    record : EmissionRecord
        The settings.
    """
    header = record.header
    packed = record.expander_key is None or header.count_slots <= PACKED_LIMIT_SLOTS
    attribute: dict[str, Any] = {
        "version": VERSION,
        "clock_hz": header.clock_hz,
        "first_slot": header.first_slot,
        "count_slots": header.count_slots,
        "bits_per_setting": header.bits_per_setting,
        "settings": list(header.settings),
        "probabilities": list(header.probabilities),
        "source": "packed" if packed else "expanded",
    }
    key_path = path.with_suffix(".key")
    key_path.unlink(missing_ok=True)
    if not packed:
        attribute |= {"expander": EXPANDER_NAME, "key_file": key_path.name}
        descriptor = os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as key_file:
            key_file.write(record.expander_key or b"")
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with h5py.File(path, "w") as file:
        file.attrs[ROOT_ATTRIBUTE] = json.dumps(attribute)
        if packed:
            dataset = file.create_dataset(SETTINGS_DATASET, (header.packed_bytes,), np.uint8)
            for start in range(0, header.packed_bytes, _BYTES_AT_A_TIME):
                part = record.packed_part(start, _BYTES_AT_A_TIME)
                dataset[start : start + part.size] = part


def read_emission(path: Path) -> EmissionRecord:
    """Read an emission record.

    Parameters
    ----------
    path : Path
        The file; a key file it names lies in the same folder.

    Returns
    -------
    EmissionRecord
        Packed settings are mapped from the file where they lie in one uncompressed piece, else loaded.

    Raises
    ------
    StreamError
        If the file is missing, is not HDF5, contradicts itself, or names a key file that is missing, readable by others, or of
        the wrong length.
    """
    attribute, file = read_attribute(path, "emission record")
    with file:
        header = _header(attribute, path)
        source = attribute.get("source")
        if source == "expanded":
            return EmissionRecord(header, expander_key=_read_key(attribute, path))
        if source != "packed":
            raise StreamError(f"{path}: source is {source!r}, choose packed or expanded")
        dataset = file.get(SETTINGS_DATASET)
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype != np.uint8 or dataset.shape != (header.packed_bytes,):
            raise StreamError(
                f"{path}: dataset /{SETTINGS_DATASET} must be uint8[{header.packed_bytes}] for the slots its attribute states"
            )
        offset = dataset.id.get_offset()
        if offset is None or dataset.chunks is not None:
            return EmissionRecord(header, packed=dataset[:])
    return EmissionRecord(header, packed=np.memmap(path, np.uint8, "r", offset, (header.packed_bytes,)))


def _header(attribute: dict[str, Any], path: Path) -> EmissionHeader:
    try:
        numbers = {name: attribute[name] for name in ("first_slot", "count_slots", "bits_per_setting")}
        clock_hz, settings, probabilities = float(attribute["clock_hz"]), attribute["settings"], attribute["probabilities"]
        if not all(type(number) is int for number in numbers.values()) or not all(type(name) is str for name in settings):
            raise StreamError(f"{path}: first_slot, count_slots and bits_per_setting are integers, settings are strings")
        return EmissionHeader(
            clock_hz=clock_hz, settings=tuple(settings), probabilities=tuple(float(value) for value in probabilities), **numbers
        )
    except KeyError as missing:
        raise StreamError(f"{path}: the attribute {ROOT_ATTRIBUTE!r} lacks {missing}") from None
    except (TypeError, ValueError) as wrong:
        raise StreamError(f"{path}: the attribute {ROOT_ATTRIBUTE!r} holds a value of the wrong type ({wrong})") from None


def _read_key(attribute: dict[str, Any], path: Path) -> bytes:
    if attribute.get("expander") != EXPANDER_NAME:
        raise StreamError(f"{path}: expander is {attribute.get('expander')!r}, this version knows {EXPANDER_NAME!r}")
    name = attribute.get("key_file")
    if not isinstance(name, str) or Path(name).name != name:
        raise StreamError(f"{path}: key_file is {name!r}, a plain file name beside the record is needed")
    key_path = path.parent / name
    try:
        with key_path.open("rb") as key_file:
            mode = os.fstat(key_file.fileno()).st_mode
            key = key_file.read(KEY_BYTES + 1)
    except OSError as unreadable:
        raise StreamError(f"{key_path}: the key file of the emission record cannot be read ({unreadable.strerror})") from None
    if stat.S_IMODE(mode) & 0o077:
        raise StreamError(f"{key_path}: others may read this key file; chmod 600 {key_path.name}")
    if len(key) != KEY_BYTES:
        raise StreamError(f"{key_path}: an expander key has {KEY_BYTES} bytes")
    return key
