"""Key moves and is delivered at both ends in any order of losses, repeats, kills, full disks, damage and old copies put back.

Whatever happens, a place that both ends can hand out or follow holds the same key at both, and no byte is given to applications twice.
Messages between the ends wait in no order, and each may come never, late, or again at any time: the line between nodes does better.
Where no file was altered or put back nothing is lost either: all key that there is gets delivered in the end.
"""

import sqlite3
import tempfile
from collections import defaultdict
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.channel.codec import Party
from common.errors import KeyNotCommittedError, KeyStoreError, PeerNotMetError
from common.keystore import check
from common.keystore.ownership import DELIVERIES, Pool
from common.keystore.shelf import DamagedPieceError
from tests.support.keystores import distil
from tests.support.moving_ends import MovingEnds

MEMORY_DISK = Path("/dev/shm")

parties = st.sampled_from(list(Party))
counts = st.integers(1, 500)

PART_BYTES = 400
BLOCK_BITS = 8 * (2 * PART_BYTES + 32)

MOVE_DAMAGES = (
    "UPDATE moves SET from_byte = from_byte + 16 WHERE move = (SELECT MAX(move) FROM moves)",
    "UPDATE moves SET to_byte = to_byte + 16 WHERE move = (SELECT MAX(move) FROM moves)",
    "UPDATE moves SET count_bytes = count_bytes + 16 WHERE move = (SELECT MAX(move) FROM moves)",
    "UPDATE moves SET block = 1 WHERE move = (SELECT MAX(move) FROM moves)",
    "DELETE FROM moves WHERE move = (SELECT MAX(move) FROM moves)",
)
DAMAGES = (
    *MOVE_DAMAGES,
    "UPDATE pieces SET sealed = zeroblob(length(sealed)) WHERE piece = (SELECT MIN(piece) FROM pieces JOIN parts USING (block, pool))",
    "UPDATE pieces SET sealed = zeroblob(length(sealed)) WHERE piece = (SELECT MAX(piece) FROM pieces JOIN parts USING (block, pool))",
    "UPDATE parts SET count_bytes = count_bytes + 16 WHERE block = (SELECT MAX(block) FROM parts)",
    "UPDATE parts SET left_bytes = left_bytes / 2 WHERE block = (SELECT MAX(block) FROM parts)",
    "UPDATE uses SET first_byte = first_byte + 16 WHERE use = (SELECT MAX(use) FROM uses)",
    "DELETE FROM uses WHERE use = (SELECT MAX(use) FROM uses)",
    "UPDATE blocks SET count_bits = count_bits + 8 WHERE block = (SELECT MAX(block) FROM blocks)",
)


class BothEnds(RuleBasedStateMachine):
    """Two store files, and what is on its way between them."""

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None)
        self.ends = MovingEnds(Path(self.folder.name))
        self.total = 0
        self.is_whole = True
        self.told = defaultdict(list)  # moves, by giver
        self.answers = defaultdict(list)  # moves and whether they were accepted, by giver
        self.allotments = defaultdict(list)  # allotments that the peer has not heard of yet, by the end that was asked
        self.copies = {}
        self.distil()

    @rule()
    def distil(self):
        """A session makes a block, and settles what either end doubts."""
        distil(self.ends.both, BLOCK_BITS, self.ends.greet())
        self.total += 2 * PART_BYTES

    @contextmanager
    def _doubted(self):
        """Nothing is done while one end is known to be an old copy."""
        try:
            yield
        except PeerNotMetError:
            assert not self.is_whole

    # ------------------------------------------------------------------------------------------------------------- moves

    @rule(giver=parties, count_bytes=counts)
    def offer(self, giver, count_bytes):
        with self._doubted():
            move = self.ends.stores[giver].offer_move(count_bytes)
            if move is not None:
                self.told[giver].append(move)

    @rule(giver=parties, data=st.data())
    def hear(self, giver, data):
        """A move arrives: the newest, or an old one again."""
        if self.told[giver]:
            move = data.draw(st.sampled_from(self.told[giver]))
            with self._doubted(), suppress(KeyNotCommittedError):
                self.answers[giver].append((move, self.ends.stores[giver.peer].accept_move(move)))

    @rule(giver=parties, data=st.data())
    def hear_answer(self, giver, data):
        if self.answers[giver]:
            move, is_accepted = data.draw(st.sampled_from(self.answers[giver]))
            self.ends.stores[giver].settle_move(move, is_accepted=is_accepted)

    # ------------------------------------------------------------------------------------------------------------- orders

    @rule(party=parties, count_bytes=counts)
    def order(self, party, count_bytes):
        with self._doubted():
            allotment = self.ends.allot(party, count_bytes)
            if allotment is not None:
                self.allotments[party].append(allotment)

    @rule(party=parties, data=st.data(), is_lost=st.booleans())
    def hear_order(self, party, data, is_lost):
        if self.allotments[party]:
            at = data.draw(st.integers(0, len(self.allotments[party]) - 1))
            allotment = self.allotments[party][at]
            with self._doubted():
                if is_lost:
                    self.total -= allotment.handout.count_bytes
                    self.ends.settle(party, allotment)
                    del self.allotments[party][at]
                else:
                    refused = self.ends.hold(party, allotment)
                    if not isinstance(refused, KeyNotCommittedError):
                        assert refused is None or not self.is_whole, refused
                        del self.allotments[party][at]

    # ------------------------------------------------------------------------------------------------------------- faults

    @rule(party=parties)
    def kill(self, party):
        self.ends.reopen(party)

    @rule(party=parties, count_bytes=counts, at=st.integers(0, 40), is_killed=st.booleans(), data=st.data())
    def fail_within_a_change(self, party, count_bytes, at, is_killed, data):
        """The disk is full, or the process ends, at some statement of any step of a move."""
        database: Any = self.ends.stores[party]._database
        rows, left = database.rows, at

        def failing(sql, parameters=()):
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyStoreError("the disk is full")
            return rows(sql, parameters)

        steps = [lambda: self.offer(party, count_bytes)]
        steps += [lambda: self.hear(party.peer, data)] if self.told[party.peer] else []
        steps += [lambda: self.hear_answer(party, data)] if self.answers[party] else []
        step = data.draw(st.sampled_from(steps))
        database.rows = failing
        try:
            step()
        except KeyStoreError as failed:
            assert "full" in str(failed)  # noqa: PT017 - what else may it be
        finally:
            database.rows = rows
        if is_killed:
            self.ends.reopen(party)

    # --------------------------------------------------------------------------------------------------------- what holds

    @invariant()
    def places_hold_the_same_key_at_both_ends(self):
        if not hasattr(self, "ends"):
            return
        for party in Party:
            pool = DELIVERIES[party]
            ours, theirs = self._usable(self.ends.stores[party], pool), self._usable(self.ends.stores[party.peer], pool)
            differing = [place for place in ours.keys() & theirs.keys() if ours[place] != theirs[place]]
            assert not differing, (pool, differing[:3], len(differing))

    def _usable(self, store, pool: Pool) -> dict[tuple[int, int], int]:
        """Key by block and byte that an end can hand out or follow now."""
        found = {}
        for share in store._book.shares("pool = ?", pool.value):
            for gap in store._book.gaps(share):
                ((end,),) = store._database.rows(
                    "SELECT coalesce(MIN(to_byte), ?) FROM moves WHERE block = ? AND to_pool = ? AND state = 'offered'",
                    (gap.end_byte, share.block, pool.value),
                )
                for piece in store._shelf.pieces(pool.value, share.block):
                    key = bytearray(piece.count_bytes)
                    try:
                        store._shelf.read(pool.value, piece, memoryview(key))
                    except DamagedPieceError:
                        continue
                    for byte in range(max(gap.first_byte, piece.first_byte), min(gap.end_byte, piece.end_byte, end)):
                        found[share.block, byte] = key[byte - piece.first_byte]
        return found

    def teardown(self):
        if not hasattr(self, "ends"):
            return
        try:
            self._conclude()
        finally:
            self.folder.cleanup()

    def _conclude(self):
        """What is under way comes to its end once both ends speak again; then all that is left is delivered."""
        self.distil()
        for giver in (*Party, *Party):  # one may have to wait for the other: key that moved may move back
            move = self.ends.stores[giver].offer_move(0)
            if move is not None:
                with suppress(KeyNotCommittedError):
                    self.ends.stores[giver].settle_move(move, is_accepted=self.ends.stores[giver.peer].accept_move(move))
        assert [store.offer_move(0) for store in self.ends.both] == [None, None], "a move that never ends"
        self.places_hold_the_same_key_at_both_ends()
        for party, waiting in self.allotments.items():
            for allotment in waiting:
                refused = self.ends.hold(party, allotment)
                assert refused is None or not self.is_whole, refused
        self.ends.deliver_all()
        assert not self.is_whole or self.ends.count_delivered == self.total, (self.ends.count_delivered, self.total)
        self.ends.close()
        assert not self.is_whole or check.faults(*self.ends.paths.values()) == []


class AlteredEnds(BothEnds):
    """The same, while files of one end or the other are altered or put back."""

    @rule(party=parties, damage=st.sampled_from(DAMAGES))
    def damage(self, party, damage):
        self.is_whole = False
        self.ends.kill(party)
        self._edit(party, damage)
        self.ends.stores[party] = self.ends.opened(party)
        self.ends.greet()

    @rule(giver=parties, count_bytes=counts, damage=st.sampled_from(MOVE_DAMAGES))
    def damage_what_is_under_way(self, giver, count_bytes, damage):
        self.offer(giver, count_bytes)
        self.damage(giver, damage)
        with self._doubted(), suppress(KeyNotCommittedError):
            move = self.ends.stores[giver].offer_move(count_bytes)
            if move is not None:
                self.ends.stores[giver].settle_move(move, is_accepted=self.ends.stores[giver.peer].accept_move(move))

    def _edit(self, party, sql):
        connection = sqlite3.connect(self.ends.paths[party])
        connection.execute("PRAGMA ignore_check_constraints = ON")
        try:
            with connection:
                connection.execute(sql)
        except sqlite3.IntegrityError:
            pass  # no row may be there twice, however damaged
        finally:
            connection.close()

    @rule(party=parties, with_note=st.booleans())
    def copy(self, party, with_note):
        self.ends.stores[party]._database.write_back()
        self.copies[party] = (self.ends.paths[party].read_bytes(), self._note(party).read_bytes() if with_note else None)

    def _note(self, party):
        path = self.ends.paths[party]
        return path.with_name(path.name + ".handouts")

    @rule(data=st.data())
    def put_back(self, data):
        """Of one end only, as from a snapshot of the whole machine, or without the note beside the store; then the ends meet."""
        if not self.copies:
            return
        self.is_whole = False
        party = data.draw(st.sampled_from(sorted(self.copies)))
        self.ends.kill(party)
        path, (content, note) = self.ends.paths[party], self.copies[party]
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(content)
        if note is not None:
            self._note(party).write_bytes(note)
        self.copies = {}  # of the other end none is put back: two old copies know nothing of each other
        self.ends.stores[party] = self.ends.opened(party)
        self.ends.greet()

    @rule(giver=parties, party=parties, first=counts, then=counts, data=st.data())
    def put_back_what_was_before_a_move(self, giver, party, first, then, data):
        self.copies = {}
        self.copy(party, with_note=True)
        for count_bytes in (first, then):
            self.offer(giver, count_bytes)
            self.hear(giver, data)
            self.hear_answer(giver, data)
            self.put_back(data)


SETTINGS = settings(stateful_step_count=25, max_examples=40, deadline=None)
BothEnds.TestCase.settings = AlteredEnds.TestCase.settings = SETTINGS
test_key_that_moves_is_the_same_at_both_ends_and_given_once = BothEnds.TestCase
test_key_that_moves_is_the_same_whatever_was_altered_or_put_back = AlteredEnds.TestCase
