"""``qkd doctor``: checks the machine and says what to do."""

from __future__ import annotations

import json

import click

from common.cli.options import json_option


@click.command("doctor")
@click.option("--link", default=None, metavar="NAME|FILE", help="Check this link profile too; without it those that come with qkdlink.")
@json_option
def command(*, link: str | None, as_json: bool) -> int:
    """Check whether qkdlink can run well here: packages, processor, caches, entropy, clock, memory, limits, link profiles.

    Every line says ok, warn or fail, and what to do. Exit status 2 if a check failed; warnings do not count.

    \b
    Example:
      qkd doctor
      qkd doctor --link niedersachsen --json
    """
    from common.cli.checks.environment import environment_checks
    from common.cli.checks.finding import Verdict, conclusion, guarded
    from common.cli.checks.machine import machine_checks

    findings = [finding for check in (*environment_checks(link), *machine_checks()) for finding in guarded(check)]
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    if as_json:
        click.echo(json.dumps([finding.fields() for finding in findings], indent=1))
    else:
        for finding in findings:
            click.echo(finding.line())
        click.echo(f"\n{conclusion(findings)}")
    return 2 if failed else 0
