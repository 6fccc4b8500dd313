"""Key delivery of a node, put together: door, interface, desk and the line to the peer; started and stopped with the node.

The mains give it to the node, which knows nothing of it but when it starts, is told to read its files again, and stops.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from common.delivery.desk import Desk
from common.delivery.door import Door, tls_context
from common.delivery.http import Api, Names
from common.delivery.identities import Identities
from common.delivery.openapi import description
from common.delivery.peer import PeerLink
from common.delivery.rates import Rates
from common.delivery.rules import Limits
from common.distillation.steps import StepReport
from common.distillation.values import BlockOutcome
from common.errors import ConfigurationError, KeyStoreError
from common.keystore.orders import DeliveryStore
from common.keystore.ownership import DELIVERIES
from common.observability.logs import logger
from common.service.credentials import read_private
from common.service.node import Node
from common.service.settings import DeliverySection
from common.service.shortage import seconds_to_make, share_of


class KeyDelivery:
    """Serves the applications of a node.

    Parameters
    ----------
    node : Node
        Which.
    settings : DeliverySection
        How.

    Raises
    ------
    ConfigurationError
        If a file it needs is missing or wrong.
    """

    def __init__(self, node: Node, settings: DeliverySection) -> None:
        self._node = node
        self._settings = settings
        self._judged_by, self._context = self._read_context()
        self._identities = self._read_identities()
        self._desk = Desk(
            node.workers,
            self._store,
            lambda: self._identities.names,
            lambda: self._identities.quotas,
            repeat_seconds=settings.repeat_seconds,
            keep_seconds=settings.keep_seconds,
            peer_seconds=settings.peer_seconds,
            seconds_to_make=self._seconds_to_make,
            balances=settings.balance_pools and all(share_of(node.settings.store.rule, pool) for pool in DELIVERIES.values()),
        )
        self._peer = PeerLink(node.transport, node.secrets, node.kind.party, self._desk)
        self._desk.peer = self._peer
        limits = Limits(
            settings.key_size_bits,
            8,
            settings.max_key_size_bits,
            settings.max_keys_per_request,
            settings.max_additional_applications,
            node.profile.security.epsilon_secrecy,
        )
        self._api = Api(
            self._desk,
            lambda: self._identities,
            limits,
            Names(settings.kme_id, settings.peer_kme_id),
            Rates(settings.requests_per_second, settings.requests_at_once),
            self._most_stored_bytes(),
            self._provenance,
            description(limits),
        )
        host, _, port = settings.bind.rpartition(":")
        self._door = Door(host.strip("[]"), int(port), lambda: self._context, self._api.connection)

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        ConfigurationError
            If the address cannot be had.
        """
        self._desk.start()
        self._peer.start()
        await self._door.start()
        logger("delivery").info("applications are served", address=self._settings.bind, applications=len(self._identities.names))

    async def stop(self) -> None:
        """Serve nobody any more."""
        await self._door.stop()
        await self._desk.stop()
        await self._peer.stop()
        await self._api.stop()

    async def reload(self) -> None:
        """Read certificates and the map of applications again; where something is wrong with them, all stays as it was.

        The map is asked at every request, so connections outlive its change; where a certificate, the authority or the list of revoked
        certificates is another, those that were let in by the old ones end.
        """
        try:
            (judged_by, context), identities = self._read_context(), self._read_identities()
        except ConfigurationError as wrong:
            logger("delivery").error("files not read again, all stays as it was", error=wrong)
            return
        self._identities = identities
        if judged_by != self._judged_by:
            self._judged_by, self._context = judged_by, context
            self._door.renew()
        logger("delivery").info("files read again", applications=len(identities.names))
        await self._peer.tell_state()

    def note_step(self, step: StepReport) -> None:
        """Leave a ``step`` alone: only whole blocks make key."""

    def note_block(self, outcome: BlockOutcome) -> None:
        """Remember what can be said of the key of a block.

        Parameters
        ----------
        outcome : BlockOutcome
            How it ended.
        """
        if not outcome.secret_bits or outcome.block is None or outcome.length is None:
            return
        self._desk.tell_state()
        counts = outcome.block.counts
        facts = {
            "block": outcome.number,
            "epsilon": {name: float(value) for name, value in outcome.length.epsilon.items()},
            "qber": {
                "Z": round(counts.z.errors / counts.z.tested, 6) if counts.z.tested else None,
                "X": round(counts.x.errors / counts.x.tested, 6) if counts.x.tested else None,
            },
        }
        self._node.write_soon(self._store().note_facts, outcome.number, json.dumps(facts))

    def report(self) -> dict[str, Any]:
        """Say for the status how delivery does.

        Returns
        -------
        dict
            Ready for JSON.
        """
        return {
            "address": self._settings.bind,
            "applications": len(self._identities.names),
            "peer_ready": self._peer.is_ready,
            "refused_connections": self._door.count_refused + self._door.count_crowded,
            "refused_messages": self._peer.line.count_refused,
            "answers": dict(self._api.counts),
            **self._desk.counts,
            "drawn_bits": {name: 8 * count for name, count in self._desk.drawn_bytes.items()},
            "quotas": {name: self._quota(name, quota) for name, quota in self._identities.quotas.items()},
        }

    def _quota(self, name: str, quota_bytes: int) -> dict[str, int]:
        left = max(0, quota_bytes - self._desk.drawn_bytes.get(name, 0))
        return {"quota_bits": 8 * quota_bytes, "left_bits": 8 * left}

    async def _provenance(self, blocks: Sequence[int]) -> dict[int, dict[str, Any]]:
        now = time.time()
        known = await self._node.workers.write(self._store().facts_of, blocks)
        return {
            block: {"block": block, **json.loads(facts), "age_seconds": round(max(0.0, now - committed_s), 3)}
            for block, (facts, committed_s) in known.items()
        }

    def _seconds_to_make(self, missing_bits: int) -> float | None:
        """Say how long the link needs for key that is missing to who asks here."""
        node = self._node
        rate = node.counters.rates()["secret_bits_per_wall_second"]
        return seconds_to_make(missing_bits, rate, node.settings.store.rule, DELIVERIES[node.kind.party])

    def _store(self) -> DeliveryStore:
        if not hasattr(self._node.store, "serve"):
            raise KeyStoreError("this kind of key store serves no applications")
        return cast("DeliveryStore", self._node.store)

    def _most_stored_bytes(self) -> int:
        store = self._node.settings.store
        return int(store.capacity_bits // 8 * share_of(store.rule, DELIVERIES[self._node.kind.party]))

    def _read_identities(self) -> Identities:
        return Identities.read(self._path(self._settings.applications))

    def _read_context(self) -> tuple[bytes, ssl.SSLContext]:
        """Return what handshakes are judged by, and a digest of the files it is read from."""
        settings = self._settings
        certificate, key, authority = (self._path(path) for path in (settings.certificate, settings.key, settings.authority))
        revoked = self._path(settings.revoked) if settings.revoked is not None else None
        digest = hashlib.sha256(hashlib.sha256(read_private(key, "delivery.key")).digest())
        for path in filter(None, (certificate, authority, revoked)):
            try:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
            except OSError as refused:
                raise ConfigurationError(f"{path}: {refused.strerror}; named in the table delivery") from None
        return digest.digest(), tls_context(certificate, key, authority, revoked)

    def _path(self, path: Path) -> Path:
        return self._node.settings.resolved(path)
