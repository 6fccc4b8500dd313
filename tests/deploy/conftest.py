"""The machine that tests of units share."""

import pytest

from tests.deploy import machine


@pytest.fixture(scope="module")
def booted_machine():
    """A freshly booted machine; skips where there can be none."""
    if reason := machine.lacking():
        pytest.skip(reason)
    with machine.booted() as running:
        yield running
