"""The project as files: which there are, and the parsed source of our packages. Read by the tests of its shape."""

import ast
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("alice", "bob", "common")


@dataclass(frozen=True)
class Module:
    """A source file of ours.

    Attributes
    ----------
    name : str
        Dotted name, packages without ``__init__``.
    path : Path
        Relative to the project's root.
    tree : ast.Module
        The parsed source.
    """

    name: str
    path: Path
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@cache
def project_files() -> tuple[Path, ...]:
    """Every file git tracks or would track, relative to the root; without git every file outside hidden and built folders."""
    asked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        paths = [Path(line) for line in asked.stdout.splitlines()]
    else:
        paths = [path.relative_to(ROOT) for path in ROOT.rglob("*")]
        paths = [path for path in paths if not any(part.startswith(".") or part in {"__pycache__", "_build"} for part in path.parts[:-1])]
    return tuple(sorted(path for path in set(paths) if (ROOT / path).is_file()))


def python_files(*tops: str) -> list[Path]:
    """The project's Python files below the folders ``tops``, relative to the root."""
    return [path for path in project_files() if path.suffix == ".py" and path.parts[0] in tops]


@cache
def modules(*tops: str) -> tuple[Module, ...]:
    """The parsed modules below the folders ``tops``; below our three packages where none is named."""
    found = []
    for path in python_files(*(tops or PACKAGES)):
        parts = path.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path, ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))))
    return tuple(found)


def imported_names(tree: ast.Module) -> set[str]:
    """Dotted names a module imports anywhere in its source: ``a.b`` for ``import a.b``, ``a.b`` and ``a.b.c`` for ``from a.b import c``."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def kernels(module: Module) -> list[ast.FunctionDef]:
    """Functions of ``module`` decorated with ``@kernel``."""
    return [
        node
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(decorator, ast.Name) and decorator.id == "kernel" for decorator in node.decorator_list)
    ]


def assert_none(found: list[str], advice: str = "") -> None:
    """Fail with every finding on a line of its own, and what to do about them."""
    if found:
        raise AssertionError("\n".join([f"{len(found)} found. {advice}".rstrip(), *sorted(found)]))
