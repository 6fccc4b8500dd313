"""Progress on standard error for anything that may take longer than two seconds; standard output stays for results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def step(title: str, *, quiet: bool = False) -> Iterator[None]:
    """Show ``title`` with the time it takes while the body runs.

    Parameters
    ----------
    title : str
        What is being done, in a few words.
    quiet : bool
        Show nothing.
    """
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield
    elif not console.is_terminal:
        console.print(title)
        yield
    else:
        with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
            progress.add_task(title)
            yield
