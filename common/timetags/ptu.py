"""PicoQuant PTU recordings in T2 mode: the arrivals of real emitters.

Overflow and marker records are left out, channels start at 0, and times become int64 picoseconds. Comes from a laboratory's
recording; goes to source characterisation and to the emulator's recorded arrivals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import ptufile

from common.errors import StreamError
from common.timetags.tags import TimeTags

_PICOSECONDS_PER_SECOND: Final = 1e12


def read_ptu(path: Path, channels: dict[str, int] | None = None, sync_divider: int | None = None) -> TimeTags:
    """Read a T2 recording.

    Parameters
    ----------
    path : Path
        The PTU file; other endings are read too if the content is PTU.
    channels : dict[str, int] or None
        Channel number of each name; by default every channel that occurs is named by its number, ``"0"``, ``"1"``.
    sync_divider : int or None
        Divider, if one of the names is ``sync``; 1 by default.

    Returns
    -------
    TimeTags
        Arrivals in order of time, picoseconds from the start of the recording.

    Raises
    ------
    StreamError
        If the file is missing, is not PTU, is a T3 recording, has a resolution that is not a whole number of picoseconds, or
        holds no arrivals.
    """
    if not path.is_file():
        raise StreamError(f"{path}: no such recording")
    try:
        with ptufile.PtuFile(path) as file:
            if file.is_t3:
                raise StreamError(f"{path}: a T3 recording has no absolute times; record in T2 mode")
            resolution_ps = file.global_resolution * _PICOSECONDS_PER_SECOND
            records = file.decode_records()
    except (ValueError, OSError, KeyError, NotImplementedError) as wrong:
        raise StreamError(f"{path}: not a readable PTU recording ({wrong})") from None
    step_ps = round(resolution_ps)
    if step_ps < 1 or abs(resolution_ps - step_ps) > 1e-6 * step_ps:
        raise StreamError(f"{path}: a resolution of {resolution_ps!r} ps is not a whole number of picoseconds")
    arrivals = records[records["channel"] >= 0]
    if not arrivals.size:
        raise StreamError(f"{path}: the recording holds no arrivals")
    t_ps = arrivals["time"].astype(np.int64) * step_ps
    channel = arrivals["channel"].astype(np.uint8)
    names = {str(number): int(number) for number in np.unique(channel)} if channels is None else channels
    divider = (1 if "sync" in names else 0) if sync_divider is None else sync_divider
    return TimeTags.from_unsorted(t_ps, channel, names, divider)
