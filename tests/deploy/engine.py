"""A Docker engine for as long as a test needs it, which shares nothing with another on this machine.

It has namespaces of its own for networks, mounts and processes: ports it publishes, bridges, rules of its firewall and mounted layers are
seen by nobody else and are gone with it, and so is every container. The base image is the Debian that machines are copied from, with the
packages of the lock as wheels, for there is no network beyond its own.
"""

import contextlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from tests.deploy import machine
from tests.support.tree import ROOT, project_files

TOOLS = ("debootstrap", "dockerd", "docker", "containerd", "runc", "iptables", "ip", "unshare", "nsenter")
BASE_IMAGE = "python:3.11-slim-bookworm"
START_SECONDS = 60
GROUP = "qkdlink-deploy"
COMPOSE = """#!/bin/sh
[ "$1" = compose ] || exec {docker} "$@"
shift
exec docker-compose "$@"
"""
"""How ``docker compose`` is written where there is the older program alone."""


def lacking() -> str:
    """What keeps an engine from being run here, or nothing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not missing and not _has_compose() and shutil.which("docker-compose") is None:
        missing.append("docker compose")
    if missing:
        return f"not installed: {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "not root"


def _has_compose() -> bool:
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


class Engine(machine.Machine):
    """An engine that runs; scripts see its namespaces, in the folder ``deploy`` of a copy of the source.

    Attributes
    ----------
    root : Path
        A folder of its own, for its files and the copy of the source.
    """

    def __init__(self, root: Path, leader: int) -> None:
        super().__init__(root, leader)
        self.environment = {
            "HOME": str(self.deploy),
            "LANG": "C.UTF-8",
            "PATH": f"{root}/bin:{machine.PATH}",
            "DOCKER_HOST": f"unix://{root}/socket",
            "DOCKER_BUILDKIT": "0",  # its builder is downloaded in places
            "COMPOSE_DOCKER_CLI_BUILD": "0",
        }

    @property
    def source(self) -> Path:
        return self.root / "source"

    @property
    def deploy(self) -> Path:
        return self.source / "deploy"


@contextlib.contextmanager
def running() -> Iterator[Engine]:
    """An engine with the base image; nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="engine-", dir=machine.cache()) as folder:
        root = Path(folder)
        for path in project_files():
            (root / "source" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, root / "source" / path)
        (root / "bin").mkdir()
        if not _has_compose():
            (root / "bin" / "docker").write_text(COMPOSE.format(docker=shutil.which("docker")))
            (root / "bin" / "docker").chmod(0o755)
        with _daemon(root) as leader:
            engine = Engine(root, leader)
            try:
                engine.wait("docker version", START_SECONDS)
                _import_base(engine)
                yield engine
            except AssertionError as failed:
                failed.add_note((root / "log").read_text(errors="replace")[-2000:])
                raise
        _forget_groups()


@contextlib.contextmanager
def _daemon(root: Path) -> Iterator[int]:
    """Run the daemon; yields the first process of its namespaces, with which all of them end."""
    options = f"--data-root {root}/data --exec-root {root}/exec --pidfile {root}/pid --host unix://{root}/socket --cgroup-parent /{GROUP}"
    first = f"ip link set lo up; dockerd {options} & wait"
    namespaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    with (root / "log").open("wb") as log:
        unshared = subprocess.Popen(
            [*namespaces, "bash", "-c", first], env={"PATH": machine.PATH}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield _child(unshared)
    finally:
        unshared.kill()
        unshared.wait()


def _child(unshared: "subprocess.Popen[bytes]") -> int:
    children = Path("/proc", str(unshared.pid), "task", str(unshared.pid), "children")
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and unshared.poll() is None:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.1)
    raise AssertionError(f"unshare ran nothing within {START_SECONDS} s")


def _import_base(engine: Engine) -> None:
    """Make the base image: a Debian, with Python under the name that the image of that name has, and wheels in place of an index."""
    configuration = f"[global]\nno-index = true\nfind-links = {machine.WHEELS}\n".encode()
    python, pip = tarfile.TarInfo("usr/local/bin/python"), tarfile.TarInfo("etc/pip.conf")
    python.type, python.linkname = tarfile.SYMTYPE, "/usr/bin/python3"
    pip.size = len(configuration)
    archive = engine.root / "base.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(machine.base(), ".")
        tar.add(machine.packages(), str(machine.WHEELS.relative_to("/")))
        tar.addfile(python)
        tar.addfile(pip, BytesIO(configuration))
    engine.run(f"docker import {archive} {BASE_IMAGE}")
    archive.unlink()


def _forget_groups() -> None:
    """Remove the control groups of containers that are gone."""
    for group in Path("/sys/fs/cgroup").glob(f"**/{GROUP}"):
        for below in sorted(group.rglob("*"), reverse=True):
            if below.is_dir():
                with contextlib.suppress(OSError):
                    below.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()
