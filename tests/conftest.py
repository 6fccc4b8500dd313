"""What every test stands on: where compiled kernels are kept, how hypothesis searches, where recordings are, one marker.

``HYPOTHESIS_PROFILE=thorough`` searches afresh and longer; the default draws the same examples every time, so that a failure
is the change's and not the day's. ``QKD_RECORDINGS`` names a folder of real recordings; tests that need one are skipped, naming it,
where it is absent.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.numba_cache import choose_numba_cache

choose_numba_cache()

# Two busy cores and a first compilation make any deadline a lottery.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("ci"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the property tests of kernels, which are the small tests that run once more with indices checked."""
    properties = [item for item in items if "property" in item.path.parts]
    compiled = {path for path in {item.path for item in properties} if "kernel" in path.read_text(encoding="utf-8")}
    for item in properties:
        if item.path in compiled:
            item.add_marker(pytest.mark.kernels)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of real recordings; skips where there is none."""
    folder = os.environ.get("QKD_RECORDINGS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("QKD_RECORDINGS names no folder of recordings")
    return Path(folder).resolve()
