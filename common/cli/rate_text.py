"""The planner's answers as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.planning.rate import RatePoint

_ROWS = (
    ("sifted key bits", ("sifted key bits",)),
    ("segments not reconciled", ("segments not reconciled",)),
    ("multi-photons", ("multi-photon Z", "multi-photon X", "empty pulses")),
    ("phase errors", ("phase errors Z", "phase errors X")),
    ("reconciliation", ("leakage, reconciliation", "leakage, answers")),
    ("verification", ("leakage, verification tag", "leakage, verification verdict", "correctness", "error correction")),
    ("finite size", ("finite size",)),
    ("privacy amplification", ("privacy amplification", "secrecy")),
    ("rounding", ("rounding",)),
    ("not distilled", ("not distilled",)),
)
"""What the items of both ledgers are about: a row, and the items that add up to it."""


def answer(point: RatePoint, chosen: dict[str, Any] | None = None) -> str:
    """Say what a link gives, and where every bit goes.

    Parameters
    ----------
    point : RatePoint
        Of the planner.
    chosen : dict | None
        What an optimisation says of itself.

    Returns
    -------
    str
        Lines for a terminal.
    """
    lines = [
        f"{point.link}, {point.source} source, {point.protocol}, {point.loss_db:g} dB",
        f"{point.proof} ({point.mode}): {point.title}",
        "",
        *_table([(name, value) for name, value in _summary(point) if value]),
        "",
        "secret bits a pulse, item by item" if point.pulses is None else "secret bits of the block, item by item",
        *_ledger(point),
    ]
    if point.reason:
        lines += ["", f"no key: {point.bound}"]
    if chosen:
        bounds = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in chosen["over"].items())
        lines += ["", *_table([(f"best {name}", _listed(value)) for name, value in chosen["parameters"].items()])]
        lines += [f"searched: {bounds}; {chosen['starts']} starts, {chosen['evaluations']} points"]
        if chosen["at_bound"]:
            lines += [f"a bound decides: {', '.join(chosen['at_bound'])}"]
    return "\n".join([*lines, *([""] if point.notes else []), *(f"note: {note}" for note in point.notes)])


def comparison(composable: RatePoint, paper: RatePoint) -> str:
    """Set two formulas for the same counts side by side, term by term.

    Parameters
    ----------
    composable, paper : RatePoint
        Of the same counts.

    Returns
    -------
    str
        Lines for a terminal; the last ones name the term that makes most of the difference, and what all of them come to.
    """
    unit = "bits a pulse" if composable.pulses is None else "bits of the block"
    number = "{:>14.4e}" if composable.pulses is None else "{:>14.1f}"
    lines = [
        (
            f"{composable.link}, {composable.protocol}, {composable.loss_db:g} dB, "
            f"the same expected counts for both, each with its own leakage; {unit}"
        ),
        "",
        f"{'':24}{composable.proof:>26}{paper.proof:>18}{'difference':>14}",
    ]
    rows = aligned(composable, paper)
    for name, (ours, theirs) in rows.items():
        numbers = [number.format(value + 0.0) for value in (ours, theirs, ours - theirs)]
        lines.append(f"{name:24}{numbers[0]:>26}{numbers[1]:>18}{numbers[2]:>14}")
    ours, theirs = (_secret(point) for point in (composable, paper))
    numbers = [number.format(value + 0.0) for value in (ours, theirs, ours - theirs)]
    lines.append(f"{'secret bits':24}{numbers[0]:>26}{numbers[1]:>18}{numbers[2]:>14}")
    for point in (composable, paper):
        if point.reason:
            lines += ["", f"no key by {point.proof}: {point.bound}"]
    decisive = _decisive(rows)
    if decisive:
        ours, theirs = rows[decisive]
        verb = "gains" if ours > theirs else "costs"
        amount = number.format(abs(ours - theirs)).strip()
        lines += ["", f"Most of the difference: {decisive}; the composable proof {verb} {amount} bits there."]
    if all(point.secret_bits_per_pulse for point in (composable, paper)):
        share = composable.secret_bits_per_pulse / paper.secret_bits_per_pulse - 1.0
        lines.append(f"In all: {abs(share):.1%} {'more' if share > 0.0 else 'less'} key by the composable proof.")
    return "\n".join(lines)


def comparison_json(composable: RatePoint, paper: RatePoint) -> dict[str, Any]:
    """Return both points and their aligned terms ready for JSON.

    Parameters
    ----------
    composable, paper : RatePoint
        Of the same counts.

    Returns
    -------
    dict
        ``composable``, ``paper``, ``terms`` (name to the two values) and ``decisive_term``.
    """
    rows = aligned(composable, paper)
    return {
        "composable": composable.to_json(),
        "paper": paper.to_json(),
        "terms": {name: {"composable": ours, "paper": theirs} for name, (ours, theirs) in rows.items()},
        "decisive_term": _decisive(rows),
    }


def aligned(composable: RatePoint, paper: RatePoint) -> dict[str, tuple[float, float]]:
    """Bring two ledgers to the same rows.

    Parameters
    ----------
    composable, paper : RatePoint
        Of the same counts.

    Returns
    -------
    dict
        Row to the two values; rows that are 0 in both are left out. Each column adds up to the secret bits.
    """
    rows = {name: tuple(sum(point.ledger.get(item, 0.0) for item in items) for point in (composable, paper)) for name, items in _ROWS}
    return {name: (values[0], values[1]) for name, values in rows.items() if any(values)}


def sweep_table(name: str, values: Sequence[float], answers: Sequence[tuple[RatePoint, dict[str, Any] | None]]) -> str:
    """Write a sweep as a table.

    Parameters
    ----------
    name : str
        The entry that was swept.
    values : sequence of float
        Its values.
    answers : sequence of (RatePoint, dict | None)
        A point, and what was chosen, for each.

    Returns
    -------
    str
        Lines for a terminal.
    """
    head = f"{name:>24}{'bits/pulse':>13}{'bits/s':>13}{'QBER Z':>9}{'QBER X':>9}{'phase':>9}{'tagged':>9}  no key because"
    lines = [head]
    for value, (point, _) in zip(values, answers, strict=True):
        numbers = "".join(
            f"{'-' if share is None else format(share, '.2%'):>9}"
            for share in (point.qber["Z"], point.qber["X"], point.phase_error_bound, point.multi_photon_bound)
        )
        lines.append(
            f"{value:>24.6g}{point.secret_bits_per_pulse:>13.4e}{point.secret_bits_per_second:>13.4g}{numbers}  {point.reason}".rstrip()
        )
    return "\n".join(lines)


def _summary(point: RatePoint) -> list[tuple[str, str]]:
    block = "endless" if point.pulses is None else f"{point.block_bits} sifted key bits, {point.pulses:.4g} pulses"
    parts = [
        ("block", block),
        ("secret bits a pulse", f"{point.secret_bits_per_pulse:.4e}"),
        ("secret bits a second", f"{point.secret_bits_per_second:.6g}"),
        ("secret bits of the block", "" if point.secret_bits is None else f"{point.secret_bits:.0f}"),
        ("QBER", f"Z {point.qber['Z']:.3%}, X {point.qber['X']:.3%}"),
        ("phase-error bound", "none" if point.phase_error_bound is None else f"{point.phase_error_bound:.3%} of the untagged bits"),
        ("multi-photon bound", "none" if point.multi_photon_bound is None else f"{point.multi_photon_bound:.3%} of the key bits"),
        ("detections a pulse", f"{point.detection_probability:.4e}"),
        ("reconciliation", f"f = {point.parameters['reconciliation.efficiency']:.3f}"),
    ]
    channel = {"link": "pulse shape, gate, dead time, fading and coincidences included", "textbook": "the publications' textbook channel"}
    return [*parts, ("channel", channel[point.channel_model])]


def _ledger(point: RatePoint) -> list[str]:
    number = "{:>+16.4e}" if point.pulses is None else "{:>+16.1f}"
    lines = [f"  {name:30}{number.format(value)}" for name, value in point.ledger.items() if value]
    return [*lines, f"  {'secret bits':30}{number.format(_secret(point)).replace('+', ' ')}"]


def _secret(point: RatePoint) -> float:
    return point.secret_bits_per_pulse if point.secret_bits is None else float(point.secret_bits)


def _decisive(rows: dict[str, tuple[float, float]]) -> str | None:
    """The term in which two ledgers differ most; how they are closed is none."""
    terms = {name: abs(ours - theirs) for name, (ours, theirs) in rows.items() if name not in {"rounding", "not distilled"}}
    name = max(terms, key=lambda term: terms[term], default=None)
    return name if name and terms[name] > 0.0 else None


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0) + 2
    return [f"  {name:{width}}{value}" for name, value in rows]


def _listed(value: float | list[float]) -> str:
    return ", ".join(f"{entry:.4g}" for entry in (value if isinstance(value, list) else [value]))
