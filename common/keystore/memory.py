"""A key store in memory, for offline distillation and rehearsals.

It understands the same operations as any other store and is as strict: what was handed out is gone, masks and block
numbers never go back. It outlives a stopped rehearsal, as a store on disk outlives a crash.
"""

from __future__ import annotations

from typing import assert_never

from common.bits import Bits, SecretBits, concatenated
from common.conversation.operations import CommitKey, Ledger, OpenBlock, Operation, ReadLedger, Settle, StageKey, TakeMask
from common.errors import KeyNotFoundError, KeyStoreError


class MemoryKeyStore:
    """Keys of one end by block number, staged or committed."""

    def __init__(self) -> None:
        self._staged: dict[int, SecretBits] = {}
        self._committed: dict[int, SecretBits] = {}
        self._next_block = 1
        self._mask_cursor = 0

    def apply(self, operation: object) -> object:
        """Carry out one operation.

        Parameters
        ----------
        operation : object
            One of ``common.conversation.operations``.

        Returns
        -------
        object
            A ``Ledger`` for ``ReadLedger``, else None.

        Raises
        ------
        KeyNotFoundError
            If a key is to be committed that was never staged.
        KeyStoreError
            If a block is opened or a mask taken a second time.
        """
        known: Operation = operation  # type: ignore[assignment]  # anything else ends in assert_never
        match known:
            case ReadLedger():
                lengths = {block: key.count for block, key in sorted({**self._staged, **self._committed}.items())}
                return Ledger(self._next_block, self._mask_cursor, lengths)
            case OpenBlock(block):
                if block < self._next_block:
                    raise KeyStoreError(f"block {block} was opened before")
                self._next_block = block + 1
            case TakeMask(mask_index):
                if mask_index < self._mask_cursor:
                    raise KeyStoreError(f"mask pair {mask_index} was taken before")
                self._mask_cursor = mask_index + 1
            case StageKey(block, key):
                if block not in self._committed:
                    self._staged[block] = key
            case CommitKey(block):
                self._commit(block)
            case Settle(commit, erase):
                for block in commit:
                    self._commit(block)
                for block in erase:
                    for shelf in (self._staged, self._committed):
                        if block in shelf:
                            shelf.pop(block).wipe()
            case _ as unreachable:
                assert_never(unreachable)
        return None

    @property
    def committed(self) -> dict[int, Bits]:
        """Usable keys by block number."""
        return {block: key.to_bits() for block, key in sorted(self._committed.items())}

    @property
    def held(self) -> dict[int, Bits]:
        """Keys by block number, staged ones included."""
        return {block: key.to_bits() for block, key in sorted({**self._staged, **self._committed}.items())}

    def joined(self) -> Bits:
        """Return all usable key, block after block."""
        return concatenated(list(self.committed.values()))

    def _commit(self, block: int) -> None:
        if block in self._committed:
            return
        if block not in self._staged:
            raise KeyNotFoundError(f"block {block} is to be committed but was never staged")
        self._committed[block] = self._staged.pop(block)
