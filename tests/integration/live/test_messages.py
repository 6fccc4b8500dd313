"""Messages and pictures between two real daemons, by the commands that people type.

``QKD_PAD_MEGABYTES`` says how large the large file is: 1000 for the figures in the documentation, little unless told.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.channel.codec import Party
from common.cli.example_picture import example_picture
from common.cli.main import run
from common.keystore import check
from tests.integration.live.processes import LiveLink
from tests.support.pads import fill

MEGABYTES = int(os.environ.get("QKD_PAD_MEGABYTES", "40"))
BLOCK_BYTES = 25_000_000
SHARES = "[store]\ncapacity_bits = {capacity}\nshares = {{ alice_pad = 6, bob_pad = 1, alice_delivery = 0, bob_delivery = 0 }}\n"
MOST_COMMAND_MEGABYTES = 400
"""Memory of a command, whatever the file; most of it is the compiled kernels."""

MOST_GROWTH_MEGABYTES = 60
"""What a daemon's memory grows by while it hands out any amount of key."""


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    """A link with plenty of key in store, more than it is told to keep: its ends meet, and then distil nothing."""
    live = LiveLink(tmp_path_factory.mktemp("live") / "n")
    wanted = MEGABYTES * 1_000_000 * 7 // 6 + BLOCK_BYTES
    for name in ("alice", "bob"):
        live.replace(name, "[store]\n", SHARES.format(capacity=8 * MEGABYTES * 100_000))
    fill([live.config(name) for name in ("alice", "bob")], *[8 * BLOCK_BYTES] * -(-wanted // BLOCK_BYTES))
    live.start()
    try:
        live.wait_until(lambda met: all(met.status(name)["store"]["peer_met"] for name in ("alice", "bob")), "meeting")
        yield live
    finally:
        live.close()


def otp(link, what, name, *arguments):
    return run(["otp", what, "--config", str(link.config(name)), *map(str, arguments)])


def test_a_letter_goes_there_and_an_answer_comes_back(link, tmp_path, capsysbinary):
    (tmp_path / "letter").write_bytes(b"Meet me at the lake.")
    assert otp(link, "encrypt", "alice", "--in", tmp_path / "letter", "--out", tmp_path / "letter.otp", "--json") == 0
    said = json.loads(capsysbinary.readouterr().out)
    assert (said["message_bits"], said["key_bits_spent"]) == (160, 160 + 128)
    assert otp(link, "decrypt", "bob", "--in", tmp_path / "letter.otp", "--out", "-") == 0
    assert capsysbinary.readouterr().out == b"Meet me at the lake."
    assert otp(link, "encrypt", "bob", "--in", tmp_path / "letter", "--out", tmp_path / "answer.otp", "--pad-to", 1024) == 0
    assert (tmp_path / "answer.otp").stat().st_size == 64 + 1024 + 16
    assert otp(link, "decrypt", "alice", "--in", tmp_path / "answer.otp", "--out", tmp_path / "answer") == 0
    assert (tmp_path / "answer").read_bytes() == b"Meet me at the lake."


def test_a_picture_crosses(link, tmp_path):
    Image.fromarray(example_picture()).save(tmp_path / "sunset.png")
    assert otp(link, "encrypt", "alice", "--in", tmp_path / "sunset.png", "--out", tmp_path / "noise.png", "--picture") == 0
    with Image.open(tmp_path / "noise.png") as noise:
        assert np.mean(np.asarray(noise) == example_picture()) < 0.02
    assert otp(link, "decrypt", "bob", "--in", tmp_path / "noise.png", "--out", tmp_path / "seen.png", "--picture") == 0
    with Image.open(tmp_path / "seen.png") as seen:
        assert np.array_equal(np.asarray(seen), example_picture())


def test_what_is_refused_is_one_line_with_its_exit_status(link, tmp_path, capsys):
    (tmp_path / "letter").write_bytes(b"Meet me at the lake.")
    encrypted = tmp_path / "letter.otp"
    assert otp(link, "encrypt", "alice", "--in", tmp_path / "letter", "--out", encrypted) == 0
    true = encrypted.read_bytes()
    forged = tmp_path / "forged.otp"
    forged.write_bytes(true[:-1] + bytes([true[-1] ^ 1]))
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate((MEGABYTES + 100) * 2_000_000)
    capsys.readouterr()

    refusals = [
        (2, "encrypted at this end", ("decrypt", "alice", "--in", encrypted, "--out", tmp_path / "x")),
        (5, "tag is wrong", ("decrypt", "bob", "--in", forged, "--out", tmp_path / "x")),
        (0, "", ("decrypt", "bob", "--in", encrypted, "--out", tmp_path / "read")),
        (1, "decrypted before", ("decrypt", "bob", "--in", encrypted, "--out", tmp_path / "x")),
        (4, r"alice-pad is \d+ bits short.*(about \d+ s|no key comes) at", ("encrypt", "alice", "--in", huge, "--out", tmp_path / "x")),
        (2, "--picture", ("encrypt", "alice", "--in", encrypted, "--out", tmp_path / "x", "--picture")),
    ]
    for status, reason, (what, name, *arguments) in refusals:
        assert otp(link, what, name, *arguments) == status
        said = capsys.readouterr().err
        assert re.search(reason, said), said
        assert status == 0 or said.count("\n") == 1
        assert not (tmp_path / "x").exists()
    assert link.status("bob")["refused"]["pad_messages"] == 1
    assert "message refused: its tag is wrong" in link.log("bob")


def peak_megabytes(process_id: int) -> int:
    status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found.group(1)) // 1000 if found else 0


class Measured:
    """A command as a process of its own: seconds, and the most memory it had."""

    def __init__(self, *arguments: object) -> None:
        self.peak_megabytes = 0
        self.status: int | None = None
        began = time.monotonic()
        process = subprocess.Popen([sys.executable, "-c", "from common.cli.main import main; main()", *map(str, arguments)])
        watch = threading.Thread(target=self._watch, args=(process.pid,))
        watch.start()
        self.status = process.wait()
        self.seconds = time.monotonic() - began
        watch.join()

    def _watch(self, process_id: int) -> None:
        try:
            while self.status is None:
                self.peak_megabytes = max(self.peak_megabytes, peak_megabytes(process_id))
                time.sleep(0.02)
        except (OSError, ProcessLookupError):
            pass


def test_a_large_file_crosses_in_constant_memory(link, tmp_path, capsys):
    large = tmp_path / "large"
    stretch = np.random.default_rng(1).bytes(1_000_000)
    with large.open("wb") as file:
        for number in range(MEGABYTES):
            file.write(number.to_bytes(8, "little") + stretch[8:])
    before = {name: peak_megabytes(link.processes[name].pid) for name in ("alice", "bob")}
    config = {name: link.config(name) for name in ("alice", "bob")}
    encrypting = Measured("otp", "encrypt", "--config", config["alice"], "--in", large, "--out", tmp_path / "large.otp")
    decrypting = Measured("otp", "decrypt", "--config", config["bob"], "--in", tmp_path / "large.otp", "--out", tmp_path / "read")
    after = {name: peak_megabytes(link.processes[name].pid) for name in ("alice", "bob")}

    assert encrypting.status == decrypting.status == 0
    assert subprocess.run(["cmp", large, tmp_path / "read"], check=False).returncode == 0
    with capsys.disabled():
        for what, measured in (("encrypted", encrypting), ("decrypted", decrypting)):
            rate = MEGABYTES / measured.seconds
            sys.stdout.write(
                f"\n{MEGABYTES} MB {what} in {measured.seconds:.1f} s, {rate:.0f} MB/s; {measured.peak_megabytes} MB of memory"
            )
        sys.stdout.write(f"; daemons {before} to {after} MB\n")
    assert max(encrypting.peak_megabytes, decrypting.peak_megabytes) < MOST_COMMAND_MEGABYTES
    assert all(after[name] - before[name] < MOST_GROWTH_MEGABYTES for name in after)


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_daemon_that_dies_under_a_message_leaves_nothing_and_the_next_one_goes(link, tmp_path, name, capsys):
    what, source = ("encrypt", tmp_path / "plain") if name == "alice" else ("decrypt", tmp_path / "plain.otp")
    (tmp_path / "plain").write_bytes(bytes(2_000_000))
    if name == "bob":
        assert otp(link, "encrypt", "alice", "--in", tmp_path / "plain", "--out", source) == 0
    killer = threading.Timer(0.05, lambda: link.kill(name))
    killer.start()
    status = otp(link, what, name, "--in", source, "--out", tmp_path / "result")
    killer.join()
    assert status in {0, 3}, capsys.readouterr().err
    assert (tmp_path / "result").exists() == (status == 0)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

    link.start(name)
    link.wait_until(lambda live: all(live.status(end)["store"]["peer_met"] for end in ("alice", "bob")), "meeting again")
    link.wait_until(lambda live: otp(live, "encrypt", "alice", "--in", source, "--out", tmp_path / "next.otp") == 0, "a message")
    assert otp(link, "decrypt", "bob", "--in", tmp_path / "next.otp", "--out", tmp_path / "next") == 0
    assert (tmp_path / "next").read_bytes() == source.read_bytes()


def test_both_ledgers_agree_in_the_end(link):
    for name in ("alice", "bob"):
        link.stop(name)

    assert check.faults(*(link.folder / party.name.lower() / "state" / "store.sqlite" for party in Party)) == []
