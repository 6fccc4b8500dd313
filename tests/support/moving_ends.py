"""Two store files between which key moves and is delivered, without a line between them; what is delivered is checked at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from common.channel.codec import Party
from common.conversation.operations import Settle
from common.errors import KeyExhaustedError, KeyNotFoundError, KeyStoreError
from common.keystore.masks import ProvisionedMasks
from common.keystore.orders import Allotment, Announcement, Collection, Order, Round
from common.keystore.ownership import OwnershipRule
from common.keystore.sealing import MasterKey
from common.keystore.sqlite import SqliteKeyStore
from tests.support.keystores import MASTER, greet

RULE = OwnershipRule(reserve_target_pairs=0, alice_pad=0, bob_pad=0)
"""All key goes to applications, half and half."""

MASKS = ProvisionedMasks(bytes(range(256)) * 64)
"""Enough pairs for as many blocks as tests make."""

PART_BYTES = 5000
BLOCK_BITS = 8 * (2 * PART_BYTES + 32)

WINDOW = 8
"""Keys are pseudorandom: so many bytes that come twice are the same bytes of a block."""


class MovingEnds:
    """Both ends; every key that is delivered is compared at both, and with all that were delivered before."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.paths = {party: folder / f"{party.name.lower()}.sqlite" for party in Party}
        self.masters: dict[Party, MasterKey] = dict.fromkeys(Party, MASTER)
        self._options: dict[str, Any] = {"rule": RULE, "masks": MASKS} | options
        self.stores = {party: self.opened(party) for party in Party}
        self.greet()
        self.count_delivered = 0
        self._given: set[bytes] = set()

    @property
    def both(self) -> list[SqliteKeyStore]:
        return list(self.stores.values())

    def opened(self, party: Party) -> SqliteKeyStore:
        return SqliteKeyStore(self.paths[party], party, self.masters[party], **self._options)

    def greet(self) -> tuple[Settle, Settle]:
        return greet(self.both)

    def kill(self, party: Party) -> None:
        """A process that ends at once: nothing is settled, nothing written back; what was begun is rolled back by the next to open."""
        store = self.stores[party]
        store._watermark.close()
        store._database._connection.close()
        if store._database._guard >= 0:
            os.close(store._database._guard)
        store._database._guard = -1

    def reopen(self, party: Party) -> None:
        self.kill(party)
        self.stores[party] = self.opened(party)
        self.greet()

    def allot(self, party: Party, count_bytes: int) -> Allotment | None:
        order = Order((os.urandom(16),), count_bytes, "master", ("slave",))
        return self.stores[party].serve(Round((order,))).allotment

    def hold(self, party: Party, allotment: Allotment) -> KeyStoreError | None:
        """Have the peer of ``party`` hold an allotment, and if it does have both applications given theirs."""
        holder, (order,) = self.stores[party.peer], allotment.orders
        (refused,) = holder.serve(Round(announcements=(Announcement(allotment.handout.pieces, allotment.orders),))).held
        if refused is not None:
            return refused
        self.stores[party].serve(Round(settled=(allotment.handout.number,)))
        (there,) = holder.serve(Round(collections=(Collection("slave", "master", order.key_ids, bytes(32)),))).collected
        ((here,),) = allotment.keys
        assert there == [bytes(here)], "the ends give different key under one number"
        self._note(bytes(here))
        return None

    def deliver(self, party: Party, count_bytes: int) -> None:
        allotment = self.allot(party, count_bytes)
        assert allotment is not None
        assert self.hold(party, allotment) is None

    def deliver_all(self, *parties: Party) -> int:
        """Deliver what is left, of both pools or of some, and return how much it was; what cannot be read or followed is passed over."""
        count_bytes = 0
        for party in parties or Party:
            while left := min(self.stores[party].deliverable_bytes()[0], 500):
                try:
                    allotment = self.allot(party, left)
                except KeyExhaustedError:
                    break  # what was altered was counted, and is passed over
                if allotment is None:
                    continue
                refused = self.hold(party, allotment)
                assert refused is None or isinstance(refused, KeyStoreError)
                count_bytes += left if refused is None else 0
                if refused is not None:
                    self.settle(party, allotment)
        return count_bytes

    def settle(self, party: Party, allotment: Allotment) -> None:
        """Have the peer give up what it does not hold of an allotment, if it can say so now."""
        try:
            self.stores[party.peer].skip(allotment.handout.pieces)
        except KeyNotFoundError:
            return
        self.stores[party].serve(Round(settled=(allotment.handout.number,)))

    def _note(self, key: bytes) -> None:
        windows = {key[first : first + WINDOW] for first in range(len(key) - WINDOW + 1)}
        assert not windows & self._given, "a key is made of bytes that were given before"
        self._given |= windows
        self.count_delivered += len(key)

    def close(self) -> None:
        for store in self.stores.values():
            store.close()
