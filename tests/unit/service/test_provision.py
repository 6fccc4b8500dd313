"""What ``qkd provision`` writes: the same secret for both ends, everything else apart, and nothing overwritten."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import zmq
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from alice.settings import AliceSettings
from bob.settings import BobSettings
from common.cli.main import run
from common.cli.provisioning import INITIAL_PAIRS, to_toml
from common.distillation.recipe import Recipe
from common.profiles.link import load_profile
from common.service.credentials import read_masks, read_secrets
from common.service.settings import load_settings


@pytest.fixture(scope="module")
def link(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("provisioned") / "nodes"
    assert run(["provision", "--link", "niedersachsen", "--set", "channel.loss_db=10", "--out", str(out)]) == 0
    return out


def test_both_ends_hold_the_same_secret_and_nothing_else_in_common(link):
    def content(name):
        return [(link / node / name).read_bytes() for node in ("alice", "bob")]

    same = {name: len(set(content(name))) == 1 for name in ("authentication.secret", "link.toml", "channel.key", "master.key", "node.key")}

    assert same == {"authentication.secret": True, "link.toml": True, "channel.key": False, "master.key": False, "node.key": False}


def test_each_end_knows_the_public_key_of_the_other(link):
    for node, peer in (("alice", "bob"), ("bob", "alice")):
        assert zmq.curve_public((link / node / "channel.key").read_bytes().strip()) == (link / peer / "peer.pub").read_bytes().strip()


def test_nobody_else_can_read_any_of_it(link):
    modes = {path: path.stat().st_mode & 0o777 for path in link.rglob("*")}

    assert all(mode == (0o700 if path.is_dir() else 0o600) for path, mode in modes.items())


def test_the_profile_reads_back_to_the_same_recipe(link):
    written = load_profile(str(link / "alice" / "link.toml"))

    assert Recipe.of(written).digest == Recipe.of(load_profile("niedersachsen", ["channel.loss_db=10"])).digest


def test_the_configurations_load(link):
    assert load_settings(link / "alice" / "config.toml", AliceSettings).channel.connect == "tcp://127.0.0.1:7701"
    assert load_settings(link / "bob" / "config.toml", BobSettings).channel.bind == "tcp://127.0.0.1:7701"


def test_certificates_are_issued_by_the_link_and_name_their_hosts(link):
    authority = x509.load_pem_x509_certificate((link / "ca" / "ca.crt").read_bytes())
    node = x509.load_pem_x509_certificate((link / "bob" / "node.crt").read_bytes())
    application = x509.load_pem_x509_certificate((link / "sae" / "sae-alice.crt").read_bytes())

    for certificate in (node, application):
        certificate.verify_directly_issued_by(authority)
    names = node.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    uses = application.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH} == set(uses)  # tunnels have an end that listens
    names = application.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["sae-alice"]  # and no node is mistaken for it, nor it for a node


def test_keys_are_never_overwritten(link, capsys):
    before = (link / "alice" / "channel.key").read_bytes()

    assert run(["provision", "--link", "niedersachsen", "--out", str(link)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (link / "alice" / "channel.key").read_bytes() == before


def test_two_hosts_reach_each_other(tmp_path):
    arguments = ["provision", "--link", "hbn", "--out", str(tmp_path / "n"), "--alice-host", "a.example", "--bob-host", "10.0.0.2"]
    assert run(arguments) == 0

    alice, bob = (tomllib.loads((tmp_path / "n" / node / "config.toml").read_text()) for node in ("alice", "bob"))
    assert (alice["channel"]["connect"], bob["channel"]["bind"]) == ("tcp://10.0.0.2:7701", "tcp://*:7701")
    assert bob["stream"]["address"] == "tcp://a.example:7712"


def test_renewal_gives_both_ends_the_same_fresh_masks_of_the_next_generation(link):
    assert run(["provision", "--renew", str(link)]) == 0
    assert run(["provision", "--renew", str(link)]) == 0

    masks = [read_masks(read_secrets(link / node / "authentication.secret"), link / node / "renewal.secret") for node in ("alice", "bob")]
    assert masks[0] == masks[1]
    assert masks[0].generation == 2
    assert len(masks[0].masks) == 32 * INITIAL_PAIRS
    assert masks[0].masks != read_secrets(link / "alice" / "authentication.secret").masks


def test_toml_that_is_written_reads_back():
    tree: dict[str, Any] = {
        "": {"text": 'a "quoted" \\ word', "number": 1e-10, "flag": True, "list": [1, 2], "none": None},
        "table": {"whole": 228_000_000},
    }

    assert tomllib.loads(to_toml("title", tree)) == {
        "text": 'a "quoted" \\ word',
        "number": 1e-10,
        "flag": True,
        "list": [1, 2],
        "table": {"whole": 228_000_000},
    }
