"""What the two ends of a tunnel say to each other: one question, one answer, each one short line of JSON.

Key ids are no secret, but have to be authentic: ``common.tunnels.line`` carries the lines under mutual TLS. A message never holds key.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from common.errors import RemoteProtocolError
from common.service.settings import Section

MOST_BYTES = 1024
"""Longest line, its end included."""

LAST_ROUND = (1 << 53) - 1
"""JSON numbers are exact up to it."""

Round = Annotated[int, Field(ge=0, le=LAST_ROUND)]
"""Rounds count up from one, whichever end was started anew; zero stands for none."""

KEY_ID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
"""Number of a key, a UUID as nodes write it."""

KeyId = Annotated[str, Field(pattern=KEY_ID)]

Reason = Annotated[str, Field(max_length=400)]


class Check(Section):
    """How are you? ``kind`` tells messages apart."""

    kind: Literal["check"] = "check"


class Hold(Section):
    """Take the key ``key_id`` from your node and hold it, for the round ``round``; ``kind`` tells messages apart."""

    kind: Literal["hold"] = "hold"
    round: Round
    key_id: KeyId


class Use(Section):
    """Change to the key ``key_id``, held for the round ``round``; ``kind`` tells messages apart."""

    kind: Literal["use"] = "use"
    round: Round
    key_id: KeyId


class State(Section):
    """How the holding half stands.

    Attributes
    ----------
    highest : int
        Highest round it has heard of.
    used : str | None
        Id of the key it has changed to last; None for none since it was started.
    is_failing : bool
        Whether its tunnel shows that the keys of the two ends may differ.
    kind : str
        Tells messages apart.
    """

    kind: Literal["state"] = "state"
    highest: Round
    used: KeyId | None
    is_failing: bool


class Held(Section):
    """The key ``key_id`` is held, or used already; ``kind`` tells messages apart."""

    kind: Literal["held"] = "held"
    key_id: KeyId


class Used(Section):
    """The key ``key_id`` is in the tunnel; ``kind`` tells messages apart."""

    kind: Literal["used"] = "used"
    key_id: KeyId


class Refused(Section):
    """The change to the key ``key_id`` cannot go on.

    Attributes
    ----------
    is_final : bool
        Whether it never can; else asking again may help.
    reason : str
        Why, for people.
    kind, key_id : str
        Tell messages and changes apart.
    """

    kind: Literal["refused"] = "refused"
    key_id: KeyId
    is_final: bool
    reason: Reason


Question = Check | Hold | Use
Reply = State | Held | Used | Refused

QUESTIONS: TypeAdapter[Question] = TypeAdapter(Annotated[Question, Field(discriminator="kind")])
REPLIES: TypeAdapter[Reply] = TypeAdapter(Annotated[Reply, Field(discriminator="kind")])


def encoded(message: Question | Reply) -> bytes:
    """Return ``message`` as a line."""
    return message.model_dump_json().encode() + b"\n"


def question(line: bytes) -> Question:
    """Read a question.

    Parameters
    ----------
    line : bytes
        At most ``MOST_BYTES``, with the line's end.

    Returns
    -------
    Question
        Checked.

    Raises
    ------
    RemoteProtocolError
        If it is none.
    """
    if len(line) > MOST_BYTES or not line.endswith(b"\n"):
        raise RemoteProtocolError("a question that is too long, or not whole")
    try:
        return QUESTIONS.validate_json(line, strict=True)
    except ValidationError:
        raise RemoteProtocolError("a question that cannot be understood") from None


def reply(line: bytes) -> Reply:
    """Read an answer.

    Parameters
    ----------
    line : bytes
        At most ``MOST_BYTES``, with the line's end.

    Returns
    -------
    Reply
        Checked.

    Raises
    ------
    RemoteProtocolError
        If it is none.
    """
    if len(line) > MOST_BYTES or not line.endswith(b"\n"):
        raise RemoteProtocolError("an answer that is too long, or not whole")
    try:
        return REPLIES.validate_json(line, strict=True)
    except ValidationError:
        raise RemoteProtocolError("an answer that cannot be understood") from None
