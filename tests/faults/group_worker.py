"""Kills a process at every statement by which it stages, or commits, the keys of a group of blocks; prints what was left, or fails.

``python -m tests.faults.group_worker FOLDER stage|commit``. After each death the store holds all keys of the group in the new state, or all
of them in the old one; then the operation is asked again, as the next session would, and has to succeed.
"""

import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from common.conversation.operations import CommitKeys, OpenBlock, StageKeys
from common.keystore.database import Database
from tests.faults.pad_worker import dies, ended, forked
from tests.support.keystores import ledger_of, opened, secret

GROUP = (1, 2, 3, 4, 5)
COUNT_BITS = 20_000
MOST_STATEMENTS = 500
STAGE = StageKeys({block: secret(block, COUNT_BITS) for block in GROUP})
COMMIT = CommitKeys(GROUP)


def act(path: Path, deed: str, moment: int) -> None:
    """Open the store and die at statement number ``moment`` of the deed."""
    store = opened(path)
    if moment:
        dies(moment, (Database, "rows"))
    store.apply(STAGE if deed == "stage" else COMMIT)


def main(folder: Path, deed: str) -> None:
    left: Counter[str] = Counter()
    for moment in range(1, MOST_STATEMENTS):
        path = folder / f"{deed}-{moment}.sqlite"
        with closing(opened(path)) as store:
            store.apply(OpenBlock(GROUP[-1]))
            if deed == "commit":
                store.apply(STAGE)
        was_killed = ended(forked(lambda path=path, moment=moment: act(path, deed, moment)))  # type: ignore[misc]
        with closing(opened(path)) as store:
            held, committed = tuple(ledger_of(store).lengths), store.levels().count_committed
            done, total = (len(held) if deed == "stage" else committed), len(GROUP)
            if done not in {0, total} or held not in {(), GROUP} or (deed == "commit" and held != GROUP):
                sys.exit(f"killed at statement {moment}: {done} of {total} blocks")
            left["everything" if done else "nothing"] += 1
            store.apply(STAGE)
            store.apply(COMMIT)
            if store.levels().count_committed != total or tuple(ledger_of(store).lengths) != GROUP:
                sys.exit(f"killed at statement {moment}: the store was not to be mended")
        if not was_killed:
            sys.stdout.write(f"{moment - 1} deaths: {dict(left)}\n")
            return
    sys.exit("it never came to its end")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
