"""Which application a certificate stands for: an explicit map, read from a file, that may be read again while the node runs.

A certificate that its authority vouches for is nobody until the map names it, by its fingerprint or by one of its names. Those listed as
revoked are nobody, whatever else is said.

::

    [sae.sae-alice]
    fingerprints = ["5d0c…"]           # SHA-256 of the certificate (DER), hexadecimal
    names = ["sae-alice.example"]      # alternative names: DNS, or URI where there is a colon in it
    common_names = ["sae-alice"]
    quota_bits_per_day = 1048576       # what it may order in any 24 hours; all there is where this is missing

    [revoked]
    fingerprints = ["77ab…"]
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cryptography import x509
from pydantic import Field, ValidationError, field_validator

from common.delivery.rules import is_name
from common.errors import ConfigurationError
from common.service.settings import Section

MOST_FILE_BYTES = 4 << 20
"""Longest map."""


class SaeEntry(Section):
    """How the certificates of one application are known.

    Attributes
    ----------
    fingerprints, names, common_names : tuple[str, ...]
        Any of these is enough.
    quota_bits_per_day : int | None
        Key that it may order here in any 24 hours; None for all there is.
    """

    fingerprints: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    common_names: tuple[str, ...] = ()
    quota_bits_per_day: Annotated[int, Field(strict=True, ge=0, le=1 << 50)] | None = None

    @field_validator("fingerprints")
    @classmethod
    def _are_fingerprints(cls, listed: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_fingerprint(text) for text in listed)


class RevokedEntry(Section):
    """Certificates that are nobody any more, by their ``fingerprints``."""

    fingerprints: tuple[str, ...] = ()

    @field_validator("fingerprints")
    @classmethod
    def _are_fingerprints(cls, listed: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_fingerprint(text) for text in listed)


class SaeFile(Section):
    """The whole file: tables ``sae`` and ``revoked``."""

    sae: dict[str, SaeEntry] = Field(default_factory=dict)
    revoked: RevokedEntry = RevokedEntry()


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is known of a certificate that was shown.

    Attributes
    ----------
    fingerprint : str
        SHA-256 of it, hexadecimal.
    names, uris : frozenset[str]
        Alternative names: DNS, and URI.
    common_name : str | None
        Of its subject.
    valid_through_s : float
        Unix time.
    """

    fingerprint: str
    names: frozenset[str]
    uris: frozenset[str]
    common_name: str | None
    valid_through_s: float

    @classmethod
    def of(cls, encoded: bytes) -> Certificate:
        """Read a certificate.

        Parameters
        ----------
        encoded : bytes
            DER.

        Returns
        -------
        Certificate
            Its names; none where they cannot be read.

        Raises
        ------
        ValueError
            If it is no certificate.
        """
        read = x509.load_der_x509_certificate(encoded)
        names: list[str] = []
        uris: list[str] = []
        try:
            listed = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names, uris = listed.get_values_for_type(x509.DNSName), listed.get_values_for_type(x509.UniformResourceIdentifier)
        except x509.ExtensionNotFound:
            pass
        except (x509.UnsupportedGeneralNameType, x509.DuplicateExtension):
            pass  # whoever issues such names knows the certificate by its fingerprint
        common = [str(name.value) for name in read.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
        fingerprint = hashlib.sha256(encoded).hexdigest()
        return cls(
            fingerprint, frozenset(names), frozenset(uris), common[0] if len(common) == 1 else None, read.not_valid_after_utc.timestamp()
        )


class Identities:
    """The map.

    Parameters
    ----------
    file : SaeFile
        As read.
    where : str
        For messages.

    Attributes
    ----------
    names : tuple[str, ...]
        All applications.
    quotas : dict[str, int]
        Bytes a day, by application, of those that have a quota.
    unknowable : tuple[str, ...]
        Applications that no certificate can stand for.

    Raises
    ------
    ConfigurationError
        If two applications claim the same certificate, or a name cannot be one.
    """

    def __init__(self, file: SaeFile, where: str = "applications") -> None:
        self.names = tuple(file.sae)
        self.quotas = {name: entry.quota_bits_per_day // 8 for name, entry in file.sae.items() if entry.quota_bits_per_day is not None}
        self.unknowable = tuple(name for name, entry in file.sae.items() if not (entry.fingerprints or entry.names or entry.common_names))
        self._revoked = frozenset(file.revoked.fingerprints)
        self._known: dict[tuple[str, str], str] = {}
        for sae, entry in file.sae.items():
            if not is_name(sae):
                raise ConfigurationError(f"{where}: sae.{sae}: not the name of an application: 1 to 200 printable letters")
            uris = tuple(name for name in entry.names if ":" in name)
            names = tuple(name for name in entry.names if ":" not in name)
            for kind, listed in (
                ("fingerprint", entry.fingerprints),
                ("name", names),
                ("URI", uris),
                ("common name", entry.common_names),
            ):
                for value in listed:
                    other = self._known.setdefault((kind, value), sae)
                    if other != sae:
                        raise ConfigurationError(f"{where}: {kind} {value} stands for {other} and for {sae}: only one of them")

    @classmethod
    def read(cls, path: Path) -> Identities:
        """Read the map from a file.

        Parameters
        ----------
        path : Path
            TOML.

        Returns
        -------
        Identities
            Checked.

        Raises
        ------
        ConfigurationError
            If it cannot be read or says anything it may not.
        """
        where = f"delivery.applications {path}"
        try:
            if path.stat().st_size > MOST_FILE_BYTES:
                raise ConfigurationError(f"{where}: longer than {MOST_FILE_BYTES} bytes")
            tree: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as refused:
            raise ConfigurationError(f"{where}: {refused.strerror}; qkd provision writes one") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as invalid:
            raise ConfigurationError(f"{where}: not TOML: {invalid}") from None
        try:
            return cls(SaeFile.model_validate(tree), where)
        except ValidationError as invalid:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in invalid.errors())
            raise ConfigurationError(f"{where}: {faults}") from None

    def sae_of(self, certificate: Certificate) -> str | None:
        """Return the application that a ``certificate`` stands for, or None: unknown, revoked, or of two at once."""
        if certificate.fingerprint in self._revoked:
            return None
        shown = [("fingerprint", certificate.fingerprint), *(("name", name) for name in sorted(certificate.names))]
        shown += [("URI", uri) for uri in sorted(certificate.uris)]
        if certificate.common_name is not None:
            shown.append(("common name", certificate.common_name))
        found = {self._known[entry] for entry in shown if entry in self._known}
        return found.pop() if len(found) == 1 else None

    def is_revoked(self, certificate: Certificate) -> bool:
        """Say whether a ``certificate`` is listed as revoked."""
        return certificate.fingerprint in self._revoked


def _fingerprint(text: str) -> str:
    plain = text.lower().replace(":", "").removeprefix("sha256")
    if len(plain) != 64 or not all(letter in "0123456789abcdef" for letter in plain):
        raise ValueError("write the SHA-256 of the certificate as 64 hexadecimal digits")
    return plain
