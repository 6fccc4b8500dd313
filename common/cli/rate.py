"""``qkd rate``: the planner at a point, along a sweep, at the best settings, and in two proofs side by side."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click

from common.cli.options import json_option, link_options
from common.cli.sweeping import executor_options, open_executor, point_progress
from common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from common.planning.optimisation import Optimum
    from common.planning.rate import RatePoint
    from common.profiles.link import LinkProfile

MOST_POINTS = 100_000
"""Points of a sweep at most."""

_Mode = Literal["composable", "paper"]
_Answer = tuple["RatePoint", dict[str, Any] | None]
"""A point, and what was chosen if something was."""


STARTS = 2
"""Searches of --optimise unless told."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """What --optimise may choose, and how often it searches.

    Attributes
    ----------
    over : tuple[str, ...]
        Entries the user names; without any what is usual for the link, apart from what is swept.
    swept : str
        Entry of the sweep, or empty.
    starts : int
        Independent searches.
    """

    over: tuple[str, ...]
    swept: str
    starts: int

    def names(self, profile: LinkProfile, mode: _Mode) -> tuple[str, ...]:
        """Return what is chosen on this ``profile`` with a proof of this ``mode``."""
        from common.planning.search_space import default_over

        return self.over or tuple(name for name in default_over(profile, mode) if name != self.swept)

    def check(self, profile: LinkProfile, mode: _Mode) -> None:
        """Refuse what cannot be chosen on this ``profile`` with a proof of this ``mode``."""
        from common.planning.search_space import search_space

        search_space(profile, self.names(profile, mode), mode)


@click.command("rate")
@link_options
@click.option("--source", type=click.Choice(["single-photon", "decoy"]), default=None, help="Another source on the same link.")
@click.option("--loss-db", type=float, default=None, metavar="X", help="Loss of the channel, decibels.")
@click.option("--block-bits", type=int, default=None, metavar="N", help="Sifted key bits of a block.")
@click.option("--asymptotic", is_flag=True, help="An endless block in place of a finite one.")
@click.option("--proof", default="composable", metavar="composable|paper|NAME", help="What gives the length.", show_default=True)
@click.option("--compare", "compare", is_flag=True, help="Composable and paper length of the same counts, term by term.")
@click.option("--optimise", "optimise", is_flag=True, help="Choose the best settings first.")
@click.option("--over", multiple=True, metavar="NAME[=LOW:HIGH]", help="What --optimise may choose; may be repeated.")
@click.option("--starts", type=click.IntRange(min=1), default=None, help="Independent searches of --optimise; 2 unless told.")
@click.option("--sweep", "swept", default=None, metavar="NAME=START:STOP:COUNT[:log]", help="Many values of one entry of the profile.")
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Write the sweep to a file.")
@executor_options
@json_option
def command(
    *,
    link: str,
    settings: tuple[str, ...],
    source: Literal["single-photon", "decoy"] | None,
    loss_db: float | None,
    block_bits: int | None,
    asymptotic: bool,
    proof: str,
    compare: bool,
    optimise: bool,
    over: tuple[str, ...],
    starts: int | None,
    swept: str | None,
    csv_path: Path | None,
    workers: int | None,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Say how much key a link should give: QBER, bounds, bits a pulse and a second, and where every bit goes.

    Nothing is simulated: expected counts go through the formula that decides live keys, or through that of a publication (--proof paper).

    \b
    Example:
      qkd rate --link niedersachsen --loss-db 20 --block-bits 1000000
      qkd rate --link hefei --source decoy --optimise
      qkd rate --link hbn --compare
      qkd rate --link niedersachsen --sweep channel.loss_db=0:30:16 --csv rate.csv
    """
    from common.cli import rate_text
    from common.planning.rate import compared
    from common.planning.settings import with_entries

    if swept is None and (csv_path, workers, dask_address) != (None, None, None):
        raise ConfigurationError("--csv, --workers and --dask belong to a sweep: name the entry with --sweep")
    if (over or starts is not None) and not optimise:
        raise ConfigurationError("--over and --starts say how --optimise chooses: add --optimise")
    _refuse_twice(settings, swept, over, loss_db=loss_db, block_bits=block_bits, asymptotic=asymptotic)
    profile, mode = _profile(link, settings, source, loss_db, proof)
    if compare:
        if optimise or swept:
            raise ConfigurationError("--compare sets two proofs of one block side by side: leave --optimise and --sweep out")
        both = compared(profile, asymptotic=asymptotic, block_bits=block_bits)
        click.echo(json.dumps(rate_text.comparison_json(*both)) if as_json else rate_text.comparison(*both))
        return
    name, values = ("", []) if swept is None else _values(profile, swept)
    profiles = [with_entries(profile, {name: value}) for value in values] or [profile]
    choice = _Choice(over, name, starts or STARTS) if optimise else None
    if choice:
        choice.check(profiles[0], mode)  # before anything is said to be going on
    evaluate = partial(_evaluate, mode=mode, asymptotic=asymptotic, block_bits=block_bits, choice=choice)
    if swept is None:
        point, chosen = _alone(profile, evaluate, quiet=not optimise)
        click.echo(json.dumps(_json(point, chosen)) if as_json else rate_text.answer(point, chosen))
        return
    with (
        _csv_file(csv_path) as file,
        open_executor(workers, dask_address) as executor,
        point_progress(f"sweeping {name}") as progress,
    ):
        from common.planning.sweeps import sweep

        answers = sweep(profiles, evaluate, executor, progress)
        if file is not None:
            _write_csv(file, name, values, answers)
    if as_json:
        click.echo(json.dumps([{"swept": {name: value}} | _json(*answer) for value, answer in zip(values, answers, strict=True)]))
    else:
        click.echo(rate_text.sweep_table(name, values, answers))


def _refuse_twice(
    settings: Sequence[str], swept: str | None, over: Sequence[str], *, loss_db: float | None, block_bits: int | None, asymptotic: bool
) -> None:
    """Refuse two options that decide the same entry: one would silently undo what the other says."""
    decided = {
        "--loss-db": {"channel.loss_db"} if loss_db is not None else set(),
        "--block-bits": {"security.block_bits"} if block_bits is not None else set(),
        "--asymptotic": {"security.block_bits"} if asymptotic else set(),
        "--set": {text.partition("=")[0] for text in settings},
        "--over": {text.partition("=")[0] for text in over},
        "--sweep": set() if swept is None else {swept.partition("=")[0]},
    }
    for one, other in combinations(decided, 2):
        both = decided[one] & decided[other]
        if both and (one, other) != ("--set", "--over"):  # a search may begin at what is set
            raise ConfigurationError(f"{one} and {other}: each decides {min(both)}, leave one of the two out")


def _profile(
    link: str, settings: Sequence[str], source: Literal["single-photon", "decoy"] | None, loss_db: float | None, proof: str
) -> tuple[LinkProfile, _Mode]:
    """Put the profile together; what the user sets comes last, also on top of another source."""
    from common.planning.settings import source_entries
    from common.profiles.link import load_profile
    from common.security.proofs.registry import PaperProof, find_proof

    switched = source_entries(load_profile(link), source) if source else {}
    changes = [f"{name}={json.dumps(value)}" for name, value in switched.items()]
    changes += settings
    if loss_db is not None:
        changes.append(f"channel.loss_db={loss_db}")
    profile = load_profile(link, changes)
    if proof == "composable":
        return profile, "composable"
    if proof == "paper":
        return profile, "paper"
    if isinstance(find_proof(profile.protocol, proof), PaperProof):
        return replace(profile, security=replace(profile.security, paper_proof=proof)), "paper"
    return replace(profile, security=replace(profile.security, proof=proof)), "composable"


def _evaluate(
    profile: LinkProfile,
    *,
    mode: _Mode,
    asymptotic: bool,
    block_bits: int | None,
    choice: _Choice | None,
) -> _Answer:
    """Answer for one profile, at its own settings or at the best ones."""
    from common.planning.rate import rate_point

    if choice is None:
        return rate_point(profile, mode=mode, asymptotic=asymptotic, block_bits=block_bits), None
    from common.planning.optimisation import optimise

    over, starts = choice.names(profile, mode), choice.starts
    best: Optimum = optimise(profile, over, mode=mode, asymptotic=asymptotic, block_bits=block_bits, starts=starts)
    return best.point, best.to_json()


def _alone(profile: LinkProfile, evaluate: partial[_Answer], *, quiet: bool) -> _Answer:
    if quiet:
        waiting = nullcontext()
    else:
        from common.cli.progress import step

        waiting = step(f"choosing the best settings of {profile.title}")  # type: ignore[assignment]
    with waiting:
        return evaluate(profile)


def _values(profile: LinkProfile, swept: str) -> tuple[str, list[float]]:
    """Read ``NAME=START:STOP:COUNT``, with ``:log`` behind it for equal ratios in place of equal steps."""
    from common.planning.settings import entries

    name, _, text = swept.partition("=")
    wrong = ConfigurationError(f"--sweep {swept!r}: write NAME=START:STOP:COUNT, for example channel.loss_db=0:30:16, and :log for ratios")
    spaced = text.split(":")
    logarithmic = spaced[-1] == "log"
    try:
        start, stop, count = float(spaced[0]), float(spaced[1]), int(spaced[2])
    except (ValueError, IndexError):
        raise wrong from None
    if len(spaced) != 3 + logarithmic or not 1 <= count <= MOST_POINTS or not isfinite(stop - start):
        raise wrong
    if logarithmic and not 0.0 < start * stop:
        raise ConfigurationError(f"--sweep {swept!r}: ratios need START and STOP of one sign, neither 0")
    known = entries(profile)
    if name not in known or isinstance(known[name], (str, tuple)):
        raise ConfigurationError(f"--sweep {swept!r}: {name!r} is no number of a link profile; choose one such as channel.loss_db")
    shares = [index / (count - 1) if count > 1 else 0.0 for index in range(count)]
    values = [start * (stop / start) ** share if logarithmic else start + (stop - start) * share for share in shares]
    return name, [round(value) for value in values] if isinstance(known[name], int) else values


def _json(point: RatePoint, chosen: dict[str, Any] | None) -> dict[str, Any]:
    return point.to_json() | ({"optimised": chosen} if chosen else {})


_COLUMNS = (
    "secret_bits_per_pulse",
    "secret_bits_per_second",
    "secret_bits",
    "pulses",
    "phase_error_bound",
    "multi_photon_bound",
    "detection_probability",
)


@contextmanager
def _csv_file(path: Path | None) -> Iterator[TextIO | None]:
    """Open the file before anything is computed for it."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", newline="", encoding="utf-8")
    except OSError as refused:
        raise ConfigurationError(f"--csv {str(path)!r}: {refused.strerror}; name a file that can be written") from None
    with file:
        yield file


def _write_csv(file: TextIO, name: str, values: Sequence[float], answers: Sequence[_Answer]) -> None:
    chosen_names = sorted({entry for _, chosen in answers if chosen for entry in chosen["parameters"]})
    writer = csv.writer(file)
    writer.writerow([name, *_COLUMNS, "qber_z", "qber_x", *chosen_names, "reason"])
    for value, (point, chosen) in zip(values, answers, strict=True):
        numbers = [getattr(point, column) for column in _COLUMNS]
        settings = [chosen["parameters"][entry] if chosen else None for entry in chosen_names]
        writer.writerow([value, *numbers, point.qber["Z"], point.qber["X"], *settings, point.reason])
