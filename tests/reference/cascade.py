"""Cascade in rounds with lists of positions: every block, interval and part is the list of the bits it covers.

Stands for ``permute_segment``, ``block_parities``, ``masked_parity``, ``ask``, ``stage_questions``, ``advance_segments`` and ``flip_bits``
of ``common.kernels.cascade`` and ``common.kernels.cascade_parities``: the same questions in the same order, without words, copies or
tables.
"""

from typing import Any


class Part:
    """Bits of a block of which it is known whether an odd number of errors is left among them."""

    def __init__(self, positions, odd=False):
        self.positions = positions
        self.odd = odd


class Block:
    """A block of one pass of one segment, or a whole segment under a mask (bits outside it weigh nothing)."""

    def __init__(self, positions, mask=None):
        self.positions = positions
        self.mask = mask
        self.odd = False
        self.interval: Any = None  # positions still under search, in the order of the pass
        self.begun: Any = None  # those the search began with
        self.aside: list[Part] = []  # halves it did not go into, the smallest first
        self.leaf: Any = None  # where the last search ended
        self.siblings: list[Part] = []  # the halves it did not go into, and what was known beside them, the smallest first

    def weighs(self, position):
        return position in self.positions if self.mask is None else position in self.mask

    def is_due(self):
        if self.interval is not None:
            return False
        return self.odd if self.leaf is None else any(part.odd for part in self.siblings)

    def start(self):
        self.interval = list(self.positions)
        if self.leaf is not None:
            smallest = next(part for part in self.siblings if part.odd)
            bits = set(smallest.positions) | ({self.leaf} if len(smallest.positions) == 1 else set())
            self.interval = [position for position in self.positions if position in bits]
        self.begun, self.aside = list(self.interval), []

    def left_half(self):
        return self.interval[: len(self.interval) // 2]

    def narrow(self, odd):
        left = self.left_half()
        right = self.interval[len(left) :]
        self.interval, other = (left, right) if odd else (right, left)
        self.aside.insert(0, Part(other))

    def keep_leaf(self):
        """Keep what the search that has ended at one bit has learnt."""
        if self.mask is not None:
            return
        kept = []
        if self.leaf is not None and self.leaf in self.begun:
            kept = [part for part in self.siblings if len(part.positions) >= len(self.begun)]
        elif self.leaf is not None:
            smaller = [part for part in self.siblings if len(part.positions) < len(self.begun)]
            side = Part([self.leaf, *(i for part in smaller for i in part.positions)], sum(part.odd for part in smaller) % 2 == 1)
            kept = [side, *(part for part in self.siblings if len(part.positions) > len(self.begun))]
        (self.leaf,), self.siblings = self.interval, self.aside + kept

    def settle(self, position):
        """One error less at ``position``, which is in the block."""
        self.odd = not self.odd
        parts = list(self.siblings)
        if self.interval is not None and position in self.interval:
            self.interval = None
        elif self.interval is not None:
            parts += self.aside
        for part in parts:
            part.odd ^= position in part.positions


class Segment:
    """One segment: its bits, the stages it has yet to open, and its live searches."""

    def __init__(self, bits, passes, masks):
        self.bits = bits
        self.waiting = [[Block(positions) for positions in blocks] for blocks in passes]
        self.masks = [Block(list(range(len(bits))), mask) for mask in masks]
        self.waiting += [self.masks] if masks else []
        self.opened: list[list[Block]] = []
        self.live: list[Block] = []
        self.asked = 0

    def parity(self, block, positions):
        return sum(self.bits[i] for i in positions if block.mask is None or i in block.mask) % 2

    def parities(self):
        if self.live:
            return [self.parity(block, block.left_half()) for block in self.live]
        return [self.parity(block, block.positions) for stage in self.waiting[:1] for block in stage]

    def advance(self, differs):
        """Take the answers; return the positions of the errors found."""
        self.asked += len(differs)
        found = self.narrow(differs) if self.live else self.open(differs)
        if not self.live and not self.waiting:
            self.start_all([block for block in self.masks if block.odd][:1])
        return found

    def open(self, differs):
        for stage in self.waiting[:1]:
            for block, odd in zip(stage, differs, strict=True):
                block.odd = bool(odd)
            self.opened.append(self.waiting.pop(0))
            self.start_all([block for block in stage if block.odd and block.mask is None])
        return []

    def start_all(self, blocks):
        for block in blocks:
            block.start()
            self.live.append(block)

    def narrow(self, differs):
        for block, odd in zip(self.live, differs, strict=True):
            block.narrow(odd)
        found, due = [], []
        before, self.live = self.live, []
        for block in [block for block in before if len(block.interval) == 1]:
            if block.interval is not None:
                (position,) = block.interval
                block.keep_leaf()
                due += self.settle(position)
                block.interval = None  # also where lies led to a bit outside the mask
                found.append(position)
        self.live = [block for block in before if block.interval is not None]
        for block in due:
            if block.is_due():
                self.start_all([block])
        return found

    def settle(self, position):
        """Tell every opened block; return those in which a search should start."""
        told = [block for stage in self.opened for block in stage if block.weighs(position)]
        for block in told:
            block.settle(position)
        return [block for block in told if block.mask is None and block.is_due()]


class SlowCascade:
    """One half. ``segments`` are lists of bits, ``masks`` sets of positions, ``passes`` the blocks of every pass as lists of positions."""

    def __init__(self, passes, masks, segments):
        self.segments = [Segment(list(bits), passes, masks) for bits in segments]

    @property
    def finished(self):
        return not any(segment.parities() for segment in self.segments)

    def parities(self):
        return [parity for segment in self.segments for parity in segment.parities()]

    def advance(self, differs):
        """Take the answers; return the errors found as (segment, position)."""
        found, first = [], 0
        for number, segment in enumerate(self.segments):
            last = first + len(segment.parities())
            found += [(number, position) for position in segment.advance(differs[first:last])]
            first = last
        return found

    def correct(self, found):
        for segment, position in found:
            self.segments[segment].bits[position] ^= 1
