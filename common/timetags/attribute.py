"""The JSON in the root attribute ``qkdlink``, which time tags and emission records share.

It states what the arrays of a file mean. It is read before anything else of a file, so this is where a file that is not ours, is
damaged, or comes from a later version is turned away.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import h5py

from common.errors import StreamError

ROOT_ATTRIBUTE: Final = "qkdlink"
"""Name of the root attribute."""

VERSION: Final = 1
"""Version of both formats."""


def open_hdf5(path: Path, what: str) -> h5py.File:
    """Open a file for reading.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What it should hold, for the message.

    Returns
    -------
    h5py.File
        Open; the caller closes it.

    Raises
    ------
    StreamError
        If the file is missing or not HDF5.
    """
    if not path.is_file():
        raise StreamError(f"{path}: no such {what}")
    try:
        return h5py.File(path, "r")
    except OSError:
        raise StreamError(f"{path}: not an HDF5 file, or cut short; a {what} is expected") from None


def parse_attribute(file: h5py.File, path: Path) -> dict[str, Any] | None:
    """Return the attribute of an open file.

    Parameters
    ----------
    file : h5py.File
        Open file.
    path : Path
        Its path, for messages.

    Returns
    -------
    dict or None
        The JSON object; None where the file has no such attribute.

    Raises
    ------
    StreamError
        If the attribute is not a JSON object or of another version.
    """
    text = file.attrs.get(ROOT_ATTRIBUTE)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (TypeError, ValueError, UnicodeDecodeError):
        raise StreamError(f"{path}: the root attribute {ROOT_ATTRIBUTE!r} is not JSON") from None
    if not isinstance(value, dict) or value.get("version") != VERSION:
        raise StreamError(f"{path}: the root attribute {ROOT_ATTRIBUTE!r} must be a JSON object of version {VERSION}")
    return value


def read_attribute(path: Path, what: str) -> tuple[dict[str, Any], h5py.File]:
    """Open a file that must carry the attribute.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What it should hold, for messages.

    Returns
    -------
    tuple[dict, h5py.File]
        The JSON object and the open file, which the caller closes.

    Raises
    ------
    StreamError
        If the file is missing, not HDF5, or has no such attribute.
    """
    file = open_hdf5(path, what)
    try:
        attribute = parse_attribute(file, path)
    except StreamError:
        file.close()
        raise
    if attribute is None:
        file.close()
        raise StreamError(f"{path}: no root attribute {ROOT_ATTRIBUTE!r}; a {what} states there what it holds")
    return attribute, file
