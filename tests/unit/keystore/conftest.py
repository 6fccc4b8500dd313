"""Every test of the contract runs on the store in memory and on the one on disk."""

from typing import Any

import pytest

from common.channel.codec import Party
from common.keystore.memory import MemoryKeyStore
from tests.support.keystores import MASKS, RULE, opened


@pytest.fixture(params=["memory", "sqlite"])
def make(request, tmp_path):
    stores = []

    def made(owner=Party.ALICE, **options: Any) -> Any:
        store: Any
        defaults: dict[str, Any] = {"masks": MASKS, "rule": RULE}
        if request.param == "memory":
            store = MemoryKeyStore(owner, **(defaults | options))
        else:
            store = opened(tmp_path / f"{owner.name}.sqlite", owner, **options)
        stores.append(store)
        return store

    yield made
    for store in stores:
        store.close()
