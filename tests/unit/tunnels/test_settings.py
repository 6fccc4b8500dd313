"""Files of tunnels leave nothing open, and connections reach the IKE daemon as they stand in the file."""

import pytest
from pydantic import ValidationError

from common.errors import ConfigurationError
from common.service.settings import load_settings
from common.tunnels.freshness import WhenShort
from common.tunnels.settings import StrongSwanPeer, StrongSwanSettings, WireGuardPeer, WireGuardSettings, host_and_port
from common.tunnels.strongswan import _as_vici

KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

APPLICATION = """
[application]
name = "sae-alice"
certificate = "a.crt"
key = "a.key"
authority = "ca.crt"
node = "localhost:8443"
"""

IPSEC = {"names": ["sae-bob"], "connection": "office", "child": "net", "settings": {"children": {"net": {}}}}
WIREGUARD = {"names": ["sae-bob"], "interface": "wg0", "public_key": KEY}


def written(folder, peers):
    path = folder / "tunnels.toml"
    path.write_text(APPLICATION + peers)
    return path


def wireguard(name, **entries):
    lines = [f'[peer.{name}]\nnames = ["{name}"]\ninterface = "wg0"\npublic_key = "{KEY}"']
    return "\n".join([*lines, *(f'{key} = "{value}"' for key, value in entries.items())]) + "\n"


def test_what_happens_where_key_runs_short_has_to_be_said_for_every_tunnel(tmp_path):
    settings = load_settings(written(tmp_path, wireguard("one", when_short="keep") + wireguard("two")), WireGuardSettings)

    with pytest.raises(ConfigurationError, match=r"peer.two.when_short: say what happens"):
        settings.decided(None)
    decided = settings.decided(WhenShort.CLOSE)
    assert [peer.when_short for peer in decided.peer.values()] == [WhenShort.CLOSE] * 2
    assert decided.resolved(decided.admin.socket) == tmp_path / "run" / "wireguard.sock"


def test_a_file_that_says_it_is_taken_as_it_is(tmp_path):
    settings = load_settings(written(tmp_path, wireguard("one", when_short="keep")), WireGuardSettings)

    assert settings.decided(None) is settings


@pytest.mark.parametrize(
    ("peers", "named"), [("", "peer"), ("[peer]\n", "peer"), (wireguard("one", when_short="maybe"), "peer.one.when_short")]
)
def test_a_wrong_file_is_refused_by_name(tmp_path, peers, named):
    with pytest.raises(ConfigurationError, match=named):
        load_settings(written(tmp_path, peers), WireGuardSettings)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"child": "other"}, "settings.children.other is missing"),
        ({"settings": {"children": {"net": {}}, "ppk_id": "mine"}}, "leave out ppk_id"),
        ({"settings": {"children": {"net": {}}, "ppk_required": False}}, "leave out ppk_required"),
        ({"fingerprints": ["12:34"]}, "64 hexadecimal digits"),
        ({"connect": "localhost:0"}, "port from 1 to 65535"),
        ({"renew_seconds": 600.0}, "longest_seconds must be above"),
    ],
)
def test_a_connection_that_leaves_something_open_is_refused(change, named):
    with pytest.raises(ValidationError, match=named):
        StrongSwanPeer.model_validate(IPSEC | change)


@pytest.mark.parametrize(
    "change", [{"interface": "-a"}, {"interface": "a/b"}, {"interface": "x" * 16}, {"public_key": "short"}, {"allowed_ips": ["10.0.0.1/8"]}]
)
def test_what_would_reach_the_command_line_of_wg_is_checked(change):
    with pytest.raises(ValidationError):
        WireGuardPeer.model_validate(WIREGUARD | change)


def test_a_connection_is_what_vici_takes():
    tree = {"version": 2, "encap": True, "mobike": False, "remote_addrs": ["a"], "children": {"net": {"rekey_time": 0}}}

    assert _as_vici(tree) == {
        "version": "2",
        "encap": "yes",
        "mobike": "no",
        "remote_addrs": ["a"],
        "children": {"net": {"rekey_time": "0"}},
    }


def test_the_default_socket_of_strongswan_is_the_daemons(tmp_path):
    path = written(tmp_path, '[peer.b]\nnames = ["b"]\nconnection = "office"\nchild = "net"\n[peer.b.settings.children.net]\n')

    assert str(load_settings(path, StrongSwanSettings).strongswan.socket) == "/var/run/charon.vici"


@pytest.mark.parametrize(("address", "parts"), [("localhost:1", ("localhost", 1)), ("[::1]:7721", ("::1", 7721))])
def test_an_address_is_a_host_and_a_port(address, parts):
    assert host_and_port(address) == parts
