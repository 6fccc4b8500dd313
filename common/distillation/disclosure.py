"""Disclosure: outcomes of the rounds chosen for the test are revealed and counted against the settings.

The disclosing half sends its outcomes, the tallying half counts settings by outcomes and sends a table back for each announcement.
Disclosed rounds never become key; they are the sample from which the phase error of the key is bounded.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, concatenated
from common.channel.messages import TestCounts, TestDisclosure
from common.conversation.effects import Conversation, compute, receive, send
from common.distillation.values import SiftedBatch
from common.errors import LocalProtocolError, RemoteProtocolError
from common.kernels.sifting import count_table
from common.protocols.protocol import OUTCOMES, Protocol

Table = tuple[tuple[int, ...], ...]
"""Disclosed rounds: settings in rows, outcomes in columns."""


def disclose(batches: list[SiftedBatch], protocol: Protocol) -> Conversation[list[SiftedBatch]]:
    """Reveal our outcomes of the tested rounds and take over the counts.

    Parameters
    ----------
    batches : list[SiftedBatch]
        With our outcomes.
    protocol : Protocol
        Names the settings.

    Returns
    -------
    list[SiftedBatch]
        The same batches with their tables.

    Raises
    ------
    RemoteProtocolError
        If the counts cannot come from what was disclosed.
    """
    tested = concatenated([batch.tested_bits for batch in batches])
    yield from send(TestDisclosure(tested.count, tested.to_bytes()))
    flat = (yield from receive(TestCounts)).table
    cells = len(protocol.settings) * len(OUTCOMES)
    if len(flat) != len(batches) * cells:
        raise RemoteProtocolError(f"tables of {len(flat)} counts, expected {len(batches)} of {len(protocol.settings)} settings by outcomes")
    tables = [_table(flat[first : first + cells]) for first in range(0, len(flat), cells)]
    return (yield from compute(_counted, batches, protocol, tables))


def _table(flat: tuple[int, ...]) -> Table:
    return tuple(tuple(flat[row : row + len(OUTCOMES)]) for row in range(0, len(flat), len(OUTCOMES)))


def _counted(batches: list[SiftedBatch], protocol: Protocol, tables: list[Table]) -> list[SiftedBatch]:
    for batch, table in zip(batches, tables, strict=True):
        intensities = batch.tested_intensities if batch.tested_intensities.size else np.zeros(batch.tested_bits.count, np.uint8)
        ours = count_table(intensities, _outcomes(batch, batch.tested_bits), np.ones_like(intensities), protocol.count_intensities)
        for intensity, expected in enumerate(ours.tolist()):
            rows = [row for row, of in zip(table, protocol.setting_intensities, strict=True) if of == intensity]
            if [sum(column) for column in zip(*rows, strict=True)] != expected:  # exact: sums of the peer's counts may exceed 64 bits
                raise RemoteProtocolError("the table of disclosed rounds does not add up to the outcomes that were disclosed")
    return [dataclasses.replace(batch, table=table) for batch, table in zip(batches, tables, strict=True)]


def _outcomes(batch: SiftedBatch, bits: Bits) -> NDArray[np.uint8]:
    """Outcome codes of a batch's disclosed rounds, from the bases they were detected in and the receiver's bits."""
    return np.asarray(batch.tested_bases.to_flags() << np.uint8(1) | bits.to_flags())


def tally(batches: list[SiftedBatch], protocol: Protocol) -> Conversation[list[SiftedBatch]]:
    """Count the peer's outcomes against our settings; the other half of ``disclose``.

    Parameters
    ----------
    batches : list[SiftedBatch]
        With our settings' bits.
    protocol : Protocol
        Names the settings.

    Returns
    -------
    list[SiftedBatch]
        The same batches with their tables.

    Raises
    ------
    RemoteProtocolError
        If another number of rounds is disclosed than was asked for.
    """
    said = yield from receive(TestDisclosure)
    count = sum(batch.tested_bits.count for batch in batches)
    if said.count_tested != count:
        raise RemoteProtocolError(f"{said.count_tested} rounds disclosed, asked for were {count}")
    tables = yield from compute(_tables, batches, protocol, Bits.from_bytes(said.bits, count))
    yield from send(TestCounts(tuple(cell for table in tables for row in table for cell in row)))
    return [dataclasses.replace(batch, table=table) for batch, table in zip(batches, tables, strict=True)]


def _tables(batches: list[SiftedBatch], protocol: Protocol, disclosed: Bits) -> list[Table]:
    tables, first = [], 0
    for batch in batches:
        last = first + batch.tested_bits.count
        outcomes = _outcomes(batch, disclosed.slice(first, last))
        if batch.tested_settings is None:
            raise LocalProtocolError("rounds are counted by the end that knows their settings")
        counted = count_table(batch.tested_settings, outcomes, np.ones_like(outcomes), len(protocol.settings))
        tables.append(_table(tuple(counted.ravel().tolist())))
        first = last
    return tables


def errors_by_basis(table: Table, protocol: Protocol) -> tuple[tuple[int, int], tuple[int, int]]:
    """Read tested rounds and errors from a table.

    Parameters
    ----------
    table : tuple[tuple[int, ...], ...]
        Settings by outcomes.
    protocol : Protocol
        Bases and bits of the settings.

    Returns
    -------
    tuple
        ``((tested in Z, errors in Z), (tested in X, errors in X))``, rounds in matching bases only.
    """
    tested, errors = [0, 0], [0, 0]
    for row, basis, bit in zip(table, protocol.setting_bases, protocol.setting_bits, strict=True):
        right, wrong = row[2 * basis + bit], row[2 * basis + (1 - bit)]
        tested[basis] += right + wrong
        errors[basis] += wrong
    return (tested[0], errors[0]), (tested[1], errors[1])


def added_tables(tables: list[Table]) -> Table:
    """Add ``tables`` of the same protocol, at least one, cell by cell."""
    return tuple(tuple(sum(cells) for cells in zip(*rows, strict=True)) for rows in zip(*tables, strict=True))
