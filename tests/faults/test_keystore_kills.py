"""Both stores of a link are killed two hundred times at random instants: nothing is lost, split otherwise or used twice.

A killed process does not lose what the system holds in its cache; that every commit waits for the disk is asserted in
``tests/unit/keystore``. ``QKD_KILLS`` asks for more of them.
"""

import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from contextlib import closing
from itertools import pairwise

import pytest

from common.channel.codec import Party
from common.keystore import check
from common.keystore.interface import UseKind
from common.keystore.ownership import DELIVERIES, PADS
from tests.support.keystores import distil, greet, opened
from tests.support.tree import ROOT

KILLS = int(os.environ.get("QKD_KILLS", "200"))


def handed_out(folder):
    """What the workers wrote, by store, kind and pool; a last line cut off by the kill counts for nothing."""
    found = defaultdict(list)
    for line in (folder / "handed-out").read_text(encoding="ascii").splitlines():
        party, kind, pool, block, first, count, head = line.split(" ")
        found[Party[party], kind, pool].append((int(block), int(first), int(count), bytes.fromhex(head)))
    return found


def in_ledger(path):
    ledger = check.LedgerFile.read(path)
    return {place: [(first, first + count) for first, count, _ in uses] for place, uses in ledger.uses.items()}


def test_two_hundred_kills_lose_nothing_and_give_nothing_twice(tmp_path):
    done = 0
    while done < KILLS:
        count = min(50, KILLS - done)
        command = [sys.executable, "-m", "tests.faults.keystore_worker", str(tmp_path), str(count), str(done)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert not ran.stderr
        done += count
        paths = [tmp_path / f"{party.name}.sqlite" for party in Party]
        with closing(opened(paths[0], Party.ALICE)) as alice, closing(opened(paths[1], Party.BOB)) as bob:
            distil((alice, bob), 3000, greet((alice, bob)))
            assert alice.levels().damaged_blocks == bob.levels().damaged_blocks == ()
            assert not {entry.kind for store in (alice, bob) for entry in store.audit(most=10**6)} & {UseKind.FORGONE, UseKind.DAMAGED}
        assert check.faults(*paths) == []

    assert check.LedgerFile.read(tmp_path / "ALICE.sqlite").moves, "no key has moved"
    found = handed_out(tmp_path)
    spent = {party: in_ledger(tmp_path / f"{party.name}.sqlite") for party in Party}
    for (party, kind, pool), pieces in found.items():
        once = pieces if kind != "hash-key" else set(pieces)  # which stays in use until it is not trusted
        assert all(one[0] < other[0] or one[1] + one[2] <= other[1] for one, other in pairwise(sorted(piece[:3] for piece in once))), (
            f"{party.name} {kind} {pool}: handed out twice"
        )
        if kind not in {"mask", "hash-key"}:
            for block, first, count, _ in pieces:
                uses = spent[party][block, pool]
                assert any(low <= first and first + count <= high for low, high in uses), "handed out and not in the ledger"
    for giver in Party:
        for pool in (PADS[giver], DELIVERIES[giver]):
            taken = {piece[:2]: piece[3] for piece in found[giver, "took", pool.value]}
            received = {piece[:2]: piece[3] for piece in found[giver.peer, "received", pool.value]}
            assert all(taken[place] == key for place, key in received.items() if place in taken)
    masks = [{first: key for _, first, _, key in found[party, "mask", "reserve"]} for party in Party]
    assert all(masks[0][index] == masks[1][index] for index in masks[0].keys() & masks[1].keys()), "one mask pair, two masks"
    assert len(set(masks[0].values())) == len(masks[0])
    hash_keys = [{first: key for _, first, _, key in found[party, "hash-key", "reserve"]} for party in Party]
    assert all(hash_keys[0][number] == hash_keys[1][number] for number in hash_keys[0].keys() & hash_keys[1].keys()), (
        "one pair, two hash keys"
    )
    assert not {first for party in Party for _, first, _, _ in found[party, "mask", "reserve"]} & hash_keys[0].keys()
    assert Counter(kind for _, kind, _ in found) == {"took": 4, "received": 4, "mask": 2, "hash-key": 2}, "not everything was tried"


@pytest.mark.parametrize("deed", ["stage", "commit"])
def test_a_group_of_blocks_is_staged_and_committed_whole_or_not_at_all(tmp_path, deed):
    command = [sys.executable, "-m", "tests.faults.group_worker", str(tmp_path), deed]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    deaths = re.match(r"(\d+) deaths: .*'nothing': (\d+)", ran.stdout)
    assert deaths, ran.stdout
    assert int(deaths[1]) > 10
    assert "everything" in ran.stdout
