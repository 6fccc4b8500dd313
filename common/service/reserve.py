"""Watches the authentication reserve of a running node: says when it is low or empty, and takes in what a person renews.

``qkd provision --renew`` puts a file of fresh masks into the node's folder. It is looked for before each session and while one runs; no
restart is needed.
"""

from __future__ import annotations

from pathlib import Path

from common.channel.authentication import ChannelSecrets
from common.errors import ConfigurationError
from common.keystore.interface import KeyStore, Levels
from common.observability.logs import logger
from common.service.credentials import read_masks

RENEW = "give both nodes fresh masks: qkd provision --renew DIR"
"""What to do about an empty reserve."""


class ReserveWatch:
    """What a node remembers about its reserve.

    Parameters
    ----------
    secrets : ChannelSecrets
        With the masks of the first provisioning.
    renewal : Path
        Where masks of a renewal appear.
    """

    def __init__(self, secrets: ChannelSecrets, renewal: Path) -> None:
        self._secrets = secrets
        self._renewal = renewal
        self._seen: tuple[int, int, int] | None = None
        self._is_low = self._is_empty = False

    def note(self, levels: Levels) -> None:
        """Log what has changed for the worse or the better.

        Parameters
        ----------
        levels : Levels
            As of now.
        """
        before, now = (self._is_low, self._is_empty), (levels.reserve_low, levels.reserve_empty)
        self._is_low, self._is_empty = now
        if now == before:
            return
        if levels.reserve_empty:
            logger("node").error("authentication reserve empty: no block can be authenticated", advice=RENEW)
        elif levels.reserve_low:
            logger("node").warning("authentication reserve low", pairs=levels.reserve_pairs, target=levels.reserve_target_pairs)
        else:
            logger("node").info("authentication reserve refilled", pairs=levels.reserve_pairs)

    def take_in(self, store: KeyStore) -> bool:
        """Give the store masks that have been renewed; called in the writer's thread.

        Parameters
        ----------
        store : KeyStore
            Open.

        Returns
        -------
        bool
            Whether there were any that it did not have.
        """
        try:
            state = self._renewal.stat()
        except OSError:
            return False  # the usual case: nothing was renewed
        seen = (state.st_ino, state.st_ctime_ns, state.st_size)  # the change of owner or mode that makes it readable shows as well
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            masks = read_masks(self._secrets, self._renewal)
        except ConfigurationError as wrong:
            logger("node").error("renewed masks not taken in", error=wrong)
            return False
        if not store.renew(masks):
            return False
        logger("node").info("renewed masks taken in", generation=masks.generation, pairs=masks.end - masks.first)
        return True
