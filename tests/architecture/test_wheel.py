"""The wheel carries the three packages with their data, what a host installs from, and nothing else; it works away from the source tree."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.tree import PACKAGES, ROOT, project_files

DATA_SUFFIXES = {".toml", ".json", ".npz", ".sql", ".html", ".css", ".js"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_module_and_data_file_of_the_packages(wheel):
    wanted = {str(path) for path in project_files() if path.parts[0] in PACKAGES and path.suffix in DATA_SUFFIXES | {".py"}}

    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_nothing_but_the_packages_what_a_host_installs_from_and_its_metadata(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    shared = {name.partition(".data/data/")[2] for name in names if ".data/" in name}
    units = {f"share/qkdlink/systemd/{path.name}" for path in (ROOT / "deploy" / "systemd").iterdir()}

    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} <= set(PACKAGES)
    assert shared == {"share/qkdlink/requirements.lock"} | units
    assert not [name for name in names if name.endswith((".nbi", ".nbc", ".pyc"))]


def test_the_wheel_declares_its_licence_and_commands(wheel):
    archive = zipfile.ZipFile(wheel)
    texts = {name.split("/", 1)[1]: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name}

    assert "License-Expression: Apache-2.0" in texts["METADATA"]
    assert "licenses/LICENSE" in texts
    assert "qkd = common.cli.main:main" in texts["entry_points.txt"]


def test_the_unpacked_wheel_is_what_python_finds_away_from_the_source_tree(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "import alice, bob, common; print(common.__file__)"
    path_first = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); "
    found = subprocess.run([sys.executable, "-P", "-c", path_first + code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()) == tmp_path / "site" / "common" / "__init__.py"
