"""Applications at both ends of a running pair: clients that others wrote, every rule and every refusal."""

import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import uuid
from xml.etree import ElementTree as ET

import pytest
import requests
from etsi_qkd_014_client import QKD014Client
from qkdsec import client as qkdsec

from tests.integration.delivery.links import NOBODYS_KEY, PEER, Client, DeliveryLink, named
from tests.support.certificates import issued_by, of_another_authority, revocation_list

ENDS = ["alice", "bob"]


def needs(tool):
    """Skip a test where a program that others wrote is not installed; ``.ci/run`` installs them all."""
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    running = DeliveryLink(tmp_path_factory.mktemp("delivery") / "nodes", requests_per_second=2000.0, requests_at_once=2000.0)
    running.start()
    running.wait_ready()
    yield running
    running.close()


def keys_path(slave, action="enc_keys"):
    return f"/api/v1/keys/{slave}/{action}"


def exchanged(link, node="alice", number=1, size=256):
    """Keys as the master at a node was given them."""
    reply = link.client(node).ask("POST", keys_path(f"sae-{PEER[node]}"), {"number": number, "size": size})
    assert reply.status == 200, reply.body
    return reply.keys


# ------------------------------------------------------------------------------------------------------ keys at both ends


@pytest.mark.parametrize("node", ENDS)
@pytest.mark.parametrize(("number", "size"), [(1, 8), (3, 256), (128, 16), (1, 8192)])
def test_both_ends_are_given_the_same_keys_of_the_size_asked_for(link, node, number, size):
    ours = exchanged(link, node, number, size)
    order = list(reversed(ours))
    theirs = link.client(PEER[node]).ask("POST", keys_path(f"sae-{node}", "dec_keys"), named(*order))

    assert len(ours) == number
    assert list(theirs.keys) == order
    assert theirs.keys == ours
    assert {len(base64.b64decode(key, validate=True)) for key in ours.values()} == {size // 8}
    assert all(str(uuid.UUID(key_id)) == key_id for key_id in ours)


def test_a_get_serves_one_key_at_each_end(link):
    ours = link.client("alice").ask("GET", keys_path("sae-bob") + "?size=128")
    (key_id,) = ours.keys
    theirs = link.client("bob").ask("GET", keys_path("sae-alice", "dec_keys") + f"?key_ID={key_id}")

    assert theirs.keys == ours.keys


def test_the_status_counts_what_both_ends_can_deliver(link):
    before = link.client("alice").ask("GET", keys_path("sae-bob", "status")).body

    assert before["source_KME_ID"] == "kme-alice"
    assert before["target_KME_ID"] == "kme-bob"
    assert (before["master_SAE_ID"], before["slave_SAE_ID"]) == ("sae-alice", "sae-bob")
    assert (before["key_size"], before["min_key_size"], before["max_key_size"]) == (256, 8, 8192)
    assert 0 < before["stored_key_count"] <= before["max_key_count"] < 2**31
    pools = [link.status(name)["store"]["pools"]["alice-delivery"] for name in ENDS]
    assert link.client("alice").ask("GET", keys_path("sae-bob", "status")).body["stored_key_count"] <= max(pools) // 256


def test_whence_a_key_comes_is_said_where_it_is_asked(link):
    asked = {"extension_mandatory": [{"provenance": True}], "extension_optional": [{"colour": 1}]}
    reply = link.client("alice").ask("POST", keys_path("sae-bob"), asked).body
    (provenance,) = reply["keys"][0]["key_extension"]["provenance"]

    assert provenance["block"] >= 1
    assert provenance["epsilon"]["secrecy"] == pytest.approx(1e-10)
    assert 0 <= provenance["qber"]["X"] < 0.1
    assert provenance["age_seconds"] >= 0
    assert reply["key_container_extension"]["message"] == "not all extension_optional request options handled"


# ---------------------------------------------------------------------------------------------- clients that others wrote


def test_etsi_qkd_014_client(link):
    at = {node: QKD014Client(f"localhost:{link.delivery_ports[node]}", *map(str, link.sae(node)), str(link.authority)) for node in ENDS}
    status, said = at["alice"].get_status("sae-bob")
    code, ours = at["alice"].get_key("sae-bob", number=2, size=64)
    _, theirs = at["bob"].get_key_with_key_IDs("sae-alice", [key.key_id for key in ours.keys])
    refused, error = at["bob"].get_key_with_key_IDs("sae-alice", [NOBODYS_KEY])

    assert (status, code, refused) == (200, 200, 400)
    assert said.stored_key_count > 0
    assert [key.key for key in theirs.keys] == [key.key for key in ours.keys]
    assert error.message == "one or more keys specified are not found on KME"


def test_qkdsec(link):
    at = {node: qkdsec_client(link, node) for node in ENDS}
    assert at["alice"].status("sae-bob").stored_key_count > 0
    ours = at["alice"].get_enc_keys("sae-bob", number=2, size=256)
    theirs = at["bob"].get_dec_keys("sae-alice", key_ids=[key.key_id for key in ours])

    assert [key.key for key in theirs] == [key.key for key in ours]
    assert len(ours) == 2


def qkdsec_client(link, node):
    return qkdsec.ETSI014Client(
        f"https://localhost:{link.delivery_ports[node]}", client_cert=tuple(map(str, link.sae(node))), verify=str(link.authority)
    )


@needs("curl")
def test_curl(link):
    def curl(node, path, *more):
        certificate, key = link.sae(node)
        command = ["curl", "-sS", "--cacert", link.authority, "--cert", certificate, "--key", key, *more]
        url = f"https://localhost:{link.delivery_ports[node]}{path}"
        return json.loads(subprocess.run([*command, url], capture_output=True, check=True, timeout=30).stdout)

    ours = curl("alice", keys_path("sae-bob"), "-d", "")
    theirs = curl("bob", keys_path("sae-alice", "dec_keys"), "-d", json.dumps(named(ours["keys"][0]["key_ID"])))

    assert theirs == ours


# --------------------------------------------------------------------------------------------------------------- refusals


FIXED = [
    ("POST", keys_path("sae-bob"), {"size": 7}, 400, "size shall be a multiple of 8"),
    ("GET", keys_path("sae-bob") + "?size=12", None, 400, "size shall be a multiple of 8"),
    ("POST", keys_path("sae-bob"), {"extension_mandatory": [{"x": 1}]}, 400, "not all extension_mandatory parameters are supported"),
    (
        "POST",
        keys_path("sae-bob"),
        {"extension_mandatory": [{"epsilon_secrecy_at_most": 0}]},
        400,
        "not all extension_mandatory request options could be met",
    ),
    ("POST", keys_path("sae-bob", "dec_keys"), named(NOBODYS_KEY), 400, "one or more keys specified are not found on KME"),
    ("GET", keys_path("sae-bob", "dec_keys") + f"?key_ID={NOBODYS_KEY}", None, 400, "one or more keys specified are not found on KME"),
    ("POST", keys_path("sae-bob"), b"{", 400, "the body shall be JSON"),
    ("POST", keys_path("sae-nobody"), {}, 400, "SAE_ID is not known at the target KME"),
    ("POST", keys_path("sae-alice"), {}, 400, "SAE_ID is not known at the target KME"),
    ("GET", "/", None, 404, "no such resource"),
    ("GET", "/api/v1/keys/sae-bob/sing", None, 404, "no such resource"),
    ("DELETE", keys_path("sae-bob"), None, 405, "no such method here"),
    ("POST", keys_path("sae-bob", "status"), {}, 405, "no such method here"),
    ("POST", keys_path("sae-bob"), b"[" + b" " * 70_000 + b"]", 413, "the body shall be at most 65536 bytes"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), FIXED)
def test_every_refusal_has_its_status_and_text(link, method, path, body, status, message):
    reply = link.client("alice").ask(method, path, body)

    assert (reply.status, reply.body["message"]) == (status, message)
    assert isinstance(reply.body["details"], list)
    assert all(isinstance(entry, dict) for entry in reply.body["details"])


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"b" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n",
        b"POST " + keys_path("sae-bob").encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST "
        + keys_path("sae-bob").encode()
        + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_json(link, sent):
    answer = raw(link, sent)
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.split()[1] == b"400", head
    assert b"application/json" in head
    assert set(json.loads(body)) == {"message", "details"}


def raw(link, sent, seconds=20.0):
    """Send bytes over an authenticated connection; everything that comes back until it is closed."""
    context = ssl.create_default_context(cafile=str(link.authority))
    context.load_cert_chain(*link.sae("alice"))
    plain = socket.create_connection(("127.0.0.1", link.delivery_ports["alice"]), seconds)
    with context.wrap_socket(plain, server_hostname="localhost") as secured:
        secured.sendall(sent)
        received = bytearray()
        while part := secured.recv(65536):
            received += part
        return bytes(received)


def test_who_dawdles_over_the_headers_or_the_body_is_hung_up_on(link):
    began = time.monotonic()
    assert raw(link, b"GET / HTTP/1.1\r\nHost: x\r\n") == b""
    assert time.monotonic() - began < 15
    answer = raw(link, b"POST " + keys_path("sae-bob").encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    assert b" 408 " in answer.split(b"\r\n")[0]


def test_a_key_of_others_is_refused(link):
    certificate = issued_by(link.folder / "ca", link.folder, "sae-third")
    path = link.folder / "bob" / "applications.toml"
    path.write_text(path.read_text() + '\n[sae.sae-third]\ncommon_names = ["sae-third"]\n')
    reload(link, "bob")
    (key_id,) = exchanged(link)
    third = link.client("bob", certificate).ask("POST", keys_path("sae-alice", "dec_keys"), named(key_id))
    wrong_master = link.client("bob").ask("POST", keys_path("sae-nobody", "dec_keys"), named(key_id))
    right = link.client("bob").ask("POST", keys_path("sae-alice", "dec_keys"), named(key_id))

    assert (third.status, wrong_master.status, right.status) == (401, 401, 200)
    assert third.body["message"] == "the SAE is not authorised to be given one or more of the keys"
    assert link.events_of("bob", "key asked for that is held for others")


def test_applications_that_share_a_key_are_each_given_it_once(link):
    asked = {"additional_slave_SAE_IDs": ["sae-third"]}
    link.wait_until(lambda _: link.client("alice").ask("POST", keys_path("sae-bob"), asked).status == 200, "the third application's name")
    ours = link.client("alice").ask("POST", keys_path("sae-bob"), asked).keys
    third = link.client("bob", (link.folder / "sae-third.crt", link.folder / "sae-third.key"))

    for client in (link.client("bob"), third):
        assert client.ask("POST", keys_path("sae-alice", "dec_keys"), named(*ours)).keys == ours


def reload(link, name):
    before = len(link.events_of(name, "files read again"))
    os.kill(link.processes[name].pid, signal.SIGHUP)
    link.wait_until(lambda _: len(link.events_of(name, "files read again")) > before, "files read again")


def test_the_same_request_may_be_repeated_and_no_other(link):
    ids = list(exchanged(link, number=2))
    bob = link.client("bob")
    first = bob.ask("POST", keys_path("sae-alice", "dec_keys"), named(*ids))
    again = bob.ask("POST", keys_path("sae-alice", "dec_keys"), named(*ids))
    other = bob.ask("POST", keys_path("sae-alice", "dec_keys"), named(ids[0]))

    assert again.keys == first.keys
    assert (other.status, other.body["message"]) == (400, "one or more keys specified are not found on KME")


# ------------------------------------------------------------------------------------------------------------- certificates


def refused_at_the_door(link, certificate, reason):
    """A handshake that fails: logged, and not a byte of an answer."""
    before = link.status("alice")["delivery"]["refused_connections"]
    client = Client(link.delivery_ports["alice"], link.authority, certificate)
    with pytest.raises((ssl.SSLError, ConnectionError, OSError)):
        client.ask("GET", keys_path("sae-bob", "status"))
    link.wait_until(lambda _: link.status("alice")["delivery"]["refused_connections"] > before, "refusal")
    logged = link.events_of("alice", "application refused at the door")
    assert logged
    return reason in [event["reason"] for event in logged] or len(logged) < before + 1  # lines anybody can provoke are written sparingly


def test_without_a_certificate_of_our_authority_that_is_valid_now_nobody_gets_in(link):
    ca, folder = link.folder / "ca", link.folder

    assert refused_at_the_door(link, None, "peer did not return a certificate")
    assert refused_at_the_door(link, of_another_authority(folder, "sae-alice"), "unable to get local issuer certificate")
    assert refused_at_the_door(link, issued_by(ca, folder, "expired", days=-1), "certificate has expired")
    assert refused_at_the_door(link, issued_by(ca, folder, "server", client=False), "unsuitable certificate purpose")


def test_a_certificate_that_stands_for_no_application_is_told_nothing(link):
    certificate = issued_by(link.folder / "ca", link.folder, "stranger")
    for path in (keys_path("sae-bob", "status"), keys_path("sae-bob"), "/", "/api/v1/openapi.json"):
        reply = link.client("alice", certificate).ask("GET", path)

        assert (reply.status, reply.body["message"]) == (401, "the certificate stands for no SAE of this KME")
    assert link.events_of("alice", "certificate refused")


def test_the_certificate_of_an_application_of_the_other_end_is_nobody_here(link):
    assert link.client("alice", link.sae("bob")).ask("GET", keys_path("sae-bob", "status")).status == 401


def test_a_certificate_revoked_while_its_connection_is_open_is_refused_at_its_next_request(link):
    certificate = issued_by(link.folder / "ca", link.folder, "leaver")
    path, plain = link.folder / "alice" / "applications.toml", (link.folder / "alice" / "applications.toml").read_text()
    path.write_text(plain + '\n[sae.leaver]\ncommon_names = ["leaver"]\n')
    reload(link, "alice")
    client = link.client("alice", certificate)
    assert client.ask_again("GET", keys_path("sae-bob", "status")).status == 200
    path.write_text(plain)
    reload(link, "alice")

    assert client.ask_again("GET", keys_path("sae-bob", "status")).status == 401
    client.close()


def test_a_map_that_is_wrong_leaves_all_as_it_was(link):
    path, plain = link.folder / "alice" / "applications.toml", (link.folder / "alice" / "applications.toml").read_text()
    path.write_text("nonsense")
    os.kill(link.processes["alice"].pid, signal.SIGHUP)
    link.wait_until(lambda _: link.events_of("alice", "files not read again, all stays as it was"), "complaint")
    path.write_text(plain)

    assert link.client("alice").ask("GET", keys_path("sae-bob", "status")).status == 200


def test_a_list_of_revoked_certificates_is_read_again(link):
    ca, revoked = link.folder / "ca", link.folder / "alice" / "revoked.pem"
    leaver = issued_by(ca, link.folder, "leaver-by-list")
    revocation_list(ca, revoked)
    link.kill("alice")
    link.replace("alice", "[delivery]", '[delivery]\nrevoked = "revoked.pem"')
    path = link.folder / "alice" / "applications.toml"
    path.write_text(path.read_text() + '\n[sae.leaver]\ncommon_names = ["leaver-by-list"]\n')
    link.start("alice")
    link.wait_ready()
    assert link.client("alice", leaver).ask("GET", keys_path("sae-bob", "status")).status == 200
    revocation_list(ca, revoked, leaver[0])
    reload(link, "alice")

    assert refused_at_the_door(link, leaver, "certificate revoked")
    assert link.client("alice").ask("GET", keys_path("sae-bob", "status")).status == 200


WEAK = ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "NULL-SHA", "ADH-AES128-SHA"]
"""No forward secrecy, no authenticated encryption, no encryption, no authentication."""


def shaken_hands(link, *arguments):
    certificate, key = link.sae("alice")
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{link.delivery_ports['alice']}", "-cert", certificate, "-key", key]
    done = subprocess.run([*command, *arguments], input=b"", capture_output=True, timeout=30, check=False)
    return b"Cipher is (NONE)" not in done.stdout and b"Cipher is" in done.stdout, (done.stdout + done.stderr).decode(errors="replace")


@needs("openssl")
@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_nothing_below_tls_1_2_is_spoken(link, version):
    spoken, said = shaken_hands(link, version, "-cipher", "ALL:@SECLEVEL=0")

    assert not spoken, said


@needs("openssl")
@pytest.mark.parametrize("cipher", WEAK)
def test_no_weak_cipher_is_spoken(link, cipher):
    spoken, said = shaken_hands(link, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")

    assert not spoken, said


@needs("openssl")
@pytest.mark.parametrize("arguments", [("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"), ("-tls1_3",)])
def test_tls_1_2_and_1_3_with_forward_secrecy_are_spoken(link, arguments):
    spoken, said = shaken_hands(link, *arguments)

    assert spoken, said


@needs("sslscan")
def test_sslscan_finds_nothing_weak(link):
    certificate, key = link.sae("alice")
    command = ["sslscan", "--xml=-", f"--certs={certificate}", f"--pk={key}", f"127.0.0.1:{link.delivery_ports['alice']}"]
    found = ET.fromstring(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    spoken = {(entry.get("type"), entry.get("version")) for entry in found.iter("protocol") if entry.get("enabled") == "1"}

    assert spoken == {("tls", "1.2"), ("tls", "1.3")}
    assert len(list(found.iter("cipher"))) >= 6
    assert all(entry.get("strength") in {"acceptable", "strong"} and int(entry.get("bits", 0)) >= 128 for entry in found.iter("cipher"))


# ------------------------------------------------------------------------------------------------------------------- the end


def test_while_the_other_end_is_away_nothing_is_delivered_and_nothing_spent(link):
    link.kill("bob")
    link.wait_until(lambda _: not link.status("alice")["delivery"]["peer_ready"], "bob gone")
    before = link.status("alice")["store"]["pools"]["alice-delivery"]
    reply = link.client("alice").ask("POST", keys_path("sae-bob"), {})
    status = link.client("alice").ask("GET", keys_path("sae-bob", "status"))
    after = link.status("alice")["store"]["pools"]["alice-delivery"]
    link.start("bob")
    link.wait_ready()

    assert reply.status == 503
    assert reply.body["details"]
    assert status.body["stored_key_count"] == 0
    assert after == before
    assert exchanged(link)


def test_where_key_is_short_the_answer_is_503_with_details(link):
    replies = []
    for _ in range(10_000):
        replies.append(link.client("alice").ask("POST", keys_path("sae-bob"), {"number": 128, "size": 8192}))
        if replies[-1].status != 200:
            break

    assert replies[-1].status == 503
    assert replies[-1].body["message"] == "not enough key"
    asked, missing, *wait = replies[-1].body["details"]
    assert asked == {"asked_bits": 128 * 8192}
    assert 0 < missing["missing_bits"] <= 128 * 8192
    assert wait[0]["wait_seconds"] > 0


def test_no_key_is_in_a_log_or_an_audit_trail(link):
    keys = [base64.b64decode(key) for key in (*exchanged(link, "bob", 4).values(),)]
    texts = [path.read_bytes() for path in (*link.folder.rglob("*.log"), *link.folder.rglob("audit.jsonl"))]

    assert not any(needle in text for text in texts for key in keys for needle in (key, key.hex().encode(), base64.b64encode(key)))


def test_requests_of_somebody_without_patience(link):
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://localhost:{link.delivery_ports['alice']}/", timeout=10)


def test_an_application_that_asks_too_often_is_put_off(link):
    link.kill("bob")
    for old, new in (
        ("requests_per_second = 2000.0", "requests_per_second = 0.1"),
        ("requests_at_once = 2000.0", "requests_at_once = 5.0"),
    ):
        link.replace("bob", old, new)
    link.start("bob")
    link.wait_until(lambda running: running.is_ready(), "line between the nodes")
    replies = [link.client("bob").ask("GET", keys_path("sae-alice", "status")) for _ in range(6)]

    assert [reply.status for reply in replies] == [200] * 5 + [503]
    assert replies[-1].body["message"] == "too many requests of this SAE"
    assert replies[-1].headers["Retry-After"] == "1"
    assert link.client("alice").ask("GET", keys_path("sae-bob", "status")).status == 200
