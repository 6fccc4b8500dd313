"""``qkd keys``: the key store of a running node."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from common.cli.options import EXISTING_FILE, json_option
from common.errors import ConfigurationError

CHUNK_BYTES = 1 << 20
"""Key asked for at a time."""

_config = click.option("--config", required=True, type=EXISTING_FILE, help="Configuration of the node.")


@click.group("keys")
def command() -> None:
    """Look at the key store of a running node, or take key out of it by hand.

    \b
    Example:
      qkd keys status --config nodes/alice/config.toml
      qkd keys export --config nodes/alice/config.toml --bits 8192 --out session.key --yes
      qkd keys export --config nodes/bob/config.toml --like session.key.json --out session.key --yes
    """


@command.command("status")
@_config
@json_option
def status(*, config: Path, as_json: bool) -> None:
    """Say how much key is left, and for whom.

    \b
    Example:
      qkd keys status --config nodes/alice/config.toml --json
    """
    from common.service.admin_client import AdminClient

    with AdminClient.of(config) as client:
        levels = client.ask("keys status")
    reserve = levels["authentication_reserve"]
    lines = [f"{name}: {bits} bits" for name, bits in levels["pools"].items()]
    lines += [
        f"mask pairs: {reserve['pairs']} of {reserve['target_pairs']}{', LOW' if reserve['low'] else ''}",
        f"blocks: {levels['blocks']}",
    ]
    click.echo(json.dumps(levels) if as_json else "\n".join(lines))


@command.command("export")
@_config
@click.option("--bits", type=click.IntRange(min=8), default=None, help="Bits to take, a multiple of 8.")
@click.option("--like", type=EXISTING_FILE, default=None, help="Take the same key as the other end did: the .json file beside its export.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File for the raw key.")
@click.option("--yes", is_flag=True, help="Yes, take this key out of the store for good.")
@json_option
def export(*, config: Path, bits: int | None, like: Path | None, out: Path, yes: bool, as_json: bool) -> None:
    """Take delivery key out of the store into a file; it is gone from the store then.

    Beside the key, FILE.json says which key it is; with it the other end exports the same.

    \b
    Example:
      qkd keys export --config nodes/alice/config.toml --bits 8192 --out session.key --yes
    """
    from common.service.admin_client import AdminClient

    if not yes:
        raise ConfigurationError("keys export takes key out of the store for good: say so with --yes")
    if (bits is None) == (like is None) or (bits is not None and bits % 8):
        raise ConfigurationError("keys export: give either --bits, a multiple of 8, or --like")
    named = out.with_name(out.name + ".json")
    if out.exists() or named.exists():
        raise ConfigurationError(f"{out} or {named} exists already: nothing is overwritten")
    requests = _asked(bits, like)
    with AdminClient.of(config) as client, os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        pieces: list[list[int]] = []
        for request in requests:
            result, key = client.ask_for_key("keys export", yes=True, **request)
            file.write(key)
            key[:] = bytes(len(key))
            pieces += result["pieces"]
    report = {"out": str(out), "bits": 8 * sum(count for _, _, count in pieces), "pieces": pieces}
    named.write_text(json.dumps(report) + "\n", encoding="utf-8")
    click.echo(json.dumps(report) if as_json else f"{report['bits']} bits in {out}; at the other end: --like {named.name}")


@command.command("audit")
@_config
@json_option
def audit(*, config: Path, as_json: bool) -> None:
    """Show what became of the key, line by line; never the key itself.

    \b
    Example:
      qkd keys audit --config nodes/alice/config.toml
    """
    from common.service.admin_client import AdminClient

    ledger: list[dict[str, Any]] = []
    with AdminClient.of(config) as client:
        answer = client.ask("keys audit", after=0)
        trail = answer["trail"]
        while answer["ledger"]:
            ledger += answer["ledger"]
            answer = client.ask("keys audit", after=ledger[-1]["use"])
    if as_json:
        click.echo(json.dumps({"ledger": ledger, "trail": trail}))
        return
    for entry in ledger:
        block, first, count = entry["piece"]
        purpose = f" ({entry['purpose']})" if entry["purpose"] else ""
        click.echo(f"{entry['kind']:9} {entry['pool']:22} block {block}, bytes {first} to {first + count - 1}{purpose}")


def _asked(bits: int | None, like: Path | None) -> list[dict[str, Any]]:
    """Return the requests that together ask for so many bits, or for the pieces that a file names."""
    if like is not None:
        try:
            return [{"pieces": json.loads(like.read_text(encoding="utf-8"))["pieces"]}]
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(f"{like} does not say which key was exported: it is the .json file beside an export") from None
    left = (bits or 0) // 8
    return [{"count_bytes": min(CHUNK_BYTES, left - done)} for done in range(0, left, CHUNK_BYTES)]
