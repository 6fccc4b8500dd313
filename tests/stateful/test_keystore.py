"""Any order of operations, handouts and crashes: the store on disk does what the one in memory does."""

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.channel.codec import Party
from common.channel.pairs import next_hash_key
from common.conversation.operations import CommitKeys, DistrustHashKey, MeetPeer, OpenBlock, Settle, StageKeys, TakeMask
from common.errors import QkdError
from common.keystore import check
from common.keystore.interface import Piece
from common.keystore.masks import ProvisionedMasks
from common.keystore.memory import MemoryKeyStore
from common.keystore.ownership import OwnershipRule, Pool
from tests.support.keystores import MASKS, ledger_of, opened, secret

blocks = st.integers(1, 12)
lengths = st.sampled_from([0, 7, 256, 1600, 4093, 9000, 9000])
pools = st.sampled_from(list(Pool))
own_pools = st.sampled_from([Pool.ALICE_PAD, Pool.ALICE_DELIVERY])
counts = st.integers(1, 120)
anywhere = st.builds(Piece, blocks, st.integers(0, 300), counts)
MEMORY_DISK = Path("/dev/shm")
"""Thousands of commits need no real disk; where there is no such folder they get one."""

RULE = OwnershipRule(reserve_target_pairs=18)


class BothStores(RuleBasedStateMachine):
    """Every request goes to both; answers, errors and what is left must be the same."""

    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None)
        self.path = Path(self.folder.name) / "store.sqlite"
        self.now_s = 1e9
        self.generation = 0
        self.expected = []
        self.reserved = []
        options: dict[str, Any] = {
            "masks": MASKS,
            "rule": RULE,
            "expiry_seconds": 1000.0,
            "clock": lambda: self.now_s,
            "capacity_bits": 20_000,
        }
        self.options = options
        self.model = MemoryKeyStore(Party.ALICE, **options)
        self.store = opened(self.path, Party.ALICE, **options)

    def both(self, request):
        answers = []
        for store in (self.model, self.store):
            try:
                answers.append(request(store))
            except QkdError as error:
                answers.append(type(error))
        assert answers[0] == answers[1]
        return answers[0]

    @rule(block=blocks)
    def open_block(self, block):
        self.both(lambda store: store.apply(OpenBlock(block)))

    @rule(skip=st.integers(-1, 4))
    def take_mask(self, skip):
        index = max(0, ledger_of(self.model).mask_cursor + skip)
        self.both(lambda store: store.apply(TakeMask(index)))
        self.both(lambda store: [store.mask(index, party) for party in Party])

    @rule(group=st.sets(blocks, max_size=3), count_bits=lengths)
    def stage(self, group, count_bits):
        self.both(lambda store: store.apply(StageKeys({block: secret(block, count_bits) for block in group})))

    @rule(group=st.lists(blocks, max_size=3, unique=True))
    def commit(self, group):
        self.both(lambda store: store.apply(CommitKeys(tuple(group))))

    @rule(count_bits=lengths, count_blocks=st.integers(1, 3))
    def distil(self, count_bits, count_blocks):
        """What a group of blocks does that goes well, and the peer met."""
        first = max([ledger_of(self.model).next_block, *(block + 1 for block in self.model.held)])
        group = range(first, first + count_blocks)
        self.both(lambda store: store.apply(OpenBlock(group[-1])))
        self.both(lambda store: store.apply(StageKeys({block: secret(block, count_bits) for block in group})))
        self.both(lambda store: store.apply(CommitKeys(tuple(group))))
        self.meet_a_peer_in_step()

    @rule(data=st.data())
    def settle(self, data):
        held = sorted(self.model.held)
        if held:
            shared = data.draw(st.sets(st.sampled_from(held)))
            erased = data.draw(st.sets(st.sampled_from(held), max_size=1)) - shared
            self.both(lambda store: store.apply(Settle(tuple(shared), tuple(erased))))

    @rule(next_block=st.integers(1, 14), newest=st.integers(0, 13), vouched=st.booleans())
    def meet(self, next_block, newest, vouched):
        self.both(lambda store: store.apply(MeetPeer(next_block, newest, ledger_of(store).hash_key)))
        if vouched:
            self.both(lambda store: store.apply(Settle((), ())))
        else:
            self.meet_a_peer_in_step()

    @rule()
    def meet_a_peer_in_step(self):
        ledger = ledger_of(self.model)
        newest = max(ledger.lengths, default=0)
        self.both(lambda store: store.apply(OpenBlock(max(ledger.next_block, newest + 1))))
        self.both(lambda store: store.apply(MeetPeer(newest + 1, newest, ledger.hash_key)))

    @rule(ahead=st.integers(-1, 2), skip=st.integers(0, 9))
    def change_hash_key(self, ahead, skip):
        """To the next one, as a greeting does; or to one that no greeting leads to."""
        ledger = ledger_of(self.model)
        number = next_hash_key(max(ledger.mask_cursor, ledger.least_hash_key) + skip) + 8 * ahead
        self.both(lambda store: store.apply(MeetPeer(ledger.next_block, 0, max(0, number))))
        self.both(lambda store: store.hash_key_of(number))

    @rule(older=st.integers(0, 8))
    def distrust(self, older):
        number = max(0, ledger_of(self.model).hash_key - older)
        self.both(lambda store: store.apply(DistrustHashKey(number)))

    @rule(pool=own_pools, count_bytes=counts)
    def take(self, pool, count_bytes):
        self.both(lambda store: store.take(pool, count_bytes, "letter"))

    @rule(pool=own_pools, count_bytes=counts)
    def reserve(self, pool, count_bytes):
        handout = self.both(lambda store: store.reserve(pool, count_bytes, "file"))
        if not isinstance(handout, type):
            self.reserved.append(handout.number)

    @precondition(lambda self: self.reserved or self.expected)
    @rule(data=st.data(), count_bytes=counts, is_tag=st.booleans())
    def read_on(self, data, count_bytes, is_tag):
        number = data.draw(st.sampled_from(self.reserved + self.expected))
        self.both(lambda store: store.tag_key(number) if is_tag else store.read(number, count_bytes))

    @precondition(lambda self: self.reserved or self.expected)
    @rule(data=st.data())
    def release(self, data):
        number = data.draw(st.sampled_from(self.reserved + self.expected))
        self.both(lambda store: store.release(number))

    @rule(pool=pools, count_bytes=st.sampled_from([0, 1]), pieces=st.lists(anywhere, min_size=1, max_size=3))
    def ask_in_vain(self, pool, count_bytes, pieces):
        self.both(lambda store: store.take(pool, count_bytes, "letter"))
        self.both(lambda store: store.expect(pool, pieces, "letter"))

    @rule(data=st.data(), pool=st.sampled_from([Pool.BOB_PAD, Pool.BOB_DELIVERY]))
    def expect(self, data, pool):
        committed = sorted(self.model.committed)
        if committed:
            block = data.draw(st.sampled_from(committed[-3:]))
            pieces = data.draw(st.lists(st.builds(Piece, st.just(block), st.integers(0, 300), counts), min_size=1, max_size=2))
            at_once = data.draw(st.booleans())
            taken = self.both(lambda store: (store.expect if at_once else store.follow)(pool, pieces, "letter"))
            if not isinstance(taken, type):
                self.expected.append(taken.handout if at_once else taken.number)

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), burn=st.booleans())
    def conclude(self, data, burn):
        handout = data.draw(st.sampled_from(self.expected))
        self.both(lambda store: store.burn(handout) if burn else store.give_back(handout))

    @rule(seconds=st.sampled_from([-500.0, 10.0, 1001.0, 5000.0]))
    def expire(self, seconds):
        self.now_s += seconds
        self.both(lambda store: store.expire())

    @rule()
    def crash(self):
        """The store is not asked to finish anything: what lies on disk is opened anew."""
        self.model.close()
        database = self.store._database
        database._connection.close()
        os.close(database._guard)
        database._guard = -1
        self.store.close()
        self.store = opened(self.path, Party.ALICE, **self.options)

    @precondition(lambda self: self.generation < 2)
    @rule(count_pairs=st.integers(0, 9), running=st.booleans())
    def renew(self, count_pairs, running):
        self.generation += 1
        self.options = self.options | {"masks": ProvisionedMasks(bytes([self.generation]) * 32 * count_pairs, self.generation)}
        if running:
            assert self.both(lambda store: store.renew(self.options["masks"]))
            assert not self.both(lambda store: store.renew(MASKS))
            return
        self.store.close()
        self.store = opened(self.path, Party.ALICE, **self.options)
        self.model.renew(self.options["masks"])
        self.model.close()  # forgets what a process forgets

    @invariant()
    def they_agree(self):
        if hasattr(self, "store"):
            assert self.model.levels() == self.store.levels()
            assert ledger_of(self.model) == ledger_of(self.store)
            assert self.model.count_masks == self.store.count_masks

    def teardown(self):
        if hasattr(self, "store"):
            in_model, on_disk = (
                sorted(
                    (entry.pool.value, entry.piece, entry.kind.value, entry.handout, entry.returned) for entry in store.audit(most=10**6)
                )
                for store in (self.model, self.store)
            )
            assert in_model == on_disk
            self.store.close()
            assert [fault for fault in check.faults_within(check.LedgerFile.read(self.path)) if "never opened" not in fault] == []
            self.folder.cleanup()


BothStores.TestCase.settings = settings(stateful_step_count=40)
test_both_stores_do_the_same = BothStores.TestCase
