"""Where the tests keep compiled kernels.

Numba recompiles a kernel when its own file changes, not when a helper or a constant it took from another file does. The folder is
therefore named after everything that kernels import from elsewhere in the project; it is kept apart where indices are checked, because
Numba does not tell the two kinds of compiled code apart.
"""

import hashlib
import os
from pathlib import Path

from tests.support.tree import ROOT, imported_names, kernels, modules


def helpers_digest() -> str:
    """Sixteen hexadecimal digits over the source of every module from which a module with kernels imports."""
    sources = modules()
    imported = set().union(*(imported_names(module.tree) for module in sources if kernels(module)))
    digest = hashlib.sha256()
    for module in sources:
        if module.name in imported:
            digest.update((ROOT / module.path).read_bytes())
    return digest.hexdigest()[:16]


def choose_numba_cache() -> None:
    """Set ``NUMBA_CACHE_DIR`` where the environment leaves it open; call before numba is imported."""
    if "NUMBA_CACHE_DIR" not in os.environ:
        checked = "-bounds" if os.environ.get("NUMBA_BOUNDSCHECK", "0") not in {"", "0"} else ""
        folder = Path(ROOT, ".numba_cache", helpers_digest() + checked)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["NUMBA_CACHE_DIR"] = str(folder)
