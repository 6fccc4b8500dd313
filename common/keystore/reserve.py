"""The authentication reserve of a store file: masks for tags, each used once, and the hash key that goes on until a tag is wrong.

Pairs come from provisioning, by hand, and from blocks of key. They are taken upwards, whatever for; which are masks and which become hash
keys follows from their numbers (``common.channel.pairs``). A mask is read once its use is in the ledger, and lives in memory from then on.
A hash key has to outlive the process: taking the pair, sealing it anew and putting it in the place of the old one is one transaction.
"""

from __future__ import annotations

from common.channel.codec import Party
from common.channel.pairs import PROVISIONED_HASH_KEY, is_hash_key, next_hash_key, next_mask
from common.errors import AbortReason, BlockAborted, KeyExhaustedError, KeyNotFoundError, KeyStoreError
from common.keystore.blocks import Blocks
from common.keystore.contexts import hash_key_context
from common.keystore.database import Database
from common.keystore.interface import UseKind
from common.keystore.masks import ProvisionedMasks, mask_of
from common.keystore.ownership import PAIR_BYTES, Pool
from common.keystore.sealing import DamagedSealError, MasterKey, seal, unseal
from common.keystore.shelf import DamagedPieceError, Shelf

_KEPT_PAIRS = 4


class Reserve:
    """Masks and hash key of one store.

    Parameters
    ----------
    database : Database
        Holds them.
    shelf, blocks : Shelf, Blocks
        The pairs that blocks brought.
    master : MasterKey
        Seals the hash key.
    store_id : bytes
        16 bytes; the sealed hash key is bound to it.
    masks : ProvisionedMasks
        Pairs given by hand.

    Attributes
    ----------
    stood : tuple[int, int]
        Lowest unused pair, and lowest above all provisioned ones, when the last mask was taken. The block whose tags it hides is shared
        out by these: the peer took the same mask, while masks may be renewed at either end at any moment.
    """

    def __init__(
        self, database: Database, shelf: Shelf, blocks: Blocks, master: MasterKey, store_id: bytes, masks: ProvisionedMasks
    ) -> None:
        self.provisioned = masks
        self.count_masks = 0
        self._database = database
        self._shelf = shelf
        self._blocks = blocks
        self._master = master
        self._store_id = store_id
        self._open_pairs: dict[int, bytes | bytearray | None] = {}
        self._begin(masks)
        ((self.hash_key, self.least_hash_key),) = database.integers("SELECT number, least FROM hash_key")
        self._key = self._opened_hash_key()
        self.stood = (self.cursor, masks.end)
        self.recount()

    def recount(self) -> None:
        """Take in what blocks have brought: ``count_masks`` is the lowest pair above all there are."""
        self.count_masks = max(self.provisioned.end, self._blocks.reserve_end())

    @property
    def cursor(self) -> int:
        """Lowest pair never used."""
        return self._database.integer("SELECT mask_cursor FROM state")

    @property
    def is_empty(self) -> bool:
        """Whether no mask is left, or a new hash key is due and none is left."""
        return is_empty(self.cursor, self.count_masks, self.hash_key, self.least_hash_key)

    def mask(self, mask_index: int, sender: Party) -> bytes:
        """Return the mask of ``sender`` in a pair that ``take_mask`` has read; touches no disk.

        Raises
        ------
        BlockAborted
            If there is no such pair left.
        """
        pair = self._open_pairs.get(mask_index)
        if pair is None:
            raise BlockAborted(AbortReason.MASKS_EXHAUSTED)
        return mask_of(pair, sender)

    def hash_key_of(self, number: int) -> bytes:
        """Return the hash key in use, which has to be this ``number``; touches no disk.

        Raises
        ------
        KeyNotFoundError
            If it is another.
        """
        if number != self.hash_key or self._key is None:
            raise KeyNotFoundError(f"hash key {number} is not the one in use")
        return self._key

    def take_mask(self, mask_index: int) -> None:
        """Mark a mask pair, and every earlier one, as used, then read it.

        Parameters
        ----------
        mask_index : int
            The pair.

        Raises
        ------
        KeyStoreError
            If it was taken before, or is kept for a hash key.
        """
        check_mask(mask_index, self.cursor)
        with self._database.transaction():
            self._database.rows("UPDATE state SET mask_cursor = ?", (mask_index + 1,))
            place = self._blocks.spend_pair(mask_index, UseKind.MASK)
        self.stood = (mask_index + 1, self.provisioned.end)
        pair: bytes | bytearray | None = self.provisioned.pair(mask_index)
        if place is not None:
            pair = bytearray(PAIR_BYTES)
            try:
                self._shelf.read(Pool.RESERVE.value, place, memoryview(pair))
            except DamagedPieceError:
                pair = None  # the ledger has it as spent; the next block takes the next pair
            with self._database.transaction(durable=False):
                self._shelf.destroy_keys(place.block, Pool.RESERVE.value, place.end_byte)
        for old in sorted(self._open_pairs)[: 1 - _KEPT_PAIRS]:
            del self._open_pairs[old]
        self._open_pairs[mask_index] = pair

    def use_hash_key(self, number: int) -> None:
        """Take the hash key into use that a greeting agreed on; nothing happens if it is in use.

        Parameters
        ----------
        number : int
            The pair that it is made of.

        Raises
        ------
        KeyExhaustedError
            If there is no such pair; nothing has changed then.
        KeyStoreError
            If it is older than the one in use or not trusted any more, or its pair is gone; in the last case it will never be.
        """
        if check_hash_key(number, self.hash_key, self.least_hash_key, self.count_masks):
            return
        try:
            with self._database.transaction():
                key = self._taken_hash_key(number)
                wrapped, sealed = seal(self._master, key, hash_key_context(self._store_id, number))
                self._database.rows(
                    "UPDATE hash_key SET number = ?, least = ?, wrapped = ?, sealed = ?", (number, self.least_hash_key, wrapped, sealed)
                )
        except (DamagedPieceError, KeyNotFoundError):
            with self._database.transaction():
                if number >= self.cursor:
                    self._database.rows("UPDATE state SET mask_cursor = ?", (number + 1,))
                    self._blocks.spend_pair(number, UseKind.DAMAGED)
                self._distrust(number)
            raise lost_hash_key(number) from None
        self.hash_key, self._key = number, key

    def distrust(self, number: int) -> None:
        """Never use hash key ``number`` again, nor an older one; within this process not even if the disk fails."""
        self.least_hash_key = max(self.least_hash_key, number + 1)
        with self._database.transaction():
            self._distrust(number)

    def renew(self, masks: ProvisionedMasks) -> bool:
        """Take in masks given by hand; return whether they are newer than those that were there."""
        if masks.generation <= self.provisioned.generation:
            return False
        with self._database.transaction():
            self._begin(masks)
        self.provisioned = masks
        self.recount()
        return True

    def forget(self) -> None:
        """Forget what is open."""
        self._open_pairs.clear()
        self._key = None

    def _begin(self, masks: ProvisionedMasks) -> None:
        self._database.rows("UPDATE state SET mask_cursor = max(mask_cursor, ?)", (masks.first,))

    def _distrust(self, number: int) -> None:
        self.least_hash_key = max(self.least_hash_key, number + 1)
        self._database.rows("UPDATE hash_key SET least = max(least, ?)", (self.least_hash_key,))

    def _taken_hash_key(self, number: int) -> bytes:
        """Take a pair for good and read it, inside the caller's transaction."""
        if number < self.cursor:
            raise KeyNotFoundError(f"pair {number} was passed over")
        self._database.rows("UPDATE state SET mask_cursor = ?", (number + 1,))
        place = self._blocks.spend_pair(number, UseKind.HASH_KEY)
        pair = self.provisioned.pair(number)
        if place is not None:
            read = bytearray(PAIR_BYTES)
            self._shelf.read(Pool.RESERVE.value, place, memoryview(read))
            self._shelf.destroy_keys(place.block, Pool.RESERVE.value, place.end_byte)
            pair = bytes(read)
        if pair is None:
            raise KeyNotFoundError(f"pair {number} never came here")
        return pair

    def _opened_hash_key(self) -> bytes | None:
        """Open the hash key in use; one that does not open is not used again, and the next greeting takes another."""
        if self.hash_key == PROVISIONED_HASH_KEY:
            return None
        ((wrapped, sealed),) = self._database.rows("SELECT wrapped, sealed FROM hash_key")
        try:
            if not isinstance(wrapped, bytes) or not isinstance(sealed, bytes):
                raise DamagedSealError("the hash key is no bytes")
            return unseal(self._master, wrapped, sealed, hash_key_context(self._store_id, self.hash_key))
        except DamagedSealError:
            self.distrust(self.hash_key)
            return None


def check_mask(mask_index: int, cursor: int) -> None:
    """Refuse a pair that no tag may use.

    Parameters
    ----------
    mask_index : int
        The pair.
    cursor : int
        Lowest pair never used.

    Raises
    ------
    KeyStoreError
        If it was taken before, or is kept for a hash key.
    """
    if mask_index < cursor:
        raise KeyStoreError(f"mask pair {mask_index} was taken before")
    if is_hash_key(mask_index):
        raise KeyStoreError(f"mask pair {mask_index} is kept for a hash key")


def check_hash_key(number: int, in_use: int, least: int, count_masks: int) -> bool:
    """Refuse a hash key that must not or cannot be used.

    Parameters
    ----------
    number : int
        The hash key that a greeting agreed on.
    in_use, least : int
        The one in use, and the lowest that is trusted.
    count_masks : int
        Lowest pair above all there are.

    Returns
    -------
    bool
        Whether it is in use already.

    Raises
    ------
    KeyExhaustedError
        If there is no such pair.
    KeyStoreError
        If it is not one, older than the one in use, or not trusted any more.
    """
    if number < max(in_use, least):
        raise KeyStoreError(f"hash key {number} is never used again: {in_use} is in use, those below {least} are not trusted")
    if number == in_use:
        return True
    if not is_hash_key(number):
        raise KeyStoreError(f"mask pair {number} is not kept for a hash key")
    if number >= count_masks:
        raise KeyExhaustedError(
            "the authentication reserve is empty, and a new hash key is due: run qkd provision --renew DIR for both nodes"
        )
    return False


def lost_hash_key(number: int) -> KeyStoreError:
    """Return the error for the hash key of a pair, ``number``, that the peer uses and that is gone here."""
    return KeyStoreError(f"hash key {number} cannot be read here: the next greeting takes another")


def is_empty(cursor: int, count_masks: int, hash_key: int, least_hash_key: int) -> bool:
    """Say whether a reserve lets no block be authenticated any more.

    Parameters
    ----------
    cursor, count_masks : int
        Lowest pair never used, and lowest above all there are.
    hash_key, least_hash_key : int
        The hash key in use, and the lowest that is trusted.

    Returns
    -------
    bool
        Whether it is.
    """
    is_due = hash_key < least_hash_key
    return next_mask(cursor) >= count_masks or (is_due and next_hash_key(max(cursor, least_hash_key)) >= count_masks)
