"""The commands of a how-to page that are not for every machine: blocks of kind ``sh``, by the heading they stand under."""

import re

from tests.support.tree import ROOT

HEADING = re.compile(r"^## (.+)$", flags=re.MULTILINE)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def scripts(page: str) -> dict[str, list[str]]:
    """Blocks of a page of docs/howto by heading, in order."""
    parts = HEADING.split((ROOT / "docs" / "howto" / page).read_text(encoding="utf-8"))
    return {heading: BLOCK.findall(text) for heading, text in zip(parts[1::2], parts[2::2], strict=True)}
