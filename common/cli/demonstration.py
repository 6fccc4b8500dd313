"""What ``qkd demo`` does: three processes make key until it covers a picture, and the picture goes through the one-time pad.

A link is provisioned into the folder ``nodes``, its processes are started and watched over their admin sockets, the picture is encrypted
with key from Alice's node and decrypted with key from Bob's; pictures, logs and what the nodes leave stay in the folder. The command around
it, ``demo``, only reads options and prints; ``report`` adds up, ``live_run`` watches, ``processes`` starts and stops.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.cli.arrivals import RecordedRun, recorded_run
from common.cli.example_picture import example_picture
from common.cli.expectation import Expectation
from common.cli.link_series import LinkSeries, latest_steps, link_series
from common.cli.live_run import Goal, LiveRun, Verdict
from common.cli.offline import distil_offline, system_or_seeded
from common.cli.plots import OVERVIEW
from common.cli.processes import MODULES, LinkProcesses, started
from common.cli.progress import Moment
from common.cli.provisioning import Choices, Hosts, provision
from common.cli.report import link_report, offline_report
from common.cli.warm_up import is_cold
from common.errors import ConfigurationError
from common.keystore.check import faults
from common.keystore.ownership import Pool
from common.onetimepad.cipher import forgery_bound
from common.onetimepad.envelope import OVERHEAD_BYTES
from common.profiles.link import LinkProfile
from common.service.streams import LONGEST_UNIX_PATH
from common.timetags.emission_file import write_emission
from common.timetags.hdf5 import write_tags

DEFAULT_PICTURE_BITS = 48_000
"""Pixels of the demonstration, bits, unless more key is asked for."""

OVERHEAD_BITS = 8 * OVERHEAD_BYTES
"""Key the picture takes beyond its pixels: hash key and mask of its tag."""

SHARES = {"alice_pad": 27, "bob_pad": 1, "alice_delivery": 1, "bob_delivery": 1}
"""How both stores share key out here: nine tenths for messages from Alice, for nothing else is sent."""

PAD_SHARE = SHARES["alice_pad"] / sum(SHARES.values())

ROUNDING_BITS = 512
"""What is left of a block for others before it is shared out: keys of tags, and what whole bytes and pools cost."""

STORES = ("alice", "bob")

MARK = ".made-by-qkd-demo"
"""A file in ``nodes`` that says who made it: nobody else's keys are ever removed."""

RECORDING = "200204_HH400_T2_320MHz_HBT.timeres"
"""The recording of a real emitter that the second act looks for."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is to be shown.

    Attributes
    ----------
    profile : LinkProfile
        The link.
    expected : Expectation
        The planner's word, and the key that is wanted.
    seed : int | None
        Seeds the emulated physics, never keys.
    eve : str | None
        Eavesdropper on the fibre.
    arrivals : RecordedRun | None
        A recorded run to be played in place of an emulation.
    to_the_end : bool
        Whether the link goes on for all of ``expected.limit_seconds``, however much key that makes.
    speed : float | None
        Seconds of link a second; None for as fast as the machine can.
    compensates_drift : bool
        Whether Bob turns plates or phase shifter against the fibre's drift.
    """

    profile: LinkProfile
    expected: Expectation
    seed: int | None = None
    eve: str | None = None
    arrivals: RecordedRun | None = None
    to_the_end: bool = False
    speed: float | None = None
    compensates_drift: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Act:
    """What was shown.

    Attributes
    ----------
    report : dict
        As of ``qkd distil``, and what there is to say about processes and stores.
    series : LinkSeries
        QBER and key rate over link time.
    covered, identical : bool
        Whether the key covers the picture, and whether it arrived bit for bit.
    """

    report: dict[str, Any]
    series: LinkSeries
    covered: bool
    identical: bool


def wanted_bits(picture: Image.Image, secret_bits: int | None) -> int:
    """Return the secret bits that are wanted in all: for the picture, and no fewer than were asked for.

    Parameters
    ----------
    picture : Image
        What will be sent.
    secret_bits : int | None
        What was asked for.

    Returns
    -------
    int
        So many that the share of Alice's messages covers the picture.
    """
    return max(secret_bits or 0, -int(-pad_bits(picture) // PAD_SHARE) + ROUNDING_BITS)


def pad_bits(picture: Image.Image) -> int:
    """Return the bits of pad that a ``picture`` takes, its tag included."""
    return 24 * picture.width * picture.height + OVERHEAD_BITS


def room_bits(secret_bits: int | None) -> int:
    """Return the bits of pixels that so many ``secret_bits`` have room for, at least the example's."""
    return max(DEFAULT_PICTURE_BITS, int((secret_bits or 0) * PAD_SHARE) - OVERHEAD_BITS - ROUNDING_BITS)


@contextmanager
def demonstration_folder(folder: Path) -> Iterator[None]:
    """Make room for a demonstration, and keep others out while the body runs.

    Parameters
    ----------
    folder : Path
        Made where it is missing; what an earlier demonstration left is removed.

    Yields
    ------
    None
        Once it is ours.

    Raises
    ------
    ConfigurationError
        If it holds key that no demonstration made, or another demonstration uses it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(f"{folder} is in use by another demonstration: name another folder with --out") from None
        _clear(folder)
        yield
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    """Remove what an earlier demonstration left."""
    keys = [folder / f"{end}.key" for end in STORES]
    report = folder / "report.json"
    is_ours = report.exists() and '"picture"' in report.read_text(encoding="utf-8")
    if any(key.exists() for key in keys) and not is_ours:
        raise ConfigurationError(f"{folder} holds key files that no demonstration made: name another folder with --out")
    nodes = folder / "nodes"
    if nodes.exists() and not (nodes / MARK).exists():
        raise ConfigurationError(f"{nodes} was not made by a demonstration and may hold key: name another folder with --out")
    for path in (nodes, folder / "logs") if nodes.exists() else ():
        shutil.rmtree(path, ignore_errors=True)
    stale = [*keys, *(key.with_name(key.name + ".ledger") for key in keys), *([report, folder / "report.html"] if is_ours else [])]
    for path in (*stale, folder / "encrypted.png", folder / "decrypted.png", folder / OVERVIEW):
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


def live_act(
    plan: Plan, picture: Image.Image, folder: Path, watch: Callable[[Moment], None], say: Callable[[str], None] = lambda _text: None
) -> Act:
    """Run a link as three processes until its key covers a picture, and send the picture.

    Parameters
    ----------
    plan : Plan
        Link, and key that is wanted.
    picture : Image
        What is sent; lies in the folder as ``original.png``.
    folder : Path
        Gets ``nodes``, ``logs`` and the pictures.
    watch : callable
        Told how far the link has come.
    say : callable
        Told in words what is being done.

    Returns
    -------
    Act
        The result; no process runs any more.

    Raises
    ------
    QkdError
        If a process ends, or the link stands still.
    """
    began = time.monotonic()
    profile, nodes = plan.profile, folder / "nodes"
    with _provisioned(plan, nodes) as channel, LinkProcesses(nodes, folder / "logs") as processes:
        _compile(profile, nodes, folder / "logs", say)
        processes.start()
        goal = Goal(plan.expected.secret_bits, Pool.ALICE_PAD.value, pad_bits(picture), to_the_end=plan.to_the_end)
        run = LiveRun(profile, processes, goal, watch)
        with closing(run):
            run.wait_ready()
            say(f"three processes are up, the channel is {channel}; their logs are in {folder / 'logs'}")
            verdict = run.run()
            processes.stop("fibre")
            run.settle()
            covered = verdict is Verdict.COVERED
            identical = covered and _send_picture(processes, picture, folder)
            agree = run.settle()
        processes.stop()
        wrong = faults(*(nodes / end / "state" / "store.sqlite" for end in STORES))
    blocks = run.views["bob"].blocks
    levels, lag = ({name: view.status[part] for name, view in run.views.items()} for part in ("store", "event_loop_lag"))
    report = link_report(profile, blocks, run.findings()) | {
        "processes": [{"name": f"qkd-{name}", "log": f"logs/{name}.log"} for name in MODULES],
        "channel": channel,
        "stores": {"agree": agree and not wrong, "faults": wrong} | {name: level["pools"] for name, level in levels.items()},
        "event_loop_lag": lag,
        "ready_seconds": round(run.ready_seconds, 3),
        "wall_seconds": round(time.monotonic() - began, 3),
    }
    if plan.arrivals is not None:
        report["recording"] = _recording(plan.arrivals)
    steps = latest_steps(*(view.steps for view in run.views.values()))
    return Act(report, link_series(profile, steps, blocks, run.watched), covered, identical)


def recorded_act(profile: LinkProfile, recording: Path, seed: int) -> dict[str, Any]:
    """Distil the arrivals of a recording, both ends in this process.

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
    dict
        As of ``qkd distil``, with what is known of the recording.
    """
    made = recorded_run(profile, recording, seed)
    run = distil_offline(made.profile, made.record, made.tags, system_or_seeded(None))
    return offline_report(made.profile, run, seeded=False) | {"recording": {"file": recording.name, **_recording(made)}}


def picture_entry(picture: Image.Image, remark: str, act: Act) -> dict[str, Any]:
    """Describe the picture's way.

    Parameters
    ----------
    picture : Image
        What was to be sent.
    remark : str
        What was done to it beforehand.
    act : Act
        The run.

    Returns
    -------
    dict
        For the report: bits, key spent on them and how much of the key that is, and what the tag is worth.
    """
    bits, secret_bits = 24 * picture.width * picture.height, act.report["secret_bits"]
    spent = pad_bits(picture) if act.identical else 0
    return {
        "bits": bits,
        "identical": act.identical,
        "key_bits_spent": spent,
        "share_of_key": spent / secret_bits if secret_bits else None,
        "pool": Pool.ALICE_PAD.value,
        "pool_share": PAD_SHARE,
        "forgery_bound": forgery_bound(bits // 8),
        "width": picture.width,
        "height": picture.height,
        "remark": remark,
    }


def failed_bound(report: dict[str, Any]) -> str:
    """Say in words why a ``report`` has no key, or less than was wanted."""
    bounds = [f"block {block['number']}: {block['bound'] or block['reason']}" for block in report["blocks"] if block["reason"]]
    failures = [f"{party}: {text}" for party, text in report["failures"].items()]
    return "; ".join([*bounds, *failures])


def _compile(profile: LinkProfile, nodes: Path, logs: Path, say: Callable[[str], None]) -> None:
    """Compile kernels in one process before three would; where that fails, each compiles its own."""
    if not is_cold(profile):
        return
    say("compiling kernels, once; half a minute on most machines")
    logs.mkdir(exist_ok=True)
    with (logs / "kernels.log").open("wb") as log:
        compiler = started("common.cli.warm_up", str(nodes / "fibre" / "link.toml"), log=log)
        try:
            compiler.wait()
        finally:
            compiler.kill()
            compiler.wait()


def _send_picture(processes: LinkProcesses, picture: Image.Image, folder: Path) -> bool:
    """Encrypt with key from Alice's node, decrypt with key from Bob's; return whether every pixel arrived as it was sent."""
    from common.onetimepad.pictures import decrypt_picture, encrypt_picture
    from common.onetimepad.served import ServedPad
    from common.service.admin_client import AdminClient

    with AdminClient.of(processes.config("alice")) as client:
        encrypt_picture(ServedPad(client), folder / "original.png", folder / "encrypted.png")
    with AdminClient.of(processes.config("bob")) as client:
        decrypt_picture(ServedPad(client), folder / "encrypted.png", folder / "decrypted.png")
    with Image.open(folder / "decrypted.png") as decrypted:
        return decrypted.size == picture.size and bool(np.array_equal(np.asarray(decrypted), np.asarray(picture)))


@contextmanager
def _provisioned(plan: Plan, nodes: Path) -> Iterator[str]:
    """Provision a link on a free port; yields the address of its channel."""
    port = free_port()
    emulated = {"seed": plan.seed, "eve": plan.eve, "max_link_seconds": plan.expected.limit_seconds, "speed": plan.speed}
    fibre: dict[str, Any] = {} if plan.arrivals else emulated
    files = {"emission": "arrivals/emission.h5", "tags": "arrivals/tags.h5"} if plan.arrivals else None
    with _socket_folder(nodes) as sockets:
        choices = Choices(port, SHARES, fibre, files, sockets, None, None, compensates_drift=plan.compensates_drift)
        provision(plan.profile, nodes, Hosts(), choices)
        (nodes / MARK).touch()
        if plan.arrivals is not None:
            _write_arrivals(plan.arrivals, nodes / "fibre" / "arrivals")
        yield f"tcp://127.0.0.1:{port}"


@contextmanager
def _socket_folder(nodes: Path) -> Iterator[Path | None]:
    """Yield a folder for the fibre's sockets where the usual one has too long a name, else None."""
    longest = nodes.absolute() / "alice" / ".." / "fibre" / "run" / "control.sock"
    if len(os.fsencode(longest)) <= LONGEST_UNIX_PATH:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="qkd-demo-") as folder:
        yield Path(folder)


def _write_arrivals(made: RecordedRun, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    write_tags(folder / "tags.h5", made.tags)
    write_emission(folder / "emission.h5", made.record)


def _recording(made: RecordedRun) -> dict[str, Any]:
    return {
        "clock_hz": made.clock.clock_hz,
        "clock_residual_rms_ps": made.clock.quality.residual_rms_ps,
        "g2": made.profile.source.g2,
        "on_fraction": made.profile.source.on_fraction,
        "arrivals": len(made.tags),
    }


def free_port() -> int:
    """Return a loopback TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
