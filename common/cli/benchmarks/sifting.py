"""Sifting: announcement and reply rehearsed by both halves, and the two kernels that carry most of such work."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits
from common.cli.benchmarks.measurement import Measurement, Request, fastest, require_equal
from common.conversation.rehearsal import rehearse
from common.distillation.recipe import BATCH_DETECTIONS, Recipe
from common.distillation.sifting import GroupProgress, announce, sift
from common.distillation.values import FramedDetections
from common.expander import KEY_BYTES
from common.kernels.gaps import decode_gaps, encode_gaps
from common.kernels.matching import split_outcomes
from common.kernels.sifting import select_bits
from common.profiles.link import load_profile
from common.protocols.protocol import BB84
from common.timetags.emission_record import EmissionHeader, EmissionRecord

GAP_SLOTS = 1000.0
"""Mean distance of detections, slots: one pulse in a thousand is detected."""

DENSE_GAP_SLOTS = 8.0
"""Mean distance on a bright link without loss."""


def measure(request: Request) -> Iterator[Measurement]:
    """Measure sifting.

    Parameters
    ----------
    request : Request
        What to measure.

    Yields
    ------
    Measurement
        The conversation, the selection of bits, the coding of slots.
    """
    rng = np.random.default_rng(1)
    count = request.size(BATCH_DETECTIONS, 1 << 14)
    slots = drawn_slots(rng, count, GAP_SLOTS)
    yield conversation(request, slots, rng)
    values, keep = (rng.integers(0, 2, 16 * count, np.uint8) for _ in range(2))
    yield _selection(request, values, keep)
    yield _slot_coding(request, slots, GAP_SLOTS)
    dense = drawn_slots(rng, count, DENSE_GAP_SLOTS)
    yield _slot_coding(request, dense, DENSE_GAP_SLOTS)
    yield _look_up(request, slots, GAP_SLOTS)
    yield _look_up(request, dense, DENSE_GAP_SLOTS)


def drawn_slots(rng: np.random.Generator, count: int, gap_slots: float) -> NDArray[np.int64]:
    """Draw slots with detections.

    Parameters
    ----------
    rng : Generator
        Draws the gaps.
    count : int
        How many.
    gap_slots : float
        Their mean distance, slots.

    Returns
    -------
    int64[count]
        Increasing.
    """
    return np.cumsum(rng.geometric(1.0 / gap_slots, count)).astype(np.int64)


def conversation(request: Request, slots: NDArray[np.int64], rng: np.random.Generator) -> Measurement:
    """Measure announcement and reply.

    Parameters
    ----------
    request : Request
        Whether two runs have to do.
    slots : int64[n]
        Slots of the detections, increasing.
    rng : Generator
        Draws settings and outcomes.

    Returns
    -------
    Measurement
        Detections a second.
    """
    recipe = Recipe.of(load_profile("niedersachsen"))
    settings, outcomes = (rng.integers(0, 4, slots.size, np.uint8) for _ in range(2))
    frames = int(slots[-1]) // recipe.frame_pulses + 1
    counted = np.bincount(slots // recipe.frame_pulses, minlength=frames).astype(np.int64)
    detections = FramedDetections(0, counted, slots, outcomes, np.zeros(0, np.int64), ended=True)
    progress = GroupProgress(0, 0, recipe.maximum_frames, slots.size, 1)

    def both_halves() -> None:
        rehearse(sift(recipe, progress, lambda _slots: settings), announce(recipe, progress, lambda *_wanted: detections))

    (seconds,) = fastest(request, both_halves)
    return Measurement(
        stage="sifting",
        method="announcement and reply, both halves",
        mevents_per_second=slots.size / seconds / 1e6,
        note="messages coded and authenticated, settings at hand",
    )


def _selection(request: Request, outcomes: NDArray[np.uint8], keep: NDArray[np.uint8]) -> Measurement:
    mask = Bits.from_flags(keep).words

    def ours() -> NDArray[np.uint8]:
        return select_bits(split_outcomes(outcomes)[1].words, mask)[0].view(np.uint8)

    def peer() -> NDArray[np.uint8]:
        return np.packbits(outcomes[keep.astype(np.bool_)] & 1, bitorder="little")

    theirs = peer()
    require_equal(np.array_equal(ours()[: theirs.size], theirs), "selection kernels and numpy")
    seconds, peer_seconds = fastest(request, ours, peer)
    return Measurement(
        stage="sifting",
        method="outcomes packed and selected, kernels",
        mevents_per_second=outcomes.size / seconds / 1e6,
        peer="numpy boolean index and packbits",
        ratio_to_peer=peer_seconds / seconds,
    )


def _look_up(request: Request, slots: NDArray[np.int64], gap_slots: float) -> Measurement:
    header = EmissionHeader(1e9, 0, int(slots[-1]) + 1, BB84.settings, (0.45, 0.45, 0.05, 0.05))
    record = EmissionRecord(header, expander_key=bytes(KEY_BYTES))

    def library() -> NDArray[np.uint8]:
        return record.window(0, header.count_slots)[slots]

    require_equal(np.array_equal(record.lookup(slots), library()), "settings of slots and of a window")
    seconds, peer_seconds = fastest(request, lambda: record.lookup(slots), library)
    return Measurement(
        stage="sifting",
        method="settings expanded and looked up",
        mevents_per_second=slots.size / seconds / 1e6,
        peer="ChaCha20 of OpenSSL, every slot",
        ratio_to_peer=peer_seconds / seconds,
        note=f"one of {gap_slots:g} slots",
    )


def _slot_coding(request: Request, slots: NDArray[np.int64], gap_slots: float) -> Measurement:
    limit = int(slots[-1]) + 1

    def ours() -> NDArray[np.int64]:
        return decode_gaps(encode_gaps(slots, 0), slots.size, 0, limit)

    def peer() -> NDArray[np.int64]:
        coded = zlib.compress(np.diff(slots, prepend=0).astype("<u4").tobytes(), 1)
        return np.cumsum(np.frombuffer(zlib.decompress(coded), "<u4").astype(np.int64))

    require_equal(np.array_equal(ours(), peer()), "slot coding and zlib")
    seconds, peer_seconds = fastest(request, ours, peer)
    return Measurement(
        stage="sifting",
        method="slots coded and decoded, kernels",
        mevents_per_second=slots.size / seconds / 1e6,
        peer="zlib of 32-bit gaps",
        ratio_to_peer=peer_seconds / seconds,
        note=f"one of {gap_slots:g} slots, {8 * encode_gaps(slots, 0).size / slots.size:.2f} bits each",
    )
