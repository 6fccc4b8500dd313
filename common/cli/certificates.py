"""Certificates of a link: an authority of its own, one certificate a node, one for the first application at each end.

Used by ``qkd provision``; the key delivery of both nodes checks applications against this authority, and they check the nodes.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 3650
"""How long certificates are valid; a link is provisioned anew well before."""

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names every node answers to on its own machine."""


@dataclass(frozen=True, slots=True, repr=False)
class Certified:
    """A certificate and its key, both PEM; without repr.

    Attributes
    ----------
    certificate, key : bytes
        PEM; the key is PKCS 8 without a password.
    """

    certificate: bytes
    key: bytes

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate (DER), hexadecimal."""
        return x509.load_pem_x509_certificate(self.certificate).fingerprint(hashes.SHA256()).hex()


class Authority:
    """A certificate authority for one link; ``certified`` holds its own certificate and key.

    Parameters
    ----------
    name : str
        Its common name.
    """

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            _dated(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        self.certified = _signed(builder, self._key, self._key)

    def issue(self, name: str, hosts: tuple[str, ...] = (), *, serves: bool = False) -> Certified:
        """Issue a certificate.

        Parameters
        ----------
        name : str
            Common name, also the first alternative name.
        hosts : tuple[str, ...]
            Names and addresses under which a server is reached.
        serves : bool
            Whether its owner is a server as well as a client.

        Returns
        -------
        Certified
            Certificate and key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if serves else [])]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [_alternative(host) for host in dict.fromkeys((name, *hosts))]
        builder = (
            _dated(subject, self._name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return _signed(builder, self._key, key)


def _dated(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))  # clocks of two hosts differ
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, signer: ec.EllipticCurvePrivateKey, owner: ec.EllipticCurvePrivateKey) -> Certified:
    key = owner.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certified(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), key)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
