"""Who may import what; the contracts stand in ``pyproject.toml`` and ``make check`` runs them over the whole import graph.

Here: that no package escapes the contracts, and the rules that a graph of imports cannot express.
"""

import ast
import tomllib
from typing import Any

from tests.support.tree import ROOT, Module, assert_none, imported_names, modules

SANS_IO = ("kernels", "security", "channel", "conversation", "protocols", "profiles", "distillation")
FORBIDDEN_IN_SANS_IO = {"asyncio", "zmq", "socket", "threading", "time", "random", "logging"}
# Codes are designed, and Cascade is measured, once, with simulated noise; both ends read the stored tables that came out of it.
DESIGN_TOOLS = {
    "common.distillation.reconciliation.cascade_measurement",
    "common.distillation.reconciliation.code_design",
    "common.distillation.reconciliation.code_measurement",
}
MAY_IMPORT_PLANNING_LIBRARIES = {"common.planning", "common.cli"}


def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return settings["tool"]["importlinter"]["contracts"]


def second_level() -> set[str]:
    """``common.bits``, ``common.channel`` …: what the contracts speak about."""
    return {".".join(module.name.split(".")[:2]) for module in modules("common") if "." in module.name}


def sans_io_modules() -> list[Module]:
    return [module for module in modules("common") if module.name.startswith(tuple(f"common.{name}." for name in SANS_IO))]


def test_every_part_of_common_has_its_layer():
    (layers,) = (contract["layers"] for contract in contracts() if contract["type"] == "layers")
    named = {name.strip("() ") for layer in layers for part in layer.split("|") for name in part.split(":")}

    assert second_level() <= named, "give the new module its layer in pyproject.toml and in docs/reference/layers.md"


def test_every_part_of_common_above_the_base_is_barred_from_planning_libraries_or_is_the_planner():
    barred = next(contract["source_modules"] for contract in contracts() if "scipy" in contract.get("forbidden_modules", []))
    packages = {module.name for module in modules("common") if module.is_package and module.name.count(".") == 1}

    assert packages <= {name.removesuffix(".*") for name in barred} | MAY_IMPORT_PLANNING_LIBRARIES


def test_a_sans_io_module_imports_no_socket_loop_thread_clock_or_log():
    found = {
        module.name: {name.split(".")[0] for name in imported_names(module.tree)} & FORBIDDEN_IN_SANS_IO for module in sans_io_modules()
    }

    assert_none([f"{name}: {sorted(roots)}" for name, roots in found.items() if roots])


def test_a_sans_io_module_draws_nothing_from_numpys_generators():
    found = [
        f"{module.path}:{node.lineno}"
        for module in sans_io_modules()
        if module.name not in DESIGN_TOOLS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"np.random", "numpy.random"}
    ]
    found += [
        str(module.path) for module in sans_io_modules() if any(name.startswith("numpy.random") for name in imported_names(module.tree))
    ]

    assert_none(found, "shared shuffles come from the pinned expander, secrets from Draw; NumPy's generators only drive physics")


def test_a_package_file_holds_a_docstring_and_nothing_else():
    packages = [module for module in modules() if module.is_package]

    assert_none([str(module.path) for module in packages if not ast.get_docstring(module.tree) or len(module.tree.body) > 1])


def test_every_folder_with_modules_is_a_package():
    packages = {module.path.parent for module in modules() if module.is_package}

    assert {module.path.parent for module in modules()} <= packages


def test_declared_commands_exist():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    sources = {module.name: module for module in modules()}
    for target in settings["project"]["scripts"].values():
        name, _, function = target.partition(":")
        defined = {node.name for node in sources[name].tree.body if isinstance(node, ast.FunctionDef)}
        assigned = {
            t.id for node in sources[name].tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
        }
        assert function in defined | assigned
