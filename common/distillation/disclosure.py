"""Disclosure: outcomes of the rounds chosen for the test are revealed and counted against the settings.

The disclosing half sends its outcomes, the tallying half counts settings by outcomes and sends the table back.
Disclosed rounds never become key; they are the sample from which the phase error of the key is bounded.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from common.bits import Bits
from common.channel.messages import TestCounts, TestDisclosure
from common.conversation.effects import Conversation, receive, send
from common.distillation.values import SiftedBatch
from common.errors import RemoteProtocolError
from common.kernels.sifting import count_table
from common.protocols.protocol import OUTCOMES, Protocol

Table = tuple[tuple[int, ...], ...]
"""Disclosed rounds: settings in rows, outcomes in columns."""


def disclose(batch: SiftedBatch, protocol: Protocol) -> Conversation[SiftedBatch]:
    """Reveal our outcomes of the tested rounds and take over the counts.

    Parameters
    ----------
    batch : SiftedBatch
        With our outcomes.
    protocol : Protocol
        Names the settings.

    Returns
    -------
    SiftedBatch
        The same batch with its table.

    Raises
    ------
    RemoteProtocolError
        If the counts cannot come from what was disclosed.
    """
    yield from send(TestDisclosure(batch.tested_bits.count, batch.tested_bits.to_bytes()))
    flat = (yield from receive(TestCounts)).table
    columns = len(OUTCOMES)
    if len(flat) != len(protocol.settings) * columns:
        raise RemoteProtocolError(f"table of {len(flat)} counts, expected {len(protocol.settings)} settings by {columns} outcomes")
    table = tuple(tuple(flat[row : row + columns]) for row in range(0, len(flat), columns))
    ours = np.bincount(2 * batch.tested_bases.to_flags() + batch.tested_bits.to_flags(), minlength=columns)
    if [sum(column) for column in zip(*table, strict=True)] != ours.tolist():  # exact: sums of the peer's counts may exceed 64 bits
        raise RemoteProtocolError("the table of disclosed rounds does not add up to the outcomes that were disclosed")
    return dataclasses.replace(batch, table=table)


def tally(batch: SiftedBatch, protocol: Protocol) -> Conversation[SiftedBatch]:
    """Count the peer's outcomes against our settings; the other half of ``disclose``.

    Parameters
    ----------
    batch : SiftedBatch
        With our settings' bits.
    protocol : Protocol
        Names the settings.

    Returns
    -------
    SiftedBatch
        The same batch with its table.

    Raises
    ------
    RemoteProtocolError
        If another number of rounds is disclosed than was asked for.
    """
    said = yield from receive(TestDisclosure)
    if said.count_tested != batch.tested_bits.count:
        raise RemoteProtocolError(f"{said.count_tested} rounds disclosed, asked for were {batch.tested_bits.count}")
    outcomes = 2 * batch.tested_bases.to_flags() + Bits.from_bytes(said.bits, said.count_tested).to_flags()
    settings = 2 * batch.tested_bases.to_flags() + batch.tested_bits.to_flags()
    counted = count_table(settings, outcomes, np.ones(outcomes.size, np.uint8), len(protocol.settings))
    flat = tuple(int(cell) for cell in counted.ravel())
    yield from send(TestCounts(flat))
    table = tuple(tuple(flat[row : row + len(OUTCOMES)]) for row in range(0, len(flat), len(OUTCOMES)))
    return dataclasses.replace(batch, table=table)


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
