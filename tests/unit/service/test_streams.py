"""The reading thread and its queue: addresses, reconnection, a FIFO, pausing and overload."""

import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigurationError, StreamError
from common.service.streams import BatchQueue, StreamAddress, StreamClient
from common.timetags.live import TagBatch, TagStream, encode_line, encode_tags

LINE = encode_line({"channels": {"H": 0}, "sync_divider": 0, "run": "r"})
SECONDS = 10.0


def batch(sequence, count=3, **flags):
    return TagBatch(sequence, flags.get("gap", False), flags.get("ended", False), np.zeros(count, np.int64), np.zeros(count, np.uint8))


def encoded(sequence):
    return encode_tags(np.array([sequence], np.int64), np.zeros(1, np.uint8), sequence)


def next_of(queue):
    item = queue.next(SECONDS)
    assert item is not None
    return item


@pytest.mark.parametrize(
    "text", ["", "unix:", "tcp://host", "tcp:host:1", "tcp://host:0", "tcp://host:70000", "http://x", "unix:" + "x" * 200]
)
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(ConfigurationError, match="stream address"):
        StreamAddress.parse(text, Path("folder"))


def test_addresses_are_read_and_shown():
    assert StreamAddress.parse("tcp://[::1]:7712", Path()) == StreamAddress("tcp", host="::1", port=7712)
    assert str(StreamAddress.parse("unix:run/bob.sock", Path("node"))) == "unix:node/run/bob.sock"
    assert StreamAddress.parse("fifo:tags", Path("node")).path == Path("node/tags")


def test_a_full_queue_makes_a_pausable_stream_wait():
    queue = BatchQueue(pausable=True, capacity_bytes=40)
    queue.put(batch(1))
    putting = threading.Thread(target=queue.put, args=(batch(2),), daemon=True)
    putting.start()
    time.sleep(0.05)
    assert putting.is_alive()

    assert [next_of(queue).sequence, next_of(queue).sequence] == [1, 2]
    putting.join(SECONDS)
    assert not putting.is_alive()


def test_a_full_queue_drops_what_a_stream_that_cannot_wait_brings_and_says_so():
    queue = BatchQueue(pausable=False, capacity_bytes=60)
    queue.put(TagStream({"H": 0}, 0))
    for sequence in range(1, 6):
        queue.put(batch(sequence))
    queue.put(batch(6, 0, ended=True))

    assert isinstance(next_of(queue), TagStream)
    assert [next_of(queue).sequence, next_of(queue).sequence] == [1, 2]
    assert next_of(queue).ended
    queue.put(batch(7))
    assert next_of(queue).gap
    assert (queue.count_dropped_batches, queue.count_dropped_tags) == (3, 9)


def test_what_waits_of_an_earlier_run_is_dropped_when_another_begins():
    queue = BatchQueue(pausable=True, capacity_bytes=1000)
    for item in (TagStream({"H": 0}, 0, "one"), batch(1), TagStream({"H": 0}, 0, "one"), batch(2), TagStream({"H": 0}, 0), batch(3)):
        queue.put(item)
    assert next_of(queue).run == "one"
    queue.put(TagStream({"H": 0}, 0, "two"))
    queue.put(batch(4))

    assert next_of(queue).run == "two"
    assert next_of(queue).sequence == 4
    assert queue.next(0.0) is None


def test_a_closed_queue_wakes_whoever_waits():
    queue = BatchQueue()
    threading.Timer(0.05, queue.close).start()

    with pytest.raises(StreamError, match="closed"):
        queue.next(SECONDS)


def test_a_client_connects_when_there_is_somebody_and_again_when_he_is_back(tmp_path):
    queue = BatchQueue()
    client = StreamClient(StreamAddress.parse("unix:s", tmp_path), "tags", queue.put)
    client.start()
    time.sleep(0.1)
    assert "s" in client.counts.problem
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        server.settimeout(SECONDS)
        for data in (LINE + encoded(1) + encoded(2)[:5], b"nonsense\n", LINE + encoded(5)):
            with server.accept()[0] as connection:
                connection.sendall(data)
        items = [next_of(queue) for _ in range(4)]
    client.close()

    assert [type(item) for item in items] == [TagStream, TagBatch, TagStream, TagBatch]
    assert client.counts.connections == 2
    assert client.counts.items == 2


def test_a_fifo_brings_the_same_bytes_writer_after_writer(tmp_path):
    path = tmp_path / "tags"
    os.mkfifo(path)
    queue = BatchQueue()
    client = StreamClient(StreamAddress.parse("fifo:tags", tmp_path), "tags", queue.put)
    client.start()
    for sequence in (1, 2):
        with path.open("wb") as writer:
            writer.write(LINE + encoded(sequence))
        items = [next_of(queue) for _ in range(2)]
        assert items[1].sequence == sequence
        until = time.monotonic() + SECONDS
        while not client.counts.problem and time.monotonic() < until:  # a FIFO shows no border: the next writer comes when the last is gone
            time.sleep(0.01)
    client.close()


def test_a_file_is_no_fifo(tmp_path):
    (tmp_path / "tags").write_bytes(LINE)
    client = StreamClient(StreamAddress.parse("fifo:tags", tmp_path), "tags", BatchQueue().put)
    client.start()
    time.sleep(0.2)
    client.close()

    assert "mkfifo" in client.counts.problem
