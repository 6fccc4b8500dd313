#!/usr/bin/env python3
"""Whether the service of this container is alive, for ``HEALTHCHECK``: exit status 0, or 1 and one line that says why not.

A node is asked over HTTP, at ``/healthz``, or over its admin socket where it serves none; the emulated fibre over its socket for
actuators. A connection that is closed at our end has to be closed at the other: only an event loop that runs does so.
"""

from __future__ import annotations

import http.client
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any

CONFIGURATION = Path("/etc/qkdlink/config.toml")
SECONDS = 8.0


def check(path: Path) -> None:
    """Ask the service of the configuration at ``path``; raises OSError where it gives no answer or a bad one."""
    settings = tomllib.loads(path.read_text(encoding="utf-8"))
    if "dashboard" in settings:
        check_page(int(settings["dashboard"]["bind"].rpartition(":")[2]))
    else:
        check_socket(path.parent / socket_of(settings))


def socket_of(settings: dict[str, Any]) -> str:
    """Return the path of the socket that a service with these ``settings`` serves to this machine alone."""
    if "admin" in settings:
        return str(settings["admin"]["socket"])
    scheme, _, address = str(settings["serve"]["control"]).partition(":")
    if scheme != "unix":
        raise OSError(f"serve.control {scheme}:{address} is no unix socket")
    return address


def check_page(port: int) -> None:
    """Ask for the health of a node whose page is served at ``port``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise OSError(f"{answer.status}: {answer.read(1000).decode(errors='replace')}")
    finally:
        connection.close()


def check_socket(path: Path) -> None:
    """Open a connection to the socket at ``path``, close our end, and wait until the other is closed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(path))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


if __name__ == "__main__":
    try:
        check(CONFIGURATION)
    except (OSError, http.client.HTTPException, KeyError, ValueError) as failed:
        sys.exit(f"not alive: {failed or type(failed).__name__}")
