"""The one decorator every kernel is compiled with.

``nogil`` lets heavy work run in plain threads beside the event loop; ``cache`` spares the next start the compilation.
``parallel`` is never used: called from two threads it aborts the process on Numba's default threading layer. Bounds are
checked where ``NUMBA_BOUNDSCHECK=1`` is set, which the small tests do once in ``.ci/run``.
"""

import platform
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from llvmlite import binding
from numba.core import config
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item", bound=np.generic)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` for arrays; the Python source stays callable as ``function.py_func``.

    Parameters
    ----------
    function : callable
        Takes and returns NumPy arrays and numbers only.

    Returns
    -------
    callable
        The compiled function, releasing the interpreter lock while it runs.
    """
    return cast("Callable[P, R]", numba.njit(nogil=True, cache=True)(cast("Any", function)))


def read_only(array: NDArray[Item]) -> NDArray[Item]:
    """Return a view of ``array``, of the same shape and dtype, that cannot be written: compiled code is then one form for all callers."""
    view = array.view()
    view.flags.writeable = False
    return view


def compiled_features() -> dict[str, bool]:
    """Return the features Numba compiles for: the host's, unless the environment names others."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return {}
    chosen = getattr(config, "CPU_FEATURES", None)  # numba.core.config sets its names at run time
    if chosen is not None:
        return {feature[1:]: feature[0] == "+" for feature in chosen.split(",") if feature}
    if getattr(config, "CPU_NAME", None) not in (None, "host"):
        return {}  # an explicit processor without features: nothing is known, so nothing is assumed
    return dict(binding.get_host_cpu_features())
