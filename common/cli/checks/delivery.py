"""Checks of what key delivery stands on: certificates, the list of revoked ones, the map of applications."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from common.cli.checks.finding import Finding, fail, ok, warn
from common.errors import ConfigurationError
from common.service.credentials import read_private
from common.service.settings import DeliverySection, NodeSettings

SOON_DAYS = 30
"""Days before the end of a certificate from which on it is a warning: time to have a new one issued."""

OUTDATED_SOON_DAYS = 2
"""Likewise for a list of revoked certificates, which is issued often."""

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
"""Addresses that stand for all of a machine's own."""

NEW_CERTIFICATE = "have a new one issued, put it in its place, and reload the service"


def check_certificates(settings: NodeSettings, delivery: DeliverySection) -> Iterator[Finding]:
    """Check the node's certificate and the authority: readable, together, valid, not about to end, good for the address.

    Parameters
    ----------
    settings, delivery : NodeSettings, DeliverySection
        Name the files.

    Yields
    ------
    Finding
        One or more for each.
    """
    from common.delivery.door import tls_context

    certificate, key, authority = (settings.resolved(path) for path in (delivery.certificate, delivery.key, delivery.authority))
    try:
        read_private(key, "delivery.key")
        tls_context(certificate, key, authority, None)
        own, vouching = _certificates(certificate)[0], _certificates(authority)
    except (ConfigurationError, OSError, ValueError, IndexError) as wrong:
        yield fail("certificate", f"{wrong}", "name PEM files that belong together, the key for this user alone; qkd provision writes some")
        return
    yield from _validity("certificate", certificate, own)
    yield from _purpose(certificate, own)
    yield from _names(delivery.bind, own)
    for one in vouching:
        yield from _validity("authority", authority, one)
    if not all(_signs_certificates(one) for one in vouching):
        yield fail("authority", f"{authority} holds a certificate that is no authority's", "name that of whoever issues for applications")


def check_revoked(settings: NodeSettings, delivery: DeliverySection) -> Iterator[Finding]:
    """Check the list of revoked certificates: readable, of the authority, not outdated.

    Parameters
    ----------
    settings, delivery : NodeSettings, DeliverySection
        Name the files.

    Yields
    ------
    Finding
        One for each authority; none where no list is named.
    """
    if delivery.revoked is None:
        return
    path, name = settings.resolved(delivery.revoked), "revoked certificates"
    try:
        lists = _revocation_lists(path)
        vouching = _certificates(settings.resolved(delivery.authority))
    except (OSError, ValueError) as wrong:
        yield fail(name, f"{path}: {wrong}", "name a list (CRL) in PEM, or leave out delivery.revoked")
        return
    for authority in vouching:
        public = authority.public_key()
        # its issuer says who signed it, its signature that it was so
        signed = [one for one in lists if one.issuer == authority.subject and one.is_signature_valid(public)]  # type: ignore[arg-type]
        if not signed:
            yield fail(
                name,
                f"{path} holds no list that {authority.subject.rfc4514_string()} signed: every application of it is refused",
                "have it issue one, or leave out delivery.revoked",
            )
            continue
        latest = max(signed, key=lambda one: one.last_update_utc)
        yield _up_to_date(path, latest)


def check_applications(settings: NodeSettings, delivery: DeliverySection) -> Iterator[Finding]:
    """Check the map of applications.

    Parameters
    ----------
    settings, delivery : NodeSettings, DeliverySection
        Name the file.

    Yields
    ------
    Finding
        One.
    """
    from common.delivery.identities import Identities

    path = settings.resolved(delivery.applications)
    try:
        known = Identities.read(path)
    except ConfigurationError as wrong:
        yield fail("applications", str(wrong), "correct what it names; docs/reference/key-delivery lists the entries")
        return
    if not known.names:
        yield warn("applications", f"{path} names none: nobody is given key", "add a table sae.NAME for each")
        return
    limited = f", {len(known.quotas)} with a quota" if known.quotas else ""
    if silent := known.unknowable:
        yield warn("applications", f"no certificate stands for {', '.join(silent)}", "give fingerprints, names or common_names")
    yield ok("applications", f"{len(known.names)} in {path}{limited}")


def _certificates(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def _revocation_lists(path: Path) -> list[x509.CertificateRevocationList]:
    begin = b"-----BEGIN X509 CRL-----"
    parts = path.read_bytes().split(begin)[1:]
    if not parts:
        raise ValueError("no list of revoked certificates in PEM")
    return [x509.load_pem_x509_crl(begin + part) for part in parts]


def _validity(what: str, path: Path, certificate: x509.Certificate) -> Iterator[Finding]:
    now, name = dt.datetime.now(dt.UTC), certificate.subject.rfc4514_string()
    left = (certificate.not_valid_after_utc - now).days
    end = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    if now > certificate.not_valid_after_utc:
        yield fail(what, f"{path} ({name}) ran out on {end}", NEW_CERTIFICATE)
    elif now < certificate.not_valid_before_utc:
        yield fail(
            what, f"{path} ({name}) is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC", "set the clock, or wait"
        )
    elif left < SOON_DAYS:
        yield warn(what, f"{path} ({name}) runs out in {left} days, on {end}", NEW_CERTIFICATE)
    else:
        yield ok(what, f"{path} ({name}), valid for {left} days, until {end}")


def _purpose(path: Path, certificate: x509.Certificate) -> Iterator[Finding]:
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(uses):
        yield fail("certificate", f"{path} is not for servers: applications refuse it", "have it issued with the usage serverAuth")


def _names(bind: str, certificate: x509.Certificate) -> Iterator[Finding]:
    """Check that applications which connect to the address of ``bind`` find its name in the certificate."""
    host = bind.rpartition(":")[0].strip("[]")
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        yield fail("certificate names", "there is none: applications refuse it", "have it issued with alternative names (SAN)")
        return
    names, addresses = listed.get_values_for_type(x509.DNSName), listed.get_values_for_type(x509.IPAddress)
    shown = ", ".join((*names, *map(str, addresses)))
    if host in EVERYWHERE:
        yield ok("certificate names", f"{shown}: applications have to connect to one of them")
    elif _covers(host, names, addresses):
        yield ok("certificate names", f"{shown}: delivery.bind {bind} among them")
    else:
        yield warn(
            "certificate names",
            f"{shown}: delivery.bind {bind} is not among them, applications that connect to it refuse the node",
            "have a certificate issued for it, or have applications connect to a name that it has",
        )


def _covers(host: str, names: Sequence[str], addresses: Sequence[object]) -> bool:
    try:
        return ipaddress.ip_address(host) in addresses
    except ValueError:
        lowered = {name.lower() for name in names}
        return host.lower() in lowered or f"*.{host.lower().partition('.')[2]}" in lowered


def _signs_certificates(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _up_to_date(path: Path, latest: x509.CertificateRevocationList) -> Finding:
    name, now, until = "revoked certificates", dt.datetime.now(dt.UTC), latest.next_update_utc
    advice = "have a new list issued, put it in its place, and reload the service"
    if latest.last_update_utc > now:
        return fail(
            name,
            f"{path} is of {latest.last_update_utc:%Y-%m-%d %H:%M} UTC, which is to come: every application is refused",
            "set the clock",
        )
    if until is not None and until < now:
        return fail(name, f"{path} is outdated since {until:%Y-%m-%d %H:%M} UTC: every application is refused", advice)
    if until is not None and (until - now).days < OUTDATED_SOON_DAYS:
        return warn(name, f"{path} is outdated on {until:%Y-%m-%d %H:%M} UTC, and then every application is refused", advice)
    count = len(latest)
    return ok(name, f"{count} in {path}, " + (f"to be renewed by {until:%Y-%m-%d}" if until is not None else "without an end"))
