"""What a running node does for the commands on its machine: status, key levels, export, audit, stop; pads are ``common.service.pads``.

Key leaves the store here and there, and nowhere else in the service; each handout is in the store's ledger before its bits are read, and
in the audit trail before they leave the node.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from common.errors import ConfigurationError, KeyExhaustedError
from common.keystore.interface import AuditEntry, Levels, Piece, Taken
from common.keystore.ownership import DELIVERIES, Pool
from common.service.admin import Answer, Handler
from common.service.pads import PadCommands, count_of, pieces_of
from common.service.reserve import RENEW
from common.service.shortage import explained, seconds_to_make
from common.service.startup import version

if TYPE_CHECKING:
    from common.service.node import Node

MOST_AUDIT_LINES = 1000
"""Lines of the ledger in one answer."""

EXPORT = "export"
"""What the ledger says an export was for."""


class NodeCommands:
    """Answers for one node.

    Parameters
    ----------
    node : Node
        Which.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.handlers: dict[str, Handler] = {
            "status": self.status,
            "blocks": self.blocks,
            "steps": self.steps,
            "keys status": self.keys_status,
            "keys audit": self.keys_audit,
            "keys export": self.keys_export,
            "stop": self.stop,
        }
        self.pads = PadCommands(node.kind.party, node.pad_id, node.workers, lambda: node.store, node.audit, self._explained)
        self.handlers |= self.pads.handlers

    async def status(self, _request: Mapping[str, Any]) -> Answer:
        """Say how the node does.

        Parameters
        ----------
        _request : dict
            Ignored.

        Returns
        -------
        Answer
            State of the session, what was refused, rates, monitors, key store, stream.
        """
        return Answer(await self.report())

    async def report(self) -> dict[str, Any]:
        """Say how the node does.

        Returns
        -------
        dict
            Ready for JSON, as ``qkd status --json`` prints it.
        """
        node = self._node
        monitors, counted = node.profile.monitors, node.counters.report()
        statistics = node.source.statistics()
        session = {
            "state": node.session.state.name.lower() if node.session else "none",
            "activity": node.supervisor.activity,
            "peer_present": node.transport.is_present,
            "sessions": node.supervisor.count_sessions,
            "failures": node.supervisor.count_failures,
            "last_failure": node.last_failure,
        }
        refused = {
            "strangers": node.transport.counts.strangers,
            "handshakes": node.transport.counts.failed_handshakes,
            "greetings": node.desk.count_refused,
            "repeated_greetings": node.desk.count_repeated,
            "notices": node.desk.count_notices,
            "messages": node.count_refused,
            "pad_messages": self.pads.count_forged,
            "transcript_tags": node.count_tags_refused,
        }
        levels = levels_report(await node.read_levels())
        return {
            "node": node.kind.party.name.lower(),
            "version": version(),
            "link": node.profile.name,
            "title": node.profile.title,
            "uptime_seconds": round(time.monotonic() - node.began, 3),
            "session": session,
            "refused": refused,
            "channel": dataclasses.asdict(node.transport.counts),
            "pace": pace_report(node),
            **counted,
            "monitors": {"watched": sorted(monitors.ranges) if monitors else [], **counted["monitors"]},
            "store": levels,
            "authentication_reserve": levels["authentication_reserve"],
            "stream": statistics,
            "drift": None,
            "disk": {"free_bytes": node.room.free_bytes},
            "event_loop_lag": node.lag.report(),
            **{name: application.report() for name, application in node.applications.items()},
        }

    async def blocks(self, request: Mapping[str, Any]) -> Answer:
        """Return what became of blocks, those behind entry ``after``: counts, leakage, ledger, bounds, reason."""
        return Answer({"blocks": self._node.history.blocks(count_of(request, "after", 0))})

    async def steps(self, request: Mapping[str, Any]) -> Answer:
        """Return how blocks came along, in steps shorter than a block, those behind entry ``after``."""
        return Answer({"steps": self._node.history.steps(count_of(request, "after", 0))})

    async def keys_status(self, _request: Mapping[str, Any]) -> Answer:
        """Say how full the store is."""
        return Answer(levels_report(await self._node.read_levels()))

    async def keys_audit(self, request: Mapping[str, Any]) -> Answer:
        """Return the ledger behind line ``after``, and the newest lines of the audit trail."""
        after, most = count_of(request, "after", 0), min(count_of(request, "most", MOST_AUDIT_LINES), MOST_AUDIT_LINES)
        ledger = await self._node.workers.write(self._node.store.audit, after, most)
        trail = await self._node.workers.write(self._node.audit.last, most)
        return Answer({"ledger": [_entry(entry) for entry in ledger], "trail": trail})

    async def keys_export(self, request: Mapping[str, Any]) -> Answer:
        """Hand out delivery key to a person: from our own pool, or the pieces that were exported at the other end.

        Parameters
        ----------
        request : dict
            ``yes``, and ``count_bytes`` or ``pieces``.

        Returns
        -------
        Answer
            Which key it is, and the key.

        Raises
        ------
        ConfigurationError
            If nobody said yes.
        """
        if request.get("yes") is not True:
            raise ConfigurationError("keys export takes key out of the store for good: say so with --yes")
        node = self._node
        party = node.kind.party
        if "pieces" in request:
            taken = await node.workers.write(self._follow, DELIVERIES[party.peer], pieces_of(request))
        else:
            taken = await self._taken(DELIVERIES[party], count_of(request, "count_bytes"))
        place = {"pool": taken.pool.value, "handout": taken.handout}
        await node.workers.write(node.audit.record, "key handed out", bytes=len(taken.key), purpose=EXPORT, **place)
        return Answer({**place, "pieces": [dataclasses.astuple(piece) for piece in taken.pieces]}, taken.key)

    async def stop(self, _request: Mapping[str, Any]) -> Answer:
        """Stop the service."""
        self._node.stopping.set()
        return Answer({"stopping": True})

    async def _taken(self, pool: Pool, count_bytes: int) -> Taken:
        node = self._node
        try:
            return await node.workers.write(node.store.take, pool, count_bytes, EXPORT)
        except KeyExhaustedError as short:
            raise self._explained(pool, short) from None

    def _follow(self, pool: Pool, pieces: list[Piece]) -> Taken:
        """Take what the peer has exported, for good, in one go of the store's thread: no tag will ask for it back."""
        store = self._node.store
        taken = store.expect(pool, pieces, EXPORT)
        store.burn(taken.handout)
        return taken

    def _explained(self, pool: Pool, short: KeyExhaustedError) -> KeyExhaustedError:
        """Say how long the link needs for what is missing of ``pool``."""
        node = self._node
        rate = node.counters.rates()["secret_bits_per_wall_second"]
        return explained(short, seconds_to_make(short.missing_bits or 0, rate, node.settings.store.rule, pool))


def levels_report(levels: Levels) -> dict[str, Any]:
    """Return levels of a store, ready for JSON.

    Parameters
    ----------
    levels : Levels
        From the store.

    Returns
    -------
    dict
        Bits by pool, the reserve, blocks, and what is wrong.
    """
    return {
        "pools": {pool.value: bits for pool, bits in levels.pool_bits.items()},
        "staged_bits": levels.staged_bits,
        "capacity_bits": levels.capacity_bits,
        "full": levels.full,
        "blocks": levels.count_committed,
        "damaged_blocks": list(levels.damaged_blocks),
        "peer_met": levels.met,
        "doubted": levels.doubted,
        "authentication_reserve": {
            "pairs": levels.reserve_pairs,
            "target_pairs": levels.reserve_target_pairs,
            "low": levels.reserve_low,
            "empty": levels.reserve_empty,
            "cursor": levels.mask_cursor,
            "hash_key": levels.hash_key,
            "advice": RENEW if levels.reserve_empty else None,
        },
    }


def _entry(entry: AuditEntry) -> dict[str, Any]:
    return {
        "use": entry.use,
        "handout": entry.handout,
        "kind": entry.kind.value,
        "pool": entry.pool.value,
        "piece": list(dataclasses.astuple(entry.piece)),
        "purpose": entry.purpose,
        "at": entry.at_s,
        "returned": entry.returned,
    }


def pace_report(node: Node) -> dict[str, Any]:
    """Say how ``node`` keeps pace with its stream: method and effort of late, round-trip time, groups of blocks under way and allowed."""
    choice, seconds = node.history.choice, node.transport.round_trip_seconds
    return {
        "method": choice.method if choice else None,
        "working_qber": choice.working_qber if choice else None,
        "effort": node.profile.reconciliation.effort if choice and choice.method == "ldpc" else None,
        "round_trip_ms": None if seconds is None else round(1000 * seconds, 3),
        "groups_under_way": node.session.count_under_way if node.session else 0,
        "groups_in_flight": node.pace.groups_in_flight,
    }
