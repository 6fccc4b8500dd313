"""Serve a tagger of your own to Bob: replace `read_tagger`, name your channels, start this, and point [stream] address here."""  # noqa: INP001

import json
import socket
import struct
import sys
from collections.abc import Iterator

import numpy as np

CHANNELS = {"H": 0, "V": 1, "D": 2, "A": 3, "sync": 4}  # your wiring: detector outcome to channel number
SYNC_DIVIDER = 16384  # slots from one reference pulse to the next; 0 and no "sync" above where there are none
GAP, END = 1, 2


def read_tagger(generator: np.random.Generator, begin_ps: int) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Yield (times in ps, channels, whether tags were lost before these). Here: noise, 10 ms at a time, so that the script runs."""
    while True:
        t_ps = np.sort(generator.integers(begin_ps, begin_ps + 10**10, 500))
        yield t_ps, generator.integers(0, 4, t_ps.size), False
        begin_ps += 10**10


def main(port: int) -> None:
    """Serve one Bob at a time, for ever."""
    server = socket.create_server(("127.0.0.1", port))
    tags = read_tagger(np.random.default_rng(), 0)
    sequence, lost = 0, False
    while True:
        bob, _ = server.accept()
        try:
            bob.sendall(json.dumps({"version": 1, "channels": CHANNELS, "sync_divider": SYNC_DIVIDER}).encode() + b"\n")
            for t_ps, channel, gap in tags:
                sequence += 1
                flags, lost = (GAP if gap or lost else 0), False
                bob.sendall(struct.pack("<4sHHQII", b"QKDT", 1, flags, sequence, len(t_ps), 0))
                bob.sendall(np.asarray(t_ps, "<i8").tobytes() + np.asarray(channel, "u1").tobytes())
        except OSError:  # Bob went away: what he missed is a gap when he comes back
            lost = True
        finally:
            bob.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7712)
