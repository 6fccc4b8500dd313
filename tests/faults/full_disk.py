"""Fills the disk under Bob's store while a link distils, twice, and reports what the link did; run where it may mount a file system.

``unshare -Urm python -m tests.faults.full_disk FOLDER`` prints one JSON object; the test beside it looks at that.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from common.errors import KeyStoreError
from common.keystore import check
from common.service.room import LEAST_FREE_BYTES
from tests.integration.live.processes import LiveLink

DISK_BYTES = 2 * LEAST_FREE_BYTES
ASKED = 200
KEY_BYTES = 64


@contextmanager
def filled(folder: Path, left_bytes: int) -> Iterator[None]:
    """Fill a disk but for so many bytes, and clear it again."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for _ in range(max(0, DISK_BYTES - left_bytes - used_bytes(folder)) // 4096):
            file.write(bytes(4096))
        while not left_bytes:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


def used_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def exported(link: LiveLink, taken: list[tuple[list, bytes]], refused: list[str]) -> None:
    """Take a piece of Bob's delivery key."""
    try:
        named, key = link.ask("bob", "keys export", yes=True, count_bytes=KEY_BYTES)
    except KeyStoreError as error:
        refused.append(str(error))
    else:
        taken.append((named["pieces"], bytes(key)))


def refusals_on_a_full_disk(link: LiveLink, taken: list[tuple[list, bytes]]) -> list[str]:
    """Ask until it has been refused, and some more times."""
    refused: list[str] = []
    for _ in range(ASKED):
        exported(link, taken, refused)
        if len(refused) >= 3:
            break
    return refused


def main(folder: Path) -> dict:
    said: dict[str, Any] = {}
    taken: list[tuple[list, bytes]] = []
    nothing: list[str] = []
    with closing(LiveLink(folder / "n")) as link:
        state = link.folder / "bob" / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(state)], check=True)
        link.start()
        link.wait_for_blocks(3)
        with filled(state, LEAST_FREE_BYTES // 2):
            link.wait_until(lambda _: "disk nearly full" in link.log("bob"), "word of a disk that fills up")
            link.wait_until(lambda _: link.status("bob")["session"]["activity"] == "waiting", "a link that waits")
            exported(link, taken, nothing)
            said["refused while it only fills up"] = nothing
        link.wait_for_blocks(link.status("bob")["blocks_kept"] + 2)
        with filled(state, 0):
            said["refused while it is full"] = refusals_on_a_full_disk(link, taken)
            time.sleep(3)  # the link works on into the full disk
            said["lines"] = [event for event in link.events("bob") if event["level"] in {"warning", "error"}]
        before = link.status("bob")["blocks_kept"]
        link.wait_until(lambda _: link.status("bob")["blocks_kept"] >= before + 2, "a link that goes on once there is room")
        exported(link, taken, nothing)
        followed = [link.ask("alice", "keys export", yes=True, pieces=pieces)[1] for pieces, _ in taken]
        said["taken"] = len(taken)
        said["equal"] = [bytes(key) for key in followed] == [key for _, key in taken]
        said["status"] = {name: link.stop(name)[0] for name in ("alice", "bob")}
        said["faults"] = check.faults(*(link.folder / name / "state" / "store.sqlite" for name in ("alice", "bob")))
        said["mistakes"] = [line for line in link.log("bob").splitlines() if "mistake of ours" in line or "Traceback" in line]
    return said


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))  # noqa: T201
