"""Loads compiled kernels ahead of their first call, so that a service is ready before it is asked and its first block waits for nothing.

Numba itself loads slowly the first time a kernel is called: half of that is SciPy, which it takes linear algebra from. No kernel of ours
uses that, so it stays out: a service starts a fifth faster and without the threads of a second BLAS. The services call it when they start.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from numba.core.registry import cpu_target

OURS = ("alice", "bob", "common")
"""Packages with kernels."""

LINEAR_ALGEBRA = "scipy.linalg"
"""Where Numba looks for BLAS and LAPACK; it does without where there is none."""


def load_kernels() -> tuple[int, int]:
    """Load what the compiler's cache holds of every kernel imported so far.

    Returns
    -------
    tuple[int, int]
        Compiled versions loaded, and kernels of which the cache holds none: these compile when they are first called.
    """
    count_loaded = count_missing = 0
    with _without_linear_algebra():
        cpu_target.typing_context.refresh()  # what Numba would do at the first call of a kernel
        cpu_target.target_context.refresh()
        for dispatcher in _kernels():
            signatures = _cached_signatures(dispatcher)
            count_missing += not signatures and not dispatcher.signatures
            for signature in signatures:
                dispatcher.compile(signature)
                count_loaded += 1
    return count_loaded, count_missing


@contextlib.contextmanager
def _without_linear_algebra() -> Iterator[None]:
    """Let Numba set itself up without SciPy; what is loaded already, and what is imported afterwards, is left alone."""
    if LINEAR_ALGEBRA in sys.modules:
        yield
        return
    sys.modules[LINEAR_ALGEBRA] = None  # type: ignore[assignment] # how the import system is told that there is none
    try:
        yield
    finally:
        del sys.modules[LINEAR_ALGEBRA]


def _kernels() -> list[Any]:
    """Every kernel of ours in any imported module, once."""
    modules = [module for name, module in tuple(sys.modules.items()) if name.split(".")[0] in OURS and module is not None]
    found = {
        id(value): value for module in modules for value in vars(module).values() if hasattr(value, "py_func") and hasattr(value, "compile")
    }
    return list(found.values())


def _cached_signatures(dispatcher: Any) -> list[Any]:
    """Signatures of a kernel that the cache holds for this processor; none where Numba keeps its index otherwise than we know."""
    try:
        cache = dispatcher._cache  # noqa: SLF001 - Numba offers no public way to ask
        index = cache._cache_file._load_index()  # noqa: SLF001 - likewise
        target = dispatcher.targetctx.codegen()
        return [key[0] for key in index if key == cache._index_key(key[0], target)]  # noqa: SLF001 - likewise
    except (AttributeError, TypeError, LookupError, OSError):
        return []
