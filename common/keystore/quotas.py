"""How much key each application was given in the last day, counted on disk, and how much it may have still.

Counted are the keys of its orders, by slots of ten minutes, in the change that spends them: a restart forgets nothing. A slot counts until
a whole day has gone by since its end, so in no 24 hours is anybody given more than the quota. A clock that is set back makes nothing free:
slots that lie ahead of it count too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.keystore.database import Database
from common.keystore.orders import Allowance, Order

SLOT_SECONDS = 600

SLOTS_COUNTED = 24 * 3600 // SLOT_SECONDS + 1
"""A day, and the slot that is under way."""


class Drawn:
    """What applications were given; all changes happen inside the caller's transaction.

    Parameters
    ----------
    database : Database
        Holds it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def within(self, orders: Sequence[Order], quotas: Mapping[str, int], now: float) -> tuple[list[Order], list[tuple[Order, Allowance]]]:
        """Divide orders into those that quotas allow and those that they do not.

        Parameters
        ----------
        orders : sequence of Order
            In order of arrival.
        quotas : Mapping[str, int]
            Bytes a day, by application; whoever is not named may have all there is.
        now : float
            Unix time, seconds.

        Returns
        -------
        tuple
            Orders that are allowed, all of them together; and the others, with what their applications may have.
        """
        allowed, over = list[Order](), list[tuple[Order, Allowance]]()
        slots: dict[str, list[tuple[int, int]]] = {}
        for order in orders:
            quota = quotas.get(order.master)
            if quota is None:
                allowed.append(order)
                continue
            if order.master not in slots:
                slots[order.master] = self._slots(order.master, now)
            known = slots[order.master]
            allowance = _allowance(quota, known, order.total_bytes, now)
            if allowance.left_bytes < order.total_bytes:
                over.append((order, allowance))
            else:
                allowed.append(order)
                known.append((_slot(now), order.total_bytes))
        return allowed, over

    def note(self, orders: Sequence[Order], now: float) -> None:
        """Count ``orders`` as given ``now``."""
        for order in orders:
            self._database.rows(
                "INSERT INTO drawn (master, slot, count_bytes) VALUES (?, ?, ?) "
                "ON CONFLICT (master, slot) DO UPDATE SET count_bytes = count_bytes + excluded.count_bytes",
                (order.master, _slot(now), order.total_bytes),
            )

    def totals(self, now: float) -> dict[str, int]:
        """Return the bytes of the last day before ``now``, by application."""
        rows = self._database.rows(
            "SELECT master, SUM(count_bytes) FROM drawn WHERE slot > ? GROUP BY master", (_slot(now) - SLOTS_COUNTED,)
        )
        return {str(master): count for master, count in rows if isinstance(count, int)}

    def forget(self, now: float) -> None:
        """Remove what counts no longer ``now``."""
        self._database.rows("DELETE FROM drawn WHERE slot <= ?", (_slot(now) - SLOTS_COUNTED,))

    def _slots(self, master: str, now: float) -> list[tuple[int, int]]:
        rows = self._database.integers(
            "SELECT slot, count_bytes FROM drawn WHERE master = ? AND slot > ? ORDER BY slot", (master, _slot(now) - SLOTS_COUNTED)
        )
        return [(slot, count) for slot, count in rows]


def _slot(now: float) -> int:
    return int(now // SLOT_SECONDS)


def _allowance(quota_bytes: int, slots: Sequence[tuple[int, int]], asked_bytes: int, now: float) -> Allowance:
    """Say what is left of a quota, and when there is enough for what is asked; ``slots`` are in order."""
    left = quota_bytes - sum(count for _, count in slots)
    wait: float | None = 0.0 if left >= asked_bytes else None
    reached = left
    for slot, count in slots:
        reached += count
        if wait is None and reached >= asked_bytes:
            wait = max(0.0, (slot + SLOTS_COUNTED) * SLOT_SECONDS - now)
    return Allowance(quota_bytes, max(0, left), wait)
