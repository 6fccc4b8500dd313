"""``qkd doctor``: checks the machine and says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import click

from common.cli.options import EXISTING_FILE, json_option


@click.command("doctor")
@click.option("--link", default=None, metavar="NAME|FILE", help="Check this link profile too; without it those that come with qkdlink.")
@click.option("--config", default=None, type=EXISTING_FILE, help="Check the node of this configuration too, and what it names.")
@json_option
def command(*, link: str | None, config: Path | None, as_json: bool) -> int:
    """Check whether qkdlink can run well here: packages, processor, caches, entropy, clock, memory, limits, link profiles.

    With --config also a node: its settings, link, secrets and folders; the certificates, applications and revoked certificates of its
    key delivery; and whether its service runs.

    Every line says ok, warn or fail, and what to do. Exit status 2 if a check failed; warnings do not count.

    \b
    Example:
      qkd doctor
      qkd doctor --link niedersachsen --json
      qkd doctor --config nodes/alice/config.toml
    """
    from common.cli.checks.environment import environment_checks
    from common.cli.checks.finding import Verdict, conclusion, guarded
    from common.cli.checks.machine import machine_checks

    checks = [*environment_checks(link), *machine_checks()]
    if config is not None:
        from common.cli.checks.node import node_checks

        checks += node_checks(config)
    findings = [finding for check in checks for finding in guarded(check)]
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    if as_json:
        click.echo(json.dumps([finding.fields() for finding in findings], indent=1))
    else:
        for finding in findings:
            click.echo(finding.line())
        click.echo(f"\n{conclusion(findings)}")
    return 2 if failed else 0
