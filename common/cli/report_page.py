"""The page of ``qkd demo``: one file to open, to print or to send, that asks no server for anything.

Takes the report that also goes into ``report.json``, the plot and the pictures of the folder; all of them are written into the page itself.
"""

from __future__ import annotations

import base64
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from common.cli.link_series import LinkSeries
from common.cli.plots import DARK, LIGHT, svg_plot

LEDGER_WORDS = {
    "sifted key bits": "clicks in the key basis, prepared and measured alike",
    "segments not reconciled": "given up because their errors could not be found",
    "multi-photon": "may come from pulses of two photons: an eavesdropper could have kept one",
    "phase errors": "what the error rate of the other basis lets an eavesdropper know",
    "leakage, verification": "comparing both ends' bits by a hash",
    "leakage": "said in public while errors were corrected",
    "privacy amplification": "for the hash that makes the rest secret",
    "rounding": "a key has whole bits",
    "not distilled": "taken back: the block makes no key",
}
"""Items of the ledger by how they begin, and what they are."""

EPSILON_WORDS = {
    "total": "what one block of key is worth its promise",
    "secrecy": "distance of the key from a perfect one, as an eavesdropper sees it",
    "correctness": "the ends hold different keys",
    "authentication": "a forged conversation passes",
    "acceptance": "part of secrecy: bounds of the estimation, its square root",
    "amplification": "part of secrecy: the hash",
    "estimation": "that any bound of the estimation is wrong",
}
"""Failure probabilities by how they begin, and what they are."""


def write_page(report: dict[str, Any], series: LinkSeries, folder: Path) -> None:
    """Write ``report.html``.

    Parameters
    ----------
    report : dict
        As written to ``report.json``.
    series : LinkSeries
        For the plot.
    folder : Path
        Holds the pictures; gets the page.
    """
    parts = [_headline(report), _pictures(report, folder), _tiles(report), _plot(series)]
    parts += [_ledger(report), _expected(report), _blocks(report), _epsilons(report), _real_arrivals(report), _again()]
    style = resources.files("common.cli").joinpath("report_page.css").read_text(encoding="utf-8")
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>qkdlink: {escape(report['title'])}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + f"\n{_footer(report)}\n</main>\n</body>\n</html>\n"
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def _headline(report: dict[str, Any]) -> str:
    eve = f" An eavesdropper was on the fibre: <strong>{escape(report['eve'])}</strong>." if report["eve"] else ""
    if report["picture"]["identical"]:
        title = "A picture crossed the link, and only its two ends can know it"
        text = (
            f"{_count(report['secret_bits'])} secret bits were distilled from {_count(report['detections'])} detector clicks. Alice’s key encrypted "
            f"{_count(report['picture']['bits'])} bits of picture; Bob’s key decrypted them, bit for bit the same.{eve}"
        )
        return _header(report, title, text, "verdict")
    why = f"<br>{escape(report['failed_bound'])}" if report["failed_bound"] else ""
    title = "No picture: the link gave too little key" if report["secret_bits"] else "No key, no picture"
    text = (
        f"{_count(report['missing_secret_bits'])} secret bits are missing after {report['link_seconds']:.1f} s of link, so nothing was sent: "
        f"a one-time pad that is too short is not stretched.{eve}{why}"
    )
    return _header(report, title, text, "verdict failed")


def _header(report: dict[str, Any], title: str, text: str, kind: str) -> str:
    return f'<header>\n<p class="eyebrow">{escape(report["title"])}</p>\n<h1>{title}</h1>\n<p class="{kind}">{text}</p>\n</header>'


def _pictures(report: dict[str, Any], folder: Path) -> str:
    picture = report["picture"]
    shown = (
        ("original.png", "What Alice sends", f"{picture['width']} × {picture['height']} pixels, {_count(picture['bits'])} bits"),
        ("encrypted.png", "What crosses the open line", "every bit combined with a secret one, never used again"),
        ("decrypted.png", "What Bob sees", "decrypted with his own key; checked before it was shown"),
    )
    figures = []
    for name, title, text in shown:
        path = folder / name
        caption = f"<figcaption><strong>{title}</strong>{text}</figcaption>"
        if path.exists():
            source = _data_url(path.read_bytes(), "image/png")
            figures.append(f'<figure><img src="{source}" alt="{title}: {name}">{caption}</figure>')
        else:
            figures.append(f'<figure><div class="absent" role="img" aria-label="{title}: nothing">nothing was sent</div>{caption}</figure>')
    remark = f'<p class="quiet">The picture was {escape(picture["remark"])}.</p>' if picture["remark"] else ""
    shape = f"{picture['width']} / {picture['height']}"
    return f'<section aria-label="Pictures"><div class="pictures" style="--shape: {shape}">{"".join(figures)}</div>{remark}</section>'


def _tiles(report: dict[str, Any]) -> str:
    expected, clock = report["expected"], report["clock"]
    qber = " · ".join(f"{name} {value:.2%}" for name, value in report["qber"].items() if value is not None) or "none"
    rate = report["secret_bits"] / report["link_seconds"] if report["link_seconds"] else 0.0
    efficiency = report["reconciliation"]["efficiency"]
    entries = (
        ("secret bits", _count(report["secret_bits"]), f"expected {_count(expected['secret_bits'])}"),
        ("link time", f"{report['link_seconds']:.1f} s", f"{_count(report['pulses'])} pulses"),
        ("key rate", f"{rate:,.0f} bit/s".replace(",", " "), f"{_ratio(report['secret_bits_per_pulse'])} bit a pulse"),
        ("QBER by basis", qber, f"expected Z {expected['qber']['Z']:.2%} · X {expected['qber']['X']:.2%}"),
        ("clock", f"{clock['offset_ppm']:+.3f} ppm", f"residual {clock['residual_rms_ps']:.0f} ps"),
        ("reconciliation", f"f = {efficiency:.3f}" if efficiency else "none", escape(report["reconciliation"]["method"])),
    )
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in entries)
    return f'<dl class="tiles">{tiles}</dl>'


def _plot(series: LinkSeries) -> str:
    light, dark = (_data_url(svg_plot(series, theme), "image/svg+xml") for theme in (LIGHT, DARK))
    last = f"{series.secret_bits[-1]} secret bits after {series.end_s[-1]:.1f} seconds" if series.end_s else "no block"
    return (
        '<section class="plot"><h2>QBER and key rate over link time</h2>'
        "<p>The error rate stays where source and detectors put it. Key comes late and then ever faster: a short block tells too little about "
        "an eavesdropper, and what is not known has to be assumed. Each point of the lower curve is what the same formula would have given, had the block closed there.</p>"
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="Two curves over link time: error rate in both bases, and key rate so far; {last}."></picture></section>'
    )


def _ledger(report: dict[str, Any]) -> str:
    ledger = report["ledger"]
    if not ledger:
        return ""
    largest = max(abs(amount) for amount in ledger.values()) or 1
    rows = []
    for item, amount in ledger.items():
        width = 100 * abs(amount) / largest
        bar = f'<i class="{"gain" if amount > 0 else ""}" style="width: {width:.2f}%"></i>' if amount else ""
        rows.append(_row(item, _bits(amount), f'<td class="bar" aria-hidden="true">{bar}</td>', _word(item, LEDGER_WORDS)))
    width = 100 * report["secret_bits"] / largest
    bar = f'<td class="bar" aria-hidden="true"><i class="gain" style="width: {width:.2f}%"></i></td>'
    rows.append(_row("secret bits", _bits(report["secret_bits"]), bar, "the sum, to the last bit", total=True))
    return (
        "<section><h2>Where every bit went</h2>"
        "<p>From clicks that count to bits that are secret; every deduction has a reason, and the column adds up.</p>"
        '<div class="scroll"><table><thead><tr><th scope="col">item</th><th scope="col" class="number">bits</th><th scope="col" aria-hidden="true"></th>'
        f'<th scope="col" class="why">why</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div></section>'
    )


def _row(name: str, value: str, middle: str, why: str, *, total: bool = False) -> str:
    kind = ' class="total"' if total else ""
    return f'<tr{kind}><th scope="row">{escape(name)}</th><td class="number">{value}</td>{middle}<td class="why">{why}</td></tr>'


def _expected(report: dict[str, Any]) -> str:
    expected = report["expected"]
    wanted_s = expected["seconds_for_wanted_bits"]
    rows = [
        ("secret bits in this time", _count(expected["secret_bits"]), _count(report["secret_bits"])),
        ("detections", _count(expected["detections"]), _count(report["detections"])),
        *((f"QBER {name}", f"{expected['qber'][name]:.3%}", _percent(report["qber"].get(name))) for name in ("Z", "X")),
        (
            f"link time for {_count(expected['wanted_secret_bits'])} bits",
            f"{wanted_s:.1f} s" if wanted_s else "never",
            f"{report['link_seconds']:.1f} s run",
        ),
    ]
    body = "".join(f'<tr><th scope="row">{name}</th><td class="number">{a}</td><td class="number">{b}</td></tr>' for name, a, b in rows)
    return (
        "<section><h2>Expected and obtained</h2><p>The planner knows the profile only: source, loss, detectors. The link drew every photon.</p>"
        '<div class="scroll"><table><thead><tr><th scope="col"></th><th scope="col" class="number">expected</th>'
        f'<th scope="col" class="number">obtained</th></tr></thead><tbody>{body}</tbody></table></div></section>'
    )


def _blocks(report: dict[str, Any]) -> str:
    rows = []
    for block in report["blocks"]:
        counts = block.get("counts")
        numbers = (_count(counts["detections"]), _count(counts["Z"]["key"] + counts["X"]["key"])) if counts else ("–", "–")
        qber = block.get("qber", {})
        cells = (
            *numbers,
            _percent(qber.get("Z")),
            _percent(qber.get("X")),
            _count(sum(block["leakage"].values())),
            _count(block["secret_bits"]),
        )
        fate = escape(block["bound"] or block["reason"]) if block["reason"] else "kept"
        rows.append(
            f'<tr><th scope="row">{block["number"]}</th>{"".join(f"<td class=number>{cell}</td>" for cell in cells)}<td>{fate}</td></tr>'
        )
    heads = "".join(
        f'<th scope="col" class="number">{name}</th>'
        for name in ("detections", "sifted key", "QBER Z", "QBER X", "leaked bits", "secret bits")
    )
    body = "".join(rows) or '<tr><td colspan="8">none was opened</td></tr>'
    return (
        "<section><h2>Blocks</h2><p>A block is what a promise is made about. It closes by a rule fixed before anybody has seen an error.</p>"
        f'<div class="scroll"><table><thead><tr><th scope="col">block</th>{heads}<th scope="col">fate</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _epsilons(report: dict[str, Any]) -> str:
    if not report["epsilon"]:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="number">{_power(value)}</td><td class="why">{_word(name, EPSILON_WORDS)}</td></tr>'
        for name, value in report["epsilon"].items()
    )
    return (
        "<section><h2>What the promise is worth</h2><p>Probabilities that something is not as claimed, per block. They hold against any attack that "
        "physics allows, under the assumptions of the documentation.</p>"
        '<div class="scroll"><table><thead><tr><th scope="col">epsilon</th><th scope="col" class="number">probability</th><th scope="col" class="why">that</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _real_arrivals(report: dict[str, Any]) -> str:
    second = report["real_arrivals"]
    if not second:
        return ""
    recording = second["recording"]
    why = "; ".join(escape(block["bound"] or block["reason"]) for block in second["blocks"] if block["reason"])
    qber = " · ".join(f"{name} {value:.2%}" for name, value in second["qber"].items() if value is not None) or "none"
    rows = (
        ("arrivals", _count(recording["arrivals"])),
        ("clock, from the photons alone", f"{recording['clock_hz'] / 1e6:.6f} MHz, residual {recording['clock_residual_rms_ps']:.0f} ps"),
        ("g2, on-fraction", f"{recording['g2']:.4f}, {recording['on_fraction']:.2f}"),
        ("QBER", qber),
        ("secret bits", _count(second["secret_bits"]) + (f" ({why})" if why else "")),
    )
    body = "".join(f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in rows)
    return (
        "<section><h2>The same with real photons</h2><p>A recording of a real pulsed emitter went through clock, sifting and reconciliation. Its times, "
        "blinking, jitter and background are real; what was prepared and measured was drawn.</p>"
        f'<div class="scroll"><table><caption>{escape(recording["file"])}</caption><tbody>{body}</tbody></table></div></section>'
    )


def _again() -> str:
    return (
        "<section><h2>Do it yourself</h2><pre>qkd demo --image my-photo.jpg      # a picture of yours\n"
        "qkd demo --eve intercept-resend    # somebody listens: watch the key stop\n"
        "qkd otp encrypt --key alice.key --in letter.txt --out letter.otp</pre></section>"
    )


def _footer(report: dict[str, Any]) -> str:
    seed = f"physics from seed {report['seed']}" if report["seed"] is not None else "physics drawn afresh"
    return (
        f"<footer>Keys: randomness {escape(report['randomness'])}; settings {escape(report['settings_randomness'])}; {seed}. Blinking: {escape(report['blinking'])}. "
        f"Leakage charged: {escape(report['leakage_rule'])}. All numbers are in report.json beside this page.</footer>"
    )


def _data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _word(name: str, words: dict[str, str]) -> str:
    return next((text for start, text in words.items() if name.startswith(start)), "")


def _count(number: float) -> str:
    """Whole number with thin gaps between thousands."""
    return f"{number:,.0f}".replace(",", "\u202f")


def _bits(amount: float) -> str:
    whole = isinstance(amount, int) or float(amount).is_integer()
    text = f"{amount:,.0f}" if whole else f"{amount:,.2f}"
    return text.replace(",", "\u202f").replace("-", "−")


def _ratio(number: float | None) -> str:
    return "–" if number is None else _power(number)


def _power(number: float) -> str:
    """Scientific notation as it is printed in a paper."""
    if number == 0 or 1e-3 <= abs(number) < 1e4:
        return f"{number:g}"
    mantissa, exponent = f"{number:.2e}".split("e")
    return f"{float(mantissa):g} × 10<sup>{int(exponent)}</sup>".replace("<sup>-", "<sup>−")


def _percent(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.3%}"
