"""How a node is reached: its address, TLS with certificates at both ends, and a socket that holds an answer to its time.

For ``common.api.keys``, which asks over it.
"""

from __future__ import annotations

import http.client
import select
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from common.errors import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class TimedSocket(ssl.SSLSocket):
    """Receives up to a moment: a timeout alone begins anew with every byte of a node that drips.

    Attributes
    ----------
    ends_at : float | None
        Monotonic; None before the first request.
    """

    ends_at: float | None = None

    def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive, and no longer than up to the moment.

        Parameters
        ----------
        buffer : Buffer
            Filled from its beginning.
        nbytes, flags : int | None, int
            At most so many bytes, and how; see ``socket.recv_into``.

        Returns
        -------
        int
            How many bytes came; 0 at the end.

        Raises
        ------
        TimeoutError
            If the moment has come.
        """
        if self.ends_at is not None:
            left_seconds = self.ends_at - time.monotonic()
            if left_seconds <= 0.0:
                raise TimeoutError("the answer is too slow")
            self.settimeout(left_seconds)
        return super().recv_into(buffer, nbytes, flags)


def host_of(address: str) -> tuple[str, int]:
    """Read an address.

    Parameters
    ----------
    address : str
        ``https://HOST:PORT``.

    Returns
    -------
    tuple[str, int]
        Host and port.

    Raises
    ------
    ConfigurationError
        If it is none.
    """
    wrong = ConfigurationError(f"address {address!r}: write https://HOST:PORT")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme != "https" or not parts.hostname or port is None or parts.path.strip("/") or parts.query or parts.username:
        raise wrong
    return parts.hostname, port


def context_of(certificate: Path | str, key: Path | str, authority: Path | str) -> ssl.SSLContext:
    """Make what we show a node, and by what we know it.

    Parameters
    ----------
    certificate, key : Path | str
        Those of the application, PEM.
    authority : Path | str
        Vouches for the node's certificate, PEM.

    Returns
    -------
    ssl.SSLContext
        TLS 1.2 or later; its sockets are ``TimedSocket``.

    Raises
    ------
    ConfigurationError
        If a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = TimedSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as refused:
        raise ConfigurationError(f"authority {authority}: {reason_of(refused)}") from None
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # a key under a password is refused; nobody sits there to type it
    except (OSError, ssl.SSLError) as refused:
        raise ConfigurationError(f"certificate {certificate}, key {key}: {reason_of(refused)}") from None
    return context


def is_ended(connection: http.client.HTTPSConnection) -> bool:
    """Say of a ``connection`` whether the node has hung up since the last answer: something can be read, and nothing was asked."""
    if connection.sock is None:
        return False
    waiting = select.poll()  # select knows no descriptor above 1023
    waiting.register(connection.sock, select.POLLIN)
    return bool(waiting.poll(0))


def reason_of(refused: Exception) -> str:
    """Say in a few words what OpenSSL or the system did not like of what was ``refused``."""
    if isinstance(refused, ssl.SSLError) and refused.reason:
        return str(refused.reason).lower().replace("_", " ")
    if isinstance(refused, TimeoutError):
        return "none came in time"
    return (refused.strerror if isinstance(refused, OSError) else None) or str(refused) or type(refused).__name__
