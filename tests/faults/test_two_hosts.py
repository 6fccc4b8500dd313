"""Two hosts and the network between them are what they are said to be: measured with sockets at either host."""

import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.namespaces import lacking
from tests.support.packet_link import Conditions
from tests.support.tree import ROOT
from tests.support.two_hosts import ADDRESSES, TwoHosts

pytestmark = pytest.mark.skipif(bool(reason := lacking()), reason=reason)

PORT = 5000
COUNT = 400
SO_TIMESTAMPNS = 35
"""asm-generic/socket.h"""

WAYS = [("alice", "bob"), ("bob", "alice")]


@pytest.fixture
def hosts():
    with closing(TwoHosts("11")) as made:
        yield made


@contextmanager
def datagrams(hosts, sender, receiver):
    """Sockets for datagrams from one host to the other."""
    with hosts.socket(receiver, socket.SOCK_DGRAM) as inbox, hosts.socket(sender, socket.SOCK_DGRAM) as outbox:
        inbox.bind((ADDRESSES[receiver], PORT))
        inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        inbox.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        inbox.settimeout(1.0)
        outbox.connect((ADDRESSES[receiver], PORT))
        yield outbox, inbox


def received(inbox, count):
    """At most so many datagrams, until none comes any more: what they say and when the kernel had them."""
    found: list[tuple[float, float]] = []
    try:
        while len(found) < count:
            data, ((_, _, stamp),), *_ = inbox.recvmsg(2048, 64)
            seconds, nanoseconds = struct.unpack("ll", stamp)
            found.append((float(data), seconds + nanoseconds / 1e9))
    except TimeoutError:
        pass
    return found


def send(outbox, count, spacing_seconds=0.001):
    for _ in range(count):
        outbox.send(repr(time.time()).encode())
        time.sleep(spacing_seconds)


@pytest.mark.parametrize(("sender", "receiver"), WAYS)
def test_one_way_is_as_slow_as_it_is_told_to_be_and_the_other_is_not(hosts, sender, receiver):
    hosts.change({sender: Conditions(delay_seconds=0.08, jitter_seconds=0.04)})
    with datagrams(hosts, sender, receiver) as (outbox, inbox):
        send(outbox, 100)
        slow = sorted(came - went for went, came in received(inbox, 100))
    with datagrams(hosts, receiver, sender) as (outbox, inbox):
        send(outbox, 100)
        quick = sorted(came - went for went, came in received(inbox, 100))

    assert len(slow) == len(quick) == 100
    assert slow[0] >= 0.08
    assert slow[50] >= 0.09  # half of the jitter; a busy machine may add what it likes
    assert quick[0] < 0.08


@pytest.mark.parametrize(("sender", "receiver"), WAYS)
def test_one_way_loses_the_share_it_is_told_to_lose(hosts, sender, receiver):
    hosts.change({sender: Conditions(loss_ratio=0.05)})
    with datagrams(hosts, sender, receiver) as (outbox, inbox):
        send(outbox, COUNT)
        came = len(received(inbox, COUNT))

    carried = hosts.carried()[sender]
    assert carried.delivered == came
    assert carried.lost == COUNT - came
    assert abs(carried.lost - 0.05 * COUNT) < 4 * (COUNT * 0.05 * 0.95) ** 0.5  # four standard deviations, with one fixed seed


def stream(hosts, count_bytes):
    """Send so many bytes from alice to bob over TCP; the seconds from the first to the last that arrived."""
    with hosts.socket("bob", socket.SOCK_STREAM) as door, hosts.socket("alice", socket.SOCK_STREAM) as outbox:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((ADDRESSES["bob"], PORT))
        door.listen()
        outbox.connect((ADDRESSES["bob"], PORT))
        inbox, _ = door.accept()
        sending = threading.Thread(target=outbox.sendall, args=(bytes(count_bytes),))
        with inbox:
            sending.start()
            got = len(inbox.recv(1 << 16))
            began = time.monotonic()
            while got < count_bytes:
                got += len(inbox.recv(1 << 16))
            took = time.monotonic() - began
        sending.join()
    return took


def test_tcp_is_as_quick_as_the_rate_allows_and_gets_through_where_packets_are_lost(hosts):
    hosts.change({"alice": Conditions(bits_per_second=4e6)})
    bits_per_second = 8 * 500_000 / stream(hosts, 500_000)
    assert 0.1 * 4e6 < bits_per_second < 1.03 * 4e6  # a busy machine takes its part; a first segment is not timed

    hosts.change({"alice": Conditions(loss_ratio=0.03, delay_seconds=0.005), "bob": Conditions(loss_ratio=0.03)})
    stream(hosts, 200_000)
    assert hosts.carried()["alice"].lost > 0


@pytest.mark.parametrize(("sender", "receiver"), WAYS)
def test_a_way_that_is_cut_is_cut_in_one_direction_until_it_is_mended(hosts, sender, receiver):
    hosts.change({sender: Conditions(is_cut=True)})
    with datagrams(hosts, sender, receiver) as (outbox, inbox):
        send(outbox, 20)
        assert received(inbox, 20) == []
    with datagrams(hosts, receiver, sender) as (outbox, inbox):
        send(outbox, 20)
        assert len(received(inbox, 20)) == 20
    assert hosts.carried()[sender].cut == 20

    hosts.clear()
    with datagrams(hosts, sender, receiver) as (outbox, inbox):
        send(outbox, 20)
        assert len(received(inbox, 20)) == 20


SLEEPER = """
import signal
import time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background has it ignored
from tests.support.two_hosts import TwoHosts
hosts = TwoHosts("1")
print(*hosts.processes, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_hosts_whose_maker_was_ended_by_a_signal(ended_by):
    maker = subprocess.Popen([sys.executable, "-c", SLEEPER], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert maker.stdout is not None
    processes = [int(number) for number in maker.stdout.readline().split()]
    before = [str(Path(f"/proc/{process}/ns/net").readlink()) for process in processes]
    maker.send_signal(ended_by)
    maker.communicate()

    assert len(processes) == 3
    until = time.monotonic() + 10
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() < until, "a process of two hosts is left"
        time.sleep(0.05)
    assert not set(before[:2]) & namespaces_in_use()


def namespaces_in_use():
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add(str((process / "ns/net").readlink()))
        except OSError:
            continue  # it has just ended
    return found
