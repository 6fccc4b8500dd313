"""What can be turned on the emulated link while it runs: one JSON line in, one line back.

``{"set": "eve", "value": "intercept-resend=0.1"}`` and ``{"get": "eve"}`` are answered with position and link time. A laboratory answers
the same lines from its own script. Lines come from ``process``, which calls between two stretches; positions go to the ``LinkEmulator``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from common.emulator.drift import Drift
from common.emulator.eavesdropper import eavesdropper_from_text, text_of
from common.emulator.link import LinkEmulator
from common.errors import ConfigurationError

MOST_LINE_BYTES: Final = 4096
"""Length of a request."""


@dataclass(frozen=True, slots=True)
class Actuator:
    """Something that can be turned.

    Attributes
    ----------
    position : callable
        Returns where it stands, fit for JSON.
    move : callable
        Takes a value from JSON; raises ``ConfigurationError`` if it makes no sense.
    """

    position: Callable[[], Any]
    move: Callable[[Any], None]


class ActuatorBoard:
    """All actuators of one process.

    Parameters
    ----------
    actuators : dict[str, Actuator]
        By name.
    link_seconds : callable
        Time of sending so far.
    """

    def __init__(self, actuators: dict[str, Actuator], link_seconds: Callable[[], float]) -> None:
        self._actuators = actuators
        self._link_seconds = link_seconds

    def answer(self, line: bytes) -> bytes:
        """Carry out one request.

        Parameters
        ----------
        line : bytes
            JSON with ``get``, or with ``set`` and ``value``.

        Returns
        -------
        bytes
            JSON with name, position and link time, or with an error; ends with a line end.
        """
        try:
            answer = self._carried_out(line)
        except ConfigurationError as refused:
            answer = {"error": str(refused)}
        return json.dumps(answer).encode() + b"\n"

    def _carried_out(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            raise ConfigurationError("actuator request: not JSON; write one object a line") from None
        if not isinstance(request, dict) or set(request) not in ({"get"}, {"set", "value"}):
            raise ConfigurationError('actuator request: write {"get": NAME} or {"set": NAME, "value": VALUE}')
        name = request.get("get", request.get("set"))
        actuator = self._actuators.get(name) if isinstance(name, str) else None
        if actuator is None:
            raise ConfigurationError(f"actuator {name!r}: unknown; there are {', '.join(self._actuators)}")
        if "set" in request:
            actuator.move(request["value"])
        return {"name": name, "position": actuator.position(), "link_seconds": self._link_seconds()}


def link_actuators(link: LinkEmulator) -> dict[str, Actuator]:
    """Return the actuators of an emulated ``link``: ``eve`` and ``loss_db``, and Bob's plates or his phase shifter."""

    def move_eve(value: object) -> None:
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"eve: {value!r}; give a text like intercept-resend=0.1, or null")
        link.eavesdropper = None if value is None else eavesdropper_from_text(value)

    def move_loss(value: object) -> None:
        link.loss_db = number("loss_db", value)

    board = {"eve": Actuator(lambda: text_of(link.eavesdropper), move_eve), "loss_db": Actuator(lambda: link.loss_db, move_loss)}
    return board | {name: _turned(link.drift, name) for name in link.drift.positions}


def _turned(drift: Drift, name: str) -> Actuator:
    return Actuator(lambda: drift.positions[name], lambda value: drift.turn(name, number(name, value)))


def number(name: str, value: object) -> float:
    """Return a number from JSON.

    Parameters
    ----------
    name : str
        Whose it is, for the message.
    value : object
        What was sent.

    Returns
    -------
    float
        The number.

    Raises
    ------
    ConfigurationError
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"{name}: {value!r} is not a number")
    return float(value)
