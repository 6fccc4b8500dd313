"""The catalogue and its page."""

from pathlib import Path

import pytest

from common.channel import messages as catalogue
from common.channel.catalogue_page import page
from common.channel.codec import field_types
from common.channel.messages import CATALOGUE, Message
from tests.support.tree import ROOT


def test_every_message_has_a_code_of_its_own_and_is_in_the_catalogue():
    defined = [
        entry for entry in vars(catalogue).values() if isinstance(entry, type) and issubclass(entry, Message) and entry is not Message
    ]

    assert sorted(CATALOGUE) == sorted(kind.KIND for kind in defined)
    assert set(CATALOGUE.values()) == set(defined)
    assert all(CATALOGUE[kind.KIND] is kind for kind in defined)


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.__name__)
def test_every_field_has_limits_and_every_message_says_what_it_is_for(kind):
    assert list(field_types(kind)) == [name for name in kind.__annotations__ if name != "KIND"]
    assert kind.__doc__


def test_the_page_is_fresh():
    written = Path(ROOT, "docs/reference/messages.md").read_text(encoding="utf-8")

    assert written == page(), "write it anew: python -m common.channel.catalogue_page > docs/reference/messages.md"
