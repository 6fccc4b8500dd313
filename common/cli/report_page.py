"""The page of ``qkd demo``: one file to open, to print or to send, that asks no server for anything.

Takes the report that also goes into ``report.json``, the plot and the pictures of the folder; all of them are written into the page itself.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
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
    "estimation": "any bound of the estimation is wrong",
}
"""Failure probabilities by how they begin, and what they are."""


POOL_WORDS = {
    "alice-pad": "one-time pad of messages from Alice",
    "bob-pad": "one-time pad of messages from Bob",
    "alice-tag": "tags of messages from Alice",
    "bob-tag": "tags of messages from Bob",
    "alice-delivery": "key for applications that ask at Alice’s",
    "bob-delivery": "key for applications that ask at Bob’s",
    "authentication-reserve": "masks for the tags of later blocks",
}
"""Pools of a key store, and what they are for."""

_LEDGER_COLUMNS = ("", "number", "bar", "why")


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
    parts += [_ledger(report), _stores(report), _expected(report), _blocks(report), _epsilons(report), _real_arrivals(report)]
    parts.append(_again())
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
            f"{_count(report['secret_bits'])} secret bits were distilled from {_count(report['detections'])} detector clicks, in three "
            f"processes that share nothing but wires. Alice’s node encrypted {_count(report['picture']['bits'])} bits of picture with key "
            f"of its own; Bob’s decrypted them with his, bit for bit the same.{eve}"
        )
        return _header(report, title, text, "verdict")
    why = f"<br>{escape(report['failed_bound'])}" if report["failed_bound"] else ""
    title = "No picture: the link gave too little key" if report["secret_bits"] else "No key, no picture"
    text = (
        f"{_count(report['missing_secret_bits'])} secret bits are missing after {report['link_seconds']:.1f} s of link, so nothing "
        f"was sent: a one-time pad that is too short is not stretched.{eve}{why}"
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
        ("key rate", f"{_count(rate)} bit/s", f"{_ratio(report['secret_bits_per_pulse'])} bit a pulse"),
        ("QBER by basis", qber, f"expected Z {expected['qber']['Z']:.2%} · X {expected['qber']['X']:.2%}"),
        ("clock", *_clock(clock)),
        ("reconciliation", f"f = {efficiency:.3f}" if efficiency else "none", escape(report["reconciliation"]["method"])),
    )
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>" for name, value, note in entries)
    return f'<dl class="tiles">{tiles}</dl>'


def _clock(clock: dict[str, Any]) -> tuple[str, str]:
    if clock["offset_ppm"] is None:
        return "none", "not found"
    return f"{clock['offset_ppm']:+.3f} ppm", f"residual {clock['residual_rms_ps']:.0f} ps"


def _plot(series: LinkSeries) -> str:
    light, dark = (_data_url(svg_plot(series, theme), "image/svg+xml") for theme in (LIGHT, DARK))
    last = f"{series.secret_bits[-1]} secret bits after {series.end_s[-1]:.1f} seconds" if series.end_s else "no block"
    text = (
        "The error rate stays where source and detectors put it. Key comes late and then ever faster: a short block tells too little about "
        "an eavesdropper, and what is not known has to be assumed. The dashed line is the planner’s."
    )
    turned = " Below, where Bob’s actuators stand; while he searches it is shaded." if any(series.watched.positions) else ""
    if not any(series.secret_bits):
        text = (
            "The dashed lines are what the link should have given. Where errors or doubts exceed what the proof can bear, there is no key."
        )
    return (
        '<section class="plot"><h2>QBER and key rate over link time</h2>'
        f"<p>{text} Each point of the lower curve is what the same formula would have given, had the block closed there.{turned}</p>"
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="Two curves over link time: error rate in both bases, and key rate so far; {last}."></picture></section>'
    )


def _ledger(report: dict[str, Any]) -> str:
    ledger = report["ledger"]
    if not ledger:
        return ""
    largest = max(abs(amount) for amount in ledger.values()) or 1

    def bar(amount: float) -> str:
        kind = "gain" if amount > 0 else "loss"
        return f'<i class="{kind}" style="width: {100 * abs(amount) / largest:.2f}%"></i>' if amount else ""

    rows = [(escape(item), _bits(amount), bar(amount), _word(item, LEDGER_WORDS)) for item, amount in ledger.items()]
    secret_bits = report["secret_bits"]
    total = _row(("secret bits", _bits(secret_bits), bar(secret_bits), "the sum, to the last bit"), _LEDGER_COLUMNS, kind="total")
    return _section(
        "Where every bit went",
        "From clicks that count to bits that are secret; every deduction has a reason, and the column adds up.",
        _table(("item", "bits", "", "why"), _LEDGER_COLUMNS, rows, after=total),
    )


def _stores(report: dict[str, Any]) -> str:
    stores, picture = report["stores"], report["picture"]
    rows = [
        (escape(pool), *(_count(stores[end][pool]) for end in ("alice", "bob")), _word(pool, POOL_WORDS))
        for pool in stores["alice"]
        if any(stores[end][pool] for end in ("alice", "bob"))
    ]
    lags = [f"{end.capitalize()} {lag['p99_9_ms']:.0f} ms" for end, lag in report["event_loop_lag"].items() if lag["p99_9_ms"] is not None]
    agree = "Both stores hold the same" if stores["agree"] else "<strong>The two stores differ</strong>"
    spent = (
        f"; the picture took {_count(picture['key_bits_spent'])} bits out of {escape(picture['pool'])}, which gets "
        f"{picture['pool_share']:.0%} of the key here: {picture['share_of_key']:.0%} of all key"
        if picture["identical"]
        else ""
    )
    names = ", ".join(escape(process["name"]) for process in report["processes"])
    return _section(
        "Two stores, three processes",
        f"{names} ran as processes of their own; Alice and Bob talked over {escape(report['channel'])}, authenticated. Their event loops "
        f"were late by at most {' and '.join(lags) or 'nothing measurable'}, 999 times in a thousand. {agree}{spent}.",
        _table(("bits left in", "at Alice’s", "at Bob’s", "what for"), ("", "number", "number", "why"), rows),
    )


def _expected(report: dict[str, Any]) -> str:
    expected, qber = report["expected"], report["qber"]
    wanted_s = expected["seconds_for_wanted_bits"]
    time = f"{wanted_s:.1f} s" if wanted_s else "never"
    rows = [
        ("secret bits in this time", _count(expected["secret_bits"]), _count(report["secret_bits"])),
        ("detections", _count(expected["detections"]), _count(report["detections"])),
        *((f"QBER {name}", _percent(expected["qber"][name]), _percent(qber.get(name))) for name in ("Z", "X")),
        (f"link time for {_count(expected['wanted_secret_bits'])} bits", time, f"{report['link_seconds']:.1f} s run"),
    ]
    return _section(
        "Expected and obtained",
        "The planner knows the profile only: source, loss, detectors. The link drew its photons one by one.",
        _table(("", "expected", "obtained"), ("", "number", "number"), rows),
    )


def _blocks(report: dict[str, Any]) -> str:
    rows = []
    for block in report["blocks"]:
        counts, qber = block.get("counts"), block.get("qber", {})
        clicks = (_count(counts["detections"]), _count(counts["Z"]["key"] + counts["X"]["key"])) if counts else ("–", "–")
        bits = (_count(sum(block["leakage"].values())), _count(block["secret_bits"]))
        fate = escape(block["bound"] or block["reason"]) if block["reason"] else "kept"
        rows.append((str(block["number"]), *clicks, _percent(qber.get("Z")), _percent(qber.get("X")), *bits, fate))
    heads = ("block", "detections", "sifted key", "QBER Z", "QBER X", "leaked bits", "secret bits", "fate")
    return _section(
        "Blocks",
        "A block is what a promise is made about. It closes by a rule fixed before anybody has seen an error.",
        _table(heads, ("", *["number"] * 6, ""), rows, kind="narrow"),
    )


def _epsilons(report: dict[str, Any]) -> str:
    if not report["epsilon"]:
        return ""
    rows = [(escape(name), _power(value), _word(name, EPSILON_WORDS)) for name, value in report["epsilon"].items()]
    rows.append(("one-time pad", _power(report["picture"]["forgery_bound"]), "an altered picture passes its tag, in one attempt"))
    return _section(
        "What the promise is worth",
        "Probabilities that something is not as claimed: for one block of key, and for the picture. They hold against any attack that "
        "physics allows, under the assumptions of the documentation.",
        _table(("epsilon", "probability", "that"), ("", "number", "why"), rows),
    )


def _real_arrivals(report: dict[str, Any]) -> str:
    second = report["real_arrivals"]
    if not second:
        return ""
    recording = second["recording"]
    why = "; ".join(escape(block["bound"] or block["reason"]) for block in second["blocks"] if block["reason"])
    qber = " · ".join(f"{name} {value:.2%}" for name, value in second["qber"].items() if value is not None) or "none"
    rows = [
        ("recording", escape(recording["file"])),
        ("arrivals", _count(recording["arrivals"])),
        ("clock, from the photons alone", f"{recording['clock_hz'] / 1e6:.6f} MHz, residual {recording['clock_residual_rms_ps']:.0f} ps"),
        ("g2, on-fraction", f"{recording['g2']:.4f}, {recording['on_fraction']:.2f}"),
        ("QBER", qber),
        ("secret bits", _count(second["secret_bits"]) + (f" ({why})" if why else "")),
    ]
    return _section(
        "The same with real photons",
        "A recording of a real pulsed emitter went through clock, sifting and reconciliation. Its times, blinking, jitter and background "
        "are real; what was prepared and measured was drawn.",
        _table(("", ""), ("", ""), rows),
    )


def _again() -> str:
    return _section(
        "Do it yourself",
        "",
        "<pre>qkd demo --image my-photo.jpg      # a picture of yours\n"
        "qkd demo --eve intercept-resend    # somebody listens: watch the key stop\n"
        "qkd demo --link hbn                # another source, another receiver</pre>",
    )


def _footer(report: dict[str, Any]) -> str:
    seed = f"physics from seed {report['seed']}" if report["seed"] is not None else "physics drawn afresh"
    remarks = (
        f"Keys: randomness {report['randomness']}; settings {report['settings_randomness']}; {seed}.",
        f"Blinking: {report['blinking']}. Leakage charged: {report['leakage_rule']}.",
        "All numbers are in report.json beside this page.",
    )
    return f"<footer>{escape(' '.join(remarks))}</footer>"


def _section(title: str, text: str, content: str) -> str:
    return f"<section><h2>{title}</h2>{f'<p>{text}</p>' if text else ''}{content}</section>"


def _table(heads: tuple[str, ...], kinds: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, after: str = "", kind: str = "") -> str:
    """Lay out rows of ready HTML; the first cell of each names it, ``kinds`` are the classes of the columns."""
    cells = "".join(f'<th scope="col" class="{column}">{head}</th>' for head, column in zip(heads, kinds, strict=True))
    body = "".join(_row(row, kinds) for row in rows)
    head = f"<thead><tr>{cells}</tr></thead>" if any(heads) else ""
    return f'<div class="scroll"><table class="{kind}">{head}<tbody>{body}{after}</tbody></table></div>'


def _row(cells: tuple[str, ...], kinds: tuple[str, ...], kind: str = "") -> str:
    first, *others = cells
    rest = "".join(f'<td class="{column}">{cell}</td>' for cell, column in zip(others, kinds[1:], strict=True))
    return f'<tr class="{kind}"><th scope="row">{first}</th>{rest}</tr>'


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
