"""The rules of ETSI GS QKD 014: a request goes in, what it asks for or a refusal comes out. Nothing here waits, stores or sends.

Unknown members of a request are ignored, as the standard says; whatever is known has to be right. A body that is no JSON is refused and
never taken for one that asks for the defaults; an empty one is.

References
----------
ETSI GS QKD 014 V1.1.1 (2019-02), clauses 5 (methods) and 6 (data formats).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn
from urllib.parse import unquote

from common.delivery.refusals import (
    KEYS_NOT_FOUND,
    MANDATORY_UNKNOWN,
    MANDATORY_UNMET,
    OPTIONAL_UNHANDLED,
    SIZE_MULTIPLE,
    RefusalError,
    bad_request,
)
from common.keystore.orders import MOST_SAE_LETTERS

PREFIX = "/api/v1/keys/"

METHODS = {"status": ("GET",), "enc_keys": ("GET", "POST"), "dec_keys": ("GET", "POST")}
"""What may be asked, and how."""

PROVENANCE = "provenance"
"""Extension: say for each key from which blocks it comes. Its value is true or false."""

MOST_EPSILON = "epsilon_secrecy_at_most"
"""Extension: only key of blocks whose secrecy parameter is at most this number."""

MOST_BODY_BYTES = 1 << 16
"""Longest body of a request."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for.

    Attributes
    ----------
    key_size, min_key_size, max_key_size : int
        Length of a key unless said otherwise, and the shortest and longest there are, bits.
    max_key_per_request : int
        Keys at a time.
    max_sae_id_count : int
        Further applications that may share a key.
    epsilon_secrecy : float
        What the link promises of every block that it makes now.
    """

    key_size: int = 256
    min_key_size: int = 8
    max_key_size: int = 8192
    max_key_per_request: int = 128
    max_sae_id_count: int = 8
    epsilon_secrecy: float = 1e-10


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: an ``action`` of ``METHODS``, and the application ``sae`` on the other side of the key."""

    action: str
    sae: str


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """What ``enc_keys`` asks for.

    Attributes
    ----------
    number : int
        Keys.
    size_bits : int
        Length of each.
    slaves : tuple[str, ...]
        Who may have them at the other end, the one of the path first.
    provenance : bool
        Whether to say where they come from.
    epsilon, epsilon_wished : float | None
        Highest secrecy parameter that the blocks they come from may have, as a condition and as a wish.
    unhandled : tuple[str, ...]
        Optional extensions that are not handled.
    """

    number: int
    size_bits: int
    slaves: tuple[str, ...]
    provenance: bool = False
    epsilon: float | None = None
    epsilon_wished: float | None = None
    unhandled: tuple[str, ...] = ()


def target_of(path: str) -> Target | None:
    """Read the path of a request.

    Parameters
    ----------
    path : str
        As sent, still percent-encoded.

    Returns
    -------
    Target | None
        None where there is nothing under it.

    Raises
    ------
    RefusalError
        400 if the application's name cannot be one.
    """
    sae, separator, action = path.removeprefix(PREFIX).rpartition("/")
    if not path.startswith(PREFIX) or not separator or action not in METHODS or not sae or "/" in sae:
        return None
    return Target(action, _name(unquote(sae, errors="strict") if _decodes(sae) else "", "SAE_ID"))


def key_request(target: Target, method: str, query: Sequence[tuple[str, str]], body: bytes, limits: Limits) -> KeyRequest:
    """Read a request for ``enc_keys``.

    Parameters
    ----------
    target : Target
        Names the slave.
    method : str
        ``GET`` or ``POST``.
    query : sequence of tuple
        Names and values of the query.
    body : bytes
        Of a POST.
    limits : Limits
        What may be asked for.

    Returns
    -------
    KeyRequest
        Within the limits.

    Raises
    ------
    RefusalError
        400 if it is not.
    """
    asked = _queried(query, ("number", "size")) if method == "GET" else _object(body, may_be_empty=True)
    number = _integer(asked.get("number", 1), "number")
    size = _integer(asked.get("size", limits.key_size), "size")
    if not 1 <= number <= limits.max_key_per_request:
        raise bad_request(f"number shall be 1 to {limits.max_key_per_request}", number=number)
    if size % 8:
        raise bad_request(SIZE_MULTIPLE, size=size)
    if not limits.min_key_size <= size <= limits.max_key_size:
        raise bad_request(f"size shall be {limits.min_key_size} to {limits.max_key_size}", size=size)
    further = [_name(name, "additional_slave_SAE_IDs") for name in _list(asked, "additional_slave_SAE_IDs")]
    if len(further) > limits.max_sae_id_count:
        raise bad_request(f"additional_slave_SAE_IDs shall be at most {limits.max_sae_id_count}", count=len(further))
    mandatory, optional = (_extensions(asked, name) for name in ("extension_mandatory", "extension_optional"))
    met, unmet = _handled(mandatory, limits)
    if unknown := [name for name in mandatory if name not in {PROVENANCE, MOST_EPSILON}]:
        raise bad_request(MANDATORY_UNKNOWN, unsupported=unknown)
    if unmet:
        raise bad_request(MANDATORY_UNMET, unmet=unmet)
    also, unhandled = _handled(optional, limits)
    return KeyRequest(
        number,
        size,
        tuple(dict.fromkeys((target.sae, *further))),
        provenance=met.get(PROVENANCE) is True or also.get(PROVENANCE) is True,
        epsilon=_number_of(met.get(MOST_EPSILON)),
        epsilon_wished=_number_of(also.get(MOST_EPSILON)),
        unhandled=tuple(unhandled),
    )


def key_ids(method: str, query: Sequence[tuple[str, str]], body: bytes, limits: Limits) -> tuple[bytes, ...]:
    """Read a request for ``dec_keys``.

    Parameters
    ----------
    method : str
        ``GET`` or ``POST``.
    query : sequence of tuple
        Names and values of the query.
    body : bytes
        Of a POST.
    limits : Limits
        How many keys may be asked for at a time.

    Returns
    -------
    tuple[bytes, ...]
        16 bytes each, in the order asked for.

    Raises
    ------
    RefusalError
        400 if it cannot be understood, or names a key twice.
    """
    if method == "GET":
        listed: list[object] = [_queried(query, ("key_ID",)).get("key_ID")]
    else:
        listed = [entry.get("key_ID") if isinstance(entry, dict) else None for entry in _list(_object(body), "key_IDs")]
    if not 1 <= len(listed) <= limits.max_key_per_request:
        raise bad_request(f"key_IDs shall name 1 to {limits.max_key_per_request} keys", count=len(listed))
    found = []
    for entry in listed:
        if not isinstance(entry, str):
            raise bad_request("key_ID shall be given for every key, as a text")
        if not _UUID.fullmatch(entry):
            raise bad_request(KEYS_NOT_FOUND, key_ID=entry[:64])
        found.append(uuid.UUID(entry).bytes)
    if len(set(found)) < len(found):
        raise bad_request("key_IDs shall name each key once")
    return tuple(found)


def extension_message(request: KeyRequest) -> dict[str, Any] | None:
    """Return what a container says beside its keys: which optional extensions of the ``request`` were not handled."""
    if not request.unhandled:
        return None
    return {"message": OPTIONAL_UNHANDLED, "details": [{"unhandled": list(request.unhandled)}]}


def judged(request: KeyRequest, worst_epsilon: float) -> KeyRequest:
    """Hold a request against the key there is.

    Parameters
    ----------
    request : KeyRequest
        What is asked.
    worst_epsilon : float
        Highest secrecy parameter of the blocks that key may come from.

    Returns
    -------
    KeyRequest
        The same; a wish that is not met is among what is not handled.

    Raises
    ------
    RefusalError
        400 if a condition is not met.
    """
    if request.epsilon is not None and worst_epsilon > request.epsilon:
        raise bad_request(MANDATORY_UNMET, unmet=[MOST_EPSILON])
    if request.epsilon_wished is not None and worst_epsilon > request.epsilon_wished:
        return replace(request, unhandled=(*request.unhandled, MOST_EPSILON))
    return request


def not_found(path: str) -> RefusalError:
    """Return the refusal of a ``path`` under which there is nothing."""
    return RefusalError(404, "no such resource", path=path[:200], known=[f"{PREFIX}{{SAE_ID}}/{action}" for action in METHODS])


def wrong_method(action: str, method: str) -> RefusalError:
    """Return the refusal of a ``method`` that an ``action`` does not know."""
    refusal = RefusalError(405, "no such method here", method=method[:20], allowed=list(METHODS[action]))
    refusal.headers = {"Allow": ", ".join(METHODS[action])}
    return refusal


def _handled(extensions: Mapping[str, object], limits: Limits) -> tuple[dict[str, object], list[str]]:
    """Return the extensions that are met, and the names of those that are not."""
    met: dict[str, object] = {}
    for name, value in extensions.items():
        is_flag = name == PROVENANCE and isinstance(value, bool)
        is_bound = name == MOST_EPSILON and isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_flag or (is_bound and isinstance(value, (int, float)) and value >= limits.epsilon_secrecy):
            met[name] = value
    return met, [name for name in extensions if name not in met]


def _number_of(value: object) -> float | None:
    """Read a number that has been checked; one too long for a float is above all that are asked of it."""
    try:
        return float(value) if isinstance(value, (int, float)) else None
    except OverflowError:
        return float("inf")


def _extensions(asked: Mapping[str, object], name: str) -> dict[str, object]:
    """Read extensions: a list of objects, or one object, of name and value pairs."""
    value = asked.get(name, [])
    listed = [value] if isinstance(value, dict) else _list(asked, name)
    found: dict[str, object] = {}
    for entry in listed:
        if not isinstance(entry, dict):
            raise bad_request(f"{name} shall be a list of objects")
        found |= entry
    return found


def _queried(query: Sequence[tuple[str, str]], known: tuple[str, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in query:
        if name in known:
            if name in found:
                raise bad_request(f"{name} shall be given once")
            found[name] = int(value) if name != "key_ID" and _NUMBER.fullmatch(value) else value
    return found


def _object(body: bytes, *, may_be_empty: bool = False) -> dict[str, object]:
    if not body and may_be_empty:
        return {}
    try:
        found = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise bad_request("the body shall be JSON") from None
    if not isinstance(found, dict):
        raise bad_request("the body shall be a JSON object")
    return found


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _integer(value: object, name: str) -> int:
    if type(value) is not int or abs(value) >= 1 << 31:
        raise bad_request(f"{name} shall be an integer")
    return value


def _list(asked: Mapping[str, object], name: str) -> list[Any]:
    value = asked.get(name, [])
    if not isinstance(value, list):
        raise bad_request(f"{name} shall be a list")
    return value


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise bad_request(f"{what} shall be a name of 1 to {MOST_SAE_LETTERS} printable letters")
    return value


def is_name(text: str) -> bool:
    """Say whether ``text`` can be the name of an application."""
    return 0 < len(text) <= MOST_SAE_LETTERS and text.isprintable()


def _decodes(text: str) -> bool:
    try:
        unquote(text, errors="strict")
    except UnicodeDecodeError:
        return False
    return True
