"""An emulated run on disk: the record in Alice's folder, the tags in Bob's, nothing of the truth anywhere.

Stretches are written as they come, so that a run may be longer than memory. Comes from ``link`` or ``recorded``; read by the offline
distillation as if a laboratory had written it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from common.emulator.link import Emulation
from common.errors import ConfigurationError
from common.timetags.emission_file import write_emission
from common.timetags.hdf5 import TagWriter


@dataclass(frozen=True, slots=True)
class WrittenRun:
    """Where a run was written.

    Attributes
    ----------
    emission_path, tags_path : Path
        ``alice/emission.h5`` and ``bob/tags.h5`` in the folder.
    count_tags : int
        Tags written, reference pulses included.
    """

    emission_path: Path
    tags_path: Path
    count_tags: int


def write_run(folder: Path, stretches: Iterable[Emulation]) -> WrittenRun:
    """Write a run.

    Parameters
    ----------
    folder : Path
        Created with its two subfolders, mode 0700; files of an earlier run are replaced.
    stretches : iterable of Emulation
        One or more, in order of time, as ``emulate_stretches`` yields them.

    Returns
    -------
    WrittenRun
        The paths.

    Raises
    ------
    ConfigurationError
        If there is no stretch.
    """
    emission_path, tags_path = folder / "alice" / "emission.h5", folder / "bob" / "tags.h5"
    remaining = iter(stretches)
    first = next(remaining, None)  # what is wrong with the run shows before a folder is made
    if first is None:
        raise ConfigurationError("emulated run: nothing to write")
    folder.mkdir(parents=True, exist_ok=True)
    for path in (emission_path, tags_path):
        path.parent.mkdir(mode=0o700, exist_ok=True)
    unfinished = tags_path.with_name(tags_path.name + ".part")
    writer = TagWriter(unfinished, first.tags.channels, first.tags.sync_divider, "emulated time tags of a QKD receiver")
    count_tags = 0
    try:
        for stretch in chain([first], remaining):
            writer.append(stretch.tags.t_ps, stretch.tags.channel)
            count_tags += len(stretch.tags)
    except BaseException:
        writer.close()
        unfinished.unlink(missing_ok=True)
        raise
    writer.close()
    write_emission(emission_path, first.emission)
    unfinished.replace(tags_path)
    return WrittenRun(emission_path, tags_path, count_tags)
