"""What ``qkd provision`` writes: the same secret for both ends, everything else apart, and nothing overwritten."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import zmq
from cryptography import x509

from alice.settings import AliceSettings
from bob.settings import BobSettings
from common.cli.main import run
from common.cli.provisioning import INITIAL_PAIRS, to_toml
from common.distillation.recipe import Recipe
from common.profiles.link import load_profile
from common.service.credentials import read_masks, read_secrets
from common.service.settings import load_settings
from tests.support.tree import ROOT


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
    of_application = application.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert of_application.get_values_for_type(x509.DNSName) == ["sae-alice"], "it cannot stand for a node"
    assert not of_application.get_values_for_type(x509.IPAddress)


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


@pytest.fixture(scope="module")
def units(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("units") / "nodes"
    assert run(["provision", "--link", "niedersachsen", "--out", str(out), "--systemd"]) == 0
    return out


@pytest.mark.parametrize(("node", "kind"), [("alice", AliceSettings), ("bob", BobSettings)])
def test_a_unit_shows_its_service_every_secret_that_the_configuration_names(units, node, kind):
    settings = load_settings(units / node / "config.toml", kind)
    unit = (ROOT / "deploy" / "systemd" / f"qkd-{node}.service").read_text()
    secrets = [str(settings.channel.key), str(settings.channel.secret), settings.store.master_key, str(settings.delivery.key)]
    shown = dict(re.findall(rf"^LoadCredential=(.+):%E/qkdlink/{node}/(.+)$", unit, flags=re.MULTILINE))

    assert {secret.removeprefix("credential:") for secret in secrets} == shown.keys()
    assert all(secret.startswith("credential:") for secret in secrets)
    assert all((units / node / name).is_file() for name in shown.values())


@pytest.mark.parametrize("node", ["alice", "bob"])
def test_what_lasts_and_what_is_a_socket_lies_where_the_unit_makes_folders(units, node):
    config = tomllib.loads((units / node / "config.toml").read_text())
    fibre = tomllib.loads((units / "fibre" / "config.toml").read_text())
    unit = (ROOT / "deploy" / "systemd" / f"qkd-{node}.service").read_text()

    assert f"StateDirectory=qkd-{node}\n" in unit
    assert f"RuntimeDirectory=qkd-{node}\n" in unit
    assert (config["node"]["state"], config["store"]["path"]) == (f"/var/lib/qkd-{node}", f"/var/lib/qkd-{node}/store.sqlite")
    assert (config["node"]["runtime"], config["admin"]["socket"]) == (f"/run/qkd-{node}", f"/run/qkd-{node}/admin.sock")
    assert config["stream"]["address"] == fibre["serve"][node] == f"unix:/run/qkd-fibre/{node}.sock"
    assert not (units / node / "state").exists()


def test_masks_of_units_are_renewed_where_they_were_provisioned(units):
    assert run(["provision", "--renew", str(units)]) == 0

    secrets = read_secrets(units / "alice" / "authentication.secret")
    assert read_masks(secrets, units / "alice" / "renewal.secret").generation == 1
    assert read_masks(secrets, units / "alice" / "renewal.secret") == read_masks(secrets, units / "bob" / "renewal.secret")


@pytest.fixture(scope="module")
def containers(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("containers") / "nodes"
    assert run(["provision", "--link", "niedersachsen", "--out", str(out), "--compose"]) == 0
    return out


@pytest.mark.parametrize(("node", "kind"), [("alice", AliceSettings), ("bob", BobSettings)])
def test_a_container_sees_every_secret_that_the_configuration_names_as_a_file_of_its_own(containers, node, kind):
    settings = load_settings(containers / node / "config.toml", kind)
    compose = (ROOT / "deploy" / "compose.yaml").read_text()
    secrets = [str(settings.channel.key), str(settings.channel.secret), settings.store.master_key, str(settings.delivery.key)]
    shown = dict(re.findall(rf"^      - {{source: ({node}-\w+), target: (\S+)}}$", compose, flags=re.MULTILINE))
    files = dict(re.findall(rf'^  ({node}-\w+): {{file: "\${{QKD_NODES:-\./nodes}}/(\S+)"}}$', compose, flags=re.MULTILINE))

    assert {f"credential:{name}" for name in shown.values()} == set(secrets)
    assert {name: containers / path for name, path in files.items()} == {
        name: containers / "secrets" / node / shown[name] for name in shown
    }
    assert all((containers / path).is_file() for path in files.values())
    assert not [path for path in (containers / node).iterdir() if path.suffix in {".key", ".secret"}], "it is mounted whole"


def test_containers_find_each_other_by_name(containers):
    alice, bob, fibre = (tomllib.loads((containers / name / "config.toml").read_text()) for name in ("alice", "bob", "fibre"))

    assert (alice["channel"]["connect"], bob["channel"]["bind"]) == ("tcp://bob:7701", "tcp://*:7701")
    assert (alice["stream"]["address"], bob["stream"]["address"]) == ("tcp://fibre:7711", "tcp://fibre:7712")
    assert (fibre["serve"]["alice"], fibre["serve"]["bob"]) == ("tcp://0.0.0.0:7711", "tcp://0.0.0.0:7712")
    assert (alice["dashboard"]["bind"], bob["dashboard"]["bind"]) == ("0.0.0.0:9401", "0.0.0.0:9402")
    for node in ("alice", "bob"):
        certificate = x509.load_pem_x509_certificate((containers / node / "node.crt").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert {"localhost", node} <= set(names.get_values_for_type(x509.DNSName))


def test_nobody_else_can_read_secrets_that_lie_apart(containers):
    test_nobody_else_can_read_any_of_it(containers)


def test_masks_of_containers_are_renewed_where_each_node_finds_them(containers):
    assert run(["provision", "--renew", str(containers)]) == 0

    secrets = read_secrets(containers / "secrets" / "alice" / "authentication.secret")
    assert read_masks(secrets, containers / "alice" / "renewal.secret").generation == 1
    assert read_masks(secrets, containers / "alice" / "renewal.secret") == read_masks(secrets, containers / "bob" / "renewal.secret")


def test_services_are_run_by_units_or_in_containers(tmp_path, capsys):
    assert run(["provision", "--link", "niedersachsen", "--out", str(tmp_path / "n"), "--systemd", "--compose"]) == 2
    assert "--systemd or --compose" in capsys.readouterr().err
    assert not (tmp_path / "n").exists()


def test_the_units_of_the_two_ends_differ_by_name_alone():
    alice, bob = ((ROOT / "deploy" / "systemd" / f"qkd-{node}.service").read_text() for node in ("alice", "bob"))

    assert alice.replace("alice", "bob").replace("Alice", "Bob") == bob


def test_the_fibre_is_confined_like_the_nodes():
    alice, fibre = ((ROOT / "deploy" / "systemd" / f"qkd-{name}.service").read_text() for name in ("alice", "fibre"))

    assert alice.partition("LimitCORE=")[2] == fibre.partition("LimitCORE=")[2]


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
