"""Two real IKE daemons of strongSwan, each in a network of its own, with ESP in user space."""

import os
import secrets
import socket
import subprocess
import time
from pathlib import Path

import vici

from tests.integration.tunnels.ends import has

DAEMON = "/usr/sbin/charon-systemd"

PLUGINS = "random nonce aes sha1 sha2 hmac kdf gmp pem pkcs1 x509 kernel-libipsec kernel-netlink socket-default vici updown"


def missing() -> str | None:
    """What these tests lack here, or None."""
    if not Path(DAEMON).exists() or not has("ip"):
        return "needs charon-systemd and ip"
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        return "needs root and /dev/net/tun"
    if not any(Path("/usr/lib").glob("ipsec/plugins/*kernel-libipsec*")):
        return "needs libcharon-extra-plugins (kernel-libipsec)"
    return None


class Charon:
    """An IKE daemon."""

    def __init__(self, folder: Path, address: str, inner: str, namespace: str) -> None:
        self.folder, self.address, self.inner, self.namespace = folder, address, inner, namespace
        self.socket = folder / "charon.vici"
        (folder / "strongswan.conf").write_text(
            f"charon-systemd {{\n load = {PLUGINS}\n piddir = {folder}\n journal {{ default = -1 }}\n"
            f" filelog {{ log {{\n path = {folder}/charon.log\n default = 1\n cfg = 2\n flush_line = yes\n }} }}\n"
            f" plugins {{ vici {{ socket = unix://{self.socket} }} }}\n retransmit_tries = 2\n retransmit_timeout = 1.0\n}}\n"
        )
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.running = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, DAEMON],
            env=os.environ | {"STRONGSWAN_CONF": str(self.folder / "strongswan.conf")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 30
        while not self.socket.exists():
            assert time.monotonic() < until, "the daemon opens no socket"
            time.sleep(0.1)

    def session(self) -> vici.Session:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(str(self.socket))
        return vici.Session(connection)

    def ppks(self) -> list[str]:
        """Key ids of the PPKs that are loaded."""
        session = self.session()
        try:
            return [key.decode().split()[-1] for key in session.get_shared().get("keys", []) if key.startswith(b"qkd ")]
        finally:
            session.transport.close()

    def sas(self) -> list[dict]:
        session = self.session()
        try:
            return [entry["link"] for entry in session.list_sas() if "link" in entry]
        finally:
            session.transport.close()

    def log(self) -> str:
        path = self.folder / "charon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        if self.running is not None:
            self.running.terminate()
            self.running.wait(30)
            self.running = None
            self.socket.unlink(missing_ok=True)


class Charons:
    """Two of them, joined by a cable, that authenticate each other by a preshared key (IKE)."""

    def __init__(self, folder: Path) -> None:
        mark = secrets.token_hex(3)
        self.names = [f"qkd{end}{mark}" for end in "ab"]
        self.ends = []
        for name, address, inner in zip(self.names, ("10.77.0.1", "10.77.0.2"), ("10.88.1.1", "10.88.2.1"), strict=True):
            (folder / name).mkdir()
            self.ends.append(Charon(folder / name, address, inner, name))

    def start(self) -> None:
        first, second = self.names
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", first, "netns", first, "type", "veth", "peer", "name", second, "netns", second)
        for end in self.ends:
            ip("-n", end.namespace, "address", "add", f"{end.address}/24", "dev", end.namespace)
            ip("-n", end.namespace, "address", "add", f"{end.inner}/32", "dev", "lo")
            ip("-n", end.namespace, "link", "set", end.namespace, "up")
        for end in self.ends:
            end.start()
            self.credentials(end)

    @staticmethod
    def credentials(end: Charon) -> None:
        session = end.session()
        session.load_shared({"type": "ike", "id": "ike", "owners": ["a.example", "b.example"], "data": "not ours"})
        session.transport.close()

    def settings(self, end: Charon) -> dict:
        """The connection as ``swanctl.conf`` has it, as tables of the file of ``qkd strongswan``."""
        (other,) = (charon for charon in self.ends if charon is not end)
        ids = {self.ends[0]: "a.example", self.ends[1]: "b.example"}
        return {
            "": {
                "version": 2,
                "unique": "never",
                "local_addrs": [end.address],
                "remote_addrs": [other.address],
                "proposals": ["aes128-sha256-modp2048"],
            },
            "local": {"auth": "psk", "id": ids[end]},
            "remote": {"auth": "psk", "id": ids[other]},
            "children.net": {"esp_proposals": ["aes128-sha256"], "local_ts": [f"{end.inner}/32"], "remote_ts": [f"{other.inner}/32"]},
        }

    def stop(self) -> None:
        for end in self.ends:
            end.stop()
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
