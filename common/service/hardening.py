"""What a process that holds key forbids itself: core dumps, and being traced by others of its user; services and commands alike."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

PR_SET_DUMPABLE = 4
"""prctl(2): whether the process may be dumped or traced."""


def forbid_dumps() -> None:
    """Forbid core dumps and tracing of this process.

    Raises
    ------
    OSError
        If the system does not take it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
