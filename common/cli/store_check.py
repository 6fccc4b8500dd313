"""What ``qkd keys audit --check`` finds in store files: ledgers that do not add up or disagree, and key that does not open.

Reads files, changes none, and never shows a bit of key; ``common.cli.keys`` prints it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from common.errors import KeyStoreError
from common.keystore.check import LedgerFile, faults_between, faults_within
from common.keystore.inventory import damaged
from common.keystore.sealing import MasterKey


def check_store(store: Path, master: MasterKey, other: Path | None) -> dict[str, Any]:
    """Check a store, by itself or against that of the other end.

    Parameters
    ----------
    store : Path
        The store file.
    master : MasterKey
        Its master key.
    other : Path | None
        The other end's store file, of which the ledger is read.

    Returns
    -------
    dict
        ``store``, ``against``, ``node``, ``blocks`` by state, ``damaged_blocks``, ``damage`` by place, and ``faults`` of the ledgers; the
        last three are empty where nothing is wrong.

    Raises
    ------
    ConfigurationError
        If the master key is not the store's, or there is no store.
    KeyStoreError
        If a file cannot be read.
    """
    lost = damaged(store, master)
    try:
        ledger = LedgerFile.read(store)
        found = faults_within(ledger)
        if other is not None:
            theirs = LedgerFile.read(other)
            found += [*faults_within(theirs), *faults_between(ledger, theirs)]
    except (ValueError, TypeError, KeyError):  # numbers in a ledger that stand for nothing
        raise KeyStoreError(f"{store}: a row of the ledger is damaged, and the rest makes no sense without it") from None
    blocks = set(ledger.damaged) | {sealed.block for sealed in lost if sealed.block is not None}
    return {
        "store": str(store),
        "against": None if other is None else str(other),
        "node": ledger.owner.name.lower(),
        "blocks": dict(sorted(Counter(state for state, *_ in ledger.blocks.values()).items())),
        "damaged_blocks": sorted(blocks),
        "damage": [sealed.name for sealed in lost],
        "faults": found,
    }


def check_text(report: dict[str, Any]) -> str:
    """Return the ``report`` of ``check_store`` for people."""
    lines = [f"{name}: does not open: it is lost" for name in report["damage"]] + report["faults"]
    if report["damaged_blocks"]:
        lines.append(f"damaged blocks: {', '.join(map(str, report['damaged_blocks']))}; the rest is served")
    states = ", ".join(f"{count} {state}" for state, count in report["blocks"].items()) or "none"
    lines.append(f"blocks: {states}")
    if not report["damage"] and not report["faults"]:
        against = f", and agrees with {report['against']}" if report["against"] else ""
        lines.append(f"all that is sealed opens, and the ledger adds up{against}")
    return "\n".join(lines)
