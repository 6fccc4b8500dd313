"""Credentials of systemd: secrets that the service manager reads as root and shows to one service alone.

A unit says ``LoadCredential=NAME:FILE``; the service finds ``NAME`` in a folder that exists for it only, for as long as it runs. Settings
name such a file ``credential:NAME``. The key store and the service read their secrets through here.

References
----------
systemd.exec(5), ``LoadCredential=``. Where the folder knows access lists, the service is named in one, and the group's bits of
the mode are the mask of that list.
"""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import ConfigurationError

CREDENTIAL = "credential:"
"""What the name of a credential begins with in settings."""

GROUP_AND_OTHERS = 0o077
"""Permission bits that no file of keys may have."""

OTHERS = 0o007
"""Permission bits that no credential may have."""


def credential_path(source: str) -> Path:
    """Return where systemd has put a credential.

    Parameters
    ----------
    source : str
        ``credential:NAME``.

    Returns
    -------
    Path
        The file; whether it is there is found out by whoever reads it.

    Raises
    ------
    ConfigurationError
        If we were not started with credentials, or the name is none.
    """
    name, folder = source.removeprefix(CREDENTIAL), os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder or not name or Path(name).name != name:
        raise ConfigurationError(f"{source!r}: no such systemd credential; set LoadCredential={name}:FILE in the unit")
    return Path(folder) / name


def forbidden_bits(path: Path) -> int:
    """Return the permission bits that a file of keys at ``path`` must not have: fewer for a credential, whose folder is ours alone."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return OTHERS if folder and path.parent == Path(folder) else GROUP_AND_OTHERS
