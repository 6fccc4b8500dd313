"""What is checked before a service starts, so that a bad start leaves nothing half-started: one line that says what, where and what to do.

Also what a process that holds keys forbids itself (core dumps, files for others), and what it does with its memory once all is loaded.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
from pathlib import Path
from types import ModuleType

import common
from common.distillation.recipe import Recipe
from common.errors import ConfigurationError
from common.observability.logs import logger
from common.profiles.link import LinkProfile, load_profile
from common.service.hardening import forbid_dumps
from common.service.settings import NodeSettings


def check_packages(package: ModuleType | None = None) -> None:
    """Refuse to run with a ``common``, or another ``package``, that is not ours.

    Parameters
    ----------
    package : module | None
        The package of the node.

    Raises
    ------
    ConfigurationError
        If packages come from different places: another distribution, or the working directory, hides one of ours.
    """
    ours = Path(__file__).resolve().parents[2]
    for module in (common, *([package] if package else [])):
        found = Path(module.__file__ or "").resolve().parent
        if found != ours / module.__name__:
            raise ConfigurationError(
                f"package {module.__name__!r} comes from {found}, not from {ours / module.__name__}: another project hides it; run from an "
                "environment of its own with PYTHONSAFEPATH=1"
            )


def harden() -> None:
    """Forbid core dumps and tracing, and files that others can read: what this process holds must not outlive it."""
    os.umask(0o077)
    try:
        forbid_dumps()
    except OSError as refused:
        logger("startup").warning("core dumps are not forbidden", error=refused.strerror)


def settle_memory() -> None:
    """Let the garbage collector work from here on, and leave what is loaded by now out of it.

    The mains switch it off while they import. What was imported stays to the end, a few hundred thousand objects; looking through all of
    them would hold every thread for a tenth of a second now and then.
    """
    gc.freeze()
    gc.enable()


def check_folder(path: Path, key: str) -> None:
    """Make sure that a folder is there and that we can write into it.

    Parameters
    ----------
    path : Path
        Created with mode 0700 where it is missing.
    key : str
        The key of the configuration that names it.

    Raises
    ------
    ConfigurationError
        If we cannot.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / f".writable-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as refused:
        raise ConfigurationError(f"{key} = {path}: {refused.strerror}; make it a folder that this user can write to") from None


def read_link(settings: NodeSettings) -> tuple[LinkProfile, Recipe]:
    """Read the link profile of a node and derive its recipe.

    Parameters
    ----------
    settings : NodeSettings
        Names the profile.

    Returns
    -------
    tuple[LinkProfile, Recipe]
        Both.

    Raises
    ------
    ConfigurationError
        If the profile is wrong, or is not the one that ``node.digest`` asks for.
    """
    profile = load_profile(str(settings.resolved(settings.node.link)))
    recipe = Recipe.of(profile)
    wanted, found = settings.node.digest, recipe.digest.hex()
    if wanted is not None and wanted != found:
        raise ConfigurationError(
            f"node.digest: {settings.node.link} has digest {found}, not {wanted}; restore the profile or correct the digest"
        )
    return profile, recipe


def version() -> str:
    """Return the version of this software, for the first line of the log."""
    try:
        return importlib.metadata.version("qkdlink")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
