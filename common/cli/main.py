"""``qkd``: the commands by name, and the exit status every one of them keeps to."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from common.errors import QkdError
from common.service.exits import exit_status
from common.service.hardening import forbid_dumps

__all__ = ["COMMANDS", "exit_status", "main", "qkd", "run"]

COMMANDS = {
    "bench": "Measure the stages of the distillation on this machine.",
    "characterise": "Say what a source or a detector is worth, from its recordings.",
    "demo": "Show a link working: keys, and a picture through the one-time pad.",
    "distil": "Distil key from an emission record and a tag recording.",
    "doctor": "Check this machine and say what to do.",
    "figures": "Draw the publications' figures from formulas, and compare them with what was printed.",
    "keys": "Look at the key store of a running node, or take key out of it.",
    "otp": "Encrypt and decrypt files and pictures with the one-time pad.",
    "provision": "Write configuration, keys and certificates of a link.",
    "rate": "Plan a link: how much key it should give, and why not more.",
    "simulate": "Emulate a link and write what each end would record.",
    "status": "Ask a running node how it does.",
    "strongswan": "Give IPsec connections of strongSwan fresh keys, both ends in step.",
    "wireguard": "Give the peers of WireGuard interfaces fresh keys, both ends in step.",
}
"""Commands by name, each in the module of its name; the help of ``qkd`` shows them without importing any."""


class _LazyGroup(click.Group):
    """Imports the module of a command when the command is called."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"common.cli.{name}").command
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qkdlink", prog_name="qkd")
def qkd() -> None:
    """Quantum key distribution from detector clicks to a one-time pad.

    \b
    Example:
      qkd simulate --link niedersachsen --seconds 20 --out run
      qkd distil --link niedersachsen --alice run/alice/emission.h5 --bob run/bob/tags.h5 --out keys
    """


def main(arguments: list[str] | None = None) -> None:
    """Run ``qkd`` in a process of its own, of which nobody takes a dump, and exit.

    Parameters
    ----------
    arguments : list[str] | None
        In place of the command line.
    """
    try:
        forbid_dumps()
    except OSError as refused:
        click.echo(f"qkd: core dumps are not forbidden: {refused.strerror}", err=True)
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run ``qkd`` and return its exit status.

    Parameters
    ----------
    arguments : list[str] | None
        In place of the command line.

    Returns
    -------
    int
        0 done, 2 wrong usage or configuration, 3 link or peer, 4 keys exhausted, 5 authentication, 1 anything else.
    """
    try:
        result: Any = qkd.main(args=arguments, prog_name="qkd", standalone_mode=False)
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 1
    except QkdError as error:
        click.echo(f"qkd: {error}", err=True)
        return exit_status(error)
    except OSError as error:  # a disk that is full, a folder that may not be written: the system's own words and where
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"qkd: {where}{error.strerror or error}: nothing more was done", err=True)
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
