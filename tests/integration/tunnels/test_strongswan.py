"""``qkd strongswan`` at both ends of an IPsec connection: real IKE daemons, real keys, one PPK after another."""

import asyncio
import secrets
import time

import pytest

from common.errors import TunnelError
from common.tunnels.settings import StrongSwanPeer
from common.tunnels.strongswan import StrongSwanTunnel
from tests.integration.tunnels.charons import Charons, missing
from tests.integration.tunnels.ends import End, wait_until
from tests.support.key_nodes import KeyNodes
from tests.unit.service.nodes import free_port

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@pytest.fixture
def charons(tmp_path):
    pair = Charons(tmp_path)
    try:
        pair.start()
        yield pair
    finally:
        pair.stop()


def nested(tables):
    """Tables with dotted names as one tree."""
    tree: dict = {}
    for name, entries in tables.items():
        place = tree
        for part in filter(None, name.split(".")):
            place = place.setdefault(part, {})
        place |= entries
    return tree


def tunnels(charons):
    """What carries the tunnel at the end that orders and at the one that holds."""
    made = []
    for end, connect in zip(charons.ends, ("localhost:1", None), strict=True):
        entries = {"connection": "link", "child": "net", "settings": nested(charons.settings(end)), "names": ["x"]}
        made.append(StrongSwanTunnel(end.socket, StrongSwanPeer.model_validate(entries | {"connect": connect, "when_short": "close"})))
    return made


def test_a_key_is_loaded_listed_used_and_unloaded_through_vici(charons):
    ordering, holding = tunnels(charons)
    first, second = charons.ends

    async def change(key_id, key, other_key=None):
        await holding.install(key_id, bytearray(key))
        await ordering.install(key_id, bytearray(other_key or key))

    async def run():
        assert await ordering.proven_seconds_ago() is None
        await change("key-1", secrets.token_bytes(32))
        assert first.ppks() == second.ppks() == ["key-1"]
        assert await ordering.proven_seconds_ago() == await holding.proven_seconds_ago() == 0.0
        (sa,) = first.sas()
        assert sa["state"] == b"ESTABLISHED"
        assert sa["ppk"] == b"yes"
        assert [child["state"] for child in sa["child-sas"].values()] == [b"INSTALLED"]

        await change("key-2", secrets.token_bytes(32))
        assert first.ppks() == ["key-2"]
        assert set(second.ppks()) == {"key-1", "key-2"}
        assert [entry["uniqueid"] for entry in first.sas()] != [sa["uniqueid"]]
        assert len(first.sas()) == 1
        assert "using PPK for PPK_ID 'key-2'" in second.log()

        with pytest.raises(TunnelError, match="establishing"):
            await change("key-3", secrets.token_bytes(32), secrets.token_bytes(32))
        assert [entry["state"] for entry in first.sas()] == [b"ESTABLISHED"]

        await change("key-4", secrets.token_bytes(32))
        await ordering.close()
        await holding.close()
        assert first.ppks() == second.ppks() == []
        assert first.sas() == second.sas() == []
        assert await ordering.proven_seconds_ago() is None

    asyncio.run(run())


def test_a_daemon_that_is_away_is_said(charons):
    ordering, _ = tunnels(charons)
    charons.ends[0].stop()

    with pytest.raises(TunnelError, match="is the IKE daemon running"):
        asyncio.run(ordering.install("key-1", bytearray(32)))


def test_both_ends_get_one_connection_after_another_and_are_mended_after_a_daemon_was_started_anew(charons, tmp_path):
    link = KeyNodes(tmp_path / "nodes")
    port, ends = free_port(), []
    try:
        for node, other, charon in (("alice", "bob", charons.ends[0]), ("bob", "alice", charons.ends[1])):
            end = End(tmp_path / f"end-{node}", link, node, "strongswan")
            entries = {"connection": "link", "child": "net", "when_short": "close", "proof_seconds": 2.0}
            end.peer(f"sae-{other}", **entries, renew_seconds=3.0, longest_seconds=20.0)
            for name, settings in charons.settings(charon).items():
                end.tables[f"peer.sae-{other}.settings{'.' if name else ''}{name}"] = settings
            end.tables["strongswan"] = {"socket": str(charon.socket)}
            ends.append(end)
        alice, bob = ends
        alice.tables["peer.sae-bob"]["connect"] = f"localhost:{port}"
        bob.tables["agreement"]["bind"] = f"127.0.0.1:{port}"
        bob.start()
        alice.start()
        wait_until(lambda: alice.status()["sae-bob"]["keys_changed"] >= 2, "two keys", alice, bob)
        wait_until(lambda: alice.status()["sae-bob"]["proven"] and bob.status()["sae-alice"]["proven"], "proof", alice, bob)
        assert charons.ends[0].ppks() == [alice.status()["sae-bob"]["key_id"]]

        charons.ends[1].stop()
        charons.ends[1].start()
        charons.credentials(charons.ends[1])
        count = alice.status()["sae-bob"]["keys_changed"]
        wait_until(lambda: alice.status()["sae-bob"]["keys_changed"] > count, "a connection again", alice, bob)
        assert alice.status()["sae-bob"]["state"] == "open"

        began = time.monotonic()
        assert alice.stop()[0] == 0
        assert bob.stop()[0] == 0
        assert time.monotonic() - began < 20
        assert charons.ends[0].sas() == []
        assert charons.ends[0].ppks() == charons.ends[1].ppks() == []
    finally:
        for end in ends:
            end.kill()
        link.close()
