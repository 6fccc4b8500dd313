"""How a request is refused: a status, a message and details, the same shape for every error of every route.

References
----------
ETSI GS QKD 014 V1.1.1 (2019-02): error data format and status codes; the texts in capitals below are its own.
"""

from __future__ import annotations

from typing import Any

SIZE_MULTIPLE = "size shall be a multiple of 8"
MANDATORY_UNKNOWN = "not all extension_mandatory parameters are supported"
MANDATORY_UNMET = "not all extension_mandatory request options could be met"
OPTIONAL_UNHANDLED = "not all extension_optional request options handled"
KEYS_NOT_FOUND = "one or more keys specified are not found on KME"


class RefusalError(Exception):
    """A request that is not carried out.

    Parameters
    ----------
    status : int
        HTTP status.
    message : str
        What is wrong.
    details : dict
        More about it.

    Attributes
    ----------
    headers : dict[str, str]
        Sent beside it.
    """

    def __init__(self, status: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.headers: dict[str, str] = {}

    @property
    def body(self) -> dict[str, Any]:
        """What the answer says; ``details`` is a list of objects, never missing."""
        return {"message": self.message, "details": [{name: value} for name, value in self.details.items()]}


def bad_request(message: str, **details: Any) -> RefusalError:
    """Return a refusal of what cannot be understood, with a ``message`` and ``details``."""
    return RefusalError(400, message, **details)


def unauthorised(message: str, **details: Any) -> RefusalError:
    """Return a refusal of who may not ask this, with a ``message`` and ``details``."""
    return RefusalError(401, message, **details)


def unavailable(message: str, **details: Any) -> RefusalError:
    """Return a refusal of what cannot be done at present, with a ``message`` and ``details``; asking later may succeed."""
    return RefusalError(503, message, **details)
