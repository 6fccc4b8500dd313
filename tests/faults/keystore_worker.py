"""Opens both ends' stores and works on them until it is killed; forks a worker for every life, so that starting costs little.

``python -m tests.faults.keystore_worker FOLDER COUNT SEED``. Before each life both stores are brought in line as a greeting does. What a
worker was handed, it writes to ``FOLDER/handed-out``, after it has got it: a line for each piece, in one write.
"""

import hashlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from common.channel.codec import Party
from common.channel.pairs import next_mask
from common.conversation.operations import DistrustHashKey, Settle, TakeMask
from common.errors import BlockAborted, KeyExhaustedError
from common.keystore.interface import Taken
from common.keystore.masks import ProvisionedMasks
from common.keystore.ownership import PAIR_BYTES, OwnershipRule, Pool
from tests.support.keystores import distil, greet, ledger_of, opened

RULE = OwnershipRule(reserve_target_pairs=20)
MASKS = ProvisionedMasks(hashlib.shake_256(b"masks").digest(128 * PAIR_BYTES))
"""Enough for lives that end before they have made any key."""

LENGTHS = (700, 9001, 20_000, 8 * 1_300_000)
LONGEST_LIFE_S = 0.12


def log(descriptor, party, taken: Taken, kind):
    reached = 0
    for piece in taken.pieces:
        head = bytes(taken.key[reached : reached + min(16, piece.count_bytes)]).hex()
        os.write(
            descriptor, f"{party.name} {kind} {taken.pool.value} {piece.block} {piece.first_byte} {piece.count_bytes} {head}\n".encode()
        )
        reached += piece.count_bytes


def move(stores, giver: Party, count_bytes: int) -> None:
    """Move key to the other delivery pool, or bring to its end what is under way."""
    while (offered := stores[giver].offer_move(count_bytes)) is not None:
        is_accepted = stores[giver.peer].accept_move(offered)
        assert is_accepted, "nothing is damaged"
        stores[giver].settle_move(offered, is_accepted=is_accepted)
        if count_bytes:
            break


def finish_moves(stores) -> None:
    """Bring to their end the moves that were under way when the life before ended; until then the giver follows in none of that key."""
    for giver in Party:
        move(stores, giver, 0)


def live(folder: Path, seed: int) -> None:
    """Work until killed."""
    dice = random.Random(seed)
    log_file = os.open(folder / "handed-out", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    stores = {party: opened(folder / f"{party.name}.sqlite", party, rule=RULE, masks=MASKS) for party in Party}
    if dice.random() < 0.1:  # a tag was wrong, and the power went before anybody was told
        store = stores[dice.choice(list(Party))]
        store.apply(DistrustHashKey(ledger_of(store).hash_key))
    settlements: tuple[Settle, Settle] | None = greet(list(stores.values()))
    number = ledger_of(stores[Party.ALICE]).hash_key
    if number:
        for party, store in stores.items():
            os.write(log_file, f"{party.name} hash-key reserve 0 {number} 1 {store.hash_key_of(number).hex()}\n".encode())
    while True:
        choice = dice.random()
        if choice < 0.3 or (settlements and choice < 0.6):
            distil(list(stores.values()), dice.choices(LENGTHS, (5, 5, 3, 1))[0], settlements, dice.choices((1, 2, 5), (5, 2, 1))[0])
            settlements = None
            finish_moves(stores)
            for giver in Party:
                move(stores, giver, dice.choice((100, 5000)))
        elif choice < 0.4 and settlements is None:
            move(stores, dice.choice(list(Party)), dice.choice((100, 5000, 100_000)))
        elif choice < 0.9:
            giver = dice.choice(list(Party))
            pool = dice.choice([pool for pool in Pool if pool.asker is giver])
            try:
                taken = stores[giver].take(pool, dice.choice((1, 33, 100, 5000)), "letter")
            except KeyExhaustedError:
                continue
            log(log_file, giver, taken, "took")
            if settlements is None:  # until both are in line, the peer may not have committed what was taken
                got = stores[giver.peer].expect(pool, taken.pieces, "letter")
                assert got.key == taken.key, "the ends hold different key"
                if dice.random() < 0.8:
                    stores[giver.peer].burn(got.handout)
                    log(log_file, giver.peer, got, "received")
                else:
                    stores[giver.peer].give_back(got.handout)
        else:
            store = stores[dice.choice(list(Party))]
            index = next_mask(ledger_of(store).mask_cursor)
            store.apply(TakeMask(index))
            try:
                mask = store.mask(index, Party.ALICE)
            except BlockAborted:
                continue
            os.write(log_file, f"{store._owner.name} mask reserve 0 {index} 1 {mask.hex()}\n".encode())


def main(folder: Path, count: int, seed: int) -> None:
    dice = random.Random(seed)
    for life in range(count):
        child = os.fork()
        if child == 0:
            try:
                live(folder, seed * 100_003 + life)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
                sys.stderr.write(f"life {life}: {type(error).__name__}: {error}\n")
            os._exit(1)
        time.sleep(dice.uniform(0.002, LONGEST_LIFE_S))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(f"life {life} ended by itself")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
