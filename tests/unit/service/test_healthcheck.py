"""The health check of containers: alive is who answers."""

import contextlib
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.support.tree import ROOT


def checked(tmp_path, settings):
    """Exit status of the check for a configuration, and what it prints."""
    script = (
        (ROOT / "deploy" / "healthcheck.py").read_text().replace("/etc/qkdlink", str(tmp_path)).replace("SECONDS = 8.0", "SECONDS = 0.5")
    )
    (tmp_path / "config.toml").write_text(settings)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


@contextlib.contextmanager
def page(status):
    """A node whose health is answered with a status."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()
            self.wfile.write(b"the key store fails")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            serving.join()


def accepting(listening, count):
    """Accept so many connections and close them."""
    for _ in range(count):
        listening.accept()[0].close()


def test_a_node_is_asked_for_its_health(tmp_path):
    with page(200) as port:
        assert checked(tmp_path, f'[dashboard]\nbind = "0.0.0.0:{port}"\n') == (0, "")
    assert checked(tmp_path, f'[dashboard]\nbind = "0.0.0.0:{port}"\n')[0] == 1


def test_a_node_that_says_it_is_not_well_is_not(tmp_path):
    with page(503) as port:
        status, printed = checked(tmp_path, f'[dashboard]\nbind = "0.0.0.0:{port}"\n')

    assert (status, "503: the key store fails" in printed) == (1, True)


@pytest.mark.parametrize("settings", ['[admin]\nsocket = "s"\n', '[serve]\ncontrol = "unix:s"\n'])
def test_a_socket_has_to_be_served_and_not_only_open(tmp_path, settings):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        status, printed = checked(tmp_path, settings)
        assert (status, "timed out" in printed) == (1, True), "nobody accepts"

        serving = threading.Thread(target=accepting, args=(listening, 2))
        serving.start()
        assert checked(tmp_path, settings) == (0, "")
        serving.join()


def test_a_configuration_that_is_not_there_is_said_in_a_line(tmp_path):
    status, printed = checked(tmp_path, "[log]\n")

    assert status == 1
    assert printed.startswith("not alive: ")
    assert printed.count("\n") == 1
