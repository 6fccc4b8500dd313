"""Structured logs: one JSON line an event on standard error, without a byte of key.

Every module asks ``logger(name)`` and states an event and its fields. What could be key (bytes, arrays, packed bits) is replaced by
its length before anything is written; exceptions go in as class and message, never with local variables.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Literal, TextIO, cast

import structlog

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Severities by name, as in the configuration."""

_PLAIN = (str, int, float, bool, type(None))

LONGEST_TEXT = 2000
"""Characters of one field that are written; a message of a peer must not fill a disk."""

FIRST_SILENCE_SECONDS = 1.0
LONGEST_SILENCE_SECONDS = 60.0
"""How long a line that anybody can provoke stays away after it was written: at first, and in the end."""


def logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return the logger whose lines carry ``name`` as their component."""
    made: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return made


class SparingLogger:
    """Writes warnings that anybody on the network can provoke: each event at once, then ever more seldom while it goes on.

    Parameters
    ----------
    name : str
        The component.
    now : callable
        Seconds.
    """

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._now = now
        self._due: dict[str, tuple[float, float]] = {}

    def warning(self, event: str, **fields: Any) -> None:
        """Write a line, or leave it out because one like it was written a short while ago.

        Parameters
        ----------
        event : str
            What happened; a fixed text, for each has a pause of its own.
        fields : object
            What belongs to it; a count among them tells of what was left out.
        """
        now = self._now()
        due, silence = self._due.get(event, (now, 0.0))
        if now < due:
            return
        goes_on = now < due + LONGEST_SILENCE_SECONDS
        silence = min(LONGEST_SILENCE_SECONDS, max(FIRST_SILENCE_SECONDS, 2 * silence)) if goes_on else FIRST_SILENCE_SECONDS
        self._due[event] = now + silence, silence
        logger(self._name).warning(event, **fields)


class _Unfailing:
    """Where lines go; a disk that is full or a reader that has gone costs the line and nothing else."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> None:
        """Write ``text``, if that can be done."""
        with contextlib.suppress(OSError):
            self._out.write(text)

    def flush(self) -> None:
        """Pass on what was written, if that can be done."""
        with contextlib.suppress(OSError):
            self._out.flush()


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
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unfailing(out or sys.stderr))),
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
