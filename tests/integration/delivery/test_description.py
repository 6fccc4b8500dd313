"""A fuzzer reads the description of the interface and finds no answer that it does not allow."""

import json
import os
import subprocess
import sys

import pytest

from tests.integration.delivery.links import DeliveryLink

EXAMPLES = os.environ.get("QKD_FUZZ_EXAMPLES", "40")
"""Requests of each kind."""

CONFIGURATION = """
[parameters]
slave_SAE_ID = "sae-bob"
master_SAE_ID = "sae-bob"
"""
"""Applications that there are: any other is refused before anything else is looked at."""

EXCLUDED = (
    "not_a_server_error",  # 503 is how a node says that it is short of key; mistakes of ours are looked for in its log
    "positive_data_acceptance",  # a number of a key may be well formed and of no key
    "ignored_auth",  # certificates are outside of what the description can say
)


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    running = DeliveryLink(tmp_path_factory.mktemp("described") / "nodes", requests_per_second=1e5, requests_at_once=1e5)
    running.start()
    running.wait_ready()
    yield running
    running.close()


def test_whatever_a_fuzzer_sends_the_answer_is_one_the_description_allows(link, tmp_path):
    described = link.client("alice").ask("GET", "/api/v1/openapi.json").body
    (tmp_path / "openapi.json").write_text(json.dumps(described))
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    certificate, key = link.sae("alice")
    command = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--checks", "all", "--exclude-checks", ",".join(EXCLUDED)]
    where = ["--url", f"https://localhost:{link.delivery_ports['alice']}", "--tls-verify", str(link.authority)]
    shown = ["--request-cert", str(certificate), "--request-cert-key", str(key)]
    done = subprocess.run(
        [*command, *where, *shown, "--max-examples", EXAMPLES, "--generation-deterministic"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert described["openapi"].startswith("3.0")
    assert "mistake of ours" not in link.log("alice")
