"""Drift compensation beside the link: hands disclosed errors to the stabiliser, and turns the actuators as it says.

Errors come step by step from what the session tells; actuators are asked over their socket (``common.service.actuators``). Steps are dated
by their slots, on Alice's clock, on which the emulated fibre dates a turn as well; where a laboratory's server gives no date, whatever is
counted for a while after its answer is left out. Decides nothing itself: that is ``bob.stabiliser``.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import deque
from pathlib import Path
from typing import Any, Final

from bob.stabiliser import LAYOUTS, Disclosed, Sizes, Stabiliser
from common.distillation.recipe import Recipe
from common.distillation.steps import StepReport
from common.distillation.values import BlockOutcome
from common.errors import ConfigurationError, StreamError
from common.observability.logs import SparingLogger, logger
from common.profiles.link import LinkProfile
from common.service.actuators import ActuatorClient
from common.service.settings import StabiliserSection
from common.service.streams import StreamAddress

RETRY_SECONDS: Final = 2.0
"""Pause before actuators that did not answer, or refused, are asked again."""

MOST_RECENT: Final = 64
"""Decisions remembered."""


def sizes_of(section: StabiliserSection) -> Sizes:
    """Return what a ``section`` of the configuration says about counts and levels."""
    return Sizes(section.acquire_bits, section.track_bits, section.gain, section.good_qber, section.lost_qber)


class Stabilising:
    """Bob's drift compensation, started and stopped with his node.

    Parameters
    ----------
    section : StabiliserSection
        Where the actuators are, and how much is looked at.
    profile : LinkProfile
        The link.
    folder : Path
        Relative paths begin here.

    Raises
    ------
    ConfigurationError
        If the address is none, or the link discloses nothing of a basis that has to be looked at.
    """

    def __init__(self, section: StabiliserSection, profile: LinkProfile, folder: Path) -> None:
        layout = LAYOUTS[profile.encoding]
        if any(Recipe.of(profile).test_fractions[basis] == 0.0 for basis in layout.bases):
            raise ConfigurationError(
                f"stabiliser: link {profile.name!r} discloses nothing of Z, and a polarisation is not known by its errors in X alone; "
                "set security.test_fraction, for example to 0.1, in the link profile at both ends"
            )
        self._section = section
        self._client = ActuatorClient(StreamAddress.parse(section.address, folder))
        self._names = tuple(knob.name for knob in layout.knobs)
        self._stabiliser = Stabiliser(layout, sizes_of(section))
        self._seconds_per_slot = 1.0 / profile.source.clock_hz
        self._seconds_per_frame = profile.security.frame_pulses * self._seconds_per_slot
        self._last_step = (-1, -1)
        self._last_seconds = 0.0
        self._standing: dict[str, float] = {}
        self._acts_from_seconds = 0.0
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._problem = ""
        self._log = SparingLogger("drift")
        self._recent: deque[dict[str, Any]] = deque(maxlen=MOST_RECENT)

    async def start(self) -> None:
        """Begin to turn."""
        self._due.set()
        self._task = asyncio.create_task(self._turn())

    async def stop(self) -> None:
        """Turn nothing any more; everything stays where it stands."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._client.close()

    async def reload(self) -> None:
        """Nothing of it can be read again."""

    def note_block(self, outcome: BlockOutcome) -> None:
        """Leave a block, ``outcome``, alone: its steps were told of before."""

    def note_step(self, step: StepReport) -> None:
        """Take in what a step disclosed.

        Parameters
        ----------
        step : StepReport
            Told of for the first time; what is told of it later is left alone.
        """
        if (step.block, step.step) <= self._last_step:
            return
        self._last_step = (step.block, step.step)
        first_seconds = step.first_slot * self._seconds_per_slot
        is_new_run = first_seconds < self._last_seconds - self._seconds_per_frame
        self._last_seconds = first_seconds + step.frames * self._seconds_per_frame
        if is_new_run:  # another time scale, and plates that may stand elsewhere
            self._standing, self._acts_from_seconds = {}, 0.0
            self._stabiliser.unsettled()
            self._due.set()
            return
        before = self._stabiliser.decision
        if self._stabiliser.note(Disclosed(step.tested, step.errors, first_seconds, self._last_seconds)):
            self._due.set()
        if self._stabiliser.decision != before:
            self._remember()

    def report(self) -> dict[str, Any]:
        """Say how it does.

        Returns
        -------
        dict
            State, decision, error rate and its deviation, positions, counts, the newest decisions, and what is wrong with the actuators.
        """
        stabiliser = self._stabiliser
        return {
            "state": stabiliser.state,
            "decision": stabiliser.decision,
            "qber": stabiliser.cost.qber if stabiliser.cost else None,
            "sigma": stabiliser.cost.sigma if stabiliser.cost else None,
            "positions": {name: round(position, 6) for name, position in self._standing.items()},
            "problem": self._problem,
            "counts": dataclasses.asdict(stabiliser.counts),
            "actuators": dataclasses.asdict(self._client.counts),
            "recent": list(self._recent),
        }

    def _remember(self) -> None:
        stabiliser = self._stabiliser
        qber = stabiliser.cost.qber if stabiliser.cost else None
        self._recent.append({"link_seconds": self._last_seconds, "state": stabiliser.state, "decision": stabiliser.decision, "qber": qber})
        logger("drift").debug("decided", decision=stabiliser.decision, state=stabiliser.state, qber=qber)

    async def _turn(self) -> None:
        """Turn what has to be turned, again and again until the actuators have done it."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                acts_from = await self._turned()
            except (ConfigurationError, StreamError) as problem:
                self._problem = str(problem)
                self._log.warning("actuators", error=self._problem)
                await asyncio.sleep(RETRY_SECONDS)
                self._due.set()
                continue
            self._problem = ""
            if acts_from is None:
                await asyncio.sleep(self._section.settle_seconds)
                acts_from = self._last_seconds
            if not self._due.is_set():
                self._stabiliser.settled(acts_from)

    async def _turned(self) -> float | None:
        """Turn all that stands elsewhere; since when it stands, or None where the server does not know."""
        wanted, is_dated = self._stabiliser.positions, True
        for name in self._names:
            if self._standing.get(name) == wanted[name]:
                continue
            reached = await self._client.set(name, wanted[name])
            self._standing[name] = wanted[name]
            is_dated = is_dated and reached.link_seconds is not None
            self._acts_from_seconds = max(self._acts_from_seconds, reached.link_seconds or 0.0)
        return self._acts_from_seconds if is_dated else None
