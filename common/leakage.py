"""The leakage account: every bit an eavesdropper may have learnt about a block, and what it was spent on.

The account travels inside the value it belongs to; charging returns a new account and nothing is ever taken back.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Leakage:
    """Charged bits by item.

    Attributes
    ----------
    items : dict[str, int]
        Bits charged, by what they were spent on, in the order of first charge. Never modified after construction.
    """

    items: dict[str, int] = field(default_factory=dict)

    @property
    def total_bits(self) -> int:
        """Sum over all items, bits."""
        return sum(self.items.values())

    def charged(self, item: str, count_bits: int) -> Leakage:
        """Return the account with ``count_bits`` more on ``item``.

        Raises
        ------
        ValueError
            If ``count_bits`` is negative: leakage is never taken back.
        """
        if count_bits < 0:
            raise ValueError(f"leakage item {item!r} charged with {count_bits} bits: an account only grows")
        return Leakage({**self.items, item: self.items.get(item, 0) + count_bits})

    def merged(self, other: Leakage) -> Leakage:
        """Return the sum of two accounts, item by item."""
        total = self
        for item, count_bits in other.items.items():
            total = total.charged(item, count_bits)
        return total
