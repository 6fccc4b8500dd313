"""The three services as containers of a real Docker engine, by the commands of docs/howto/containers.md and by nothing else.

One engine goes through what an operator does with it, test by test: images are built, a link is provisioned, watched, disturbed, emptied.
"""

import base64
import json
import shutil
import sys

import pytest
from PIL import Image

from common.cli.example_picture import example_picture
from tests.deploy import engine
from tests.deploy.pages import scripts
from tests.support.tree import ROOT

pytestmark = pytest.mark.deploy

PAGE = scripts("containers.md")
NODES = ("alice", "bob")
SERVICES = ("alice", "bob", "fibre")
PAGES = {"alice": 9401, "bob": 9402}
SECRETS = ("authentication.secret", "channel.key", "master.key", "node.key")
BUILD_SECONDS = 600
HEALTH_SECONDS = 120
KEY_SECONDS = 300
"""Two busy cores on which two sessions were opened before there was anything to detect."""
GRACE_SECONDS = 15
USER = "10001"
CANARY = "canary.key"


@pytest.fixture(scope="module")
def link():
    """An engine on which the page was followed down to the start; a key that lay about when the image was built."""
    if reason := engine.lacking():
        pytest.skip(reason)
    with engine.running() as running:
        for folder in ("", "deploy", "deploy/nodes", "common"):
            (running.source / folder).mkdir(exist_ok=True)
            (running.source / folder / CANARY).touch()
        for heading in ("Build", "Provision", "Start"):
            running.run(PAGE[heading][0], seconds=BUILD_SECONDS)
        yield running


def identity(link, service):
    """The container of a service."""
    return link.run(f"docker compose ps -q {service}").strip()


def inspected(link, service):
    (found,) = json.loads(link.run(f"docker inspect {identity(link, service)}"))
    return found


def qkd(node, *words):
    return f"docker compose exec -T {node} qkd {' '.join(words)} --config config.toml"


def wait_for_health(link, *services):
    for service in services:
        healthy = f"[ $(docker inspect --format '{{{{.State.Health.Status}}}}' {identity(link, service)}) = healthy ]"
        link.wait(healthy, HEALTH_SECONDS)


def answered(link, node, path):
    """What a node answers over HTTP, asked on the machine of the engine, and with which status."""
    ask = f"""
import urllib.error, urllib.request
try:
    answer = urllib.request.urlopen("http://127.0.0.1:{PAGES[node]}{path}", timeout=10)
except urllib.error.HTTPError as refused:
    answer = refused
print(answer.status, answer.read().decode())
"""
    status, _, text = link.run(f"{sys.executable} -c '{ask}'").partition(" ")
    return int(status), text


def status(link, node):
    return json.loads(link.run(qkd(node, "status", "--json")).splitlines()[0])


def blocks(link):
    """Blocks of key that both ends hold."""
    return min(json.loads(link.run(qkd(node, "keys", "status", "--json")).splitlines()[0])["blocks"] for node in NODES)


def wait_for_key(link, count_blocks=1):
    """Wait until both ends hold so many blocks of key."""
    for node in NODES:
        held = f"""{sys.executable} -c 'import json, sys; sys.exit(json.load(sys.stdin)["blocks"] < {count_blocks})'"""
        link.wait(f"set -o pipefail; {qkd(node, 'keys', 'status', '--json')} | {held}", KEY_SECONDS)


def test_every_service_becomes_healthy(link):
    wait_for_health(link, *SERVICES)

    for node in NODES:
        assert answered(link, node, "/healthz")[0] == 200
        assert '"event": "ready"' in link.run(f"docker compose logs {node}")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_confined(link, service):
    found = inspected(link, service)["HostConfig"]
    process = link.run(f"docker compose exec -T {service} cat /proc/1/status")

    assert f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}\n" in process
    assert "CapEff:\t0000000000000000\n" in process
    assert "CapBnd:\t0000000000000000\n" in process
    assert "NoNewPrivs:\t1\n" in process
    assert "Seccomp:\t2\n" in process
    mounts = [line.split() for line in link.run(f"docker compose exec -T {service} cat /proc/1/mounts").splitlines()]
    assert "Read-only file system" in link.run(f"docker compose exec -T --user root {service} touch /anything", status=1)
    writable = {
        place for _, place, _, options, *_ in mounts if options.startswith("rw") and not place.startswith(("/proc", "/sys", "/dev"))
    }
    assert writable <= {"/tmp", "/run/qkdlink", "/var/lib/qkdlink", "/var/cache/qkdlink", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
    assert found["ReadonlyRootfs"]
    assert found["Memory"] == found["MemorySwap"] == 2 << 30
    assert found["PidsLimit"] == 512
    assert {"Name": "core", "Hard": 0, "Soft": 0} in found["Ulimits"]


def test_each_service_is_on_the_networks_that_it_needs(link):
    networks = {
        service: {name.partition("_")[2] for name in inspected(link, service)["NetworkSettings"]["Networks"]} for service in SERVICES
    }

    assert networks == {
        "alice": {"alice-fibre", "channel", "alice-applications"},
        "bob": {"bob-fibre", "channel", "bob-applications"},
        "fibre": {"alice-fibre", "bob-fibre"},
    }
    assert networks["alice"] & networks["bob"] == {"channel"}, "cutting it would cut nothing"
    for service in SERVICES:
        published = inspected(link, service)["HostConfig"]["PortBindings"] or {}
        assert {binding["HostIp"] for bindings in published.values() for binding in bindings} <= {"127.0.0.1"}
        assert set(published) == ({"8443/tcp", f"{PAGES[service]}/tcp"} if service in PAGES else set())


@pytest.mark.parametrize("node", NODES)
def test_a_node_sees_its_own_secrets_and_no_others(link, node):
    named = "-name '*.secret' -print -o -name '*.key' -print"
    pruned = "'(' -path /proc -o -path /run/secrets ')' -prune -o"
    shown = link.run(f'docker compose exec -T {node} sh -c "find / -xdev {pruned} {named} 2>&- || true"')
    below = link.run(f"docker compose exec -T {node} find /run/secrets /etc/qkdlink -type f")

    assert shown == ""  # nothing in the image itself
    assert {path.rpartition("/")[2] for path in below.splitlines() if path.startswith("/run/secrets/")} == set(SECRETS)
    assert not any(path.endswith((".key", ".secret")) for path in below.splitlines() if path.startswith("/etc/qkdlink/"))
    for name in SECRETS:
        own = (link.deploy / "nodes" / "secrets" / node / name).read_bytes()
        assert base64.b64decode(link.run(f"docker compose exec -T {node} base64 -w0 /run/secrets/{name}")) == own


def test_both_ends_distil_the_same_key_and_a_message_crosses(link):
    wait_for_key(link)
    message, _ = PAGE["Send something"]

    assert "meet me at noon" in link.run(message)


def test_a_picture_crosses_and_is_one_on_the_way(link):
    _, picture = PAGE["Send something"]
    original = Image.fromarray(example_picture())
    original.save(link.deploy / "sunset.png")
    link.run(picture)

    with Image.open(link.deploy / "noise.png") as noise, Image.open(link.deploy / "seen.png") as seen:
        assert noise.size == seen.size == original.size
        assert seen.convert("RGB").tobytes() == original.convert("RGB").tobytes() != noise.convert("RGB").tobytes()


def test_the_page_says_how_to_watch(link):
    status, keys, doctor, logs = PAGE["Watch"][0].splitlines()

    assert "session distilling, peer present" in link.run(status)
    assert "alice-pad" in link.run(keys)
    assert "fail" not in {line.split(" ", 1)[0] for line in link.run(doctor).splitlines()}
    assert '"event"' in link.run(logs)


def test_prometheus_finds_both_nodes(link):
    if (prometheus := shutil.which("prometheus")) is None:
        pytest.skip("prometheus is not installed")
    made = link.root / "prometheus"
    made.mkdir()
    shutil.copy(prometheus, made)
    (made / "Dockerfile").write_text(
        f'FROM {engine.BASE_IMAGE}\nCOPY prometheus /bin/\nRUN install -d -o nobody /prometheus\nUSER nobody\nENTRYPOINT ["prometheus"]\n'
    )
    link.run(f"docker build --quiet --tag prom/prometheus:{_version_of_prometheus()} {made}")
    link.run(PAGE["Watch"][1])

    up = f"""{sys.executable} -c '
import json, sys, urllib.request
found = json.load(urllib.request.urlopen("http://127.0.0.1:9090/api/v1/query?query=up"))["data"]["result"]
sys.exit(sorted((one["metric"]["instance"], one["value"][1]) for one in found) != [("alice:9401", "1"), ("bob:9402", "1")])'"""
    link.wait(up, 60)
    rules = f"""{sys.executable} -c '
import json, urllib.request
print(len(json.load(urllib.request.urlopen("http://127.0.0.1:9090/api/v1/rules"))["data"]["groups"]))'"""
    assert int(link.run(rules)) > 0


def _version_of_prometheus():
    (named,) = [line for line in (ROOT / "deploy" / "compose.yaml").read_text().splitlines() if "prom/prometheus:" in line]
    return named.rpartition(":")[2].strip(" }")


def test_applications_get_keys(link):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (ask,) = PAGE["Give keys to applications"]

    assert json.loads(link.run(ask))["stored_key_count"] > 0


def test_masks_renewed_by_hand_are_taken_in(link):
    reload, _, renew = PAGE["Change something"]
    link.run(reload)
    link.run(renew)

    for node in NODES:
        link.wait(f"docker compose logs {node} | grep 'renewed masks taken in'", 60)
        link.wait(f"docker compose exec -T {node} grep 'files read again' /var/lib/qkdlink/audit.jsonl", 30)


def test_keys_of_a_link_are_not_overwritten(link):
    assert "nodes/alice exists already" in link.run(PAGE["Provision"][0], status=2)


def test_no_secret_is_in_a_description_an_environment_a_log_or_an_image(link):
    secrets = {}
    for node in NODES:
        for name in SECRETS:
            raw = (link.deploy / "nodes" / "secrets" / node / name).read_bytes()
            part = raw.splitlines()[2][:30] if raw.startswith(b"-----") else raw[:30]
            secrets[node, name] = (part, part.hex().encode(), base64.b64encode(part))
    said = [link.run("docker image history --no-trunc qkdlink"), link.run("docker compose logs --no-color")]
    for service in SERVICES:
        said.append(json.dumps(inspected(link, service)))
        said.append(link.run(f"docker compose exec -T {service} env"))
        said.append(link.run(f"tr '\\0' '\\n' < /proc/{inspected(link, service)['State']['Pid']}/environ"))
    images = link.run("docker images --all --quiet qkdlink; docker images --quiet --filter dangling=true").split()

    for text in said:
        for place, forms in secrets.items():
            assert not any(form in text.encode(errors="surrogateescape") for form in forms), f"{place} is in {text[:200]}"
    assert len(images) > 1, "the first stage was not looked at"
    for image in images:
        assert link.run(f"docker run --rm --network none --user root --entrypoint find {image} / -xdev -name '{CANARY}'") == ""


def test_a_channel_that_is_cut_is_found_again(link):
    before, alice = blocks(link), identity(link, "alice")
    link.run(f"docker network disconnect qkdlink_channel {alice}")
    absent = f"{qkd('alice', 'status')} | grep 'peer absent'"
    link.wait(absent, 60)

    code, text = answered(link, "alice", "/readyz")
    assert (code, "the other node gives no sign of life" in text) == (503, True)
    assert answered(link, "alice", "/healthz")[0] == 200, "who lives is not to be killed for what is at the other end"
    link.run(f"docker network connect qkdlink_channel {alice}")
    wait_for_key(link, before + 1)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_killed_comes_back(link, service):
    before, found = blocks(link), inspected(link, service)
    link.run(f"kill -KILL {found['State']['Pid']}")

    shown = f"docker inspect --format '{{{{.RestartCount}}}} {{{{.State.Running}}}}' {found['Id']}"
    again = f"[ \"$({shown})\" = '{found['RestartCount'] + 1} true' ]"
    link.wait(again, 30)
    wait_for_health(link, service)
    wait_for_key(link, before + 1)


def test_after_all_of_that_a_message_still_crosses(link):
    sent = f"echo 'after the storm' | {qkd('bob', 'otp', 'encrypt', '--in', '-', '--out', '-')}"

    assert "after the storm" in link.run(f"{sent} | {qkd('alice', 'otp', 'decrypt', '--in', '-', '--out', '-')}")


def test_an_upgrade_keeps_the_key(link):
    before = blocks(link)
    link.run(PAGE["Upgrade"][0], seconds=BUILD_SECONDS)
    wait_for_health(link, *SERVICES)

    assert blocks(link) >= before
    wait_for_key(link, before + 1)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_ends_well_also_while_it_starts(link, service):
    container = identity(link, service)
    heeded = "grep -q 'SigCgt:.*[4-7c-f]...$' /proc/$(docker inspect --format '{{.State.Pid}}' " + container + ")/status"
    link.run(f"docker compose restart {service}; until {heeded}; do sleep 0.1; done; docker compose stop {service}")
    (state,) = (one["State"] for one in json.loads(link.run(f"docker inspect {container}")))
    link.run(f"docker compose start {service}")

    assert (state["Status"], state["ExitCode"]) == ("exited", 0)


def test_a_node_is_started_anew_for_what_it_reads_once(link):
    before = blocks(link)
    _, restart, _ = PAGE["Change something"]
    link.run(restart)

    wait_for_health(link, *SERVICES)
    wait_for_key(link, before + 1)


def test_a_configuration_that_is_refused_says_what_to_mend(link):
    container, config = identity(link, "bob"), "nodes/bob/config.toml"
    link.run(f"sed -i 's/^level = .*/level = \"loud\"/' {config}; docker compose restart bob")
    link.wait(f"docker logs --tail 3 {container} 2>&1 | grep 'log.level'", 60)
    died = f"--filter container={container} --filter event=die --format '{{{{.Actor.Attributes.exitCode}}}}'"
    link.wait(f"docker events --since 2m --until $(date +%s) {died} | grep -x 2", 60)

    link.run(f"sed -i 's/^level = .*/level = \"info\"/' {config}; docker compose restart bob")
    wait_for_health(link, "bob")


def test_services_end_well_when_they_are_asked_to_stop(link):
    found = {service: inspected(link, service)["Id"] for service in SERVICES}
    link.run(PAGE["Stop"][0], seconds=2 * GRACE_SECONDS + 30)

    for service, container in found.items():
        (state,) = (one["State"] for one in json.loads(link.run(f"docker inspect {container}")))
        assert (state["Status"], state["ExitCode"], state["OOMKilled"]) == ("exited", 0, False), service
        assert '"event": "stopped"' in link.run(f"docker logs --tail 3 {container}"), service


def test_both_stores_agree_in_the_end(link):
    stores = "--volume qkdlink_alice-state:/alice --volume qkdlink_bob-state:/bob"
    link.run(f"docker run --rm --network none {stores} qkdlink python -m common.keystore.check /alice/store.sqlite /bob/store.sqlite")


def test_nothing_is_left_after_removal(link):
    for script in PAGE["Remove"]:
        link.run(script)

    assert link.run("docker ps --all --quiet") == ""
    assert "qkdlink" not in link.run("docker volume ls --quiet; docker network ls --format '{{.Name}}'")
    assert not (link.deploy / "nodes").exists()
