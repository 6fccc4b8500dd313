"""``qkd keys``: the key store of a node, running or not."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import click

from common.cli.options import EXISTING_FILE, json_option
from common.errors import ConfigurationError

CHUNK_BYTES = 1 << 20
"""Key asked for at a time."""

_master_key = click.option(
    "--master-key",
    type=EXISTING_FILE,
    default=None,
    help="File with the master key, where the configuration names a credential or variable.",
)
_config = click.option("--config", required=True, type=EXISTING_FILE, help="Configuration of the node.")


@click.group("keys")
def command() -> None:
    """Look at the key store of a node, take key out of it by hand, or give it a fresh master key.

    \b
    Example:
      qkd keys status --config nodes/alice/config.toml
      qkd keys export --config nodes/alice/config.toml --bits 8192 --out session.key --yes
      qkd keys export --config nodes/bob/config.toml --like session.key.json --out session.key --yes
      qkd keys audit --config nodes/alice/config.toml --check
      qkd keys rotate --config nodes/alice/config.toml
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
        *_damage(levels),
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

    if (bits is None) == (like is None) or (bits is not None and bits % 8):
        raise ConfigurationError("keys export: give either --bits, a multiple of 8, or --like")
    requests = _asked(bits, like)
    wanted = 8 * sum(_count_bytes(request) for request in requests)
    named = out.with_name(out.name + ".json")
    if out.exists() or named.exists():
        raise ConfigurationError(f"{out} or {named} exists already: nothing is overwritten")
    if not yes:
        raise ConfigurationError(
            f"keys export would take {wanted} bits of delivery key out of the store for good and write them to {out}: say so with --yes"
        )
    pieces: list[list[int]] = []
    with AdminClient.of(config) as client, _new_file(out) as file, _new_file(named) as place:
        try:
            for request in requests:
                result, key = client.ask_for_key("keys export", yes=True, **request)
                file.write(key)
                key[:] = bytes(len(key))
                pieces += result["pieces"]
        finally:  # whatever was handed out can be followed at the other end
            report = {"out": str(out), "bits": 8 * sum(count for _, _, count in pieces), "pieces": pieces}
            if pieces:
                place.write(json.dumps(report).encode() + b"\n")
            else:
                out.unlink()
                named.unlink()
    click.echo(json.dumps(report) if as_json else f"{report['bits']} bits in {out}; at the other end: --like {named.name}")


@command.command("rotate")
@_config
@_master_key
@json_option
def rotate(*, config: Path, master_key: Path | None, as_json: bool) -> None:
    """Give the store of a stopped node a fresh master key; the old one then opens nothing of it.

    Stop the service first: while it has the store open, nothing is changed. Every data key is wrapped anew in one change, so that an
    interruption at any instant leaves a store that opens, with the old key or the fresh one; the next start, or this command, finishes
    what was begun.

    \b
    Example:
      qkd keys rotate --config nodes/alice/config.toml
      qkd keys rotate --config alice.toml --master-key alice-master.key
    """
    from common.keystore.rotation import rotate as rotate_store
    from common.keystore.sealing import master_key_file
    from common.observability.audit import AuditTrail
    from common.service.settings import NodeSettings, load_settings

    settings = load_settings(config, NodeSettings)
    key_file = master_key or master_key_file(settings.store.master_key, settings.folder)
    if key_file is None:
        raise ConfigurationError(
            f"store.master_key = {settings.store.master_key!r} is no file: name the one behind it with --master-key, which is replaced"
        )
    store = settings.resolved(settings.store.path)
    with closing(AuditTrail(settings.resolved(settings.node.state) / "audit.jsonl")) as trail:  # what cannot be noted is not done
        done = rotate_store(store, key_file)
        trail.record("master key rotated", data_keys=done.count_wraps, damaged_blocks=len(done.damaged_blocks))
    report = {
        "store": str(store),
        "master_key": str(key_file),
        "data_keys": done.count_wraps,
        "damaged_blocks": list(done.damaged_blocks),
    }
    lines = [f"{store}: {done.count_wraps} data keys wrapped anew, the fresh master key is in {key_file}", *_damage(report)]
    click.echo(json.dumps(report) if as_json else "\n".join(lines))


@command.command("audit")
@_config
@click.option("--check", is_flag=True, help="Check the store's file in place of listing what the running node says.")
@click.option("--against", type=EXISTING_FILE, default=None, help="With --check: compare with this store file of the other end.")
@_master_key
@json_option
def audit(*, config: Path, check: bool, against: Path | None, master_key: Path | None, as_json: bool) -> int:
    """Show what became of the key, line by line, or check a store; never the key itself.

    With --check everything sealed in the store's file is opened and the ledger added up, by itself or against the other end's; what is
    wrong is said line by line, and the exit status is 1. Nothing is changed. Stop both services before comparing two ends.

    \b
    Example:
      qkd keys audit --config nodes/alice/config.toml
      qkd keys audit --config nodes/alice/config.toml --check
      qkd keys audit --config nodes/alice/config.toml --check --against nodes/bob/state/store.sqlite
    """
    if not check:
        if against or master_key:
            raise ConfigurationError("keys audit: --against and --master-key go with --check")
        return _list_ledger(config, as_json)

    from common.cli.store_check import check_store, check_text
    from common.keystore.sealing import load_master_key
    from common.service.settings import NodeSettings, load_settings

    settings = load_settings(config, NodeSettings)
    source = settings.store.master_key if master_key is None else str(master_key.resolve())
    report = check_store(settings.resolved(settings.store.path), load_master_key(source, settings.folder), against)
    click.echo(json.dumps(report) if as_json else check_text(report))
    return 1 if report["damage"] or report["faults"] else 0


def _list_ledger(config: Path, as_json: bool) -> int:
    from common.service.admin_client import AdminClient

    ledger: list[dict[str, Any]] = []
    with AdminClient.of(config) as client:
        damaged = {"damaged_blocks": client.ask("keys status")["damaged_blocks"]}
        answer = client.ask("keys audit", after=0)
        trail = answer["trail"]
        while answer["ledger"]:
            ledger += answer["ledger"]
            answer = client.ask("keys audit", after=ledger[-1]["use"])
    if as_json:
        click.echo(json.dumps({"ledger": ledger, "trail": trail} | damaged))
        return 0
    for entry in ledger:
        block, first, count = entry["piece"]
        purpose = f" ({entry['purpose']})" if entry["purpose"] else ""
        click.echo(f"{entry['kind']:9} {entry['pool']:22} block {block}, bytes {first} to {first + count - 1}{purpose}")
    for line in _damage(damaged):
        click.echo(line)
    return 0


def _damage(report: dict[str, Any]) -> list[str]:
    """Say which blocks of a report are damaged, where any are."""
    blocks = report["damaged_blocks"]
    return [f"damaged blocks: {', '.join(map(str, blocks))}"] if blocks else []


def _new_file(path: Path) -> BinaryIO:
    """Open a new file that only we can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _count_bytes(request: dict[str, Any]) -> int:
    return request["count_bytes"] if "count_bytes" in request else sum(count for _, _, count in request["pieces"])


def _asked(bits: int | None, like: Path | None) -> list[dict[str, Any]]:
    """Return the requests that together ask for so many bits, or for the pieces that a file names; each for ``CHUNK_BYTES`` at most."""
    if like is None:
        left = (bits or 0) // 8
        return [{"count_bytes": min(CHUNK_BYTES, left - done)} for done in range(0, left, CHUNK_BYTES)]
    requests: list[dict[str, Any]] = []
    for piece in _named_pieces(like):
        if not requests or _count_bytes(requests[-1]) + piece[2] > CHUNK_BYTES:
            requests.append({"pieces": []})
        requests[-1]["pieces"].append(piece)
    return requests


def _named_pieces(like: Path) -> list[list[int]]:
    """Read which key the other end exported."""
    try:
        pieces = json.loads(like.read_text(encoding="utf-8"))["pieces"]
        named = [[int(block), int(first), int(count)] for block, first, count in pieces]
    except (ValueError, KeyError, TypeError):
        named = []
    if not named:
        raise ConfigurationError(f"{like} does not say which key was exported: it is the .json file beside an export")
    return named
