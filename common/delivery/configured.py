"""Key delivery where a node's configuration asks for it; nothing of it is loaded where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.service.node import Application, Node


def key_delivery(node: Node) -> Application | None:
    """Make the key delivery of a ``node``, or None where its configuration has none."""
    if node.settings.delivery is None:
        return None
    from common.delivery.service import KeyDelivery

    return KeyDelivery(node, node.settings.delivery)
