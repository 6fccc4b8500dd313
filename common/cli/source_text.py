"""What ``qkd characterise`` prints for people: the values with their uncertainties, a line each, and what one should know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.cli.source_reports import Characterised


def summary(found: Characterised) -> str:
    """Lay out a report for a terminal.

    Parameters
    ----------
    found : Characterised
        Report and notes.

    Returns
    -------
    str
        Lines.
    """
    report = found.report
    lines = {
        "hbt": _hbt,
        "lifetime": _lifetime,
        "dead-time": _dead_time,
        "saturation": _saturation,
        "states": _states,
    }[report["kind"]](report)
    read = report.get("recording")
    if read is not None:
        channels = ", ".join(f"{number}: {count}" for number, count in read["tags_by_channel"].items())
        lines.insert(0, f"{read['format']} recording of {read['seconds']:.6g} s, {read['tags']} tags by channel {channels}")
    put_right = [] if read is None else _put_right(read)
    return "\n".join([*lines, *(f"note: {note}" for note in (*put_right, *found.notes))])


def spoken_time(nanoseconds: float) -> str:
    """Return ``nanoseconds`` with three digits, in the unit that suits."""
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= scale:
            return f"{nanoseconds / scale:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def _hbt(report: dict[str, Any]) -> list[str]:
    near, far = report["normalisation"]["neighbouring"], report["normalisation"]["far_delay"]
    blinking = report["blinking"]
    times = blinking["times_ns"]
    near_level = near["coincidences_per_slot"]
    dip = f"{report['coincidences_at_zero']} coincidences at {report['delay_ns']:+.2f} ns"
    lines = [
        _clock(report),
        f"g2(0) = {near['g2_zero']:.4f} ± {near['uncertainty']:.4f} against neighbouring peaks ({dip}, {near_level:.1f} in each)",
        f"g2(0) = {far['g2_zero']:.4f} ± {far['uncertainty']:.4f} against far delays ({far['coincidences_per_slot']:.1f} coincidences)",
        f"bright for {blinking['on_fraction']:.3f} ± {blinking['on_fraction_uncertainty']:.3f} of the time"
        + (
            f", on average {spoken_time(times['bright'])} bright and {spoken_time(times['dark'])} dark"
            if times["bright"] is not None
            else ""
        ),
    ]
    return lines + _decay_lines(report)


def _lifetime(report: dict[str, Any]) -> list[str]:
    return [_clock(report), *_decay_lines(report)]


def _clock(report: dict[str, Any]) -> str:
    reference = report["reference_clock_hz"]
    beside = "" if reference is None else f", {reference / 1e6:.9f} MHz from the reference pulses"
    return f"pulses at {report['clock_hz'] / 1e6:.9f} MHz from the photons alone{beside}"


def _decay_lines(report: dict[str, Any]) -> list[str]:
    if report["lifetime_ps"] is None:
        return ["no lifetime could be fitted"]
    lines = [f"lifetime {report['lifetime_ps']:.1f} ± {report['lifetime_uncertainty_ps']:.1f} ps"]
    for name, decay in report["decays"].items():
        width = "measured" if decay["instrument_fwhm_ps"] is None else f"{decay['instrument_fwhm_ps']:.0f} ps wide"
        lines.append(
            f"  channel {name}: {decay['lifetime_ps']:.1f} ± {decay['lifetime_uncertainty_ps']:.1f} ps, response {width},"
            f" background {decay['background_ratio']:.2%}, deviance {decay['deviance_ratio']:.2f} a degree of freedom"
        )
    return lines


def _dead_time(report: dict[str, Any]) -> list[str]:
    return [
        f"channel {name}: dead for {entry['dead_time_ps'] * 1e-3:.2f} ± {entry['dead_time_uncertainty_ps'] * 1e-3:.2f} ns, shortest wait"
        f" {entry['shortest_ps'] * 1e-3:.2f} ns; {entry['rate_hz']:.6g} clicks/s; {entry['afterpulsing_probability']:.2%} ±"
        f" {entry['afterpulsing_uncertainty']:.2%} of clicks bring another with them"
        for name, entry in report["detectors"].items()
    ]


def _saturation(report: dict[str, Any]) -> list[str]:
    return [
        f"saturates at {report['saturated_rate_hz']:.6g} ± {report['saturated_rate_uncertainty_hz']:.2g} Hz",
        f"half of that at {report['power_column']} = {report['saturation_power']:.4g} ± {report['saturation_power_uncertainty']:.2g}",
        f"deviance {report['deviance_ratio']:.2f} a degree of freedom over {report['points']} points",
    ]


def _states(report: dict[str, Any]) -> list[str]:
    detectors = list(next(iter(report["counts"].values())))
    lines = ["sent   " + "".join(f"{detector:>8}" for detector in detectors) + "    fidelity"]
    for state, found in report["states"].items():
        row = "".join(f"{found['shares'].get(detector, float('nan')):8.4f}" for detector in detectors)
        lines.append(f"{state:<7}{row}    {found['fidelity']:.4f} ({found['low']:.4f} to {found['high']:.4f})")
    lines.append(f"mean fidelity {report['mean_fidelity']:.4f}")
    lines += [f"QBER {qber:.4f} in {basis}" for basis, qber in report["qber"].items()]
    return lines


def _put_right(read: dict[str, Any]) -> list[str]:
    counted = ("reordered", "duplicates", "rollovers", "tail_bytes", "missing_records", "gaps")
    return [*(f"{name.replace('_', ' ')}: {read[name]}" for name in counted if read[name]), *read["notes"]]
