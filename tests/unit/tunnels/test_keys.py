"""Keys are taken from a node as ETSI GS QKD 014 gives them, and every refusal means what it says."""

import asyncio

import pytest

from common.errors import AuthenticationError, KeyExhaustedError, KeyNotFoundError, RemoteProtocolError, TransportError
from common.tunnels.keys import MOST_ANSWER_BYTES, KeyNode
from common.tunnels.line import Credentials
from common.tunnels.messages import MOST_BYTES, Refused, encoded
from common.tunnels.settings import ApplicationSection
from tests.support.key_nodes import KeyNodes

ONE, OTHER = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    serving = KeyNodes(tmp_path_factory.mktemp("nodes") / "nodes")
    yield serving
    serving.close()


def credentials(nodes, node):
    certificate, key = nodes.sae(node)
    section = ApplicationSection.model_validate(
        {"name": "x", "certificate": str(certificate), "key": str(key), "authority": str(nodes.authority), "node": "localhost:1"}
    )
    return Credentials(section, lambda path: path)


def asked(nodes, node, work, port=None):
    async def run():
        async with KeyNode(f"localhost:{port or nodes.delivery_ports[node]}", credentials(nodes, node).to_node, 5.0) as key_node:
            return await work(key_node)

    return asyncio.run(run())


def test_both_ends_are_given_the_same_key(nodes):
    key_id, ours = asked(nodes, "alice", lambda node: node.order("sae-bob"))
    theirs = asked(nodes, "bob", lambda node: node.fetch("sae-alice", key_id))

    assert ours == theirs == nodes.given[-1]
    assert isinstance(ours, bytearray)


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (503, "not enough key", KeyExhaustedError),
        (503, "the other KME is away", TransportError),
        (401, "the certificate stands for no SAE of this KME", AuthenticationError),
        (400, "one or more keys specified are not found on KME", KeyNotFoundError),
        (500, "whatever", TransportError),
    ],
)
def test_a_refusal_means_what_it_says(nodes, status, message, error):
    nodes.refusal["alice"] = (status, message)
    try:
        with pytest.raises(error, match=message):
            asked(nodes, "alice", lambda node: node.order("sae-bob"))
    finally:
        nodes.refusal.clear()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"keys": []},
        {"keys": [{"key_ID": "x", "key": "AAAA"}]},
        {"keys": [{"key_ID": "x", "key": "not base64"}]},
        {"keys": [{"key_ID": 5, "key": "A" * 43 + "="}]},
        {"keys": [{"key_ID": "../AAAA", "key": "A" * 43 + "="}]},
        {"keys": [{"key_ID": ONE, "key": "\xe4AAA"}]},
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(nodes, monkeypatch, body):
    monkeypatch.setattr(nodes, "answer", lambda *_: (200, body))

    with pytest.raises(RemoteProtocolError) as refused:
        asked(nodes, "alice", lambda node: node.order("sae-bob"))
    assert "AAAA" not in str(refused.value)


def test_another_key_than_was_asked_for_is_refused(nodes, monkeypatch):
    monkeypatch.setattr(nodes, "answer", lambda *_: (200, {"keys": [{"key_ID": OTHER, "key": "A" * 43 + "="}]}))

    with pytest.raises(RemoteProtocolError, match="another key"):
        asked(nodes, "bob", lambda node: node.fetch("sae-alice", ONE))


@pytest.mark.parametrize(("status", "error"), [(200, RemoteProtocolError), (503, TransportError)])
def test_an_answer_that_is_nested_without_end_is_refused(nodes, monkeypatch, status, error):
    monkeypatch.setattr(nodes, "answer", lambda *_: (status, b"[" * MOST_ANSWER_BYTES))

    with pytest.raises(error):
        asked(nodes, "alice", lambda node: node.order("sae-bob"))


def test_what_a_node_says_reaches_logs_and_the_other_end_as_letters_alone(nodes):
    nodes.refusal["alice"] = (400, "not\nhere \x1b[2J\ud800" + "\U0001f511" * 300)
    try:
        with pytest.raises(KeyNotFoundError) as refused:
            asked(nodes, "alice", lambda node: node.order("sae-bob"))
    finally:
        nodes.refusal.clear()
    said = Refused(key_id=ONE, is_final=True, reason=str(refused.value)[:400])
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()
    assert len(encoded(said)) <= MOST_BYTES


def test_a_node_that_is_not_there_or_another_is_said(nodes, tmp_path):
    with pytest.raises(TransportError, match="node localhost:1"):
        asked(nodes, "alice", lambda node: node.order("sae-bob"), port=1)
    other = KeyNodes(tmp_path / "other")
    try:
        with pytest.raises(AuthenticationError, match="its certificate is not believed"):
            asked(nodes, "alice", lambda node: node.order("sae-bob"), port=other.delivery_ports["alice"])
    finally:
        other.close()
