"""What a link's folders hold when it is provisioned; ``qkd provision`` writes them.

Everything secret is drawn here, once, from the operating system. The nodes' folders are carried to their hosts by a person; nothing in them
travels over a network of ours.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, Literal

import zmq

from common.channel.authentication import ChannelSecrets
from common.cli.certificates import LOOPBACK, Authority, Certified
from common.distillation.recipe import require_distilled
from common.errors import ConfigurationError
from common.keystore.credentials import CREDENTIAL
from common.keystore.masks import ProvisionedMasks
from common.keystore.ownership import PAIR_BYTES
from common.keystore.sealing import MASTER_KEY_BYTES
from common.profiles.link import LinkProfile
from common.randomness import SystemRandomness
from common.service.credentials import masks_to_bytes, read_masks, read_secrets, secrets_to_bytes
from common.service.settings import NodeSettings, load_settings

INITIAL_PAIRS = 1024
"""Mask pairs that both ends are given: blocks of key until the link has to refill its own reserve, which it does from the first one on."""

CHANNEL_PORT = 7701
"""Where Bob listens (docs/reference/configuration)."""

DELIVERY_PORTS = {"alice": 8443, "bob": 8444}
"""Where applications connect on one machine that has both nodes; between hosts both listen at Alice's."""

DASHBOARD_PORTS = {"alice": 9401, "bob": 9402}
"""Where the page, metrics and health of each node are served, on its own loopback."""

STREAM_PORTS = {"alice": 7711, "bob": 7712}
"""Where the emulator serves each end, between hosts."""

NODES = ("alice", "bob")
"""The folders of the two ends."""

APART = "secrets"
"""The folder, with one for each end, of secrets that do not lie beside the configuration."""

UNIT_STATE, UNIT_RUNTIME = Path("/var/lib"), Path("/run")
"""Where systemd makes the folders of ``StateDirectory=`` and ``RuntimeDirectory=`` of the units in ``deploy/systemd``."""

CONTAINER_STATE, CONTAINER_RUNTIME = Path("/var/lib/qkdlink"), Path("/run/qkdlink")
"""Where ``deploy/compose.yaml`` mounts what lasts and what does not, in every container."""

EVERYWHERE = "0.0.0.0"  # noqa: S104 - a container has an address on each of its networks, and which ones changes
"""What a service in a container listens on: who reaches it is decided by its networks and the ports that are published."""

Manager = Literal["systemd", "compose"]
"""Who runs the services, other than a person with a terminal for each."""


@dataclasses.dataclass(frozen=True, slots=True)
class Hosts:
    """Where the nodes run: ``alice`` and ``bob``, or None for one machine that has both."""

    alice: str | None = None
    bob: str | None = None

    @property
    def are_apart(self) -> bool:
        """Whether the nodes are on machines of their own."""
        return self.alice is not None or self.bob is not None

    def named(self, node: str) -> str:
        """Return the host of ``node``."""
        return {"alice": self.alice, "bob": self.bob}[node] or "127.0.0.1"


@dataclasses.dataclass(frozen=True, slots=True)
class Choices:
    """What may be chosen otherwise than usual.

    Attributes
    ----------
    channel_port : int
        Where Bob listens.
    shares : dict[str, int] | None
        Weights by which both stores share key out, by pool; None for those of ``OwnershipRule``.
    fibre : dict
        Entries of the emulator's section ``fibre``: ``seed``, ``eve``, ``max_link_seconds`` and the like.
    arrivals : dict[str, str] | None
        ``emission`` and ``tags`` of a recorded run for the emulator to play.
    sockets : Path | None
        Folder for the emulator's sockets; None for ``run`` in its own.
    delivery_ports : dict[str, int] | None
        Where applications connect to each node on one machine; None for no key delivery.
    dashboard_ports : dict[str, int] | None
        Where metrics and health of each node are served; None for nowhere.
    compensates_drift : bool
        Whether Bob turns the emulated fibre's actuators against its drift.
    manager : Manager | None
        Who runs the services: with systemd and in containers secrets are credentials, and what lasts and what is a socket lies where the
        units in ``deploy/systemd``, or ``deploy/compose.yaml``, say.
    """

    channel_port: int = CHANNEL_PORT
    shares: dict[str, int] | None = None
    fibre: dict[str, Any] = dataclasses.field(default_factory=dict)
    arrivals: dict[str, str] | None = None
    sockets: Path | None = None
    delivery_ports: dict[str, int] | None = dataclasses.field(default_factory=lambda: DELIVERY_PORTS)
    dashboard_ports: dict[str, int] | None = dataclasses.field(default_factory=lambda: DASHBOARD_PORTS)
    compensates_drift: bool = False
    manager: Manager | None = None

    @property
    def in_containers(self) -> bool:
        """Whether each service has a container, and with it a network address, of its own."""
        return self.manager == "compose"

    @property
    def secrets(self) -> str:
        """What the name of a secret's file begins with in a node's configuration."""
        return CREDENTIAL if self.manager else ""

    def sockets_for(self, folder: str) -> Path:
        """Return the folder of the emulator's sockets; ``folder`` where nothing else is said."""
        return self.sockets or self._placed(UNIT_RUNTIME / "qkd-fibre", CONTAINER_RUNTIME, Path(folder))

    def lasting(self, node: str) -> Path:
        """Return the folder for what lasts at ``node``."""
        return self._placed(UNIT_STATE / f"qkd-{node}", CONTAINER_STATE, Path("state"))

    def runtime(self, node: str) -> Path:
        """Return the folder for the sockets of ``node``."""
        return self._placed(UNIT_RUNTIME / f"qkd-{node}", CONTAINER_RUNTIME, Path("run"))

    def secrets_folder(self, node: str) -> str:
        """Return the folder for the secrets of ``node``: apart where its own is mounted into a container, which sees them one by one."""
        return f"{APART}/{node}" if self.in_containers else node

    def _placed(self, unit: Path, container: Path, otherwise: Path) -> Path:
        return {"systemd": unit, "compose": container}.get(self.manager or "", otherwise)


def provision(profile: LinkProfile, out: Path, hosts: Hosts, choices: Choices | None = None) -> dict[str, list[str]]:
    """Write the folders of a link.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    out : Path
        Where; made where it is missing.
    hosts : Hosts
        Where the nodes will run.
    choices : Choices | None
        Where something is to be otherwise than usual.

    Returns
    -------
    dict[str, list[str]]
        Files written, by folder.

    Raises
    ------
    ConfigurationError
        If the daemons cannot distil the link, or one of the folders exists already or cannot be written; nothing is left then.
    """
    require_distilled(profile)
    choices = choices or Choices()
    files = _files(profile, hosts, choices)
    for folder in dict.fromkeys(path.split("/")[0] for path in files):
        if (out / folder).exists():
            raise ConfigurationError(f"{out / folder} exists already: provisioning never overwrites keys; name another folder with --out")
    written: list[Path] = []
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, content in files.items():
            for parent in reversed(Path(path).parents):  # one by one: a folder made on the way to another would not get the mode
                (out / parent).mkdir(mode=0o700, exist_ok=True)
            write_private(out / path, content)
            written.append(out / path)
        for node in () if choices.manager else NODES:
            (out / node / choices.lasting(node)).mkdir(mode=0o700)
    except OSError as refused:
        for made in written:
            made.unlink(missing_ok=True)
        raise ConfigurationError(f"{refused.filename or out}: {refused.strerror}; name another folder with --out") from None
    listed: dict[str, list[str]] = {}
    for name in files:
        folder, _, rest = name.partition("/")
        listed.setdefault(folder, []).append(rest)
    return listed


def renew(out: Path, count_pairs: int = INITIAL_PAIRS) -> int:
    """Give both nodes of a link fresh masks by hand.

    Parameters
    ----------
    out : Path
        What the link was provisioned into, with both nodes' folders.
    count_pairs : int
        Mask pairs.

    Returns
    -------
    int
        The generation of the new masks.

    Raises
    ------
    ConfigurationError
        If a node's folder is missing or damaged; nothing has been written then.
    """
    paths, generations = [], []
    for node in NODES:
        settings = load_settings(out / node / "config.toml", NodeSettings)
        name = str(settings.channel.secret).removeprefix(CREDENTIAL)  # what the service is shown as a credential lies here as well
        apart = out / APART / node / name
        secrets = read_secrets(apart if apart.exists() else settings.folder / name)
        path = settings.resolved(settings.channel.renewal)
        generations.append(read_masks(secrets, path).generation)
        paths.append(path)
    fresh = ProvisionedMasks(SystemRandomness().draw(PAIR_BYTES * count_pairs), max(generations) + 1)
    for path in paths:
        beside = path.with_name(path.name + ".new")
        beside.unlink(missing_ok=True)
        write_private(beside, masks_to_bytes(fresh))
        beside.replace(path)
    return fresh.generation


def write_private(path: Path, content: bytes) -> None:
    """Write a new file, ``path``, that only we can read, and wait until its ``content`` is on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _files(profile: LinkProfile, hosts: Hosts, choices: Choices) -> dict[str, bytes]:
    randomness = SystemRandomness()
    link = to_toml(f"The link {profile.name}; the same at both ends.", _sections(profile)).encode()
    secret = secrets_to_bytes(ChannelSecrets.draw(randomness, INITIAL_PAIRS))
    channel_keys = {node: zmq.curve_keypair() for node in NODES}
    authority = Authority(f"qkdlink {profile.name}")
    certificates = {node: authority.issue(f"qkd-{node}", (*LOOPBACK, hosts.named(node)), serves=True) for node in NODES}
    applications = {node: authority.issue(f"sae-{node}", serves=True) for node in NODES}  # tunnels have ends that listen
    files: dict[str, bytes] = {}
    for node, peer in zip(NODES, reversed(NODES), strict=True):
        apart = choices.secrets_folder(node)
        files |= {
            f"{node}/config.toml": to_toml(
                f"The node qkd-{node}; docs/reference/configuration lists every key.", _node(node, hosts, choices)
            ).encode(),
            f"{node}/link.toml": link,
            f"{apart}/channel.key": channel_keys[node][1] + b"\n",
            f"{node}/channel.pub": channel_keys[node][0] + b"\n",
            f"{node}/peer.pub": channel_keys[peer][0] + b"\n",
            f"{apart}/authentication.secret": secret,
            f"{apart}/master.key": randomness.draw(MASTER_KEY_BYTES),
            f"{node}/ca.crt": authority.certified.certificate,
            f"{node}/applications.toml": to_toml(
                "Which certificate stands for which application; read again on SIGHUP.",
                {f"sae.sae-{node}": {"fingerprints": [applications[node].fingerprint]}, "revoked": {"fingerprints": []}},
            ).encode(),
            f"{node}/node.crt": certificates[node].certificate,
            f"{apart}/node.key": certificates[node].key,
        }
    files |= {"fibre/config.toml": to_toml("The emulated fibre.", _fibre(hosts, choices)).encode(), "fibre/link.toml": link}
    files |= _pair("ca/ca", authority.certified)
    for node in NODES:
        files |= _pair(f"sae/sae-{node}", applications[node])
    return files


def _pair(path: str, certified: Certified) -> dict[str, bytes]:
    return {f"{path}.crt": certified.certificate, f"{path}.key": certified.key}


def _node(node: str, hosts: Hosts, choices: Choices) -> dict[str, dict[str, Any]]:
    """Return a node's configuration; data keyed by node, so that the services need not ask who they are."""
    port = choices.channel_port
    listen = f"tcp://*:{port}" if hosts.are_apart else f"tcp://127.0.0.1:{port}"
    ends = {"alice": {"connect": f"tcp://{hosts.named('bob')}:{port}"}, "bob": {"bind": listen}}
    shares = {"store.shares": choices.shares} if choices.shares else {}
    sockets, state, runtime = choices.sockets_for("../fibre/run"), choices.lasting(node), choices.runtime(node)
    beside = "fibre" if choices.in_containers else hosts.named("alice")
    stream = f"tcp://{beside}:{STREAM_PORTS[node]}" if hosts.are_apart else f"unix:{sockets}/{node}.sock"
    files = {"key": f"{choices.secrets}channel.key", "peer_key": "peer.pub", "secret": f"{choices.secrets}authentication.secret"}
    return {
        "node": {"link": "link.toml", "state": state, "runtime": runtime},
        "channel": ends[node] | files,
        "stream": {"address": stream, "pausable": True},
        "store": {"path": state / "store.sqlite", "master_key": f"{choices.secrets}master.key"},
        **shares,
        **_delivery(node, hosts, choices),
        **_dashboard(node, choices),
        **(_stabilisers(choices)[node] if choices.compensates_drift else {}),
        "admin": {"socket": runtime / "admin.sock"},
        "log": {"level": "info", "format": "json"},
    }


def _delivery(node: str, hosts: Hosts, choices: Choices) -> dict[str, dict[str, Any]]:
    """Return a node's key delivery: on loopback, unless the nodes were given hosts to be reached at."""
    if choices.delivery_ports is None:
        return {}
    host = EVERYWHERE if choices.in_containers else hosts.named(node)
    address = f"{host}:{DELIVERY_PORTS['alice']}" if hosts.are_apart else f"127.0.0.1:{choices.delivery_ports[node]}"
    peer = {"alice": "bob", "bob": "alice"}[node]
    key = f"{choices.secrets}node.key"
    files = {"certificate": "node.crt", "key": key, "authority": "ca.crt", "applications": "applications.toml"}
    return {"delivery": {"bind": address} | files | {"kme_id": f"kme-{node}", "peer_kme_id": f"kme-{peer}"}}


def _dashboard(node: str, choices: Choices) -> dict[str, dict[str, Any]]:
    """Return where a node's page is served: on loopback, wherever the nodes are; a container's loopback would be nobody else's."""
    if choices.dashboard_ports is None:
        return {}
    return {"dashboard": {"bind": f"{EVERYWHERE if choices.in_containers else '127.0.0.1'}:{choices.dashboard_ports[node]}"}}


def _stabilisers(choices: Choices) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by node where its actuators are served; Alice has none."""
    return {"alice": {}, "bob": {"stabiliser": {"address": f"unix:{choices.sockets_for('../fibre/run')}/control.sock"}}}


def _fibre(hosts: Hosts, choices: Choices) -> dict[str, dict[str, Any]]:
    """Return the emulator's configuration; between hosts it runs beside Alice."""
    folder = choices.sockets_for("run")
    served = {node: f"unix:{folder}/{node}.sock" for node in NODES}
    if hosts.are_apart:
        host = EVERYWHERE if choices.in_containers else hosts.named("alice")
        served = {node: f"tcp://{host}:{STREAM_PORTS[node]}" for node in NODES}
    arrivals = {"arrivals": choices.arrivals} if choices.arrivals else {}
    return {"fibre": {"link": "link.toml"} | choices.fibre, "serve": served | {"control": f"unix:{folder}/control.sock"}} | arrivals


def _sections(profile: LinkProfile) -> dict[str, dict[str, Any]]:
    """Return the profile as tables, plain entries under the empty name."""
    tree = dataclasses.asdict(profile)
    plain = {name: value for name, value in tree.items() if not isinstance(value, dict)}
    return {"": plain} | {name: value for name, value in tree.items() if isinstance(value, dict)}


def to_toml(title: str, sections: dict[str, dict[str, Any]]) -> str:
    """Write tables of plain values as TOML.

    Parameters
    ----------
    title : str
        The comment at the top.
    sections : dict[str, dict]
        Tables by name, the one without a name first; None is left out.

    Returns
    -------
    str
        Text that reads back to the same values.
    """
    lines = [f"# {title}"]
    for name, entries in sections.items():
        lines += ["", f"[{name}]"] if name else []
        lines += [f"{key} = {_value(value)}" for key, value in entries.items() if value is not None]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
