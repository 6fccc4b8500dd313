"""What another end or the node says wrongly costs the tunnel to that end its next key, and the other tunnels of the host nothing."""

import asyncio

import pytest

from common.tunnels.keys import KeyNode
from common.tunnels.messages import LAST_ROUND, State
from common.tunnels.settings import PeerSection
from common.tunnels.upkeep import Ordering

SETTINGS = PeerSection.model_validate({"names": ["sae-b"], "connect": "localhost:1", "when_short": "keep", "check_seconds": 0.1})


class Node(KeyNode):
    """Gives keys."""

    def __init__(self) -> None:
        """Asks nobody."""

    async def order(self, slave: str) -> tuple[str, bytearray]:  # noqa: ARG002 - whoever it is for
        return "00000000-0000-0000-0000-000000000001", bytearray(32)


class Tunnel:
    """Carries nothing."""

    async def install(self, _key_id, _key):
        raise AssertionError("nothing was agreed")

    async def close(self):
        raise AssertionError("it is to keep its key")

    async def proven_seconds_ago(self):
        return None


def problem_with(answer):
    """What the status says once the other end has answered like that; the task that renews keys must not end by it."""

    async def run():
        async def ask(_question):
            return answer

        ordering, stopping = Ordering("b", SETTINGS, Tunnel(), Node(), ask), asyncio.Event()
        renewing = asyncio.create_task(ordering.renew(stopping))
        for _ in range(100):
            if renewing.done() or ordering.report()["last_problem"]:
                break
            await asyncio.sleep(0.02)
        assert not renewing.done() or renewing.exception() is None
        stopping.set()
        await renewing
        return ordering.report()["last_problem"]

    return asyncio.run(run())


@pytest.mark.parametrize("used", [None, "00000000-0000-0000-0000-000000000002"])
def test_an_end_that_has_heard_of_the_last_round_is_named_and_asked_again(used):
    assert "no round is left" in problem_with(State(highest=LAST_ROUND, used=used, is_failing=False))
