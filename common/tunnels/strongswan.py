"""A connection of strongSwan's IKE daemon, kept over its socket (vici): every key is a postquantum preshared key (PPK) of its own.

The PPK is mixed into the keys of an IKE_SA when that is authenticated, not when it is rekeyed; so every key brings a new IKE_SA, and the
old one ends once the new one stands. The key id is the PPK_ID, which both ends send each other and so cannot take different keys for the
same one. An end that holds loads the key and the connection; the end that ordered does so after it, and establishes.

References
----------
[RFC8784] sections 3 and 4; strongSwan, *Versatile IKE Control Interface* (vici).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import vici
from vici.exception import CommandException, DeserializationException, SessionException

from common.errors import TunnelError
from common.service.unix_path import reachable
from common.tunnels.settings import StrongSwanPeer

T = TypeVar("T")

ANSWER_SECONDS = 5.0
"""How long the daemon may be silent."""

ESTABLISH_SECONDS = 15.0
"""How long a new IKE_SA may take."""


class StrongSwanTunnel:
    """One connection.

    Parameters
    ----------
    path : Path
        The daemon's socket.
    settings : StrongSwanPeer
        The connection.
    """

    def __init__(self, path: Path, settings: StrongSwanPeer) -> None:
        self._path = path
        self._settings = settings
        self._establishes = settings.connect is not None
        self._last: str | None = None

    async def install(self, key_id: str, key: bytearray) -> None:
        """Load ``key`` under its number ``key_id`` and a connection that asks for it; the end that ordered it establishes anew."""
        await self._asked(lambda session: self._install(session, key_id, bytes(key)))

    async def close(self) -> None:
        """End the connection and unload its keys: without a PPK it cannot be established again."""
        await self._asked(self._close)

    async def proven_seconds_ago(self) -> float | None:
        """Return 0 while an IKE_SA stands that was made with a PPK, else None."""
        return await self._asked(lambda session: 0.0 if any(_has_ppk(sa) for sa in self._sas(session)) else None)

    def _install(self, session: vici.Session, key_id: str, key: bytes) -> None:
        name = self._settings.connection
        session.load_shared({"type": "ppk", "id": self._named(key_id), "owners": [key_id], "data": key})
        session.load_conn({name: _as_vici(self._settings.settings) | {"ppk_id": key_id, "ppk_required": "yes"}})
        kept = {key_id, self._last}  # the end that waits keeps the key before, until it knows that the one after it was established
        if self._establishes:
            before = [sa["uniqueid"] for sa in self._sas(session)]
            milliseconds = str(round(1000 * ESTABLISH_SECONDS))
            _heard_out(session.initiate({"ike": name, "child": self._settings.child, "timeout": milliseconds}))
            for number in before:
                self._terminate(session, {"ike-id": number})
            kept = {key_id}
        self._unload(session, kept)
        self._last = key_id

    def _close(self, session: vici.Session) -> None:
        self._unload(session, set())
        self._last = None
        if self._sas(session):
            self._terminate(session, {"ike": self._settings.connection, "force": "yes"})

    def _unload(self, session: vici.Session, kept: set[str | None]) -> None:
        """Unload the keys of this connection but those ``kept``; also those that were loaded before we were started."""
        names = {self._named(key_id) for key_id in kept if key_id is not None}
        for key in session.get_shared().get("keys", []):
            if key.decode(errors="replace").startswith(self._named("")) and key.decode() not in names:
                session.unload_shared({"id": key})

    def _named(self, key_id: str) -> str:
        """Return what the daemon calls a key of this connection."""
        return f"qkd {self._settings.connection} {key_id}"

    def _sas(self, session: vici.Session) -> list[dict[str, bytes]]:
        name = self._settings.connection
        return [entry[name] for entry in session.list_sas({"ike": name}) if name in entry]

    @staticmethod
    def _terminate(session: vici.Session, named: dict[str, str | bytes]) -> None:
        with contextlib.suppress(CommandException):  # it has ended by itself, or ends without an answer of the other end
            _heard_out(session.terminate(named | {"timeout": str(round(1000 * ANSWER_SECONDS))}))

    async def _asked(self, work: Callable[[vici.Session], T]) -> T:
        return await asyncio.to_thread(self._in_session, work)

    def _in_session(self, work: Callable[[vici.Session], T]) -> T:
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
            # The kernel's own limit: the library takes Python's away while it reads.
            limit = struct.pack("ll", int(ESTABLISH_SECONDS + ANSWER_SECONDS), 0)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                connection.setsockopt(socket.SOL_SOCKET, option, limit)
            try:
                with reachable(self._path) as address:
                    connection.connect(address)
                return work(vici.Session(connection))
            except (CommandException, SessionException, DeserializationException) as refused:
                raise TunnelError(f"connection {self._settings.connection}: {refused}") from None
            except OSError as gone:
                raise TunnelError(f"strongswan.socket {self._path}: {gone.strerror or gone}; is the IKE daemon running?") from None


def _has_ppk(sa: dict[str, bytes]) -> bool:
    return sa.get("state") == b"ESTABLISHED" and sa.get("ppk") == b"yes"


def _heard_out(events: Iterator[Any]) -> None:
    """Take in all that a command reports, until it ends."""
    for _ in events:
        pass


def _as_vici(value: Any) -> Any:  # noqa: ANN401 - a tree of whatever TOML has
    """Return a tree of TOML as vici takes it: texts, lists and sections."""
    if isinstance(value, dict):
        return {str(name): _as_vici(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_as_vici(entry) for entry in value]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
