"""Runs a module as a program that ends when whoever started it does, however that one ended.

``python -P -m common.cli.tied PARENT MODULE ARGUMENTS …``, where PARENT is the process number of whoever starts it. A demonstration that is
killed must leave no service behind; services that are run for their own sake are not started through this.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal we get when the thread that started us is gone."""


def end_with(parent: int) -> None:
    """Ask to be killed when ``parent`` is gone; end at once where it already is."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"process {parent}, which started this one, is gone")


def main() -> None:
    """Run what the command line names."""
    parent, module, *arguments = sys.argv[1:]
    end_with(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
