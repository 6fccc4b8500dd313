"""The exit status that every command and every service keeps to; the table in ``docs/reference/commands.md`` says the same."""

from __future__ import annotations

from common.errors import (
    AuthenticationError,
    ConfigurationError,
    KeyExhaustedError,
    PeerNotMetError,
    ProtocolError,
    QkdError,
    StreamError,
    TransportError,
)

EXIT_STATUS: tuple[tuple[type[QkdError], int], ...] = (
    (ConfigurationError, 2),
    (KeyExhaustedError, 4),
    (PeerNotMetError, 3),
    (AuthenticationError, 5),
    (ProtocolError, 3),
    (TransportError, 3),
    (StreamError, 2),
)
"""Exit status by error; anything else is 1."""


def exit_status(error: Exception) -> int:
    """Return the exit status that ``error`` stands for; 1 for any that is not listed."""
    return next((status for kind, status in EXIT_STATUS if isinstance(error, kind)), 1)
