"""What a node does for the commands on its machine."""

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from common.channel.codec import Party
from common.errors import KeyAlreadyTakenError
from common.observability.audit import AuditTrail
from common.service.commands import NodeCommands
from common.service.node import Node
from common.service.workers import Workers
from tests.support.keystores import distil, greet, opened


def test_an_export_by_pieces_is_final_at_once(tmp_path):
    stores = [opened(tmp_path / f"{party.name}.sqlite", party) for party in Party]
    greet(stores)
    distil(stores, 80_000)
    trails = [AuditTrail(tmp_path / f"{party.name}.jsonl") for party in Party]

    async def scenario():
        workers = Workers(1)
        ours, theirs = (
            NodeCommands(
                cast("Node", SimpleNamespace(kind=SimpleNamespace(party=party), pad_id=b"", workers=workers, store=store, audit=trail))
            )
            for party, store, trail in zip(Party, stores, trails, strict=True)
        )
        taken = await ours.keys_export({"yes": True, "count_bytes": 100})
        pieces = [list(piece) for piece in taken.result["pieces"]]
        followed = await theirs.keys_export({"yes": True, "pieces": pieces})
        with pytest.raises(KeyAlreadyTakenError):
            await theirs.keys_export({"yes": True, "pieces": pieces})
        workers.stop()
        return taken.key, followed.key

    ours, theirs = asyncio.run(scenario())
    assert ours == theirs
    assert not stores[1]._open._open
    for store, trail in zip(stores, trails, strict=True):
        store.close()
        trail.close()
