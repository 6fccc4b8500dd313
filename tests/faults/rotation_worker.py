"""Kills a rotation of the master key at every step it takes on store and key file; prints what was left, or fails.

``python -m tests.faults.rotation_worker FOLDER``. After each death the store opens as a node opens it, under one key or the other, holds
all it held, and hands out the very key that its peer has; then no byte of a wrap or key that is out of use is left in any file. The first
node to open it may die as well, at every step of finishing what the rotation began.
"""

import os
import shutil
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from common.channel.codec import Party
from common.conversation.operations import MeetPeer, OpenBlock, StageKeys
from common.errors import ConfigurationError
from common.keystore import check
from common.keystore.database import Database
from common.keystore.ownership import Pool
from common.keystore.rotation import finish, rotate
from common.keystore.sealing import MasterKey
from common.keystore.sqlite import SqliteKeyStore
from tests.faults.pad_worker import dies, ended, forked
from tests.support.keystores import MASKS, RULE, distil, greet, secret

OLD_KEY = bytes(range(32))
BITS = 9001
MOST_STEPS = 500
STEPS = ((Database, "rows"), (os, "open"), (os, "fsync"), (Path, "replace"), (Path, "unlink"))


def opened(folder: Path, name: str, owner: Party) -> SqliteKeyStore:
    """Open a store as a node does."""
    finish(folder / f"{name}.sqlite", folder / f"{name}.key")
    master = MasterKey((folder / f"{name}.key").read_bytes())
    return SqliteKeyStore(folder / f"{name}.sqlite", owner, master, masks=MASKS, rule=RULE)


def prepared(folder: Path) -> None:
    """Make both ends' stores, with blocks shared out and one that is staged."""
    folder.mkdir(parents=True)
    for name in ("alice", "bob"):
        (folder / f"{name}.key").write_bytes(OLD_KEY)
        (folder / f"{name}.key").chmod(0o600)
    with closing(opened(folder, "alice", Party.ALICE)) as alice, closing(opened(folder, "bob", Party.BOB)) as bob:
        greet((alice, bob))
        for _ in range(2):
            distil((alice, bob), BITS)
        for store in (alice, bob):
            store.apply(OpenBlock(3))
            store.apply(StageKeys({3: secret(3, BITS)}))


def wraps(store: SqliteKeyStore) -> set[bytes]:
    rows = store._database.rows("SELECT wrapped FROM piece_keys UNION ALL SELECT master_check FROM state")
    return {wrap for (wrap,) in rows if isinstance(wrap, bytes)}


def check_whole(folder: Path, old: set[bytes]) -> str:
    """What became of a store after a death; ends the program where anything was lost or kept."""
    with closing(opened(folder, "alice", Party.ALICE)) as alice, closing(opened(folder, "bob", Party.BOB)) as bob:
        key = (folder / "alice.key").read_bytes()
        on_disk = b"".join(file.read_bytes() for file in folder.iterdir() if file.name.startswith("alice"))
        if key != OLD_KEY and (OLD_KEY in on_disk or any(wrap in on_disk for wrap in old)):
            sys.exit("something of the old key is left under the fresh one")
        if {path.name for path in folder.glob("*.new")}:
            sys.exit("a key is left that is not in use")
        alice.apply(MeetPeer(4, 3))
        bob.apply(MeetPeer(4, 3))
        for store in (alice, bob):
            store._settle((3,), ())
        for pool in (Pool.ALICE_PAD, Pool.ALICE_DELIVERY):
            taken = alice.take(pool, alice.levels().pool_bits[pool] // 8, "letter")
            if bob.expect(pool, taken.pieces, "letter").key != taken.key:
                sys.exit("the ends hold different key")
    faults = check.faults(folder / "alice.sqlite", folder / "bob.sqlite")
    if faults:
        sys.exit("\n".join(faults))
    return "old key" if key == OLD_KEY else "fresh key"


def main(folder: Path) -> None:
    prepared(folder / "first")
    with closing(opened(folder / "first", "alice", Party.ALICE)) as store:
        old = wraps(store)
    left: Counter[str] = Counter()
    for deed in ("rotate", "finish"):
        for moment in range(1, MOST_STEPS):
            place = folder / f"{deed}-{moment}"
            shutil.copytree(folder / ("first" if deed == "rotate" else "half"), place)
            paths = (place / "alice.sqlite", place / "alice.key")

            def act(paths: tuple[Path, Path] = paths, moment: int = moment, deed: str = deed) -> None:
                dies(moment, *STEPS)
                (rotate if deed == "rotate" else finish)(*paths)

            was_killed = ended(forked(act))
            if deed == "rotate" and not (folder / "half").exists() and needs_finish(shutil.copytree(place, folder / "looked-at")):
                shutil.copytree(place, folder / "half")
            shutil.rmtree(folder / "looked-at", ignore_errors=True)
            left[check_whole(place, old)] += 1
            shutil.rmtree(place)
            if not was_killed:
                sys.stdout.write(f"{deed}: {moment - 1} deaths\n")
                break
        else:
            sys.exit("it never came to its end")
    sys.stdout.write(f"{dict(left)}\n")


def needs_finish(folder: Path) -> bool:
    """Whether a store is under the fresh key, and that has not taken the old one's place."""
    try:
        master = MasterKey((folder / "alice.key").read_bytes())
        SqliteKeyStore(folder / "alice.sqlite", Party.ALICE, master, masks=MASKS, rule=RULE).close()
    except ConfigurationError:
        return True
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]))
