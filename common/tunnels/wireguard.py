"""A peer of a WireGuard interface, kept by ``wg``: the preshared key goes in by its standard input, never by its command line or a file.

WireGuard mixes the preshared key into every handshake, two minutes apart under traffic; a session lasts three minutes at most. A key is in
use from the next handshake on. The age of the last handshake proves that both ends have the same one [Donenfeld2017].

References
----------
[Donenfeld2017] sections 5.2 (preshared key) and 6.1 (constants); wg(8).
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import time

from common.errors import ConfigurationError, TunnelError
from common.randomness import SystemRandomness
from common.tunnels.settings import KEY_BYTES, WireGuardPeer

PROGRAM = "wg"
"""Of the package wireguard-tools."""

PROGRAM_SECONDS = 10.0
"""How long it may take."""


class WireGuardTunnel:
    """One peer of one interface.

    Parameters
    ----------
    settings : WireGuardPeer
        Which.

    Raises
    ------
    ConfigurationError
        If ``wg`` is not installed, or the tunnel may have to be closed and its allowed IPs are not given.
    """

    def __init__(self, settings: WireGuardPeer) -> None:
        if shutil.which(PROGRAM) is None:
            raise ConfigurationError(f"{PROGRAM} is not on the path; install wireguard-tools")
        if settings.when_short == "close" and not settings.allowed_ips:
            raise ConfigurationError("allowed_ips has to be given where when_short is close; closing takes them away, keys give them back")
        self._settings = settings

    async def install(self, _key_id: str, key: bytearray) -> None:
        """Make ``key`` the preshared key; where the configuration has allowed IPs, the peer is given them again.

        Parameters
        ----------
        _key_id : str
            WireGuard names keys by nothing.
        key : bytearray
            32 bytes.
        """
        await self._set(key, ",".join(self._settings.allowed_ips) if self._settings.allowed_ips else None)

    async def close(self) -> None:
        """Take the peer's allowed IPs away, so that nothing passes at once; and put a random key, so that no handshake succeeds.

        Raises
        ------
        TunnelError
            If the configuration has no allowed IPs: no key could give them back.
        """
        if not self._settings.allowed_ips:
            raise TunnelError("not closed: allowed_ips is not given, so no key could open it again")
        key = bytearray(SystemRandomness().draw(KEY_BYTES))
        await self._set(key, "")
        key[:] = bytes(len(key))

    async def proven_seconds_ago(self) -> float | None:
        """Return the age of the last handshake, or None if there was none.

        Raises
        ------
        TunnelError
            If the interface has no such peer.
        """
        printed = await self._run("show", self._settings.interface, "latest-handshakes")
        for line in printed.decode(errors="replace").splitlines():
            peer, _, at = line.partition("\t")
            if peer == self._settings.public_key:
                return max(0.0, time.time() - int(at)) if at.isdecimal() and int(at) else None
        raise TunnelError(f"interface {self._settings.interface} has no peer {self._settings.public_key}; add it, with wg-quick or by hand")

    async def _set(self, key: bytearray, allowed_ips: str | None) -> None:
        await self.proven_seconds_ago()  # wg would make a peer that is not there
        arguments = ["set", self._settings.interface, "peer", self._settings.public_key, "preshared-key", "/dev/stdin"]
        await self._run(*arguments, *([] if allowed_ips is None else ["allowed-ips", allowed_ips]), given=base64.b64encode(key) + b"\n")

    @staticmethod
    async def _run(*arguments: str, given: bytes = b"") -> bytes:
        try:
            done = await asyncio.to_thread(
                subprocess.run,
                [PROGRAM, *arguments],  # a list of arguments, and none of them is key
                input=given,
                capture_output=True,
                timeout=PROGRAM_SECONDS,
                check=False,
            )
        except OSError as refused:
            raise TunnelError(f"{PROGRAM}: {refused.strerror}") from None
        except subprocess.TimeoutExpired:
            raise TunnelError(f"{PROGRAM} {arguments[0]} did not end within {PROGRAM_SECONDS:g} s") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[:300]
            raise TunnelError(f"{PROGRAM} {arguments[0]} {arguments[1]}: {said or f'exit {done.returncode}'}")
        return done.stdout
