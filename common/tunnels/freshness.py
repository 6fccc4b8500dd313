"""What becomes of a tunnel whose key is not renewed: it keeps the last one, or it is closed. Which has to be said; time is passed in.

A key is not renewed where the nodes run short of key, where a node or the other end is away, or where the tunnel cannot be reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WhenShort(StrEnum):
    """What is done where no fresh key comes."""

    KEEP = "keep"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a key is changed, and how long it may last.

    Attributes
    ----------
    renew_seconds : float
        Age at which a key is changed.
    longest_seconds : float
        Age from which a key counts as too old.
    check_seconds : float
        How often the two ends see how they do.
    proof_seconds : float
        How old the last proof may be that both ends of the tunnel use the same key.
    """

    renew_seconds: float
    longest_seconds: float
    check_seconds: float
    proof_seconds: float


class Freshness:
    """How old the key of a tunnel is, and whether the tunnel is open; all times are seconds of one clock that never goes back.

    Parameters
    ----------
    rhythm : Rhythm
        How long a key may last.
    when_short : WhenShort
        What is done where none comes.
    """

    def __init__(self, rhythm: Rhythm, when_short: WhenShort) -> None:
        self.when_short = when_short
        self.is_closed = False
        self._rhythm = rhythm
        self._changed_at: float | None = None

    def age(self, now: float) -> float | None:
        """Return how long ago the key was changed, seen from ``now``; None where it has not been since the start."""
        return None if self._changed_at is None else now - self._changed_at

    def is_due(self, now: float) -> bool:
        """Say whether the key should be changed ``now``."""
        return self._changed_at is None or now >= self._changed_at + self._rhythm.renew_seconds

    def is_short(self, now: float) -> bool:
        """Say whether no key has come for too long, seen from ``now``."""
        return self._changed_at is None or now >= self._changed_at + self._rhythm.longest_seconds

    def has_to_close(self, now: float) -> bool:
        """Say whether the tunnel has to be closed ``now``: before the first key as well, for nobody knows how old the one before is."""
        return self.when_short is WhenShort.CLOSE and not self.is_closed and self.is_short(now)

    def is_failing(self, now: float, proven_seconds_ago: float | None) -> bool:
        """Say whether both ends may have different keys, for all the tunnel shows.

        Parameters
        ----------
        now : float
            Seconds.
        proven_seconds_ago : float | None
            When the tunnel last proved that they have the same; None for never.

        Returns
        -------
        bool
            False while the key is too young for a proof to be missed.
        """
        age = self.age(now)
        limit = self._rhythm.proof_seconds
        return age is not None and age >= limit and (proven_seconds_ago is None or proven_seconds_ago >= limit)

    def changed(self, now: float) -> None:
        """The key was changed ``now``; the tunnel is open."""
        self._changed_at, self.is_closed = now, False

    def closed(self) -> None:
        """The tunnel was closed."""
        self.is_closed = True
