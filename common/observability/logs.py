"""Structured logs: one JSON line an event on standard error, without a byte of key.

Every module asks ``logger(name)`` and states an event and its fields. What could be key (bytes, arrays, packed bits) is replaced by
its length before anything is written; exceptions go in as class and message, never with local variables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Severities by name, as in the configuration."""

_PLAIN = (str, int, float, bool, type(None))

LONGEST_TEXT = 2000
"""Characters of one field that are written; a message of a peer must not fill a disk."""


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger whose lines carry ``name`` as their component."""
    made: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return made


def configure_logs(level: Literal["debug", "info", "warning", "error"], form: Literal["json", "text"], out: TextIO | None = None) -> None:
    """Choose once how logs look and where they go.

    Parameters
    ----------
    level : str
        Least severity that is written.
    form : str
        ``json`` for machines, ``text`` for people.
    out : TextIO | None
        Standard error unless given.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            described_error,
            without_key,
            as_json if form == "json" else structlog.dev.ConsoleRenderer(colors=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out or sys.stderr),
        cache_logger_on_first_use=False,
    )


def described_error(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception under ``error`` by its class and message.

    Parameters
    ----------
    _logger, _method : object, str
        Ignored.
    event : dict
        The fields.

    Returns
    -------
    dict
        The same fields.
    """
    error = event.get("error")
    if isinstance(error, BaseException):
        event["error"], event["error_class"] = str(error), type(error).__name__
    return event


def without_key(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Keep what is a number, a text or made of these; of everything else only its class, and its length where it has one.

    Parameters
    ----------
    _logger, _method : object, str
        Ignored.
    event : dict
        The fields.

    Returns
    -------
    dict
        Fields that are fit to be written.
    """
    return {str(name): _harmless(value) for name, value in event.items()}


def as_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    """Return the fields as one line of JSON.

    Parameters
    ----------
    _logger, _method : object, str
        Ignored.
    event : dict
        Harmless fields.

    Returns
    -------
    str
        Without line breaks.
    """
    return json.dumps(dict(event), ensure_ascii=False)


def _harmless(value: object) -> object:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else value[:LONGEST_TEXT] + "…"
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict):
        return {str(name): _harmless(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_harmless(entry) for entry in value]
    size = f" of {len(value)}" if hasattr(value, "__len__") else ""
    return f"<{type(value).__name__}{size}>"
