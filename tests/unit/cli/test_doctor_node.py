"""What ``qkd doctor --config`` finds on a node: settings, secrets, certificates, revoked certificates, applications, the service."""

import datetime as dt
import ipaddress
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.cli.checks.finding import Verdict, guarded
from common.cli.checks.node import node_checks
from common.cli.main import run
from common.cli.provisioning import Hosts, provision
from common.cli.status import delivery as delivery_lines
from common.profiles.link import load_profile
from tests.support.certificates import of_another_authority, revocation_list


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor") / "nodes"
    provision(load_profile("niedersachsen"), folder, Hosts())
    return folder


@pytest.fixture
def nodes(provisioned, tmp_path):
    """A link's folders, to be spoilt."""
    copied = tmp_path / "nodes"
    for path in sorted(provisioned.rglob("*")):
        target = copied / path.relative_to(provisioned)
        if path.is_dir():
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(mode=0o600)
            target.write_bytes(path.read_bytes())
    return copied


def findings(nodes, check=None):
    found = [finding for one in node_checks(nodes / "alice" / "config.toml") for finding in guarded(one)]
    assert not any("the check broke" in finding.found for finding in found)
    return [(str(finding.verdict), finding.found) for finding in found if check is None or finding.check == check]


def replace(nodes, old, new):
    path = nodes / "alice" / "config.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def certificate(nodes, *, days=100.0, since_days=-1.0, names=("127.0.0.1",), uses=(ExtendedKeyUsageOID.SERVER_AUTH,)):
    """Give Alice's node another certificate of its authority."""
    issuer = x509.load_pem_x509_certificate((nodes / "ca" / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((nodes / "ca" / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=since_days))
        .not_valid_after(now + dt.timedelta(days=days, minutes=5))
    )
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if names:
        general = [x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (nodes / "alice" / "node.crt").write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (nodes / "alice" / "node.key").write_bytes(pem)


def test_a_provisioned_node_is_sound_and_its_service_does_not_run(nodes, capsys):
    found = findings(nodes)

    assert [verdict for verdict, _ in found] == ["ok"] * (len(found) - 1) + ["warn"]
    assert run(["doctor", "--json", "--config", str(nodes / "bob" / "config.toml")]) == 0
    named = {entry["check"] for entry in json.loads(capsys.readouterr().out)}
    assert {
        "configuration",
        "link of the node",
        "secrets",
        "certificate",
        "certificate names",
        "authority",
        "applications",
        "service",
    } <= named


def test_a_setting_that_is_wrong_is_named_and_nothing_else_is_looked_at(nodes):
    replace(nodes, "[delivery]", "[delivery]\ncolour = 1")

    assert findings(nodes) == [("fail", f"configuration {nodes / 'alice' / 'config.toml'}: delivery.colour: there is no such setting")]


def test_a_link_that_nobody_watches_is_found(nodes):
    assert findings(nodes, "monitors")[0] == (
        "ok",
        "background_ratio 0.5 to 2, efficiency_ratio 0.8 to 1.25, detection_ratio 0 to 1.5, coincidence_ratio 0.4 to 2.5",
    )
    link = nodes / "alice" / "link.toml"
    link.write_text(link.read_text().partition("[monitors]")[0])
    ((verdict, said),) = findings(nodes, "monitors")

    assert verdict == "warn"
    assert "nothing stops the key" in said


@pytest.mark.parametrize(("alarm", "expected"), [(None, []), ("detector-blinding", [("warn", "no key: detector-blinding")])])
def test_a_monitor_that_stops_the_key_of_the_service_is_said(nodes, monkeypatch, alarm, expected):
    class Running:
        """A service that answers."""

        def __init__(self, _socket):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def ask(self, _command):
            return {"node": "alice", "session": {"activity": "idle", "peer_present": True}, "monitors": {"alarm": alarm}}

    monkeypatch.setattr("common.service.admin_client.AdminClient", Running)
    assert findings(nodes, "monitors")[1:] == expected


def test_another_link_than_the_agreed_one_is_found(nodes):
    replace(nodes, 'link = "link.toml"', f'link = "link.toml"\ndigest = "{64 * "0"}"')

    ((verdict, said),) = findings(nodes, "link of the node")
    assert (verdict, "node.digest" in said) == ("fail", True)


@pytest.mark.parametrize("name", ["authentication.secret", "master.key", "channel.key"])
def test_a_secret_that_others_can_read_is_found(nodes, name):
    (nodes / "alice" / name).chmod(0o644)

    assert any(verdict == "fail" and name in found for verdict, found in findings(nodes, "secrets"))


def test_a_key_that_others_can_read_and_one_of_another_certificate_are_found(nodes):
    (nodes / "alice" / "node.key").chmod(0o644)
    assert findings(nodes, "certificate")[0][0] == "fail"
    (nodes / "alice" / "node.key").chmod(0o600)
    (nodes / "alice" / "node.key").write_bytes((nodes / "bob" / "node.key").read_bytes())

    assert "key values mismatch" in findings(nodes, "certificate")[0][1]


@pytest.mark.parametrize(
    ("options", "verdict", "said"),
    [
        ({"days": 100}, "ok", "valid for 100 days"),
        ({"days": 29}, "warn", "runs out in 29 days"),
        ({"days": -0.5, "since_days": -2}, "fail", "ran out on"),
        ({"since_days": 2}, "fail", "is valid only from"),
    ],
)
def test_a_certificate_that_ends_soon_or_is_not_valid_is_found(nodes, options, verdict, said):
    certificate(nodes, **options)

    ((found, text),) = findings(nodes, "certificate")
    assert (found, said in text) == (verdict, True), text


@pytest.mark.parametrize(
    ("bind", "names", "verdict"),
    [
        ("127.0.0.1:8443", ("127.0.0.1",), "ok"),
        ("10.1.2.3:8443", ("127.0.0.1",), "warn"),
        ("qkd.example.org:8443", ("QKD.example.org",), "ok"),
        ("qkd.example.org:8443", ("*.example.org",), "ok"),
        ("qkd.lab.example.org:8443", ("*.example.org",), "warn"),
        ("0.0.0.0:8443", ("qkd.example.org",), "ok"),
        ("127.0.0.1:8443", (), "fail"),
    ],
)
def test_a_certificate_whose_names_do_not_match_the_address_is_found(nodes, bind, names, verdict):
    certificate(nodes, names=names)
    replace(nodes, "127.0.0.1:8443", bind)

    assert [found for found, _ in findings(nodes, "certificate names")] == [verdict]


def test_a_certificate_that_is_for_clients_only_and_an_authority_that_is_none_are_found(nodes):
    certificate(nodes, uses=(ExtendedKeyUsageOID.CLIENT_AUTH,))
    (nodes / "alice" / "ca.crt").write_bytes((nodes / "sae" / "sae-alice.crt").read_bytes())

    assert ("fail", f"{nodes / 'alice' / 'node.crt'} is not for servers: applications refuse it") in findings(nodes, "certificate")
    assert any(verdict == "fail" and "no authority's" in found for verdict, found in findings(nodes, "authority"))


def named_list(nodes, content):
    replace(nodes, "[delivery]", '[delivery]\nrevoked = "revoked.crl"')
    (nodes / "alice" / "revoked.crl").write_bytes(content)


def signed_list(nodes, *, last_days, next_days):
    issuer = x509.load_pem_x509_certificate((nodes / "ca" / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((nodes / "ca" / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now + dt.timedelta(days=last_days))
        .next_update(now + dt.timedelta(days=next_days))
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("last_days", "next_days", "verdict", "said"),
    [(-1, 30, "ok", "0 in"), (-1, 1, "warn", "is outdated on"), (-9, -1, "fail", "outdated since"), (1, 9, "fail", "to come")],
)
def test_a_list_of_revoked_certificates_that_is_outdated_is_found(nodes, last_days, next_days, verdict, said):
    named_list(nodes, signed_list(nodes, last_days=last_days, next_days=next_days))

    ((found, text),) = findings(nodes, "revoked certificates")
    assert (found, said in text) == (verdict, True), text


def test_a_list_that_is_none_or_of_another_authority_is_found(nodes, tmp_path):
    named_list(nodes, b"no list")
    assert findings(nodes, "revoked certificates")[0][0] == "fail"

    revocation_list(nodes / "ca", nodes / "alice" / "revoked.crl", nodes / "sae" / "sae-bob.crt")
    assert [verdict for verdict, _ in findings(nodes, "revoked certificates")] == ["warn"]

    stranger, _ = of_another_authority(tmp_path, "stranger")
    (nodes / "alice" / "ca.crt").write_bytes((nodes / "ca" / "ca.crt").read_bytes() + stranger.read_bytes())
    assert "every application of it is refused" in findings(nodes, "revoked certificates")[1][1]


@pytest.mark.parametrize(
    ("text", "verdict", "said"),
    [
        ("", "warn", "nobody is given key"),
        ("[sae.one]\n", "warn", "no certificate stands for one"),
        ('[sae.one]\nnames = ["one"]\nquota_bits_per_day = 8\n', "ok", "1 in"),
        ("[sae.one]\ncolour = 1\n", "fail", "colour"),
        ("no TOML", "fail", "not TOML"),
    ],
)
def test_a_map_of_applications_that_is_not_sound_is_found(nodes, text, verdict, said):
    (nodes / "alice" / "applications.toml").write_text(text)

    found, explained = findings(nodes, "applications")[0]
    assert (found, said in explained) == (verdict, True), explained


def test_a_verdict_reads_as_it_is_written():
    assert [str(verdict) for verdict in Verdict] == ["ok", "warn", "fail"]


def test_the_status_shows_what_delivery_does():
    counts = {"keys_ordered": 3, "keys_held": 2, "keys_collected": 1, "keys_expired": 0, "orders_lost": 1, "orders_over_quota": 4}
    said = {"address": "a:1", "peer_ready": False, "answers": {"503": 1, "200": 7}, **counts, "quotas": {}}
    (line,) = delivery_lines(said)
    _, quotas = delivery_lines(said | {"quotas": {"vpn": {"quota_bits": 1024, "left_bits": 256}}})

    assert "NOT READY" in line
    assert "3 keys ordered here, 2 held for the other end's orders, 1 of them fetched" in line
    assert line.endswith("1 orders LOST; answers: 7 with 200, 1 with 503")
    assert quotas == "quotas: vpn 256 of 1024 bits left; 4 orders refused"
