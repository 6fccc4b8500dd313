"""Whether the ledgers of both ends agree: nothing lost after commitment, nothing split otherwise at the peer, nothing used twice.

``python -m common.keystore.check ALICE.sqlite BOB.sqlite`` reads both files, opens no key, and prints what is wrong; exit status 0 where
nothing is. Run it on stores that stand still: between two sessions a block may well be committed here and staged there, which is no fault,
but what a running daemon changes meanwhile would look like one.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from common.channel.codec import Party
from common.channel.pairs import is_hash_key
from common.errors import KeyStoreError, QkdError
from common.keystore.contexts import row_guard
from common.keystore.database import read_only
from common.keystore.orders import KEY_ID_BYTES
from common.keystore.ownership import DELIVERIES, PAIR_BYTES, Pool

Place = tuple[int, str]
Stretch = tuple[int, int]

ORDERS_SINCE = 3
"""Version of the store file from which on it knows of keys for applications."""

MOVES_SINCE = 6
"""Version of the store file from which on key moves between delivery pools."""

_GIVERS = {DELIVERIES[party].value: DELIVERIES[party.peer].value for party in Party}


@dataclass(frozen=True, slots=True)
class Moved:
    """Key that moved between delivery pools.

    Attributes
    ----------
    block : int
        Block number.
    to_pool, to_byte : str, int
        Where it went.
    from_byte, count_bytes : int
        Where it lay in the part of the other delivery pool.
    state : str
        ``offered``, ``moved`` or ``refused``.
    is_altered : bool
        Whether the row holds something else than it was written with.
    """

    block: int
    to_pool: str
    to_byte: int
    from_byte: int
    count_bytes: int
    state: str
    is_altered: bool

    @property
    def source(self) -> tuple[Place, int, int]:
        """Part, first byte and bytes of where it lay."""
        return (self.block, _GIVERS.get(self.to_pool, "")), self.from_byte, self.count_bytes


@dataclass(slots=True)
class LedgerFile:
    """What one store file says, key left out.

    Attributes
    ----------
    name : str
        For messages.
    owner : Party
        Whose store it is.
    mask_cursor, next_block : int
        Lowest mask pair and block number never used.
    blocks : dict[int, tuple[str, int, int, int]]
        State, length in bits, and first mask pair and mask pairs brought, by number.
    parts : dict[tuple[int, str], tuple[int, int, int]]
        First bit, bytes and bytes left of each part, by block and pool.
    uses : dict[tuple[int, str], list[tuple[int, int, str]]]
        First byte, bytes and kind of each use that was not given back.
    sealed : dict[tuple[int, str], list[tuple[int, int]]]
        First byte and bytes of each sealed piece whose data key is there.
    keys : dict[bytes, tuple[int, int, int]]
        Handout, first byte in it and bytes of every key that was ordered by or is held for applications, by number.
    handouts : dict[int, list[tuple[int, str, int, int]]]
        Block, pool, first byte and bytes of the pieces of these handouts.
    given : list[tuple[str, bytes]]
        Who was given which key at this end; repeated answers count once.
    damaged : tuple[int, ...]
        Blocks of which something was found not to open.
    moves : dict[tuple[int, str, int], Moved]
        Key that moved between delivery pools, by block, pool and byte where it went.
    """

    name: str
    owner: Party
    mask_cursor: int
    next_block: int
    blocks: dict[int, tuple[str, int, int, int]]
    parts: dict[Place, tuple[int, int, int]]
    uses: dict[Place, list[tuple[int, int, str]]]
    sealed: dict[Place, list[Stretch]] = field(default_factory=dict)
    keys: dict[bytes, tuple[int, int, int]] = field(default_factory=dict)
    handouts: dict[int, list[tuple[int, str, int, int]]] = field(default_factory=dict)
    given: list[tuple[str, bytes]] = field(default_factory=list)
    damaged: tuple[int, ...] = ()
    moves: dict[tuple[int, str, int], Moved] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> LedgerFile:
        """Read a store file.

        Parameters
        ----------
        path : Path
            The file; it is not changed.

        Returns
        -------
        LedgerFile
            Its ledger.

        Raises
        ------
        ConfigurationError
            If there is no such file, or a newer version wrote it.
        KeyStoreError
            If it cannot be read.
        """
        with closing(read_only(path)) as connection:
            try:
                return cls._of(path, connection)
            except sqlite3.Error as error:
                raise KeyStoreError(f"{path}: {error}") from None
            except (ValueError, TypeError):
                raise KeyStoreError(f"{path}: a row of the ledger is damaged") from None

    @classmethod
    def _of(cls, path: Path, connection: sqlite3.Connection) -> LedgerFile:
        ((version,),) = connection.execute("PRAGMA user_version")
        ((owner, cursor, next_block),) = connection.execute("SELECT owner, mask_cursor, next_block FROM state")
        uses, sealed = defaultdict(list), defaultdict(list)
        for block, pool, *use in connection.execute("SELECT block, pool, first_byte, count_bytes, kind FROM uses WHERE returned = 0"):
            uses[block, pool].append(tuple(use))
        for block, pool, *stretch in connection.execute(
            "SELECT block, pool, first_byte, count_bytes FROM pieces JOIN piece_keys USING (piece)"
        ):
            sealed[block, pool].append(tuple(stretch))
        keys, handouts, given = _orders(connection) if version >= ORDERS_SINCE else ({}, {}, [])
        blocks = connection.execute("SELECT block, state, count_bits, reserve_first, reserve_pairs FROM blocks")
        damaged = connection.execute("SELECT block FROM blocks WHERE damaged != 0 ORDER BY block")
        parts = connection.execute("SELECT block, pool, first_bit, count_bytes, left_bytes FROM parts")
        return cls(
            name=path.name,
            owner=Party(owner),
            mask_cursor=cursor,
            next_block=next_block,
            blocks={block: (state, count, first, pairs) for block, state, count, first, pairs in blocks},
            parts={(block, pool): (first, count, left) for block, pool, first, count, left in parts},
            uses=dict(uses),
            sealed=dict(sealed),
            keys=keys,
            handouts=handouts,
            given=given,
            damaged=tuple(block for (block,) in damaged),
            moves=_moves(connection) if version >= MOVES_SINCE else {},
        )

    def own_bytes(self, place: Place) -> int:
        """Return the length of the part at ``place`` as the block was shared out, without what moved there later."""
        return self.parts[place][1] - sum(move.count_bytes for move in self.moves.values() if (move.block, move.to_pool) == place)

    def stretches(self, key_id: bytes) -> list[tuple[int, str, int, int]]:
        """Return where the key ``key_id`` lies: block, pool, first byte and bytes of every stretch of it."""
        handout, first, count = self.keys[key_id]
        found, reached = [], 0
        for block, pool, first_byte, count_bytes in self.handouts.get(handout, []):
            low, high = max(first, reached), min(first + count, reached + count_bytes)
            if low < high:
                found.append((block, pool, first_byte + low - reached, high - low))
            reached += count_bytes
        return found

    def committed(self) -> set[int]:
        """Return the committed blocks."""
        return {block for block, (state, *_) in self.blocks.items() if state == "committed"}

    def held(self) -> set[int]:
        """Return the blocks that are staged or committed."""
        return {block for block, (state, *_) in self.blocks.items() if state != "erased"}


def faults_within(ledger: LedgerFile) -> list[str]:
    """Check one ledger by itself.

    Parameters
    ----------
    ledger : LedgerFile
        As read.

    Returns
    -------
    list[str]
        What is wrong; empty where nothing is.
    """
    found = []
    for block in sorted(ledger.committed()):
        _, count_bits, _, pairs = ledger.blocks[block]
        parts = sorted((ledger.parts[place][0], ledger.own_bytes(place), place[1]) for place in ledger.parts if place[0] == block)
        reached = 0
        for first_bit, count_bytes, pool in parts:
            if first_bit != reached:
                found.append(f"{ledger.name}: block {block}: bits {reached} to {first_bit} belong to nobody, or to two ({pool})")
            reached = first_bit + 8 * count_bytes
        if not 0 <= count_bits - reached < 8:
            found.append(f"{ledger.name}: block {block} has {count_bits} bits, its parts {reached}")
        if ledger.parts.get((block, Pool.RESERVE.value), (0, 0, 0))[1] != pairs * PAIR_BYTES:
            found.append(f"{ledger.name}: block {block}: its reserve is not its {pairs} mask pairs")
    for place, (_, count_bytes, left_bytes) in sorted(ledger.parts.items()):
        found += _faults_of_part(ledger, place, count_bytes, left_bytes)
    found += [
        f"{ledger.name}: block {block}, {pool}: uses of a part that is none" for block, pool in ledger.uses.keys() - ledger.parts.keys()
    ]
    reserves = sorted(
        (first, first + pairs, block) for block, (state, _, first, pairs) in ledger.blocks.items() if pairs and state == "committed"
    )
    for (_, end, one), (first, _, other) in pairwise(reserves):
        if first < end:
            found.append(f"{ledger.name}: blocks {one} and {other} bring the same mask pairs")
    found += _faults_of_reserve(ledger)
    found += _faults_of_orders(ledger)
    found += _faults_of_moves(ledger)
    if ledger.next_block <= max(ledger.blocks, default=0):
        found.append(f"{ledger.name}: block {max(ledger.blocks)} is held but was never opened")
    return found


def faults_between(one: LedgerFile, other: LedgerFile) -> list[str]:
    """Check the ledgers of both ends against each other.

    Parameters
    ----------
    one, other : LedgerFile
        Of the two ends.

    Returns
    -------
    list[str]
        What is wrong; empty where nothing is.
    """
    if one.owner is other.owner:
        return [f"{one.name} and {other.name} belong to the same end"]
    found = []
    for ours, theirs in ((one, other), (other, one)):
        lost = ours.committed() - theirs.held()
        found += [f"{ours.name}: block {block} is committed, {theirs.name} does not hold it" for block in sorted(lost)]
    for block in sorted(one.held() & other.held()):
        if one.blocks[block][1] != other.blocks[block][1]:
            found.append(f"block {block} has {one.blocks[block][1]} bits at one end and {other.blocks[block][1]} at the other")
    for block in sorted(one.committed() & other.committed()):
        shared_out = [(ledger.blocks[block][2:], _shares(ledger, block)) for ledger in (one, other)]
        if shared_out[0] != shared_out[1]:
            found.append(f"block {block} is shared out otherwise at the other end")
    for ours, theirs in ((one, other), (other, one)):
        for (block, pool), uses in ours.uses.items():
            asked_there = Pool(pool).asker is theirs.owner and (block, pool) in theirs.parts
            followed = [(first, first + count) for first, count, kind in uses if kind in {"expected", "received"}]
            known = _merged((first, first + count) for first, count, _ in theirs.uses.get((block, pool), []))
            for first, end in followed if asked_there else []:
                if not any(low <= first and end <= high for low, high in known):
                    found.append(
                        f"{ours.name}: block {block}, {pool}: received bytes {first} to {end}, which {theirs.name} never handed out"
                    )
    return [*found, *_faults_between_orders(one, other), *_faults_between_moves(one, other)]


def _faults_between_orders(one: LedgerFile, other: LedgerFile) -> list[str]:
    """Keys of applications that are not the same bytes at both ends, or that one end holds and the other never ordered."""
    found = [
        f"key {key_id.hex()} lies elsewhere at the other end"
        for key_id in sorted(one.keys.keys() & other.keys.keys())
        if one.stretches(key_id) != other.stretches(key_id)
    ]
    for ours, theirs in ((one, other), (other, one)):
        for key_id in sorted(ours.keys.keys() - theirs.keys.keys()):
            pools = {pool for _, pool, _, _ in ours.stretches(key_id)}
            if any(Pool(pool).asker is theirs.owner for pool in pools):
                found.append(f"{ours.name}: key {key_id.hex()} is held for an application, {theirs.name} never ordered it")
    return found


def faults(one: Path, other: Path) -> list[str]:
    """Check the store files of both ends.

    Parameters
    ----------
    one, other : Path
        The files, in either order.

    Returns
    -------
    list[str]
        What is wrong; empty where nothing is.
    """
    ledgers = [LedgerFile.read(one), LedgerFile.read(other)]
    return [*faults_within(ledgers[0]), *faults_within(ledgers[1]), *faults_between(*ledgers)]


def main(arguments: list[str] | None = None) -> int:
    """Run the command with ``arguments``; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m common.keystore.check", description="Compare the ledgers of both ends.")
    parser.add_argument("stores", nargs=2, type=Path, metavar="STORE", help="store file of an end, its daemon stopped")
    try:
        found = faults(*parser.parse_args(arguments).stores)
    except QkdError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("".join(f"{fault}\n" for fault in found) or "both ledgers agree: nothing lost, split otherwise or used twice\n")
    return 1 if found else 0


def _faults_of_part(ledger: LedgerFile, place: Place, count_bytes: int, left_bytes: int) -> list[str]:
    block, pool = place
    where = f"{ledger.name}: block {block}, {pool}"
    uses = sorted(ledger.uses.get(place, []))
    found = [
        f"{where}: bytes {second} to {min(first + count, second + other)} were used twice ({kind}, then {other_kind})"
        for (first, count, kind), (second, other, other_kind) in pairwise(uses)
        if second < first + count
    ]
    if uses and uses[-1][0] + uses[-1][1] > count_bytes:
        found.append(f"{where}: used beyond its end")
    if sum(count for _, count, _ in uses) + left_bytes != count_bytes:
        found.append(f"{where}: {count_bytes} bytes do not add up from those used and {left_bytes} left")
    spent = _merged((first, first + count) for first, count, _ in uses)
    there = _merged((first, first + count) for first, count in ledger.sealed.get(place, []))
    reached = 0
    for low, high in [*_merged([*spent, *there]), (count_bytes, count_bytes)]:
        if low > reached:
            found.append(f"{where}: bytes {reached} to {low} are lost: neither used nor there")
        reached = max(reached, high)
    return found


def _faults_of_reserve(ledger: LedgerFile) -> list[str]:
    """Pairs that hid a tag though they are kept for hash keys, or the reverse, or that the cursor has not passed."""
    found = []
    for (block, pool), uses in sorted(ledger.uses.items()):
        for first, _, kind in uses:
            pair = ledger.blocks.get(block, ("", 0, 0, 0))[2] + first // PAIR_BYTES
            if pool != Pool.RESERVE.value or kind not in {"mask", "hash-key"}:
                continue
            if is_hash_key(pair) != (kind == "hash-key"):
                found.append(f"{ledger.name}: block {block}: pair {pair} was used as a {kind}")
            if pair >= ledger.mask_cursor:
                found.append(f"{ledger.name}: block {block}: pair {pair} was used, and the cursor stands at {ledger.mask_cursor}")
    return found


def _orders(
    connection: sqlite3.Connection,
) -> tuple[dict[bytes, tuple[int, int, int]], dict[int, list[tuple[int, str, int, int]]], list[tuple[str, bytes]]]:
    """Read keys by number, the handouts they were cut from, and who was given which."""
    keys, handouts, given = {}, defaultdict(list), []
    ordered = connection.execute("SELECT handout, first_byte, count_bytes, key_ids FROM orders ORDER BY number")
    for handout, first, count, key_ids in ordered:
        for index, key_id in enumerate(_numbers(key_ids)):
            keys[key_id] = (handout, first + index * count, count)
    for handout, *place in connection.execute(
        "SELECT handout, block, pool, first_byte, count_bytes FROM uses WHERE handout IN (SELECT handout FROM orders) ORDER BY use"
    ):
        handouts[handout].append(tuple(place))
    for slave, key_ids in connection.execute("SELECT slave, key_ids FROM collections WHERE slave != ''"):
        given += [(slave, key_id) for key_id in _numbers(key_ids)]
    return keys, dict(handouts), given


def _numbers(key_ids: bytes) -> list[bytes]:
    return [key_ids[first : first + KEY_ID_BYTES] for first in range(0, len(key_ids), KEY_ID_BYTES)]


def _faults_of_orders(ledger: LedgerFile) -> list[str]:
    """Keys of applications that overlap, are cut from nothing, were given twice to the same, or were given without having been ordered."""
    found = []
    stretches = defaultdict(list)
    for key_id, (_, _, count) in sorted(ledger.keys.items()):
        places = ledger.stretches(key_id)
        if sum(length for *_, length in places) != count:
            found.append(f"{ledger.name}: key {key_id.hex()} has {count} bytes, the ledger does not")
        for block, pool, first, length in places:
            stretches[block, pool].append((first, first + length, key_id))
    for (block, pool), placed in stretches.items():
        for (_, end, one), (first, _, other) in pairwise(sorted(placed)):
            if first < end:
                found.append(f"{ledger.name}: block {block}, {pool}: keys {one.hex()} and {other.hex()} overlap")
    counts = Counter(ledger.given)
    found += [
        f"{ledger.name}: key {key_id.hex()} was given to {slave} {count} times" for (slave, key_id), count in counts.items() if count > 1
    ]
    found += [f"{ledger.name}: key {key_id.hex()} was given and is in no order" for _, key_id in counts if key_id not in ledger.keys]
    return found


def _moves(connection: sqlite3.Connection) -> dict[tuple[int, str, int], Moved]:
    """Read key that moved."""
    moves = {}
    for state, guard, *facts in connection.execute(
        "SELECT state, guard, handout, block, to_pool, to_byte, from_byte, count_bytes FROM moves ORDER BY move"
    ):
        _, block, to_pool, to_byte, from_byte, count_bytes = facts
        moves[block, to_pool, to_byte] = Moved(block, to_pool, to_byte, from_byte, count_bytes, state, guard != row_guard(*facts))
    return moves


def _faults_of_moves(ledger: LedgerFile) -> list[str]:
    """Moves that were altered, of key that is not spent where it lay, or that do not lie one behind the other where it went."""
    found = [
        f"{ledger.name}: block {block}, {pool}: what is known of the key that moved to byte {byte} was altered"
        for (block, pool, byte), move in sorted(ledger.moves.items())
        if move.is_altered
    ]
    for place in sorted({(move.block, move.to_pool) for move in ledger.moves.values()}):
        where = f"{ledger.name}: block {place[0]}, {place[1]}"
        if place not in ledger.parts:
            found.append(f"{where}: key moved to a part that is none")
            continue
        reached = ledger.own_bytes(place)
        for move in sorted((move for move in ledger.moves.values() if (move.block, move.to_pool) == place), key=lambda move: move.to_byte):
            if move.to_byte != reached:
                found.append(f"{where}: key moved to byte {move.to_byte}, where byte {reached} is next")
            reached = move.to_byte + move.count_bytes
    spent = {(place, first, count) for place, uses in ledger.uses.items() for first, count, kind in uses if kind == "moved"}
    for (block, pool), first, count in sorted(spent ^ {move.source for move in ledger.moves.values()}):
        found.append(
            f"{ledger.name}: block {block}, {pool}: bytes {first} to {first + count} moved by the ledger alone, or by the moves alone"
        )
    return found


def _faults_between_moves(one: LedgerFile, other: LedgerFile) -> list[str]:
    """Key that an end has taken over and the other did not give, or gave and noted otherwise."""
    found = []
    for giver, receiver in ((one, other), (other, one)):
        given, taken = (
            {key: move for key, move in end.moves.items() if key[1] == DELIVERIES[receiver.owner].value} for end in (giver, receiver)
        )
        for (block, pool, byte), move in sorted(taken.items()):
            offer = given.get((block, pool, byte))
            if offer is None or offer.source != move.source or offer.state == "refused":
                found.append(f"{receiver.name}: block {block}, {pool}: key was taken over at byte {byte}, {giver.name} did not give it")
        found += [
            f"{giver.name}: block {block}, {pool}: key was given at byte {byte}, {receiver.name} did not take it over"
            for (block, pool, byte), move in sorted(given.items())
            if move.state == "moved" and (block, pool, byte) not in taken
        ]
    return found


def _shares(ledger: LedgerFile, block: int) -> set[tuple[str, int, int]]:
    return {(pool, ledger.parts[number, pool][0], ledger.own_bytes((number, pool))) for number, pool in ledger.parts if number == block}


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Join stretches, given by first and end, that touch or overlap."""
    joined: list[Stretch] = []
    for first, end in sorted(stretches):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return joined


if __name__ == "__main__":
    sys.exit(main())
