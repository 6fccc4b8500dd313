"""Progress on standard error for anything that may take longer than two seconds; standard output stays for results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

PLAIN_SECONDS = 5.0
"""How often a line is written where standard error is no terminal."""


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a link has come.

    Attributes
    ----------
    link_seconds : float
        Time of sending in the blocks so far.
    sifted_bits : int
        Bits in both bases.
    qber : dict[str, float | None]
        Errors found so far over bits, by basis.
    secret_bits, blocks : int
        Key that both ends hold, and blocks that have ended.
    state : str
        Of the session.
    """

    link_seconds: float
    sifted_bits: int
    qber: dict[str, float | None]
    secret_bits: int
    blocks: int
    state: str

    def line(self, wanted_bits: int) -> str:
        """Return it as one line; ``wanted_bits`` are wanted."""
        if not self.sifted_bits:
            return f"session {self.state}"
        qber = ", ".join(f"{name} {value:.2%}" for name, value in self.qber.items() if value is not None) or "not measured yet"
        blocks = f"{self.blocks} block{'' if self.blocks == 1 else 's'}"
        return (
            f"{self.link_seconds:.1f} s of link, {self.sifted_bits} sifted bits, QBER {qber}, "
            f"{blocks}, {self.secret_bits} of {wanted_bits} secret bits"
        )

    def short_line(self, wanted_bits: int) -> str:
        """Return it for a narrow terminal, beside a bar; ``wanted_bits`` are wanted."""
        if not self.sifted_bits:
            return f"session {self.state}"
        qber = " ".join(f"{name} {value:.1%}" for name, value in self.qber.items() if value is not None) or "–"
        sifted = f"{self.sifted_bits / 1000:.0f}k sifted"
        return f"{self.link_seconds:.0f} s, {sifted}, QBER {qber}, {self.secret_bits}/{wanted_bits} secret bits"


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


@contextmanager
def link_progress(wanted_bits: int, expected_seconds: float, *, quiet: bool = False) -> Iterator[Callable[[Moment], None]]:
    """Show how a link comes along: a bar on a terminal, elsewhere a line whenever a block has ended and every few seconds.

    Parameters
    ----------
    wanted_bits : int
        Secret bits wanted.
    expected_seconds : float
        Link time they should take; the length of the bar.
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        To be called with every new ``Moment``.
    """
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda _moment: None
    elif console.is_terminal:
        columns = (SpinnerColumn(), BarColumn(10), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("the nodes meet", total=expected_seconds)
            yield lambda moment: progress.update(
                task, description=moment.short_line(wanted_bits), completed=min(moment.link_seconds, expected_seconds)
            )
    else:
        last: list[tuple[float, int, str]] = [(time.monotonic(), 0, "")]

        def write(moment: Moment) -> None:
            written_at, blocks, text = last[0]
            if moment.blocks == blocks and time.monotonic() - written_at < PLAIN_SECONDS:
                return
            line = moment.line(wanted_bits)
            if line != text:
                console.print(line, soft_wrap=True)
            last[0] = time.monotonic(), moment.blocks, line

        yield write
