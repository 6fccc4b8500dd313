"""The emulated quantum channel as a service: configuration in, exit status out."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
from pathlib import Path

from common.emulator.eavesdropper import eavesdropper_from_text
from common.emulator.link import LONGEST_SECONDS, LinkEmulator
from common.emulator.process import Fibre
from common.emulator.settings import FibreSettings
from common.emulator.sources import EmulatedSource, RecordedSource, StretchSource, fresh_emission_key
from common.errors import QkdError
from common.kernels.loading import load_kernels
from common.observability.logs import configure_logs, logger
from common.profiles.link import load_profile
from common.service.exits import exit_status
from common.service.notify import notify, tell_of_life
from common.service.settings import load_settings
from common.service.startup import check_packages, harden


def run_fibre(path: Path) -> int:
    """Serve the link of a configuration until SIGTERM or SIGINT.

    Parameters
    ----------
    path : Path
        The configuration file.

    Returns
    -------
    int
        0 stopped as asked, 2 configuration, 1 anything else.
    """
    try:
        harden()
        check_packages()
        settings = load_settings(path, FibreSettings)
        configure_logs(settings.log.level, settings.log.format)
        load_kernels()
        asyncio.run(_serve(settings, source_of(settings)))
    except QkdError as refused:
        sys.stderr.write(f"qkd-fibre: {refused}\n")
        return exit_status(refused)
    return 0


def source_of(settings: FibreSettings) -> StretchSource:
    """Choose what is played.

    Parameters
    ----------
    settings : FibreSettings
        Checked.

    Returns
    -------
    StretchSource
        The recorded run where the settings name one, else the emulated link.
    """
    if settings.arrivals is not None:
        return RecordedSource(settings.resolved(settings.arrivals.emission), settings.resolved(settings.arrivals.tags))
    fibre = settings.fibre
    link = LinkEmulator(
        load_profile(str(settings.resolved(Path(fibre.link))) if fibre.link.endswith(".toml") else fibre.link),
        fibre.max_link_seconds or LONGEST_SECONDS,
        secrets.randbits(63) if fibre.seed is None else fibre.seed,
        eavesdropper_from_text(fibre.eve) if fibre.eve else None,
        stretch_seconds=fibre.stretch_seconds if fibre.speed is None else min(fibre.stretch_seconds, 0.2 * fibre.speed),
        emission_key=fresh_emission_key(),
    )
    return EmulatedSource(link)


async def _serve(settings: FibreSettings, source: StretchSource) -> None:
    """Serve until SIGTERM or SIGINT."""
    fibre = Fibre(settings, source)

    def ready() -> None:
        logger("fibre").info("ready", run=fibre.run_name)
        notify("READY=1")

    serving, living = asyncio.ensure_future(fibre.serve(ready)), asyncio.ensure_future(tell_of_life())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    finally:
        notify("STOPPING=1")
        living.cancel()
    logger("fibre").info("stopped", link_seconds=source.link_seconds)
