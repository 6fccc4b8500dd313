"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from common.errors import ConfigurationError

if TYPE_CHECKING:
    from common.timetags.reading import Reading, ReadingOptions

F = TypeVar("F", bound=Callable[..., Any])


def link_options(function: F) -> F:
    """Add ``--link`` and ``--set`` to the command ``function``."""
    function = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Change one entry of the link profile; may be repeated, for example --set channel.loss_db=10.",
    )(function)
    return click.option("--link", required=True, metavar="NAME|FILE", help="Link profile: a name that comes with qkdlink, or a TOML file.")(
        function
    )


def json_option(function: F) -> F:
    """Add ``--json`` to the command ``function``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)


def recording_options(function: F) -> F:
    """Add to the command ``function`` what a recording may not say itself: ``--format`` and ``--unit``."""
    function = click.option(
        "--unit", default=None, metavar="UNIT", help="Unit of the times in CSV, text and npy: ps, ns, us, ms, s, or 80.955ps."
    )(function)
    return click.option(
        "--format", "format_name", default=None, metavar="NAME", help="Format of the recording, where its ending misleads."
    )(function)


def reading_options(format_name: str | None, unit: str | None, **named: Any) -> ReadingOptions:
    """Put together what the options of a command say of a recording.

    Parameters
    ----------
    format_name, unit : str | None
        From ``recording_options``.
    **named : Any
        Other fields of ``ReadingOptions``.

    Returns
    -------
    ReadingOptions
        For ``common.timetags.recording``.
    """
    from common.timetags.reading import ReadingOptions, parse_unit

    return ReadingOptions(unit_ps=None if unit is None else parse_unit(unit), format_name=format_name, **named)


def parse_detectors(text: str | None) -> tuple[int, ...] | None:
    """Read channel numbers.

    Parameters
    ----------
    text : str | None
        ``A,B``; None where the option was left out.

    Returns
    -------
    tuple[int, ...] | None
        Numbers in the order they were written.

    Raises
    ------
    ConfigurationError
        If it is not of this form, or a number stands there twice.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) <= 255 for part in parts) or len(set(parts)) != len(parts):
        raise ConfigurationError(f"--detectors {text!r}: write channel numbers, each once, for example 1,2")
    return tuple(int(part) for part in parts)


def echo_reading(name: str, reading: Reading) -> None:
    """Say on standard error what was put right in the recording ``name``, according to ``reading``."""
    for sentence in reading.sentences():
        click.echo(f"{name}: {sentence}", err=True)


EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""A file that must exist."""

FOLDER = click.Path(file_okay=False, path_type=Path)
"""A folder, made where it is missing."""
