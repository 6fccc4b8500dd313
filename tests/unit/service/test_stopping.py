"""SIGTERM before a service can drain: it ends, and ends well."""

import signal
import subprocess
import sys

STARTING = """
import time
from common.service.stopping import stop_while_starting
stop_while_starting()
print("starting", flush=True)
time.sleep(60)
"""


def test_a_service_that_still_starts_ends_well_when_it_is_told_to_stop():
    with subprocess.Popen([sys.executable, "-c", STARTING], stdout=subprocess.PIPE, text=True) as starting:
        assert starting.stdout is not None
        assert starting.stdout.readline() == "starting\n"
        starting.send_signal(signal.SIGTERM)

        assert starting.wait(30) == 0
