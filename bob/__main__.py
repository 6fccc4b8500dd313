"""``qkd-bob``: Bob's end of a link as a service.

Nothing of ours is imported before it is certain that it is ours: another project's ``common`` would break the start with a riddle.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import click

import common


@click.command("qkd-bob", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", required=True, type=click.Path(path_type=Path), help="Configuration file, TOML.")
def main(config: Path) -> None:
    r"""Run Bob's end of a link: time tags in, key out, in step with Alice.

    SIGTERM stops it within five seconds. Exit status 0 stopped as asked, 2 configuration, 3 peer, 5 authentication.

    \b
    Example:
      qkd-bob --config nodes/bob/config.toml
    """
    ours, found = Path(__file__).resolve().parent.parent / "common", Path(next(iter(common.__path__))).resolve()
    if found != ours:
        sys.stderr.write(f"qkd-bob: package 'common' comes from {found}, not from {ours}: another project hides it; set PYTHONSAFEPATH=1\n")
        sys.exit(2)
    from common.service.stopping import stop_while_starting

    stop_while_starting()
    gc.disable()  # what is imported stays: there is nothing to collect before the node is ready
    from bob.service import NODE
    from common.service.main import leave, run_service

    leave(run_service(NODE, config))


if __name__ == "__main__":
    main()
