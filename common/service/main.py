"""Runs a node as a process: configuration in, exit status out, one line for whatever is wrong at the start."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

import uvloop

from common.errors import QkdError
from common.observability.logs import configure_logs, logger
from common.service.exits import exit_status
from common.service.node import Node, NodeKind
from common.service.settings import load_settings
from common.service.startup import check_packages, harden

LEAVING_SECONDS = 0.2
"""How long threads that still compute may take to end by themselves once all else has stopped."""


def run_service(kind: NodeKind, config: Path) -> int:
    """Run a node until it is told to stop.

    Parameters
    ----------
    kind : NodeKind
        Which end.
    config : Path
        Its configuration file.

    Returns
    -------
    int
        0 stopped as asked, 2 configuration, 3 peer, 5 authentication, 1 anything else.
    """
    try:
        harden()
        check_packages(kind.package)
        settings = load_settings(config, kind.settings)
        configure_logs(settings.log.level, settings.log.format)
        failure = uvloop.run(_until_told(Node(kind, settings)))
    except QkdError as refused:
        failure = refused
    if failure is None:
        logger("node").info("stopped", node=kind.name)
        return 0
    sys.stderr.write(f"{kind.name}: {failure}\n")
    return exit_status(failure)


def leave(status: int) -> None:
    """End the process with ``status``, also where a computation still holds a thread: everything durable is durable by now."""
    sys.stdout.flush()
    sys.stderr.flush()
    threads = [thread for thread in threading.enumerate() if thread is not threading.current_thread() and not thread.daemon]
    for thread in threads:
        thread.join(LEAVING_SECONDS)
    if any(thread.is_alive() for thread in threads):
        os._exit(status)
    sys.exit(status)


async def _until_told(node: Node) -> Exception | None:
    """Run a node until SIGTERM, SIGINT or the admin socket stops it; SIGHUP has it read files again."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    reloading: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.create_task(node.reload())
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    return await node.run(stopping)
