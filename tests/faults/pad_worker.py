"""Kills a command, or a node, at every step of sending and receiving messages; prints what it saw, or fails.

``python -m tests.faults.pad_worker FOLDER command|node``. The steps of a command are its requests and what it does to files; those of a
node are the statements it runs on its store. Whoever is to die does so by SIGKILL at the n-th of them, for n = 1, 2, 3 … until nobody dies.
After each death a message is sent and received; no two messages that ever got out may name a byte of pad twice, and none may be shown
twice.
"""

import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from common.channel.codec import Party
from common.errors import KeyAlreadyTakenError, QkdError, TransportError
from common.onetimepad.files import decrypt_file, encrypt_file
from common.onetimepad.served import ServedPad
from common.onetimepad.store_envelope import StoreHeader, read_header
from common.service.admin_client import AdminClient
from tests.support.pads import ServedEnds

MESSAGE = b"what must arrive once or not at all"
BLOCK_BITS = 8 * (2 * 40_000 + 32)
MOST_STEPS = 300


def dies(moment: int, *steps: tuple[object, str]) -> None:
    """Let this process die before the n-th of some calls; after one is before the next."""
    left = moment

    def watched(function: Callable) -> Callable:
        def call(*arguments, **named):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    for owner, name in steps:
        setattr(owner, name, watched(getattr(owner, name)))


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(status)
    return child


def ended(child: int) -> bool:
    """Wait for a process; whether it was killed."""
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        sys.exit("a process failed by itself")
    return os.WIFSIGNALED(status)


class Nodes:
    """Both nodes in a process of their own; ``victim`` is the end whose statements count."""

    def __init__(self, folder: Path, moment: int = 0, victim: Party = Party.ALICE, blocks: int = 0) -> None:
        self.folder = folder
        self._ready = folder / "ready"
        self._ready.unlink(missing_ok=True)
        self.process = forked(lambda: self._serve(moment, victim, blocks))
        while not self._ready.exists():
            time.sleep(0.005)

    def _serve(self, moment: int, victim: Party, blocks: int) -> None:
        ends = ServedEnds(self.folder, *[BLOCK_BITS] * blocks)
        if moment:
            dies(moment, (ends.stores[victim]._database, "rows"))
        signal.signal(signal.SIGTERM, lambda *_: None)
        self._ready.touch()
        signal.pause()
        ends.close()

    def stop(self) -> None:
        os.kill(self.process, signal.SIGTERM)
        ended(self.process)

    @contextlib.contextmanager
    def pad(self, party: Party) -> Iterator[ServedPad]:
        with AdminClient(self.folder / f"{party.name.lower()}.sock") as client:
            yield ServedPad(client)


class Record:
    """What got out, and where its pad lay."""

    def __init__(self) -> None:
        self.used: set[tuple[int, int]] = set()
        self.seen: Counter[str] = Counter()

    def add(self, path: Path) -> None:
        with path.open("rb") as file:
            header = read_header(file.read, what=str(path))
        assert isinstance(header, StoreHeader)
        places = {(piece.block, byte) for piece in header.pieces for byte in range(piece.first_byte, piece.end_byte)}
        assert not self.used & places, f"{path}: pad was used before"
        self.used |= places


def send(nodes: Nodes, name: str) -> None:
    (nodes.folder / name).write_bytes(MESSAGE)
    with nodes.pad(Party.ALICE) as pad:
        encrypt_file(pad, nodes.folder / name, nodes.folder / f"{name}.otp")


def receive(nodes: Nodes, name: str, target: str) -> None:
    with nodes.pad(Party.BOB) as pad:
        decrypt_file(pad, nodes.folder / f"{name}.otp", nodes.folder / target)


def check(nodes: Nodes, record: Record, name: str, *, was_receiving: bool) -> None:
    """Send and receive another message; then see what became of the one during which somebody died."""
    first, plain = nodes.folder / f"{name}.otp", nodes.folder / f"{name}.plain"
    send(nodes, f"{name}-next")
    record.add(nodes.folder / f"{name}-next.otp")
    receive(nodes, f"{name}-next", f"{name}-next.plain")
    assert (nodes.folder / f"{name}-next.plain").read_bytes() == MESSAGE
    if first.exists() and not was_receiving:
        record.add(first)
    if plain.exists():
        assert plain.read_bytes() == MESSAGE
    readable = False
    if first.exists():
        try:
            receive(nodes, name, f"{name}.again")
            readable = True
        except KeyAlreadyTakenError:
            assert was_receiving, "a message that got out cannot be read"
    assert not (readable and plain.exists()), "shown twice"
    left = [path.name for path in nodes.folder.iterdir() if path.name.startswith(f".{name}")]
    assert not left, f"half written: {left}"
    record.seen[f"{'received' if was_receiving else 'sent'} {'shown' if plain.exists() else 'readable' if readable else 'lost'}"] += 1


def kill_commands(folder: Path, record: Record) -> None:
    nodes = Nodes(folder, blocks=2)
    steps = [(AdminClient, "send"), (AdminClient, "receive"), (AdminClient, "__exit__"), (os, "fsync"), (os, "link"), (os, "fchmod")]
    for was_receiving in (False, True):
        for moment in range(1, MOST_STEPS):
            name = f"c{int(was_receiving)}-{moment}"
            if was_receiving:
                send(nodes, name)
                record.add(folder / f"{name}.otp")

            def work(moment: int = moment, name: str = name, was_receiving: bool = was_receiving) -> None:
                dies(moment, *steps)
                if was_receiving:
                    receive(nodes, name, f"{name}.plain")
                else:
                    send(nodes, name)

            if not ended(forked(work)):
                break
            time.sleep(0.02)  # until the node has noticed: only then is a message that was not burnt given back
            check(nodes, record, name, was_receiving=was_receiving)
    nodes.stop()


def kill_nodes(folder: Path, record: Record) -> None:
    Nodes(folder, blocks=2).stop()
    for was_receiving, victim in ((False, Party.ALICE), (True, Party.BOB)):
        for moment in range(1, MOST_STEPS):
            name = f"n{int(was_receiving)}-{moment}"
            if was_receiving:
                nodes = Nodes(folder)
                send(nodes, name)
                record.add(folder / f"{name}.otp")
                nodes.stop()
            nodes = Nodes(folder, moment, victim)
            with contextlib.suppress(TransportError):
                if was_receiving:
                    receive(nodes, name, f"{name}.plain")
                else:
                    send(nodes, name)
            with contextlib.suppress(ProcessLookupError):
                os.kill(nodes.process, signal.SIGTERM)
            if not ended(nodes.process):
                break
            nodes = Nodes(folder)
            check(nodes, record, name, was_receiving=was_receiving)
            nodes.stop()


def main(folder: Path, who: str) -> None:
    record = Record()
    try:
        {"command": kill_commands, "node": kill_nodes}[who](folder, record)
    except (QkdError, AssertionError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    sys.stdout.write(", ".join(f"{count} {what}" for what, count in sorted(record.seen.items())) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
