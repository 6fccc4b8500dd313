"""``qkd-fibre``: the emulated quantum channel as a service."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from common.service.stopping import stop_while_starting


@click.command("qkd-fibre")
@click.option("--config", "path", required=True, type=click.Path(path_type=Path), help="Configuration file, TOML.")
def main(path: Path) -> None:
    r"""Emulate the quantum channel and serve it: emission to Alice, time tags to Bob, actuators to both.

    \b
    Example:
      qkd-fibre --config nodes/fibre/config.toml
    """
    stop_while_starting()
    from common.emulator.service import run_fibre

    sys.exit(run_fibre(path))


if __name__ == "__main__":
    main()
