"""The page, metrics and health where a node's configuration asks for them; nothing of them is loaded where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.service.node import Application, Node


def dashboard(node: Node) -> Application | None:
    """Make what shows a ``node``, or None where its configuration has nothing of it."""
    if node.settings.dashboard is None:
        return None
    from common.dashboard.service import Dashboard

    return Dashboard(node, node.settings.dashboard)
