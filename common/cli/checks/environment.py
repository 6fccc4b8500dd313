"""Checks of what qkdlink is installed in: Python, packages, whose ``common`` is imported, the cache of compiled kernels, link profiles."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

from common.cli.checks.finding import Check, Finding, fail, ok, warn
from common.errors import QkdError

DISTRIBUTION = "qkdlink"

OURS = ("common", "alice", "bob")
"""Import names that belong to us; the first is a generic one that others ship as well."""

OLDEST_PYTHON = (3, 11)

NEEDED = ("click", "cryptography", "h5py", "msgpack", "numba", "numpy", "pillow", "ptufile", "pydantic", "rich")
"""Packages some command needs, for a source tree that is not installed and therefore states no requirements."""

OPTIONAL = {"matplotlib": "plots", "scipy": "the planner", "cryptomite": "a peer of qkd bench", "ldpc": "a peer of qkd bench"}
"""Packages that add something, and what."""

PROBE_SECONDS = 30
"""Longest wait for a probing interpreter, seconds."""

PROBE = f"""
import importlib.util, json
found = {{name: importlib.util.find_spec(name) for name in {OURS!r}}}
print(json.dumps({{name: spec and list(spec.submodule_search_locations or [spec.origin]) for name, spec in found.items()}}))
"""
"""Asks a fresh interpreter where it would import our packages from; importing nothing, it runs no stranger's code."""


def environment_checks(link: str | None) -> tuple[Check, ...]:
    """Return the checks of this module.

    Parameters
    ----------
    link : str | None
        A link profile to check, or None for those that come with qkdlink.

    Returns
    -------
    tuple[callable, ...]
        In an order in which one finding may explain the next.
    """

    def link_profiles() -> Iterator[Finding]:
        return check_profiles(link)

    return check_python, check_packages, check_ownership, check_shadows, check_kernel_cache, link_profiles


def check_python() -> Iterator[Finding]:
    """Check the interpreter."""
    found = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info < OLDEST_PYTHON or platform.python_implementation() != "CPython":
        yield fail("python", found, "use CPython 3.11 or later")
    else:
        yield ok("python", found)


def check_packages() -> Iterator[Finding]:
    """Check that every required package is there and new enough.

    Yields
    ------
    Finding
        What is wrong, what is there, and which optional packages are not.
    """
    found, wrong = [], []
    for name, least in _required().items():
        try:
            present = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        found.append(f"{name} {present}")
        if _numbers(present) < _numbers(least):
            wrong.append(f"{name} {present} is older than {least}")
    if wrong:
        yield fail(
            "packages",
            "; ".join(wrong),
            "install what the lock says: make demo, or pip install --require-hashes -r deploy/requirements.lock",
        )
    yield ok("packages", ", ".join(found))
    absent = [f"{name} ({use})" for name, use in OPTIONAL.items() if importlib.util.find_spec(name) is None]
    if absent:
        yield ok("optional packages", f"without {', '.join(absent)}")


def _required() -> dict[str, str]:
    """Return the required packages with their least versions, from our own metadata where there is one."""
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return dict.fromkeys(NEEDED, "0")
    plain = [line for line in lines if "extra ==" not in line]
    return {re.split(r"[^\w.-]", line)[0]: next(iter(re.findall(r">=\s*([\d.]+)", line)), "0") for line in plain}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _folder(name: str) -> Path:
    """Return the folder of one of our packages, as this process imported it."""
    return Path(next(iter(importlib.import_module(name).__path__))).resolve()


def check_ownership() -> Iterator[Finding]:
    """Check that ``common``, ``alice`` and ``bob`` are all ours: in one place, and shipped by no other distribution."""
    folders = {name: _folder(name) for name in OURS}
    if len({folder.parent for folder in folders.values()}) > 1:
        places = ", ".join(f"{name} from {folder}" for name, folder in folders.items())
        yield fail("own packages", places, "another distribution replaced one of them: install qkdlink into an environment of its own")
    shippers = {name: set(packages_distributions().get(name, [])) - {DISTRIBUTION} for name in OURS}
    strangers = sorted(f"{name} is shipped by {', '.join(sorted(others))} too" for name, others in shippers.items() if others)
    if strangers:
        yield fail("own packages", "; ".join(strangers), "files may be mixed: install qkdlink into an environment of its own")
    elif len({folder.parent for folder in folders.values()}) == 1:
        yield ok("own packages", f"{', '.join(OURS)} from {folders['common'].parent}")


def check_shadows() -> Iterator[Finding]:
    """Check where a Python that is started in this folder would import our packages from.

    Yields
    ------
    Finding
        One.
    """
    ran = subprocess.run(  # noqa: S603 - our own interpreter and a constant program
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
    )
    if ran.returncode:
        yield warn("working directory", f"Python does not start here: {ran.stderr.strip()[-200:]}", "change to another folder")
        return
    found: dict[str, list[str | None] | None] = json.loads(ran.stdout)
    shadows = {
        name: places for name, places in found.items() if places and [Path(str(place)).resolve() for place in places] != [_folder(name)]
    }
    missing = [name for name, places in found.items() if not places]
    if shadows:
        text = "; ".join(f"{name} would be imported from {places[0]}" for name, places in shadows.items())
        yield fail("working directory", text, "start from another folder, set PYTHONSAFEPATH=1, or clear PYTHONPATH")
    elif missing:
        yield warn(
            "working directory",
            f"Python started here finds no {', '.join(missing)}",
            "install qkdlink into this environment (make demo does)",
        )
    else:
        yield ok("working directory", "nothing here shadows our packages")


def check_kernel_cache() -> Iterator[Finding]:
    """Check that compiled kernels can be kept, are kept where they should be, and are not stale.

    Yields
    ------
    Finding
        One.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    name = "kernel cache"
    advice = "set NUMBA_CACHE_DIR to a folder that this user can write and that belongs to this version alone"
    try:
        from common.kernels.syndrome import add_syndromes
    except RuntimeError as error:  # numba found no place at all
        yield fail(name, str(error), advice)
        return
    stats = getattr(add_syndromes, "stats", None)
    if stats is None:
        yield warn(
            name,
            "kernels are not compiled: NUMBA_DISABLE_JIT is set",
            "unset NUMBA_DISABLE_JIT; uncompiled kernels are a thousand times slower",
        )
        return
    folder = Path(str(stats.cache_path))
    if chosen and not folder.resolve().is_relative_to(Path(chosen).resolve()):
        yield fail(name, f"NUMBA_CACHE_DIR={chosen} cannot be written, so kernels go to {folder}", advice)
        return
    if not _writable(folder):
        yield fail(name, f"{folder} cannot be written, so every start compiles anew", advice)
        return
    stale = stale_kernels(_folder("common") / "kernels", folder)
    if stale:
        yield warn(
            name, f"compiled before a module they use changed: {', '.join(stale)}", f"remove {folder}; numba does not notice by itself"
        )
    else:
        yield ok(name, f"{folder}, compiled by numba {version('numba')} for this processor")


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def stale_kernels(sources: Path, cache: Path) -> list[str]:
    """Find modules whose compiled kernels numba would use although a module they import from is newer.

    Parameters
    ----------
    sources : Path
        Folder of the kernels' sources.
    cache : Path
        Folder of their compiled forms.

    Returns
    -------
    list[str]
        Names of modules, sorted.
    """
    changed = {path.stem: path.stat().st_mtime for path in sources.glob("*.py")}
    stale = set()
    for index in cache.glob("*.nbi"):
        module, compiled = index.name.partition(".")[0], index.stat().st_mtime
        if module not in changed or compiled < changed[module]:
            continue  # numba sees that this file itself has changed
        helpers = re.findall(r"^from common\.kernels\.(\w+) import", (sources / f"{module}.py").read_text(encoding="utf-8"), re.MULTILINE)
        if any(changed.get(helper, 0.0) > compiled for helper in helpers):
            stale.add(module)
    return sorted(stale)


def check_profiles(link: str | None) -> Iterator[Finding]:
    """Check link profiles, down to the epsilons.

    Parameters
    ----------
    link : str | None
        Name or file of one profile; None for those that come with qkdlink.

    Yields
    ------
    Finding
        One for each profile.
    """
    from common.distillation.recipe import Recipe
    from common.profiles.link import load_profile, profile_names

    for name in [link] if link else profile_names():
        try:
            profile = load_profile(name)
            recipe = Recipe.of(profile)
        except QkdError as error:
            yield fail("link profile", str(error), "mend the entry it names; docs/reference lists them")
        else:
            block = f"{recipe.target_detections:,} detections to a block of {profile.security.block_bits:,} bits"
            yield ok("link profile", f"{profile.name}: {profile.title}, {block}, {recipe.method}")
