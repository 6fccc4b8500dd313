"""The configuration file of ``qkd-fibre``, with every key it knows.

Read and checked like a node's file; paths count from the folder of the file. ``docs/reference/streams`` shows one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from common.emulator.eavesdropper import eavesdropper_from_text
from common.emulator.link import LONGEST_SECONDS
from common.errors import ConfigurationError
from common.service.settings import FileSettings, LogSection, Section

Positive = Annotated[float, Field(gt=0.0)]


class FibreSection(Section):
    """What is emulated, and how fast.

    Attributes
    ----------
    link : str
        Profile: a file, or the name of one that comes with the project.
    seed : int | None
        Seeds the physics; Alice's settings are always drawn afresh. None: every run is different.
    max_link_seconds : float | None
        Time of sending after which the streams end; None: until somebody stops us.
    speed : float | None
        Seconds of link a second; None: as fast as the consumers.
    pausable : bool
        Whether the link waits for consumers that are slow or absent; else they miss what was sent meanwhile.
    stretch_seconds : float
        Time of sending that is emulated at a time at most, and so the longest until a change of an actuator shows.
    eve : str | None
        Eavesdropper at the beginning.
    """

    link: str = "link.toml"
    seed: int | None = None
    max_link_seconds: Annotated[float, Field(gt=0.0, le=LONGEST_SECONDS)] | None = None
    speed: Positive | None = None
    pausable: bool = True
    stretch_seconds: Annotated[float, Field(ge=1e-3, le=60.0)] = 1.0
    eve: str | None = None

    @field_validator("eve")
    @classmethod
    def _known(cls, text: str | None) -> str | None:
        try:
            if text is not None:
                eavesdropper_from_text(text)
        except ConfigurationError as wrong:
            raise ValueError(str(wrong)) from None
        return text


class ServeSection(Section):
    """Where streams and actuators are served: ``unix:PATH`` or ``tcp://HOST:PORT``.

    Attributes
    ----------
    alice, bob : str
        Emission for Alice, time tags for Bob.
    control : str
        Actuators.
    """

    alice: Annotated[str, Field(pattern=r"^(unix:.+|tcp://\S+:\d+)$")] = "unix:run/alice.sock"
    bob: Annotated[str, Field(pattern=r"^(unix:.+|tcp://\S+:\d+)$")] = "unix:run/bob.sock"
    control: Annotated[str, Field(pattern=r"^(unix:.+|tcp://\S+:\d+)$")] = "unix:run/control.sock"


class ArrivalsSection(Section):
    """A recorded run to be played in place of an emulation: the files ``emission`` and ``tags``."""

    emission: Path
    tags: Path


class FibreSettings(FileSettings):
    """All of the file.

    Attributes
    ----------
    fibre, serve, log : Section
        Its tables.
    arrivals : ArrivalsSection | None
        Present where a recorded run is played.
    """

    fibre: FibreSection = FibreSection()
    serve: ServeSection = ServeSection()
    arrivals: ArrivalsSection | None = None
    log: LogSection = LogSection()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.arrivals is not None and (self.fibre.eve is not None or self.fibre.seed is not None):
            raise ValueError("arrivals are played as they were recorded: leave out fibre.eve and fibre.seed")
        return self
