"""The file of ``qkd wireguard`` and of ``qkd strongswan``: who we are, who the others are, and what each tunnel is; one file a host.

An end with ``connect`` in the table of a peer orders the keys of that tunnel; the other end holds them, and has none.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from common.errors import ConfigurationError
from common.service.settings import AdminSection, FileSettings, LogSection, Section
from common.tunnels.freshness import Rhythm, WhenShort

KEY_BYTES = 32
"""A key: 256 bits, as WireGuard takes them, and enough for a PPK (RFC 8784, section 3)."""

Address = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):\d{1,5}$")]

Name = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,200}$")]

Seconds = Annotated[float, Field(ge=0.1, le=86_400.0)]


def host_and_port(address: str) -> tuple[str, int]:
    """Return the two parts of ``address``, a host or an address in brackets, and a port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _checked(address: str | None) -> str | None:
    if address is not None and not 0 < host_and_port(address)[1] < 1 << 16:
        raise ValueError("write HOST:PORT with a port from 1 to 65535")
    return address


class ApplicationSection(Section):
    """Who we are to our node and to the other ends.

    Attributes
    ----------
    name : str
        The application's name (SAE ID), as the map of the node has it.
    certificate, key, authority : Path
        What we show, and whose certificates we believe; PEM.
    node : str
        Where our node delivers keys, ``HOST:PORT``; its certificate has to carry the host.
    """

    name: Name
    certificate: Path
    key: Path
    authority: Path
    node: Address

    _node = field_validator("node")(_checked)


class AgreementSection(Section):
    """Where the other ends reach us.

    Attributes
    ----------
    bind : str | None
        ``HOST:PORT``; needed where another end orders the keys.
    answer_seconds : float
        How long the other end, and our node, may take to answer.
    """

    bind: Address | None = None
    answer_seconds: Annotated[float, Field(ge=0.1, le=60.0)] = 10.0

    _bind = field_validator("bind")(_checked)


class PeerSection(Section):
    """The tunnel to another end.

    Attributes
    ----------
    names, fingerprints : tuple[str, ...]
        Which certificates are the other end's: by an alternative name (DNS), or by their SHA-256. Any of these is enough.
    connect : str | None
        Where the other end listens, ``HOST:PORT``; then we order the keys. Else it does.
    when_short : WhenShort | None
        Whether the tunnel keeps its last key or is closed where no fresh one comes.
    renew_seconds, longest_seconds : float
        Age at which a key is changed, and from which it counts as too old.
    check_seconds : float
        How often the ends see how they do.
    proof_seconds : float
        How old the tunnel's last proof may be that both ends have the same key.
    """

    names: tuple[Name, ...] = ()
    fingerprints: tuple[str, ...] = ()
    connect: Address | None = None
    when_short: WhenShort | None = None
    renew_seconds: Seconds = 120.0
    longest_seconds: Seconds = 600.0
    check_seconds: Seconds = 10.0
    proof_seconds: Seconds = 300.0

    _connect = field_validator("connect")(_checked)

    @field_validator("fingerprints")
    @classmethod
    def _are_fingerprints(cls, listed: tuple[str, ...]) -> tuple[str, ...]:
        plain = tuple(text.lower().replace(":", "") for text in listed)
        if not all(len(text) == 64 and set(text) <= set("0123456789abcdef") for text in plain):
            raise ValueError("write the SHA-256 of the certificate as 64 hexadecimal digits")
        return plain

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.names and not self.fingerprints:
            raise ValueError("say with names or fingerprints which certificates are the other end's")
        if self.longest_seconds < self.renew_seconds + self.check_seconds:
            raise ValueError("longest_seconds must be above renew_seconds by check_seconds at least")
        return self

    @property
    def rhythm(self) -> Rhythm:
        """How often its key is changed."""
        return Rhythm(self.renew_seconds, self.longest_seconds, self.check_seconds, self.proof_seconds)


class WireGuardPeer(PeerSection):
    """A peer of a WireGuard interface.

    Attributes
    ----------
    interface : str
        The interface.
    public_key : str
        The peer's public key, as ``wg`` writes it.
    allowed_ips : tuple[str, ...]
        What the peer may send and is sent; needed where the tunnel may be closed, for closing takes these away.
    """

    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9_=+.][A-Za-z0-9_=+.-]{0,14}$")]
    public_key: str
    allowed_ips: tuple[str, ...] = ()

    @field_validator("public_key")
    @classmethod
    def _is_key(cls, text: str) -> str:
        try:
            whole = len(base64.b64decode(text, validate=True)) == KEY_BYTES
        except (binascii.Error, ValueError):
            whole = False
        if not whole:
            raise ValueError("not a public key of WireGuard: 44 letters, as wg pubkey prints them")
        return text

    @field_validator("allowed_ips")
    @classmethod
    def _are_networks(cls, listed: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(text)) for text in listed)


class StrongSwanPeer(PeerSection):
    """An IKE connection of strongSwan.

    Attributes
    ----------
    connection, child : str
        Name of the connection, and of the one of its children that is established with every key.
    settings : dict
        The connection, as in ``connections.NAME`` of swanctl.conf; without ``ppk_id`` and ``ppk_required``, which come from here.
    """

    connection: Name
    child: Name
    settings: dict[str, Any]

    @field_validator("settings")
    @classmethod
    def _has_no_ppk(cls, settings: dict[str, Any]) -> dict[str, Any]:
        if named := settings.keys() & {"ppk_id", "ppk_required"}:
            raise ValueError(f"leave out {', '.join(sorted(named))}: every key brings its own")
        return settings

    @model_validator(mode="after")
    def _has_child(self) -> Self:
        children = self.settings.get("children")
        if not isinstance(children, dict) or self.child not in children:
            raise ValueError(f"settings.children.{self.child} is missing")
        return self


class TunnelSettings(FileSettings):
    """What the files of all kinds of tunnels have.

    Attributes
    ----------
    application, agreement, log : Section
        Tables of the file.
    admin : AdminSection
        The socket for the status.
    peer : dict[str, PeerSection]
        The tunnels, by the name of the other end's application (SAE ID).
    """

    application: ApplicationSection
    agreement: AgreementSection = AgreementSection()
    log: LogSection = LogSection()
    admin: AdminSection
    peer: Mapping[Name, PeerSection] = Field(min_length=1)

    def decided(self, when_short: WhenShort | None) -> Self:
        """Have it said for every tunnel what happens where no fresh key comes.

        Parameters
        ----------
        when_short : WhenShort | None
            In place of what the file says.

        Returns
        -------
        TunnelSettings
            The same, with that.

        Raises
        ------
        ConfigurationError
            If nobody has said it.
        """
        if when_short is not None:
            peers = {name: peer.model_copy(update={"when_short": when_short}) for name, peer in self.peer.items()}
            return self.model_copy(update={"peer": peers})
        if open_ones := [name for name, peer in self.peer.items() if peer.when_short is None]:
            raise ConfigurationError(
                f"peer.{open_ones[0]}.when_short: say what happens where no fresh key comes, here or with --when-short: "
                "keep the last one, or close the tunnel"
            )
        return self


class WireGuardSettings(TunnelSettings):
    """The file of ``qkd wireguard``: ``peer`` and ``admin``."""

    admin: AdminSection = AdminSection(socket=Path("run/wireguard.sock"))
    peer: Mapping[Name, WireGuardPeer] = Field(min_length=1)


class DaemonSection(Section):
    """The IKE daemon, reached by its ``socket`` (vici)."""

    socket: Path = Path("/var/run/charon.vici")


class StrongSwanSettings(TunnelSettings):
    """The file of ``qkd strongswan``.

    Attributes
    ----------
    admin, strongswan : Section
        Tables of the file; the latter is the IKE daemon.
    peer : dict[str, StrongSwanPeer]
        The tunnels.
    """

    admin: AdminSection = AdminSection(socket=Path("run/strongswan.sock"))
    strongswan: DaemonSection = DaemonSection()
    peer: Mapping[Name, StrongSwanPeer] = Field(min_length=1)
