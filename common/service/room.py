"""How much room the disk has that holds a node's state: key is not distilled into a disk that is about to fill up.

A full disk loses nothing by itself, for the store undoes what it cannot write; but a block that both ends have worked for would be lost,
and so would the next one, and the next. The node looks here before a session and every few seconds.
"""

from __future__ import annotations

import os
from pathlib import Path

from common.observability.logs import logger

LEAST_FREE_BYTES = 32 << 20
"""Room below which distillation waits: the store's log alone may grow to half of it."""


class DiskRoom:
    """Watches the disk of one folder.

    Parameters
    ----------
    folder : Path
        Any folder on it.
    least_free_bytes : int
        Room below which there counts as none.
    """

    def __init__(self, folder: Path, least_free_bytes: int = LEAST_FREE_BYTES) -> None:
        self._folder = folder
        self._least_free_bytes = least_free_bytes
        self._was_short = False

    @property
    def free_bytes(self) -> int:
        """Room left for this user."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize

    def is_short(self) -> bool:
        """Say whether there is too little room; a change is logged, once.

        Returns
        -------
        bool
            True where distillation should wait.
        """
        free_bytes = self.free_bytes
        is_short = free_bytes < self._least_free_bytes
        if is_short and not self._was_short:
            logger("node").error(
                "disk nearly full: distillation waits",
                folder=str(self._folder),
                free_bytes=free_bytes,
                wanted_bytes=self._least_free_bytes,
                advice="make room on the disk that holds node.state; the node then goes on by itself",
            )
        elif self._was_short and not is_short:
            logger("node").info("disk has room again", folder=str(self._folder), free_bytes=free_bytes)
        self._was_short = is_short
        return is_short
