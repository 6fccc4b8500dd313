"""The recipe on the page of formats gives the settings that the program gives."""

import re

import numpy as np

from common.timetags.emission_record import EmissionHeader, EmissionRecord
from tests.support.tree import ROOT

KEY = bytes(range(32))
PROBABILITIES = (0.1, 0.2, 0.3, 0.4)


def test_a_setting_is_expanded_as_the_page_says():
    page = (ROOT / "docs" / "reference" / "formats.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict = {}
    exec(recipe, names)
    record = EmissionRecord(EmissionHeader(1e8, 0, 1 << 60, ("a", "b", "c", "d"), PROBABILITIES), expander_key=KEY)
    slots = np.concatenate([np.arange(40), np.random.default_rng(0).integers(0, 1 << 60, 100)])

    assert record.lookup(slots).tolist() == [names["setting"](int(slot), KEY, PROBABILITIES) for slot in slots]
