"""What ``qkd demo`` does: a link runs until its key covers the picture, and the picture goes through the one-time pad.

Emulated arrivals (or those of a recording) are distilled by the same pipeline as ``qkd distil``; key files, pictures and report are left
in a folder. The command around it, ``demo``, only reads options and prints.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.channel.codec import Party
from common.cli.arrivals import recorded_run
from common.cli.distil import key_bytes, write_together
from common.cli.example_picture import example_picture
from common.cli.link_series import LinkSeries, Listener, expected_seconds, expected_secret_bits, link_series
from common.cli.offline import OfflineRun, distil_offline, system_or_seeded
from common.cli.plots import OVERVIEW
from common.cli.report import link_report
from common.emulator.eavesdropper import Eavesdropper
from common.emulator.link import emulate
from common.errors import ConfigurationError
from common.onetimepad.cipher import forgery_bound
from common.onetimepad.envelope import OVERHEAD_BYTES, PAD_ID_BYTES
from common.onetimepad.pad import Pad
from common.onetimepad.pictures import decrypt_picture, encrypt_picture
from common.planning.link_model import link_model
from common.profiles.link import LinkProfile
from common.security.entropy import saturated_entropy
from common.timetags.emission_record import EmissionRecord
from common.timetags.tags import TimeTags

DEFAULT_PICTURE_BITS = 48_000
"""Pixels of the demonstration, bits, unless more key is asked for."""

OVERHEAD_BITS = 8 * (PAD_ID_BYTES + OVERHEAD_BYTES)
"""Key the picture takes beyond its pixels: the pad's name, hash key and mask of the tag."""

PATIENCE = 3.0
"""A link is given up after so many times the planner's expectation."""

MARGIN = 1.2
"""A first run is longer than expected by this: obtained keys scatter, and codes leak more or less than assumed."""

START_TAGS = 30_000
"""Tags that make no key: the gate is chosen from the first of them, others are sacrificed to match the slots, and the last frame is cut."""

HOPELESS_SECONDS = 30.0
"""Link time shown where the planner expects no key at all."""

RECORDING = "200204_HH400_T2_320MHz_HBT.timeres"
"""The recording of a real emitter that the second act looks for."""


@dataclass(frozen=True, slots=True, eq=False)
class Act:
    """A link, run and distilled.

    Attributes
    ----------
    profile : LinkProfile
        The link.
    run : OfflineRun
        Keys and outcomes.
    report : dict
        As of ``qkd distil``.
    series : LinkSeries
        QBER and key rate over link time.
    """

    profile: LinkProfile
    run: OfflineRun
    report: dict[str, Any]
    series: LinkSeries


@dataclass(frozen=True, slots=True)
class Expectation:
    """The planner's word before a link runs.

    Attributes
    ----------
    secret_bits : int
        Bits wanted.
    seconds : float | None
        Link time they should take; None if the planner expects no key.
    limit_seconds : float
        When to give up.
    """

    secret_bits: int
    seconds: float | None
    limit_seconds: float


def expectation(profile: LinkProfile, secret_bits: int, most_seconds: float | None) -> Expectation:
    """Ask the planner how long a link takes.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    secret_bits : int
        Bits wanted.
    most_seconds : float | None
        Link time at most; None gives three times the expectation.

    Returns
    -------
    Expectation
        What to plan for.
    """
    seconds = expected_seconds(profile, secret_bits)
    limit = (PATIENCE * seconds if seconds else HOPELESS_SECONDS) if most_seconds is None else most_seconds
    return Expectation(secret_bits, seconds, limit)


def is_hopeless(report: dict[str, Any] | None) -> bool:
    """Whether no run of any length would give key: at the QBER in ``report`` even an endless block of single photons gives none."""
    if report is None or report["secret_bits"]:
        return False
    ratios = [ratio for ratio in report["qber"].values() if ratio is not None]
    return bool(ratios) and sum(saturated_entropy(ratio) for ratio in ratios) / len(ratios) >= 1.0 / 2.0


def next_length(profile: LinkProfile, expected: Expectation, previous_seconds: float, report: dict[str, Any] | None = None) -> float | None:
    """Propose the link time of the next attempt.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    expected : Expectation
        From the planner.
    previous_seconds : float
        The attempt before; 0 before the first.
    report : dict | None
        Its report; None before the first.

    Returns
    -------
    float | None
        Seconds, more than before; None once the limit has been reached.
    """
    if previous_seconds >= expected.limit_seconds or is_hopeless(report):
        return None
    if report is None:
        start = START_TAGS / max(link_model(profile).probability_detection * profile.source.clock_hz, 1.0)
        seconds = MARGIN * (expected.seconds or HOPELESS_SECONDS) + start
    elif not report["secret_bits"]:
        seconds = expected.limit_seconds
    else:
        seconds = previous_seconds * max(1.25, MARGIN * expected.secret_bits / report["secret_bits"])
    return min(seconds, expected.limit_seconds)


def simulated_act(profile: LinkProfile, seconds: float, seed: int, eavesdropper: Eavesdropper | None) -> Act:
    """Emulate a link and distil it.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    seconds : float
        Link time.
    seed : int
        Seeds the physics, never the keys.
    eavesdropper : Eavesdropper | None
        An attack on the fibre.

    Returns
    -------
    Act
        The result.
    """
    emulation = emulate(profile, seconds, seed, eavesdropper)
    return _distilled(profile, emulation.emission, emulation.tags)


def recorded_act(profile: LinkProfile, recording: Path, seed: int) -> Act:
    """Distil the arrivals of a recording.

    Parameters
    ----------
    profile : LinkProfile
        Receiver, losses, security; clock and source are the recording's.
    recording : Path
        Of a pulsed emitter.
    seed : int
        Seeds preparation and measurement outcomes, which a recording cannot tell.

    Returns
    -------
    Act
        The result; its report names the recording, its g2 and its clock.
    """
    made = recorded_run(profile, recording, seed)
    act = _distilled(made.profile, made.record, made.tags)
    found = {
        "file": recording.name,
        "clock_hz": made.clock.clock_hz,
        "clock_residual_rms_ps": made.clock.quality.residual_rms_ps,
        "g2": made.profile.source.g2,
        "on_fraction": made.profile.source.on_fraction,
        "arrivals": len(made.tags),
    }
    return dataclasses.replace(act, report=act.report | {"recording": found})


def prepare_folder(folder: Path) -> None:
    """Make room for a demonstration.

    Parameters
    ----------
    folder : Path
        Made where it is missing; what an earlier demonstration left is removed.

    Raises
    ------
    ConfigurationError
        If it holds key files that no demonstration made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keys = [folder / f"{party.name.lower()}.key" for party in Party]
    report = folder / "report.json"
    if any(key.exists() for key in keys) and '"picture"' not in (report.read_text(encoding="utf-8") if report.exists() else ""):
        raise ConfigurationError(f"{folder} holds key files that no demonstration made: name another folder with --out")
    for path in (
        *keys,
        *(key.with_name(key.name + ".ledger") for key in keys),
        folder / "encrypted.png",
        folder / "decrypted.png",
        folder / OVERVIEW,
    ):
        path.unlink(missing_ok=True)


def prepare_picture(image: Path | None, folder: Path, most_bits: int) -> tuple[Image.Image, str]:
    """Write the picture that is to be sent as ``original.png``.

    Parameters
    ----------
    image : Path | None
        A picture of the user's; None paints the example.
    folder : Path
        Gets ``original.png``.
    most_bits : int
        A larger picture is made smaller until its pixels fit.

    Returns
    -------
    tuple[Image, str]
        The picture, and a remark where it had to be made smaller.

    Raises
    ------
    ConfigurationError
        If the file is no picture, or not one pixel fits.
    """
    remark = ""
    if image is None:
        picture = Image.fromarray(example_picture())
    else:
        try:
            with Image.open(image) as opened:
                picture = ImageOps.exif_transpose(opened).convert("RGB")
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as broken:
            raise ConfigurationError(f"--image {image} cannot be read as a picture: {broken}") from None
        if 24 * picture.width * picture.height > most_bits:
            before, scale = picture.size, (most_bits / (24 * picture.width * picture.height)) ** 0.5
            size = int(picture.width * scale), int(picture.height * scale)
            if not all(size):
                raise ConfigurationError(f"--image {image} does not fit into {most_bits} bits: ask for more key with --secret-bits")
            picture = picture.resize(size, Image.Resampling.LANCZOS)
            remark = (
                f"made smaller, from {before[0]} × {before[1]} to {size[0]} × {size[1]} pixels, to fit the key; --secret-bits gives more"
            )
    picture.save(folder / "original.png")
    return picture, remark


def send_picture(act: Act, picture: Image.Image, folder: Path) -> bool:
    """Encrypt with Alice's key, decrypt with Bob's.

    Parameters
    ----------
    act : Act
        Holds the keys; each end writes its own to a file.
    picture : Image
        What was sent.
    folder : Path
        Holds ``original.png``; gets both key files, ``encrypted.png`` and ``decrypted.png``.

    Returns
    -------
    bool
        Whether every pixel arrived as it was sent.
    """
    write_together(folder, {f"{party.name.lower()}.key": key_bytes(store.joined()) for party, store in act.run.stores.items()})
    # One picture in one direction: all of the key is Alice's, and each end has been told so.
    encrypt_picture(Pad(folder / "alice.key", Party.ALICE, 1.0), folder / "original.png", folder / "encrypted.png")
    decrypt_picture(Pad(folder / "bob.key", Party.BOB, 1.0), folder / "encrypted.png", folder / "decrypted.png")
    with Image.open(folder / "decrypted.png") as decrypted:
        return decrypted.size == picture.size and bool(np.array_equal(np.asarray(decrypted), np.asarray(picture)))


def picture_entry(picture: Image.Image, remark: str, *, identical: bool) -> dict[str, Any]:
    """Describe the picture's way.

    Parameters
    ----------
    picture : Image
        What was to be sent.
    remark : str
        What was done to it beforehand.
    identical : bool
        Whether it arrived.

    Returns
    -------
    dict
        For the report: bits, key spent on them, and what the tag is worth.
    """
    bits = 24 * picture.width * picture.height
    return {
        "bits": bits,
        "identical": identical,
        "key_bits_spent": bits + 8 * OVERHEAD_BYTES if identical else 0,
        "forgery_bound": forgery_bound(bits // 8),
        "width": picture.width,
        "height": picture.height,
        "remark": remark,
    }


def compared(act: Act, expected: Expectation) -> dict[str, Any]:
    """Set expected beside obtained.

    Parameters
    ----------
    act : Act
        The run.
    expected : Expectation
        The planner's word beforehand.

    Returns
    -------
    dict
        Lengths and times, for the report.
    """
    model = link_model(act.profile)
    return {
        "wanted_secret_bits": expected.secret_bits,
        "seconds_for_wanted_bits": expected.seconds,
        "limit_seconds": expected.limit_seconds,
        "secret_bits": expected_secret_bits(act.profile, act.report["pulses"]) if act.report["pulses"] else 0,
        "qber": {"Z": model.z.qber, "X": model.x.qber},
        "detections": round(model.probability_detection * act.report["pulses"]),
    }


def failed_bound(report: dict[str, Any]) -> str:
    """Say in words why a ``report`` has no key, or less than was wanted."""
    bounds = [f"block {block['number']}: {block['bound'] or block['reason']}" for block in report["blocks"] if block["reason"]]
    failures = [f"{party}: {text}" for party, text in report["failures"].items()]
    return "; ".join([*bounds, *failures])


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write ``report`` as ``report.json`` into ``folder``."""
    (folder / "report.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _distilled(profile: LinkProfile, record: EmissionRecord, tags: TimeTags) -> Act:
    listener = Listener()
    run = distil_offline(profile, record, tags, system_or_seeded(None), wire=listener.wire)
    report = link_report(profile, run, seeded=False)
    if listener.frames is None:
        empty = LinkSeries([], {"Z": [], "X": []}, {"Z": [], "X": []}, [], [], [], {"Z": 0.0, "X": 0.0})
        return Act(profile, run, report, empty)
    return Act(profile, run, report, link_series(profile, run, record, tags, listener.frames))
