"""What a service loads before it says that it is ready: every kernel that was compiled before, and nothing that it will not use."""

import gc
import json
import subprocess
import sys

import numpy as np
import pytest

from common.kernels.gaps import encode_gaps
from common.kernels.loading import load_kernels
from common.service.startup import settle_memory
from tests.support.tree import ROOT

NEEDLESS = ("PIL", "aiohttp", "h5py", "jsonschema", "matplotlib", "ptufile", "scipy.linalg")

STARTED = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
from common.kernels.gaps import encode_gaps
from common.kernels.loading import load_kernels
loaded, missing = load_kernels()
import numpy
gaps = sum(len(kernel.signatures) for name, kernel in vars(sys.modules["common.kernels.gaps"]).items() if hasattr(kernel, "py_func"))
encode_gaps(numpy.array([3, 5, 70], numpy.int64), 0)
kernels = [kernel for name, kernel in vars(sys.modules["common.kernels.gaps"]).items() if hasattr(kernel, "py_func")]
misses = sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels)
print(json.dumps({"loaded": loaded, "gaps": gaps, "misses": misses, "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize("module", ["alice.service", "bob.service", "common.emulator.service"])
def test_a_service_loads_kernels_and_nothing_that_it_does_not_use(module):
    encode_gaps(np.array([3, 5, 70], np.int64), 0)  # compiled here, if it never was

    done = subprocess.run([sys.executable, "-c", STARTED, module], cwd=ROOT, capture_output=True, text=True, check=True)

    said = json.loads(done.stdout)
    assert not set(NEEDLESS) & set(said["modules"])
    assert said["loaded"] >= said["gaps"] > 0
    assert said["misses"] == 0


def test_what_is_imported_afterwards_is_left_alone():
    load_kernels()

    assert sys.modules.get("scipy.linalg", sys) is not None


def test_what_was_loaded_is_no_longer_looked_through():
    gc.disable()
    try:
        settle_memory()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.enable()
        gc.unfreeze()
