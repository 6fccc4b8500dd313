"""Keys for Python programs: taken at one node, fetched at the other, by ETSI GS QKD 014.

::

    from common.api.keys import KeyClient

    with KeyClient("https://localhost:8443", certificate="app.crt", key="app.key", authority="ca.crt") as keys:
        with keys.take("app-at-bob", bits=256) as key:
            ...  # use key.secret, send key.key_id

and at the other end ``keys.fetch("app-at-alice", key_id)``. No key is given before both nodes hold it. Any node that speaks this standard
will do, on this machine or another; what travels does so under mutual TLS.

Keys are ``bytearray``, overwritten when the ``with`` statement ends, and never part of a repr. Python copies bytes as it pleases, the parts
of an answer among them: their memory is freed, and not overwritten.

References
----------
ETSI GS QKD 014 V1.1.1 (2019-02), clauses 5 (methods) and 6 (data formats).
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import quote

from common.api.secured import TimedSocket, context_of, host_of, is_ended, reason_of
from common.errors import (
    AuthenticationError,
    ConfigurationError,
    KeyExhaustedError,
    KeyNotFoundError,
    PeerNotMetError,
    QuotaExhaustedError,
    TransportError,
)

ANSWER_SECONDS = 30.0
"""How long an answer may take."""

FETCH_TRIES = 3
"""How often the same keys are asked for where the answer is lost: nodes give them again to the very same request for a while."""

KEYS_NOT_FOUND = "one or more keys specified are not found on KME"
"""What the standard has nodes say of keys that they do not hold."""

MOST_ANSWER_BYTES = 256 << 20
"""Longest answer: 1024 keys of a mebibit each."""


@dataclass(slots=True)
class Key:
    """A key that both ends hold; use it in a ``with`` statement, which overwrites it at its end.

    Attributes
    ----------
    key_id : str
        Names the key to the node at the other end; a UUID, nothing secret.
    secret : bytearray
        The key itself; never part of the repr.
    provenance : tuple[dict, ...]
        Which blocks it comes from, with their epsilons, QBERs and ages, where the node was asked and said so.
    """

    key_id: str
    secret: bytearray = field(repr=False)
    provenance: tuple[dict[str, Any], ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wipe()

    def wipe(self) -> None:
        """Overwrite the key with zeros."""
        self.secret[:] = bytes(len(self.secret))


@dataclass(frozen=True, slots=True)
class Stock:
    """What a node has for one pair of applications.

    Attributes
    ----------
    key_bits : int
        Length of a key unless asked otherwise.
    count_stored : int
        Keys of that length that both ends can deliver.
    most_keys : int
        Keys at a time.
    least_key_bits, most_key_bits : int
        Shortest and longest key.
    quota_bits, quota_left_bits : int | None
        What this application may take in a day, and what is left of it; None where nothing limits it, or the node does not say.
    """

    key_bits: int
    count_stored: int
    most_keys: int
    least_key_bits: int
    most_key_bits: int
    quota_bits: int | None = None
    quota_left_bits: int | None = None


class KeyClient:
    """An application at its node; use it in a ``with`` statement. It belongs to one thread at a time.

    Parameters
    ----------
    address : str
        ``https://HOST:PORT`` of the node, as in ``delivery.bind`` of its configuration.
    certificate, key : Path | str
        Those of the application, PEM.
    authority : Path | str
        Vouches for the node's certificate, PEM.
    timeout_seconds : float
        How long an answer may take.

    Raises
    ------
    ConfigurationError
        If the address is none, or a file cannot be used.
    """

    def __init__(
        self,
        address: str,
        *,
        certificate: Path | str,
        key: Path | str,
        authority: Path | str,
        timeout_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._address = address
        self._host, self._port = host_of(address)
        self._timeout_seconds = timeout_seconds
        self._context = context_of(certificate, key, authority)
        self._connection: http.client.HTTPSConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the next call connects anew."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def take(self, slave: str, bits: int | None = None, *, provenance: bool = False) -> Key:
        """Take a key, which an application at the other end may fetch by its number.

        Parameters
        ----------
        slave : str
            The application at the other end.
        bits : int | None
            Length, a multiple of 8; None for what the node gives unless asked otherwise.
        provenance : bool
            Whether to ask which blocks it comes from.

        Returns
        -------
        Key
            Held by both nodes.

        Raises
        ------
        KeyExhaustedError
            If there is too little key: ``missing_bits``, and ``wait_seconds`` for how long the link needs. ``QuotaExhaustedError`` where
            this application has taken what it may.
        PeerNotMetError
            If the other node is away.
        ConfigurationError
            If the node knows no such application, or gives no such keys.
        AuthenticationError
            If the node does not know this application.
        TransportError
            If no answer came; what it would have been is unknown, and the key may be spent.
        """
        return self.take_many(slave, 1, bits, provenance=provenance)[0]

    def take_many(
        self, slave: str, number: int, bits: int | None = None, *, further_slaves: Sequence[str] = (), provenance: bool = False
    ) -> list[Key]:
        """Take several keys at once; see ``take``.

        Parameters
        ----------
        slave : str
            The application at the other end.
        number : int
            How many.
        bits : int | None
            Length of each.
        further_slaves : sequence of str
            Other applications there that may fetch the same keys.
        provenance : bool
            Whether to ask which blocks they come from.

        Returns
        -------
        list[Key]
            So many; all of them or, where there are too few, none.

        Raises
        ------
        TransportError
            If the node answers with other keys than were asked for.
        """
        asked: dict[str, Any] = {"number": number}
        if bits is not None:
            asked["size"] = bits
        if further_slaves:
            asked["additional_slave_SAE_IDs"] = list(further_slaves)
        if provenance:
            asked["extension_optional"] = [{"provenance": True}]
        keys = self._keys(self._asked("POST", _path(slave, "enc_keys"), asked))
        if len(keys) != number or (bits is not None and any(8 * len(key.secret) != bits for key in keys)):
            self._give_up(keys, "gave other keys than were asked for")
        return keys

    def fetch(self, master: str, key_id: str) -> Key:
        """Fetch a key that was taken at the other end.

        Parameters
        ----------
        master : str
            Who took it.
        key_id : str
            Its number.

        Returns
        -------
        Key
            The same key; the node gives it once, and for a while again where the answer was lost.

        Raises
        ------
        KeyNotFoundError
            If the node holds no such key: it was fetched before, has waited too long, or its number is wrong.
        AuthenticationError
            If it is held for others, or the node does not know this application.
        TransportError
            If no answer came, also when asked again.
        """
        return self.fetch_many(master, [key_id])[0]

    def fetch_many(self, master: str, key_ids: Sequence[str]) -> list[Key]:
        """Fetch several keys at once; see ``fetch``.

        Parameters
        ----------
        master : str
            Who took them.
        key_ids : sequence of str
            Their numbers, each once.

        Returns
        -------
        list[Key]
            In that order.

        Raises
        ------
        KeyNotFoundError
            If the node lacks one of them; none is given then.
        TransportError
            If the node answers with other keys than were asked for.
        """
        numbers = [_number(key_id) for key_id in key_ids]
        asked = {"key_IDs": [{"key_ID": str(number)} for number in numbers]}
        keys = self._keys(self._asked("POST", _path(master, "dec_keys"), asked, tries=FETCH_TRIES))
        if [key.key_id.lower() for key in keys] != [str(number) for number in numbers]:
            self._give_up(keys, "gave other keys than were asked for")
        return keys

    def stock(self, slave: str) -> Stock:
        """Ask how much there is for this application and another.

        Parameters
        ----------
        slave : str
            The application at the other end.

        Returns
        -------
        Stock
            As the node counts now.

        Raises
        ------
        TransportError
            If no answer came, or one that is no status.
        """
        said = self._asked("GET", _path(slave, "status"), None, tries=FETCH_TRIES)
        quota = said.get("status_extension") or {}
        try:
            return Stock(
                said["key_size"],
                said["stored_key_count"],
                said["max_key_per_request"],
                said["min_key_size"],
                said["max_key_size"],
                quota.get("quota_bits"),
                quota.get("quota_left_bits"),
            )
        except (KeyError, AttributeError):
            raise TransportError(f"the node at {self._address} gave an answer that is no status") from None

    def _keys(self, said: dict[str, Any]) -> list[Key]:
        keys = list[Key]()
        try:
            for entry in said["keys"]:
                extension = entry.get("key_extension") or {}
                secret = bytearray(base64.b64decode(entry["key"], validate=True))
                keys.append(Key(str(entry["key_ID"]), secret, tuple(extension.get("provenance", ()))))
        except (KeyError, TypeError, AttributeError, ValueError):
            self._give_up(keys, "gave an answer that is no key container")
        return keys

    def _give_up(self, keys: list[Key], why: str) -> NoReturn:
        for key in keys:
            key.wipe()
        raise TransportError(f"the node at {self._address} {why}")

    def _asked(self, method: str, path: str, body: dict[str, Any] | None, tries: int = 1) -> dict[str, Any]:
        """Ask, and return the answer; ask again where it is lost and the very same may be asked again."""
        for left in range(tries - 1, -1, -1):
            try:
                status, content = self._exchanged(method, path, body)
                break
            except TransportError:
                if not left:
                    raise
        try:
            said = json.loads(content)
        except (ValueError, RecursionError):
            said = None
        content[:] = bytes(len(content))
        if not isinstance(said, dict):
            raise TransportError(
                f"the node at {self._address} gave an answer (status {status}) that is no JSON object: is it a key server?"
            )
        if status != 200:
            raise _refused(status, said)
        return said

    def _exchanged(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytearray]:
        with self._connected() as connection:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {} if data is None else {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = bytearray()
            while part := answer.read(1 << 16):
                content += part
                if len(content) > MOST_ANSWER_BYTES:
                    raise http.client.HTTPException(f"an answer of more than {MOST_ANSWER_BYTES} bytes")
            return answer.status, content

    @contextmanager
    def _connected(self) -> Iterator[http.client.HTTPSConnection]:
        """Give the connection, opened anew where the node has hung up; whatever breaks it is one error."""
        if self._connection is not None and is_ended(self._connection):
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_seconds, context=self._context)
        try:
            if self._connection.sock is None:
                self._connection.connect()
            if isinstance(self._connection.sock, TimedSocket):
                self._connection.sock.settimeout(self._timeout_seconds)
                self._connection.sock.ends_at = time.monotonic() + self._timeout_seconds
            yield self._connection
        except BaseException as broken:
            self.close()
            if isinstance(broken, ssl.SSLCertVerificationError):
                raise AuthenticationError(
                    f"the node at {self._address} shows a certificate that is not good for it: {broken.verify_message}"
                ) from None
            if isinstance(broken, ssl.SSLError):
                raise AuthenticationError(
                    f"the node at {self._address} ended the handshake ({reason_of(broken)}): it wants a certificate of its own authority"
                ) from None
            if isinstance(broken, (OSError, http.client.HTTPException)):
                raise TransportError(f"no answer from the node at {self._address}: {reason_of(broken)}") from None
            raise


def _path(sae: str, action: str) -> str:
    return f"/api/v1/keys/{quote(sae, safe='')}/{action}"


def _number(key_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(key_id)
    except ValueError:
        raise KeyNotFoundError(f"{key_id[:64]!r} is not the number of a key: it is a UUID") from None


def _refused(status: int, said: dict[str, Any]) -> Exception:
    """Return the error that a refusal stands for."""
    listed = said.get("details")
    details = {
        name: value for entry in (listed if isinstance(listed, list) else []) if isinstance(entry, dict) for name, value in entry.items()
    }
    message = str(said.get("message", "refused"))[:500]
    text = message + "".join(
        f"; {name.replace('_', ' ')}: {value}" for name, value in details.items() if isinstance(value, (str, int, float))
    )
    if status == 401:
        return AuthenticationError(text)
    if status == 400:
        return KeyNotFoundError(text) if message == KEYS_NOT_FOUND else ConfigurationError(text)
    if status != 503:
        return TransportError(f"status {status}: {text}")
    missing, wait = _count(details.get("missing_bits")), details.get("wait_seconds")
    wait_seconds = float(wait) if isinstance(wait, (int, float)) else None
    if "quota_bits" in details:
        return QuotaExhaustedError(text, missing_bits=missing, wait_seconds=wait_seconds)
    if missing is not None or message.startswith("not enough key"):
        return KeyExhaustedError(text, missing_bits=missing, wait_seconds=wait_seconds)
    if "KME" in message or message.startswith("no key is handed out"):
        return PeerNotMetError(text)
    return TransportError(text)


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
