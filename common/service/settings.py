"""The configuration file of a node: read, checked, and refused whole if one key is wrong.

Paths count from the folder of the file, so that a node's folder can be moved; ``credential:NAME`` is a file that systemd shows to us alone.
Where the nodes differ (who binds, who connects) their own ``settings`` modules add what they ask for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from common.errors import ConfigurationError
from common.keystore.credentials import CREDENTIAL, credential_path
from common.keystore.ownership import OwnershipRule

S = TypeVar("S", bound="FileSettings")

Weight = Annotated[int, Field(ge=0, le=1 << 20)]

CountBits = Annotated[int, Field(ge=10, le=10_000_000)]

ErrorRate = Annotated[float, Field(gt=0.0, lt=0.5)]

Seconds = Annotated[float, Field(gt=0.0, le=86_400.0)]


def _with_port(address: str) -> str:
    if not 0 < int(address.rpartition(":")[2]) < 1 << 16:
        raise ValueError("write HOST:PORT with a port from 1 to 65535")
    return address


HostPort = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):\d{1,5}$"), AfterValidator(_with_port)]
"""Where something listens: a name or address, IPv6 in brackets, and a port."""


class Section(BaseModel):
    """A table of the file: unknown keys are refused, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileSettings(Section):
    """Settings that came from a file and know where it lies."""

    _folder: Path = PrivateAttr(default=Path())

    def resolved(self, path: Path) -> Path:
        """Return ``path`` seen from the folder of the file, or where systemd has put it if it says ``credential:NAME``.

        Raises
        ------
        ConfigurationError
            If it is a credential and there are none.
        """
        return credential_path(str(path)) if str(path).startswith(CREDENTIAL) else self._folder / path

    @property
    def folder(self) -> Path:
        """The folder of the file."""
        return self._folder


class NodeSection(Section):
    """The node itself.

    Attributes
    ----------
    link : Path
        Link profile, the same at both ends.
    digest : str | None
        Digest of the link's parameters in hexadecimal; where given, any other link is refused.
    state, runtime : Path
        Folders for what has to last, and for sockets.
    """

    link: Path = Path("link.toml")
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    state: Path = Path("state")
    runtime: Path = Path("run")


class ChannelSection(Section):
    """The classical channel.

    Attributes
    ----------
    bind, connect : str | None
        Where we listen, or where the peer does: ``tcp://HOST:PORT``.
    key, peer_key : Path
        Our secret channel key, and the public one of the only peer that is let in.
    secret : Path
        The authentication secret, the same at both ends.
    renewal : Path
        Masks given by hand after the first ones were used up; need not be there.
    heartbeat_seconds, silence_seconds : float
        How often we give a sign of life, and after how long without one the peer counts as gone.
    receive_seconds : float
        How long a conversation waits for a message of a peer that is not busy.
    """

    bind: Annotated[str, Field(pattern=r"^tcp://\S+:\d+$")] | None = None
    connect: Annotated[str, Field(pattern=r"^tcp://\S+:\d+$")] | None = None
    key: Path = Path("channel.key")
    peer_key: Path = Path("peer.pub")
    secret: Path = Path("authentication.secret")
    renewal: Path = Path("renewal.secret")
    heartbeat_seconds: Seconds = 2.0
    silence_seconds: Seconds = 10.0
    receive_seconds: Seconds = 30.0

    @field_validator("bind", "connect")
    @classmethod
    def _is_address(cls, address: str | None) -> str | None:
        if address is not None and not 0 < int(address.rpartition(":")[2]) < 1 << 16:
            raise ValueError("write tcp://HOST:PORT with a port from 1 to 65535")
        return address


class StreamSection(Section):
    """Where the node's half of the quantum channel comes from.

    Attributes
    ----------
    address : str
        ``unix:PATH``, ``tcp://HOST:PORT`` or ``fifo:PATH``.
    pausable : bool
        Whether whoever sends waits for us; hardware does not.
    """

    address: Annotated[str, Field(pattern=r"^(unix:.+|fifo:.+|tcp://\S+:\d+)$")]
    pausable: bool = True


class Shares(Section):
    """Weights by which key is shared out; the same at both ends.

    Attributes
    ----------
    alice_pad, bob_pad : int
        One-time pads of the messages of each end.
    alice_delivery, bob_delivery : int
        Key for applications that ask there first.
    """

    alice_pad: Weight = OwnershipRule().alice_pad
    bob_pad: Weight = OwnershipRule().bob_pad
    alice_delivery: Weight = OwnershipRule().alice_delivery
    bob_delivery: Weight = OwnershipRule().bob_delivery


class StoreSection(Section):
    """The key store.

    Attributes
    ----------
    path : Path
        The database.
    master_key : str
        File of the master key; ``env:NAME`` and ``credential:NAME`` read it from the environment or from systemd.
    capacity_bits : int
        Bits of key at which distillation waits until some were used.
    expiry_seconds : float | None
        Age at which key is erased; None keeps it.
    reserve_target_pairs : int
        Mask pairs of the authentication reserve that are refilled before anything else.
    shares : Shares
        How the rest of every block is shared out.
    """

    path: Path = Path("state/store.sqlite")
    master_key: str = "master.key"
    capacity_bits: Annotated[int, Field(gt=0)] = 1 << 33
    expiry_seconds: Annotated[float, Field(gt=0.0)] | None = None
    reserve_target_pairs: Annotated[int, Field(ge=0, le=1 << 20)] = OwnershipRule().reserve_target_pairs
    shares: Shares = Shares()

    @property
    def rule(self) -> OwnershipRule:
        """How blocks are shared out; the same at both ends."""
        weights = self.shares
        return OwnershipRule(self.reserve_target_pairs, weights.alice_pad, weights.bob_pad, weights.alice_delivery, weights.bob_delivery)


class DeliverySection(Section):
    """Key delivery to applications (ETSI GS QKD 014); a node without this table has none.

    Attributes
    ----------
    bind : str
        Where applications connect, ``HOST:PORT``.
    certificate, key, authority : Path
        The node's certificate and key, and the authority whose certificates applications show; PEM.
    revoked : Path | None
        List of certificates that the authority has revoked (CRL, PEM).
    applications : Path
        Which certificate stands for which application.
    kme_id, peer_kme_id : str
        What this node and the other are called.
    key_size_bits, max_key_size_bits : int
        Length of a key unless asked otherwise, and the longest there is.
    max_keys_per_request, max_additional_applications : int
        Keys at a time, and applications beside the first that may share them.
    repeat_seconds : float
        How long the same certificate may repeat the same request for keys whose answer was lost; 0 for never.
    keep_seconds : float
        How long keys wait for the application at the other end.
    peer_seconds : float
        How long the other node may take to hold keys.
    requests_per_second, requests_at_once : float
        How often each application may ask, in the long run and after a pause.
    balance_pools : bool
        Whether key is given to the other end's delivery pool where that is far emptier than ours.
    """

    bind: HostPort = "127.0.0.1:8443"
    certificate: Path = Path("node.crt")
    key: Path = Path("node.key")
    authority: Path = Path("ca.crt")
    revoked: Path | None = None
    applications: Path = Path("applications.toml")
    kme_id: Annotated[str, Field(min_length=1, max_length=200)]
    peer_kme_id: Annotated[str, Field(min_length=1, max_length=200)]
    key_size_bits: Annotated[int, Field(ge=8, le=1 << 20, multiple_of=8)] = 256
    max_key_size_bits: Annotated[int, Field(ge=8, le=1 << 20, multiple_of=8)] = 8192
    max_keys_per_request: Annotated[int, Field(ge=1, le=1024)] = 128
    max_additional_applications: Annotated[int, Field(ge=0, le=64)] = 8
    repeat_seconds: Annotated[float, Field(ge=0.0, le=3600.0)] = 30.0
    keep_seconds: Annotated[float, Field(gt=0.0)] = 86_400.0
    peer_seconds: Annotated[float, Field(gt=0.0, le=60.0)] = 5.0
    requests_per_second: Annotated[float, Field(gt=0.0)] = 200.0
    requests_at_once: Annotated[float, Field(ge=1.0)] = 400.0
    balance_pools: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key_size_bits > self.max_key_size_bits:
            raise ValueError("key_size_bits must not be above max_key_size_bits")
        return self


class DashboardSection(Section):
    """Where metrics and health are served; nothing secret, and nothing can be changed there.

    Attributes
    ----------
    bind : str
        ``HOST:PORT``, HTTP.
    names : tuple[str, ...]
        Names under which it is reached, that of a proxy for one, beside addresses and ``localhost``.
    """

    bind: HostPort = "127.0.0.1:9401"
    names: tuple[str, ...] = ()


class AdminSection(Section):
    """The socket that ``qkd status``, ``qkd keys`` and ``qkd otp`` ask, at the path ``socket``."""

    socket: Path = Path("run/admin.sock")


class LogSection(Section):
    """What is logged, from which ``level`` on and in which ``format``."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


class StabiliserSection(Section):
    """Drift compensation at Bob's; without this table nothing is turned.

    Attributes
    ----------
    address : str
        Where the actuators are served: ``unix:PATH`` or ``tcp://HOST:PORT``.
    acquire_bits, track_bits : int
        Disclosed bits of each basis at each point of a search, and at each side while tracking.
    gain : float
        Share of a distance found that is gone while tracking.
    good_qber, lost_qber : float
        Error rate with which a search is content at once, and the one above which tracking gives up.
    settle_seconds : float
        Time from an answer of the actuators until everything counted was measured behind it; asked only where their server gives no
        ``link_seconds``.
    """

    address: Annotated[str, Field(pattern=r"^(unix:.+|tcp://\S+:\d+)$")]
    acquire_bits: CountBits = 250
    track_bits: CountBits = 1000
    gain: Annotated[float, Field(gt=0.0, le=2.0)] = 0.7
    good_qber: ErrorRate = 0.05
    lost_qber: ErrorRate = 0.2
    settle_seconds: Annotated[float, Field(ge=0.0, le=600.0)] = 10.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.good_qber >= self.lost_qber:
            raise ValueError("good_qber has to be below lost_qber")
        return self


class NodeSettings(FileSettings):
    """All of a node's file.

    Attributes
    ----------
    node, channel, stream, store, admin, log : Section
        Its tables.
    delivery : DeliverySection | None
        Key delivery to applications, where there is any.
    dashboard : DashboardSection | None
        Metrics and health, where they are served.
    stabiliser : StabiliserSection | None
        Drift compensation, where there is any; Bob only.
    """

    node: NodeSection = NodeSection()
    channel: ChannelSection
    stream: StreamSection
    store: StoreSection = StoreSection()
    admin: AdminSection = AdminSection()
    log: LogSection = LogSection()
    delivery: DeliverySection | None = None
    dashboard: DashboardSection | None = None
    stabiliser: StabiliserSection | None = None


def load_settings(path: Path, kind: type[S]) -> S:
    """Read a configuration file.

    Parameters
    ----------
    path : Path
        TOML.
    kind : type[FileSettings]
        What has to be in it.

    Returns
    -------
    FileSettings
        Checked.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is not TOML, or a key is unknown, missing or wrong; the message names all of them.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as refused:
        raise ConfigurationError(f"configuration {path}: {refused.strerror}; name the file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as invalid:
        raise ConfigurationError(f"configuration {path}: not TOML: {invalid}") from None
    try:
        settings = kind.model_validate(tree)
    except ValidationError as invalid:
        raise ConfigurationError(f"configuration {path}: {'; '.join(_explained(fault) for fault in invalid.errors())}") from None
    if any("\0" in text for text in _texts(tree)):
        raise ConfigurationError(f"configuration {path}: a text holds the character U+0000; no name of a file or socket does")
    settings._folder = path.absolute().parent  # noqa: SLF001 - pydantic sets private attributes only from outside
    return settings


def _explained(fault: Mapping[str, Any]) -> str:
    """Return one line for a fault that pydantic found: the key, and what is wrong with it."""
    key = ".".join(str(part) for part in fault["loc"])
    known = {"extra_forbidden": "there is no such setting", "missing": "has to be given"}
    wrong = known.get(fault["type"], str(fault["msg"]).removeprefix("Value error, "))
    return f"{key}: {wrong}" if key else wrong


def _texts(value: object) -> Iterator[str]:
    """Yield all texts in ``value``, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)
