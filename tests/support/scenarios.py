"""Named ways to run the tiny link, so that together they say every kind of message."""

from __future__ import annotations

from tests.support.links import World, tiny_recipe, tiny_stream

SCENARIOS: dict[str, tuple[str, str, int, float, tuple[str, ...]]] = {
    "ldpc": ("ldpc", "direct", 2500, 0.01, ()),
    "ldpc-increments": ("ldpc", "direct", 3000, 0.03, ("reconciliation.code_rate=0.9",)),  # too weak a code for these errors
    "ldpc-reverse": ("ldpc", "reverse", 2500, 0.01, ()),
    "cascade": ("cascade", "direct", 1000, 0.01, ()),
    "cascade-reverse": ("cascade", "reverse", 1000, 0.01, ()),
}
"""Method, direction, key bits a block, error rate, and further settings."""


def world(scenario: str, seed: int = 1) -> World:
    """The same world every time: equal seeds make byte-for-byte equal sessions."""
    method, direction, block_bits, qber, settings = SCENARIOS[scenario]
    return World.new(tiny_recipe(method, direction, block_bits, *settings), seed, tiny_stream(qber=qber))
