"""A running pair whose key goes to applications, and what it takes to ask it."""

import http.client
import json
import ssl
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.live.processes import LiveLink

PEER = {"alice": "bob", "bob": "alice"}

SHARES = "\n\n[store.shares]\nalice_pad = 1\nbob_pad = 1\nalice_delivery = 7\nbob_delivery = 7"


class DeliveryLink(LiveLink):
    """A live link with most of its key for applications."""

    def __init__(self, folder: Path, *settings: str, **delivery) -> None:
        super().__init__(folder, *settings)
        lines = "".join(f"\n{name} = {json.dumps(value)}" for name, value in delivery.items())
        for name in PEER:
            self.replace(name, 'master_key = "master.key"', 'master_key = "master.key"' + SHARES)
            self.replace(name, "[delivery]", "[delivery]" + lines)

    @property
    def authority(self) -> Path:
        return self.folder / "ca" / "ca.crt"

    def sae(self, node: str) -> tuple[Path, Path]:
        """Certificate and key of the application at a node."""
        return self.folder / "sae" / f"sae-{node}.crt", self.folder / "sae" / f"sae-{node}.key"

    def is_ready(self) -> bool:
        """Both nodes could deliver to who asks there."""
        return all(self.status(name)["delivery"]["peer_ready"] for name in PEER)

    def wait_ready(self) -> None:
        self.wait_until(lambda link: link.is_ready() and all(link.stored(name) > 0 for name in PEER), "keys for applications")

    def stored(self, node: str) -> int:
        return self.client(node).ask("GET", f"/api/v1/keys/sae-{PEER[node]}/status").body["stored_key_count"]

    def client(self, node: str, certificate: tuple[Path, Path] | None = None) -> "Client":
        return Client(self.delivery_ports[node], self.authority, certificate or self.sae(node))

    def events_of(self, node: str, event: str) -> list[dict]:
        return [line for line in self.events(node) if line["event"] == event]


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    body: dict
    headers: dict = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, str]:
        return {entry["key_ID"]: entry["key"] for entry in self.body["keys"]}


class Client:
    """An application that keeps to nothing but TLS."""

    def __init__(self, port: int, authority: Path, certificate: tuple[Path, Path] | None, *, timeout: float = 20.0) -> None:
        self._port, self._timeout = port, timeout
        self._context = ssl.create_default_context(cafile=str(authority))
        if certificate is not None:
            self._context.load_cert_chain(*certificate)
        self._connection: http.client.HTTPSConnection | None = None

    def ask(self, method: str, path: str, body=None) -> Reply:
        """One request on a connection of its own."""
        with closing(self._opened()) as connection:
            return self._asked(connection, method, path, body)

    def ask_again(self, method: str, path: str, body=None) -> Reply:
        """A request on the connection of the one before."""
        if self._connection is None:
            self._connection = self._opened()
        try:
            return self._asked(self._connection, method, path, body)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self._port, timeout=self._timeout, context=self._context)

    @staticmethod
    def _asked(connection: http.client.HTTPSConnection, method: str, path: str, body) -> Reply:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": "application/json"} if data is not None else {})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.headers["Content-Type"].startswith("application/json"), content
        return Reply(answer.status, {} if method == "HEAD" else json.loads(content), dict(answer.headers))


def named(*key_ids: str) -> dict:
    return {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}


NOBODYS_KEY = str(uuid.UUID(int=5))
