"""SIGTERM while a service still starts. Light on purpose: the mains call it before they import anything else of ours."""

from __future__ import annotations

import signal
import sys


def stop_while_starting() -> None:
    """Have SIGTERM end the process with status 0 until the service has a better answer to it.

    Nothing durable is under way yet. Without this the first process of a container would not heed the signal at all (pid_namespaces(7)),
    and would be killed once the patience of whoever stops it is over.
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
