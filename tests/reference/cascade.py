"""Cascade in lock-step with lists of positions: every block and interval is the list of the bits it covers.

Stands for ``permute_segments``, ``block_parities``, ``mask_parities``, ``search_parities``, ``open_pass``, ``open_mask_searches``,
``advance_searches`` and ``flip_bits`` of ``common.kernels.cascade`` and ``common.kernels.cascade_parities``: the same
questions in the same order, without words, copies or tables.
"""

from typing import Any


class Block:
    """A block of one pass of one segment, or a whole segment under a mask (bits outside it weigh nothing)."""

    def __init__(self, segment, positions, mask=None):
        self.segment = segment
        self.positions = positions
        self.mask = mask
        self.odd = False
        self.interval: Any = None  # positions still under search, in the order of the pass

    def weighs(self, position):
        return position in self.positions if self.mask is None else position in self.mask

    def left_half(self):
        return self.interval[: len(self.interval) // 2]


class SlowCascade:
    """One half. ``segments`` are lists of bits, ``masks`` sets of positions, ``permutations`` one list for each pass."""

    def __init__(self, block_bits, permutations, masks, segments):
        self.bits = [list(segment) for segment in segments]
        self.finished = False
        self.live = []
        self.opened = []  # stages opened so far, each a list of blocks for every segment
        self.waiting = []
        size = len(segments[0])
        for block_size, permutation in zip(block_bits, permutations, strict=True):
            starts = range(0, size, block_size)
            self.waiting.append([[Block(s, permutation[at : at + block_size]) for at in starts] for s in range(len(segments))])
        self.masks = [[Block(s, list(range(size)), mask) for mask in masks] for s in range(len(segments))]
        if masks:
            self.waiting.append(self.masks)

    def parity(self, block, positions):
        return sum(self.bits[block.segment][i] for i in positions if block.mask is None or i in block.mask) % 2

    def parities(self):
        if self.live:
            return [self.parity(block, block.left_half()) for block in self.live]
        return [self.parity(block, block.positions) for blocks in self.waiting[0] for block in blocks]

    def advance(self, differs):
        """Take the answers; return the errors found as (segment, position)."""
        found = []
        if self.live:
            found = self.narrow(differs)
        else:
            stage = self.waiting.pop(0)
            self.opened.append(stage)
            for block, odd in zip([block for blocks in stage for block in blocks], differs, strict=True):
                block.odd = bool(odd)
                if block.odd and block.mask is None:
                    self.start(block)
        if not self.live and not self.waiting:
            if self.opened[-1] is self.masks:
                for blocks in self.masks:
                    for block in [block for block in blocks if block.odd][:1]:
                        self.start(block)
            self.finished = not self.live
        return found

    def start(self, block):
        block.interval = list(block.positions)
        self.live.append(block)

    def narrow(self, differs):
        for block, odd in zip(self.live, differs, strict=True):
            left = block.left_half()
            block.interval = left if odd else block.interval[len(left) :]
        found = []
        before, self.live = self.live, []
        for segment in range(len(self.bits)):
            searches = [block for block in before if block.segment == segment]
            turned_odd = []
            for block in [block for block in searches if len(block.interval) == 1]:
                if block.interval is not None:
                    (position,) = block.interval
                    turned_odd += self.settle(segment, position)
                    found.append((segment, position))
                    block.interval = None  # also where lies led to a bit outside the mask
            self.live += [block for block in searches if block.interval is not None]
            for block in turned_odd:
                if block.odd and block.interval is None:
                    self.start(block)
        return found

    def settle(self, segment, position):
        """One error less in every opened block that holds ``position``; return the blocks in which a search should start."""
        turned_odd = []
        for stage in self.opened:
            for block in stage[segment]:
                if block.weighs(position):
                    block.odd = not block.odd
                    if block.interval is not None and position in block.interval:
                        block.interval = None
                    if block.odd and block.interval is None and block.mask is None:
                        turned_odd.append(block)
        return turned_odd

    def correct(self, found):
        for segment, position in found:
            self.bits[segment][position] ^= 1
