"""The whole pipeline: both ends in one process and one thread, from prepared detections to committed key, and then live as two daemons.

Offline the two sessions run exactly as in ``qkd distil``. Clock recovery, the greeting and the matching of slots come before and are not
counted; sifting, disclosure, reconciliation, verification, key length, amplification and commitment of all blocks at both ends are, with
every message coded, authenticated and hashed. The channel is memory; over sockets ``live`` measures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from common.channel.codec import SESSION_SCOPE, Party
from common.cli.benchmarks import live
from common.cli.benchmarks.measurement import Measurement, Request
from common.cli.offline import distil_offline, system_or_seeded
from common.cli.report import offline_report
from common.conversation.events import Output, RunComputation, RunOperation
from common.conversation.operations import CommitKeys, OpenBlock
from common.conversation.rehearsal import Moment
from common.emulator.link import Emulation, emulate
from common.errors import LocalProtocolError
from common.profiles.link import LinkProfile, load_profile

METHODS = ("cascade", "ldpc")

SETTINGS = (
    "channel.loss_db=10",
    "source.probability_z=0.9",
    "source.lifetime_ps=100",
    "receiver.probability_z=0.9",
    "receiver.gate_ps=3000",
    "security.frame_pulses=2280000",
)
"""A short fibre and a biased choice of bases, so that most detections make key. Hardly a photon strays into the next slot, so that the
error rate is the misalignment."""

SPARE = 1.25
"""Link time beyond what detections without losses would need, as a factor: dead time, and the tags that the gate is chosen from."""

SPARE_FRAMES = 4
"""Frames beyond that, for short blocks."""

TRIAL_SECONDS = 0.02
"""Link time from which the rate of detections is learnt."""

RUNS = 3
"""Runs of which the fastest counts, behind one that warms up."""


@dataclass(slots=True)
class _Stopwatch:
    """Notes when the first block began to fill, and when the last key was committed at both ends."""

    opened: float | None = None
    ended: float = 0.0

    def __call__(self, _party: Party, output: Output, moment: Moment) -> None:
        match output, moment:
            case RunComputation(task), "before" if task.block != SESSION_SCOPE:
                self.opened = self.opened or time.perf_counter()
            case RunOperation(operation=CommitKeys() | OpenBlock()), "after":
                self.ended = time.perf_counter()


def measure(request: Request) -> Iterator[Measurement]:
    """Measure the pipeline.

    Parameters
    ----------
    request : Request
        What to measure; ``block_bits`` are key bits of a block after removal of the disclosed ones.

    Yields
    ------
    Measurement
        Both methods of reconciliation at every QBER, then two daemons.
    """
    for block_bits in request.lengths((1_000_000,), (30_000,)):
        for qber in request.qbers:
            emulated = _prepared(qber, block_bits)
            for method in METHODS:
                yield _distilled(request, _profile(qber, block_bits, method), emulated, qber)
    yield from live.measure(request)


def _profile(qber: float, block_bits: int, method: str) -> LinkProfile:
    chosen = (
        f"channel.misalignment={qber}",
        f"security.block_bits={block_bits}",
        f"reconciliation.method={method}",
        f"reconciliation.initial_qber={qber}",
    )
    return load_profile("niedersachsen", [*SETTINGS, *chosen])


def _prepared(qber: float, block_bits: int) -> Emulation:
    """Emulate the link for a whole block, at the end of which the stream ends."""
    profile = _profile(qber, block_bits, METHODS[0])
    tags_hz = len(emulate(profile, TRIAL_SECONDS, 10).tags) / TRIAL_SECONDS
    share = profile.source.probability_z * profile.receiver.probability_z
    frame_seconds = profile.security.frame_pulses / profile.source.clock_hz
    return emulate(profile, SPARE * block_bits / share / tags_hz + SPARE_FRAMES * frame_seconds, 10)


def _distilled(request: Request, profile: LinkProfile, emulated: Emulation, qber: float) -> Measurement:
    seconds = float("inf")
    for run in range(1 + (1 if request.quick else RUNS)):
        watch = _Stopwatch()
        outcome = distil_offline(profile, emulated.emission, emulated.tags, system_or_seeded(run), interrupter=watch)
        if watch.opened is None:
            raise LocalProtocolError(f"benchmark: the emulated link opened no block: {outcome.failures}")
        seconds = min(seconds, watch.ended - watch.opened if run else seconds)
    report = offline_report(profile, outcome, seeded=True)
    sifted, secret_bits, reconciliation = report["sifted_bits"], report["secret_bits"], report["reconciliation"]
    return Measurement(
        stage="pipeline",
        method=f"offline, {profile.reconciliation.method}, both ends",
        qber=qber,
        block_bits=profile.security.block_bits,
        mbit_per_second=sifted / seconds / 1e6,
        efficiency=reconciliation["efficiency"],
        frame_error_ratio=reconciliation["frame_error_ratio"],
        count_segments=reconciliation["segments"],
        secret_bits=secret_bits,
        note=f"in one process, in memory; {secret_bits / sifted:.2f} secret bits a sifted bit",
    )
