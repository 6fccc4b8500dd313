"""The page ``docs/reference/messages`` as text, read off the catalogue: ``python -m common.channel.catalogue_page`` prints it.

A test compares the page with what this module says, so that the documentation cannot fall behind the code.
"""

from __future__ import annotations

from inspect import cleandoc

from common.channel.authentication import MAC_BYTES
from common.channel.codec import MAXIMUM_MESSAGE_BYTES, PROTOCOL_VERSION, Envelope, field_types
from common.channel.messages import CATALOGUE, Message

GROUPS = {
    1: "Session",
    2: "Synchronisation",
    3: "Sifting",
    4: "Disclosure",
    5: "Reconciliation",
    6: "Verification, monitors",
    7: "Length, amplification, tags",
    8: "Commitment",
    9: "Keys for applications",
}
"""Headings by the hundreds of the kinds."""

_HEAD = f"""# Messages

Written by `python -m common.channel.catalogue_page`; do not edit. Protocol version {PROTOCOL_VERSION}.

Every message is one msgpack array of nine: the seven fields of the envelope, the kind, and the array of the message's own fields in the
order below; {MAC_BYTES} bytes of code follow. Each value has exactly one encoding. A message is at most {MAXIMUM_MESSAGE_BYTES} bytes
long. Bits are packed, the lowest bit of a byte first, beside an explicit count; gaps are coded as in `common.kernels.gaps`:
for every 256 slots a Rice parameter k of six bits, all remainders of k bits, then all quotients q, each as q zeros and a one.
"""


def page() -> str:
    """Return the whole page, Markdown."""
    parts = [_HEAD, "## Envelope\n", _table(Envelope)]
    group = 0
    for kind in sorted(CATALOGUE):
        if kind // 100 != group:
            group = kind // 100
            parts.append(f"## {GROUPS[group]}\n")
        parts.append(_section(CATALOGUE[kind]))
    return "\n".join(parts)


def _section(message: type[Message]) -> str:
    summary = cleandoc(message.__doc__ or "").split("\n\n", maxsplit=1)[0]
    return f"### {message.KIND} {message.__name__}\n\n{summary}\n\n{_table(message)}"


def _table(record: type) -> str:
    meanings = _meanings(cleandoc(record.__doc__ or ""))
    rows = [f"| `{name}` | {limits} | {meanings.get(name, '')} |" for name, limits in field_types(record).items()]
    return "\n".join(["| field | limits | meaning |", "|---|---|---|", *rows, ""])


def _meanings(text: str) -> dict[str, str]:
    """Read what an ``Attributes`` section says about each field."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.partition("Attributes")[2].splitlines():
        if line.startswith(" "):
            found |= {name: f"{found.get(name, '')} {line.strip()}".strip() for name in names}
        elif " : " in line:
            names = line.partition(" : ")[0].split(", ")
    return {name: meaning.replace("``", "`") for name, meaning in found.items()}


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - this is what the module is run for
