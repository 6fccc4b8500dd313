"""PicoQuant PTU recordings, T2 and T3, piece by piece.

``ptufile`` reads the header and decodes records; the counter's overflows are carried from piece to piece here. T2 records hold
absolute times. T3 records hold the number of a sync pulse and the time since it; the header's sync rate turns numbers into times,
and since that rate is what the device saw before the recording began, it is checked against the data. Overflow and marker records
are left out. Comes from a laboratory's recording; goes to ``common.timetags.recording``.

References
----------
PicoQuant Unified TTTR File Format: tags ``TTResult_SyncRate``, ``MeasDesc_GlobalResolution``, ``MeasDesc_Resolution``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np
import ptufile

from common.errors import StreamError
from common.timetags.reading import most_ticks, to_picoseconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from common.timetags.reading import Piece, Reading

MAGIC: Final = b"PQTTTR"
"""First bytes of a PTU file."""

CHUNK_RECORDS: Final = 1 << 19
"""Records decoded together: 2 MiB in the file."""

RECORD_BYTES: Final = 4
"""Bytes of a record."""

SYNC_NUMBER: Final = 64
"""Channel of the sync pulses of a T2 recording: the devices have at most 64 inputs, 0 to 63."""

RATE_TOLERANCE: Final = 0.01
"""Relative difference of rates from which a header is said to be wrong: a repetition rate is known far better, a duration less well."""

PS_PER_S: Final = 1e12

_SYNC_RECORD: Final = 1 << 6
"""Upper seven bits of a T2 record of a sync pulse: the special bit, and channel 0."""

_WITHOUT_SYNC_RECORDS: Final = {ptufile.PtuRecordType.PicoHarpT2}
"""T2 records of another layout, in which the sync input is channel 0 like any other."""


def read_ptu_chunks(path: Path, reading: Reading) -> Iterator[Piece]:
    """Read a recording as it was written.

    Parameters
    ----------
    path : Path
        The file; its ending does not matter.
    reading : Reading
        Gets counts and notes.

    Yields
    ------
    tuple[int64[n], uint8[n]]
        Times in picoseconds from the start of the recording, and channels: inputs counted from 0, sync pulses ``SYNC_NUMBER``.

    Raises
    ------
    StreamError
        If the file is not PTU, has a resolution that is not a whole number of picoseconds, or states no sync rate it needs.
    """
    with _opened(path) as file:
        yield from _t3(path, file, reading) if file.is_t3 else _t2(path, file, reading)


def _opened(path: Path) -> ptufile.PtuFile:
    """Open a recording and look at what its header has to say, which the library reads when it is first asked for."""
    try:
        file = ptufile.PtuFile(path)
    except (ptufile.PqFileError, ValueError, OSError) as wrong:  # a header that is none, cut off or no text
        raise StreamError(f"{path}: not a readable PTU recording ({wrong})") from None
    try:
        _ = file.record_type, file.is_t3, file.record_offset, file.global_resolution, file.tcspc_resolution
    except (KeyError, ValueError, NotImplementedError) as wrong:  # an entry is missing, or names a device the library does not know
        file.close()
        raise StreamError(
            f"{path}: not a readable PTU recording: its header lacks an entry, or names an unknown device ({wrong})"
        ) from None
    return file


def _t2(path: Path, file: ptufile.PtuFile, reading: Reading) -> Iterator[Piece]:
    unit_ps = _resolution_ps(path, file.global_resolution)
    pulses, ends_ps = 0, list[int]()
    for decoded in _decoded(path, file, reading):
        t_ps = to_picoseconds(_checked(path, decoded["time"], unit_ps), unit_ps)
        of_sync = t_ps[decoded["channel"] == SYNC_NUMBER]
        pulses += of_sync.size
        ends_ps = [*ends_ps[:1], *of_sync[:: max(1, of_sync.size - 1)].tolist()]
        yield t_ps, decoded["channel"].astype(np.uint8)
    stated_hz = float(file.tags.get("TTResult_SyncRate", 0))
    if stated_hz and pulses > 1 and ends_ps[-1] > ends_ps[0]:
        measured_hz = (pulses - 1) * PS_PER_S / (ends_ps[-1] - ends_ps[0])
        possible_hz = (measured_hz, measured_hz * float(file.tags.get("HWSync_Divider", 1)))  # devices differ in what they divide
        if all(abs(stated_hz / rate_hz - 1.0) > RATE_TOLERANCE for rate_hz in possible_hz):
            reading.notes.append(
                f"the header states a sync rate of {stated_hz:.6g} Hz, the sync channel shows {measured_hz:.6g} Hz: the data is believed"
            )


def _t3(path: Path, file: ptufile.PtuFile, reading: Reading) -> Iterator[Piece]:
    step_ps = float(_resolution_ps(path, file.tcspc_resolution))
    rate_hz = float(file.tags.get("TTResult_SyncRate", 0)) or (1.0 / file.global_resolution if file.global_resolution else 0.0)
    if not rate_hz > 0.0:
        raise StreamError(f"{path}: a T3 recording counts sync pulses, and its header states no sync rate to time them by")
    whole_ps, rest_ps = divmod(PS_PER_S / rate_hz, 1.0)
    last_sync, latest_ps = 0, 0.0
    for decoded in _decoded(path, file, reading):
        sync = _checked(path, decoded["time"], Fraction(1 + int(whole_ps)))
        since_ps = decoded["dtime"].astype(np.float64) * step_ps
        last_sync, latest_ps = int(sync.max()), max(latest_ps, float(since_ps.max()))
        # the whole part is exact; the fraction of a period is below one, so its product keeps a picosecond up to 2^53 pulses
        yield sync * np.int64(whole_ps) + np.rint(sync * rest_ps + since_ps).astype(np.int64), decoded["channel"].astype(np.uint8)
    duration_s = float(file.tags.get("TTResult_StopAfter", 0) or file.tags.get("MeasDesc_AcquisitionTime", 0)) * 1e-3
    if latest_ps > PS_PER_S / rate_hz + step_ps:
        reading.notes.append(
            f"the header's sync rate of {rate_hz:.6g} Hz is wrong: photons come {latest_ps:.0f} ps after a sync pulse,"
            f" later than its period of {PS_PER_S / rate_hz:.0f} ps; times are only as good as that rate"
        )
    elif duration_s and abs(last_sync / (rate_hz * duration_s) - 1.0) > RATE_TOLERANCE:
        reading.notes.append(
            f"the header states a sync rate of {rate_hz:.6g} Hz; {last_sync} pulses in {duration_s:.6g} s are"
            f" {last_sync / duration_s:.6g} Hz: times are only as good as the stated rate"
        )


def _decoded(path: Path, file: ptufile.PtuFile, reading: Reading) -> Iterator[NDArray[np.void]]:
    """Yield the detections piece by piece, their times counted on through all overflows."""
    announced = int(file.tags.get("TTResult_NumberOfRecords", 0))
    held, tail_bytes = divmod(max(0, path.stat().st_size - file.record_offset), RECORD_BYTES)
    if announced > held:
        reading.count_missing_records, reading.count_tail_bytes = announced - held, tail_bytes
    elif announced <= 0 and held:
        reading.notes.append(f"the header states no number of records, as after a crash; the {held} records in the file were read")
    left = min(announced, held) if announced > 0 else held
    carried = 0
    with path.open("rb") as raw:
        raw.seek(file.record_offset)
        while left:
            records = np.fromfile(raw, "<u4", min(left, CHUNK_RECORDS))
            if not records.size:
                break
            left -= records.size
            # a record of all zeros is a photon at counter zero: behind a piece it says how far the overflows within have counted
            decoded = file.decode_records(np.concatenate([records, np.zeros(1, records.dtype)]).astype(np.uint32))
            counted_on = int(decoded["time"][-1])
            decoded = decoded[:-1]
            if not file.is_t3 and file.record_type not in _WITHOUT_SYNC_RECORDS:
                decoded["channel"][records >> 25 == _SYNC_RECORD] = SYNC_NUMBER  # the library gives sync pulses and input 0 one number
            detections = decoded[decoded["channel"] >= 0]
            reading.count_other_records += int(decoded.size - detections.size)
            detections["time"] += carried
            carried += counted_on
            if detections.size:
                yield detections


def _resolution_ps(path: Path, seconds: float) -> Fraction:
    resolution_ps = seconds * PS_PER_S
    step_ps = round(resolution_ps)
    if step_ps < 1 or abs(resolution_ps - step_ps) > 1e-6 * step_ps:
        raise StreamError(f"{path}: a resolution of {resolution_ps!r} ps is not a whole number of picoseconds")
    return Fraction(step_ps)


def _checked(path: Path, ticks: NDArray[np.uint64], unit_ps: Fraction) -> NDArray[np.int64]:
    if int(ticks.max()) > most_ticks(unit_ps):
        seconds = float(ticks.max()) * float(unit_ps) * 1e-12
        raise StreamError(f"{path}: a tag {seconds:.3g} s after the start is not credible; the file is damaged")
    return ticks.astype(np.int64)
