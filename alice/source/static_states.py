"""Truth table and fidelities of prepared states: what is measured while one state is sent over and over.

For every prepared state the clicks of each detector are counted. Within the state's own basis the right detector's share is its fidelity,
and what is missing is the QBER the link will show; in the other basis the shares should be equal. Background is not taken off: the link
has it too. Comes from a table, or from one recording a state; goes to the report.

References
----------
Nielsen and Chuang, Quantum Computation and Quantum Information, section 9.2 (fidelity of a pure state: the probability of its projector);
[Clopper1934] for the intervals. Status: planning (estimates with intervals of stated confidence).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from common.errors import StreamError
from common.security.intervals import probability_lower_bound, probability_upper_bound

if TYPE_CHECKING:
    from collections.abc import Mapping

PAIRS: Final = (("H", "V"), ("D", "A"), ("R", "L"), ("Z0", "Z1"), ("X0", "X1"), ("early", "late"), ("plus", "minus"))
"""Orthogonal states, by the names they have on the links."""

PARTNERS: Final = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
"""Orthogonal state of each."""

TAIL: Final = 0.15865525393145707
"""Probability left out on each side of an interval: that of one standard deviation of a Gaussian."""


@dataclass(frozen=True, slots=True)
class StateFidelity:
    """What one prepared state gave.

    Attributes
    ----------
    fidelity : float
        Share of the right detector within the state's basis.
    low, high : float
        Its interval at one standard deviation (68.3 %), exact for counts.
    clicks : int
        Clicks in its basis.
    balance : dict[str, float]
        In each other basis, the share of its first detector, by name of the detector; one half would be ideal.
    shares : dict[str, float]
        The row of the truth table: share of each detector within its own basis.
    """

    fidelity: float
    low: float
    high: float
    clicks: int
    balance: dict[str, float]
    shares: dict[str, float]


@dataclass(frozen=True, slots=True)
class TruthTable:
    """What all prepared states gave.

    Attributes
    ----------
    states : dict[str, StateFidelity]
        By prepared state.
    mean_fidelity : float
        Mean over the states.
    qber : dict[str, float]
        Of each basis whose states were both prepared, by its name such as ``HV``: errors over clicks, both states equally likely.
    """

    states: dict[str, StateFidelity]
    mean_fidelity: float
    qber: dict[str, float]


def truth_table(counts: Mapping[str, Mapping[str, int]]) -> TruthTable:
    """Compute fidelities from counts.

    Parameters
    ----------
    counts : mapping of str to mapping of str to int
        Clicks by prepared state and detector.

    Returns
    -------
    TruthTable
        Fidelities, balances, QBER.

    Raises
    ------
    StreamError
        If a name is unknown, a detector of a state's basis is missing, or a state has no clicks in its basis.
    """
    states = {state: _fidelity(state, clicks) for state, clicks in counts.items()}
    if not states:
        raise StreamError("static states: no state was prepared")
    both = [(one, other) for one, other in PAIRS if one in states and other in states]
    return TruthTable(
        states=states,
        mean_fidelity=sum(found.fidelity for found in states.values()) / len(states),
        qber={one + other: 1.0 - (states[one].fidelity + states[other].fidelity) / 2.0 for one, other in both},
    )


def _fidelity(state: str, clicks: Mapping[str, int]) -> StateFidelity:
    for name in (state, *clicks):
        if name not in PARTNERS:
            raise StreamError(f"static states: {name!r} is no state; choose among {', '.join(PARTNERS)}")
    if any(count < 0 for count in clicks.values()):
        raise StreamError(f"static states: a negative count while {state} was sent")
    missing = [name for name in (state, PARTNERS[state]) if name not in clicks]
    if missing:
        raise StreamError(f"static states: while {state} was sent, nothing is said of detector {missing[0]}")
    right, total = clicks[state], clicks[state] + clicks[PARTNERS[state]]
    if not total:
        raise StreamError(f"static states: no click of {state} or {PARTNERS[state]} while {state} was sent")
    shares: dict[str, float] = {}
    balance: dict[str, float] = {}
    for one, other in PAIRS:
        whole = clicks.get(one, 0) + clicks.get(other, 0)
        if one in clicks and other in clicks and whole:
            shares |= {one: clicks[one] / whole, other: clicks[other] / whole}
            if state not in {one, other}:
                balance[one] = clicks[one] / whole
    return StateFidelity(
        fidelity=right / total,
        low=probability_lower_bound(right, total, TAIL),
        high=probability_upper_bound(right, total, TAIL),
        clicks=total,
        balance=balance,
        shares=shares,
    )
