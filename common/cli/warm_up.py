"""Compiles every kernel a live link needs, once, before three processes would each compile its own on the same few cores.

A short link is played through the live stations of both ends in one process. What the compiler made stays in its cache; a stamp beside it
says for which sources, compiler and processor, so that the next demonstration knows without asking the compiler. Run as a program it
takes the link's profile; ``is_cold`` is asked first.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from common.profiles.link import LinkProfile, load_profile

SHORT_LINK = (
    "channel.loss_db=10",
    "channel.misalignment=0.01",
    "receiver.gate_ps=3000",
    "security.block_bits=40000",
    "security.frame_pulses=228000",
)
"""Settings that make ``niedersachsen`` short: key in a quarter of a second of link."""

SHORT_SECONDS = 0.25

_PACKAGES = ("alice", "bob", "common")


def is_cold(profile: LinkProfile) -> bool:
    """Say whether kernels of a link with this ``profile`` may have to be compiled."""
    return not _stamp(profile).exists()


def warm_up(profile: LinkProfile) -> None:
    """Compile what a link needs, and leave a stamp.

    Parameters
    ----------
    profile : LinkProfile
        The link; its method of reconciliation, receiver and bases say which kernels these are.
    """
    _play(_shortened(profile))
    stamp = _stamp(profile)
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    except OSError:
        pass  # without a stamp the next demonstration plays the short link again, which is all


def _shortened(profile: LinkProfile) -> LinkProfile:
    """Return a short link that asks for the same kernels: method, bases, kind of receiver and of clock are the profile's."""
    short = load_profile("niedersachsen", SHORT_LINK)
    return dataclasses.replace(
        short,
        receiver=dataclasses.replace(
            short.receiver,
            basis_choice=profile.receiver.basis_choice,
            sync_divider=min(profile.receiver.sync_divider, short.receiver.sync_divider),
        ),
        security=dataclasses.replace(
            short.security, key_bases=profile.security.key_bases, test_fraction=profile.security.test_fraction, epsilon_secrecy=1e-6
        ),
        reconciliation=profile.reconciliation,
    )


def _play(profile: LinkProfile) -> None:
    """Distil a short link at both ends, live stations and all."""
    import alice.playbook
    import bob.playbook
    from alice.live import LiveEmissionStation
    from bob.live import LiveDetectionStation
    from common.channel.authentication import ChannelSecrets
    from common.channel.codec import Party
    from common.conversation.rehearsal import End, Rehearsal
    from common.distillation.link_session import LinkSession
    from common.distillation.pace import Pace
    from common.distillation.recipe import Recipe
    from common.emulator.link import emulate
    from common.keystore.memory import MemoryKeyStore
    from common.randomness import SystemRandomness
    from common.timetags.live import EmissionProgress, EmissionStream, StreamItem, TagBatch, TagStream

    class Played:
        """A stream that is known already."""

        def __init__(self, items: list[StreamItem]) -> None:
            self._items = items

        def next(self, timeout_seconds: float) -> StreamItem | None:  # noqa: ARG002 - nothing is waited for
            return self._items.pop(0) if self._items else None

    run, recipe, randomness = emulate(profile, SHORT_SECONDS, 1), Recipe.of(profile), SystemRandomness()
    sender = LiveEmissionStation(profile)
    sender.deliver(EmissionStream(run.emission.header, run.emission.expander_key, "warm-up"))
    sender.deliver(EmissionProgress(1, True, run.emission.header.end_slot - 1))
    whole = TagBatch(1, False, True, run.tags.t_ps, run.tags.channel)
    receiver = LiveDetectionStation(
        Played([TagStream(dict(run.tags.channels), run.tags.sync_divider, "warm-up"), whole]), profile, randomness
    )
    playbooks = {
        Party.ALICE: (alice.playbook.GREETING, alice.playbook.playbook(recipe, sender)),
        Party.BOB: (bob.playbook.GREETING, bob.playbook.playbook(recipe, receiver, Pace())),
    }
    secrets = ChannelSecrets.draw(randomness, 16)
    sessions = {party: LinkSession(party, secrets, recipe, *playbooks[party]) for party in Party}
    rehearsal = Rehearsal({party: End(sessions[party], MemoryKeyStore(), randomness) for party in Party})
    for party in Party:
        rehearsal.add(party, sessions[party].start())
    rehearsal.run()


def _stamp(profile: LinkProfile) -> Path:
    """Where the stamp lies: in the folder of the compiler's cache, named after everything that makes compiled code stale."""
    kinds = (profile.reconciliation.method, profile.receiver.basis_choice, profile.security.key_bases, profile.receiver.sync_divider > 0)
    digest = hashlib.sha256(repr((kinds, importlib.metadata.version("numba"), platform.python_version(), _processor())).encode())
    root = Path(__file__).resolve().parents[2]
    for package in _PACKAGES:
        for source in sorted((root / package).rglob("*.py")):
            text = source.read_bytes()
            if b"@kernel" in text:
                digest.update(text)
    return _cache_folder(root) / f"qkdlink-kernels-{digest.hexdigest()[:20]}"


def _cache_folder(root: Path) -> Path:
    """Return the folder that the compiler chooses for its cache: what the environment names, beside the sources, or the user's own."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    beside = root / "common" / "kernels"
    if named:
        return Path(named)
    return beside / "__pycache__" if os.access(beside, os.W_OK) else Path.home() / ".cache" / "qkdlink"


def _processor() -> str:
    """Name the processor as far as compiled code depends on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "; ".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))))


if __name__ == "__main__":
    warm_up(load_profile(sys.argv[1]))
