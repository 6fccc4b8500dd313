"""Relative links in the documentation and in the README lead somewhere."""

import re

from tests.support.tree import ROOT, assert_none, project_files

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")


def test_every_relative_link_leads_to_a_file():
    pages = [page for page in project_files() if page.suffix == ".md" and page.parts[0] in {"docs", "README.md", "CHANGELOG.md"}]
    links = [(page, target) for page in pages for target in LINK.findall((ROOT / page).read_text(encoding="utf-8")) if "://" not in target]

    assert_none([f"{page}: {target}" for page, target in links if not (ROOT / page.parent / target).exists()])
