"""The key delivery of two nodes without a link behind it: mutual TLS and keys by number, and faults when a test wants them.

For tests of what applications do with keys, and without. Pages of the documentation and other tests use real nodes.
"""

import base64
import json
import re
import secrets
import ssl
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from common.cli.provisioning import Choices, Hosts, provision
from common.profiles.link import load_profile

PEER = {"alice": "bob", "bob": "alice"}


class KeyNodes:
    """Serves both ends of a provisioned link at ports of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        provision(load_profile("niedersachsen"), folder, Hosts(), Choices())
        self.keys: dict[str, bytes] = {}
        """Ordered and not fetched yet, by number."""
        self.given: list[bytes] = []
        self.refusal: dict[str, tuple[int, str]] = {}
        """What an end answers to everything, by its name."""
        self.count_asked = {"alice": 0, "bob": 0}
        self._servers = {node: self._serve(node) for node in PEER}
        self.delivery_ports = {node: server.server_address[1] for node, server in self._servers.items()}

    @property
    def authority(self) -> Path:
        return self.folder / "ca" / "ca.crt"

    def sae(self, node: str) -> tuple[Path, Path]:
        """Certificate and key of the application at a node."""
        return self.folder / "sae" / f"sae-{node}.crt", self.folder / "sae" / f"sae-{node}.key"

    def close(self) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def answer(self, node: str, path: str, asked: dict) -> tuple[int, dict | bytes]:
        self.count_asked[node] += 1
        if node in self.refusal:
            status, message = self.refusal[node]
            return status, {"message": message, "details": []}
        found = re.fullmatch(r"/api/v1/keys/[^/]+/(enc|dec)_keys", path)
        assert found is not None, path
        if found.group(1) == "enc":
            assert asked == {"number": 1, "size": 256}
            key_id, key = str(uuid.uuid4()), secrets.token_bytes(32)
            self.keys[key_id] = key
            self.given.append(key)
        else:
            key_id = asked["key_IDs"][0]["key_ID"]
            if key_id not in self.keys:
                return 400, {"message": "one or more keys specified are not found on KME"}
            key = self.keys.pop(key_id)
        return 200, {"keys": [{"key_ID": key_id, "key": base64.b64encode(key).decode()}]}

    def _serve(self, node: str) -> ThreadingHTTPServer:
        nodes = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = nodes.answer(node, self.path, asked)
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request, client_address):
                with context.wrap_socket(request, server_side=True) as secured:
                    Handler(secured, client_address, self)

            def handle_error(self, *_):
                pass  # a client that is killed breaks off

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.folder / node / "node.crt", self.folder / node / "node.key")
        context.load_verify_locations(self.authority)
        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server
