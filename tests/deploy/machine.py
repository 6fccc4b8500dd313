"""A Debian with a systemd of its own, booted in systemd-nspawn for as long as a test needs it.

Three things are made once and kept in the folder that ``QKD_DEPLOY_CACHE`` names (by default one in the user's cache): a bare system, the
packages of the lock, and a system with these, which is copied for every machine. A machine has a loopback interface and no other,
unless it is given a network.
``QKD_DEPLOY_SUITE`` names another Debian than bookworm.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from tests.support.tree import ROOT

SUITE = os.environ.get("QKD_DEPLOY_SUITE", "bookworm")
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "procps")
TOOLS = ("debootstrap", "systemd-nspawn", "nsenter")
LOCK = ROOT / "deploy" / "requirements.lock"
BOOT_SECONDS = 60
STOP_SECONDS = 30
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = "/opt/qkdlink"
HOME = "/root"
WHEELS = Path("/var/cache/wheels")
CHOSEN = ("--require-hashes", "--no-deps", "--requirement")


def lacking() -> str:
    """What keeps machines from being booted here, or nothing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "not root"


def cache() -> Path:
    named = os.environ.get("QKD_DEPLOY_CACHE")
    folder = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qkdlink-deploy"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def base() -> Path:
    """The system that machines are copied from."""
    finished = cache() / SUITE
    if not finished.exists():
        fresh = finished.with_name(f"{SUITE}.unfinished")
        shutil.rmtree(fresh, ignore_errors=True)
        called(["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(fresh)])
        fresh.rename(finished)
    return finished


def packages() -> Path:
    """Every package of the lock as a wheel for the Python of the system: downloading them takes minutes."""
    finished = cache() / f"{SUITE}-wheels-{_lock()}"
    if not finished.exists():
        fresh = finished.with_name(f"{finished.name}.unfinished")
        shutil.rmtree(fresh, ignore_errors=True)
        (python,) = (path.name.removeprefix("python") for path in (base() / "usr/bin").glob("python3.[0-9]*") if path.name[-1].isdigit())
        wanted = ["--only-binary=:all:", "--python-version", python, "--dest", str(fresh)]
        called([sys.executable, "-m", "pip", "download", "--quiet", *wanted, *CHOSEN, str(LOCK)])
        fresh.rename(finished)
    return finished


def _lock() -> str:
    """The lock in a few letters, for names of folders."""
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]


def with_packages() -> Path:
    """The system with every package of the lock in the environment that docs/howto/systemd.md makes: installing them takes minutes."""
    finished = cache() / f"{SUITE}-{_lock()}"
    if not finished.exists():
        fresh = finished.with_name(f"{finished.name}.unfinished")
        shutil.rmtree(fresh, ignore_errors=True)
        called(["cp", "-a", "--reflink=auto", str(base()), str(fresh)])
        wheels = fresh / WHEELS.relative_to("/")
        shutil.copytree(packages(), wheels)
        shutil.copy(LOCK, wheels)
        called(["chroot", str(fresh), "python3", "-m", "venv", ENVIRONMENT])
        found = {"PATH": PATH, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(WHEELS), "PIP_NO_CACHE_DIR": "1"}
        called(["chroot", str(fresh), f"{ENVIRONMENT}/bin/pip", "install", "--quiet", *CHOSEN, f"{WHEELS}/{LOCK.name}"], found)
        shutil.rmtree(wheels)
        fresh.rename(finished)
    return finished


def called(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a program of the host; what it printed is shown where it fails."""
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{command[0]}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}"


class Machine:
    """A booted system.

    Attributes
    ----------
    root : Path
        Its files, seen from here.
    """

    environment: Mapping[str, str] = MappingProxyType({"HOME": HOME, "LANG": "C.UTF-8", "PATH": PATH, "PIP_NO_INDEX": "1"})

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    def run(self, script: str, *, status: int = 0, seconds: float = 300.0) -> str:
        """Run a script in bash, as root in root's folder; its exit status has to be ``status``. Returns what it printed."""
        ran = self._ran(script, seconds)
        assert ran.returncode == status, f"{script}\nexit status {ran.returncode}\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}"
        return ran.stdout + ran.stderr

    def wait(self, script: str, seconds: float) -> str:
        """Run a script again and again until it succeeds; returns what it printed."""
        until = time.monotonic() + seconds
        while (ran := self._ran(script, seconds)).returncode:
            assert time.monotonic() < until, f"{script}\nstill fails after {seconds} s\n{ran.stdout[-3000:]}{ran.stderr[-3000:]}"
            time.sleep(1.0)
        return ran.stdout + ran.stderr

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run(f"systemctl show --value -p {name} {unit}").strip()

    def _ran(self, script: str, seconds: float) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", "-t", str(self._leader), "-a", "bash", "-euc", f"cd\n{script}"]
        return subprocess.run(
            inside, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )


@contextlib.contextmanager
def booted(name: str = "test", network: Path | None = None) -> Iterator[Machine]:
    """A fresh machine, in a network namespace where one is given; nothing of it is left afterwards."""
    system = with_packages()
    with tempfile.TemporaryDirectory(prefix="machine-", dir=cache()) as folder:
        root = Path(folder, "root")
        called(["cp", "-a", "--reflink=auto", str(system), str(root)])
        (root / "etc" / "machine-id").write_text("")
        linked = "--private-network" if network is None else f"--network-namespace-path={network}"
        options = ["--register=no", "--keep-unit", linked, "--console=pipe", "--boot"]
        with Path(folder, "console").open("wb") as console:
            nspawn = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--directory", str(root), f"--machine=qkdlink-{name}", *options],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            machine = Machine(root, _leader(nspawn))
            machine.wait("systemctl is-system-running | grep -qE 'running|degraded'", BOOT_SECONDS)
            yield machine
        except AssertionError as failed:
            failed.add_note(Path(folder, "console").read_text(errors="replace")[-2000:])
            raise
        finally:
            nspawn.send_signal(signal.SIGTERM)  # powers the machine off
            try:
                nspawn.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                nspawn.kill()  # and with it the machine: its first process dies with its parent
                nspawn.wait()


def _leader(nspawn: subprocess.Popen[bytes]) -> int:
    """The first process of the machine that ``nspawn`` boots."""
    until = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < until and nspawn.poll() is None:
        for process in _below(nspawn.pid):
            with contextlib.suppress(OSError):
                status = Path("/proc", str(process), "status").read_text()
                numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
                if len(numbers) > 1 and numbers[-1] == "1" and Path("/proc", str(process), "comm").read_text().strip() == "systemd":
                    return process
        time.sleep(0.2)
    raise AssertionError(f"systemd-nspawn booted nothing within {BOOT_SECONDS} s")


def _below(process: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for child in Path("/proc", str(process), "task", str(process), "children").read_text().split():
            yield int(child)
            yield from _below(int(child))
