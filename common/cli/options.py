"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

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


EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""A file that must exist."""

FOLDER = click.Path(file_okay=False, path_type=Path)
"""A folder, made where it is missing."""
