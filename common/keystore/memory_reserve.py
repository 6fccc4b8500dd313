"""The authentication reserve of a store in memory: the same rules as ``common.keystore.reserve``, in plain attributes."""

from __future__ import annotations

from collections.abc import Callable

from common.channel.codec import Party
from common.channel.pairs import PROVISIONED_HASH_KEY
from common.errors import AbortReason, BlockAborted, KeyNotFoundError
from common.keystore.interface import UseKind
from common.keystore.masks import ProvisionedMasks, mask_of
from common.keystore.reserve import check_hash_key, check_mask, lost_hash_key


class MemoryReserve:
    """Masks and hash key of one store.

    Parameters
    ----------
    masks : ProvisionedMasks
        Pairs given by hand.
    spend_pair : callable
        Enters a pair that a block brought into the ledger, and skipped ones, and returns it; None where no block brought it.

    Attributes
    ----------
    stood : tuple[int, int]
        Lowest unused pair, and lowest above all provisioned ones, when the last mask was taken.
    """

    def __init__(self, masks: ProvisionedMasks, spend_pair: Callable[[int, UseKind], bytes | None]) -> None:
        self.provisioned = masks
        self.cursor = masks.first
        self.stood = (self.cursor, masks.end)
        self.hash_key = self.least_hash_key = PROVISIONED_HASH_KEY
        self._key: bytes | None = None
        self._open_pairs: dict[int, bytes | None] = {}
        self._spend_pair = spend_pair

    def mask(self, mask_index: int, sender: Party) -> bytes:
        """Return the mask of ``sender`` in a pair that ``take_mask`` has read.

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
        """Return the hash key in use, which has to be this ``number``.

        Raises
        ------
        KeyNotFoundError
            If it is another.
        """
        if number != self.hash_key or self._key is None:
            raise KeyNotFoundError(f"hash key {number} is not the one in use")
        return self._key

    def take_mask(self, mask_index: int) -> None:
        """Mark mask pair ``mask_index``, and every earlier one, as used, and read it."""
        check_mask(mask_index, self.cursor)
        self._open_pairs[mask_index] = self._taken(mask_index, UseKind.MASK)
        self.stood = (self.cursor, self.provisioned.end)

    def use_hash_key(self, number: int, count_masks: int) -> None:
        """Take the hash key into use that a greeting agreed on; nothing happens if it is in use.

        Parameters
        ----------
        number : int
            The pair that it is made of.
        count_masks : int
            Lowest pair above all there are.

        Raises
        ------
        KeyExhaustedError
            If there is no such pair; nothing has changed then.
        KeyStoreError
            If it is older than the one in use or not trusted any more, or its pair is gone; in the last case it will never be.
        """
        if check_hash_key(number, self.hash_key, self.least_hash_key, count_masks):
            return
        key = self._taken(number, UseKind.HASH_KEY) if number >= self.cursor else None
        if key is None:
            self.distrust(number)
            raise lost_hash_key(number)
        self.hash_key, self._key = number, key

    def distrust(self, number: int) -> None:
        """Never use hash key ``number`` again, nor an older one."""
        self.least_hash_key = max(self.least_hash_key, number + 1)

    def renew(self, masks: ProvisionedMasks) -> bool:
        """Take in masks given by hand; return whether they are newer than those that were there."""
        if masks.generation <= self.provisioned.generation:
            return False
        self.provisioned = masks
        self.cursor = max(self.cursor, masks.first)
        return True

    def forget(self) -> None:
        """Forget what a crash would forget."""
        self._open_pairs.clear()
        self.stood = (self.cursor, self.provisioned.end)

    def _taken(self, number: int, kind: UseKind) -> bytes | None:
        self.cursor = number + 1
        return self._spend_pair(number, kind) or self.provisioned.pair(number)
