"""Every kernel is compiled by the one decorator, has a slow obvious reference, and a property test that compares the two.

The convention: a public kernel ``f`` is *used* in a module below ``tests/property`` that also imports from ``tests.reference``, and
a module below ``tests/reference`` says whom it stands for by the name: a function whose name contains ``f``, or ````f```` in a docstring.
A plain function of the same file that calls the kernel may stand for it in both places, and a suffix ``_kernel`` may be left out.
A kernel whose name begins with an underscore is part of another: it is called by a kernel of the same file and tested through it.
"""

import ast
import re
from typing import Any

from common.kernels.jit import kernel
from tests.support.tree import ROOT, Module, assert_none, imported_names, kernels, modules

ALL = [(module, function) for module in modules() for function in kernels(module)]
PUBLIC = [(module, function) for module, function in ALL if not function.name.startswith("_")]
COMPILERS = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil", "jitclass", "generated_jit"}


def identifiers(tree: ast.AST) -> set[str]:
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    }
    return found | {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_the_decorator_releases_the_interpreter_lock_and_caches():
    def doubled(values):
        return values * 2

    compiled: Any = kernel(doubled)

    assert compiled.targetoptions["nogil"] is True
    assert not compiled.targetoptions.get("parallel", False)
    assert compiled.py_func is doubled


def test_nothing_is_compiled_but_by_the_one_decorator():
    found = []
    for module in modules():
        if module.name == "common.kernels.jit":
            continue
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found += [f"{module.path}:{d.lineno}" for d in node.decorator_list if identifiers(d) & COMPILERS]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("numba.").removeprefix("nb.") in COMPILERS:
                found.append(f"{module.path}:{node.lineno}")

    assert_none(found)


def names_of(module: Module, function: ast.FunctionDef) -> set[str]:
    """The kernel's name, without its suffix, and the plain functions of its file that call it."""
    compiled = kernels(module)
    callers = [node for node in module.tree.body if isinstance(node, ast.FunctionDef) and node not in compiled]
    wrappers = {node.name for node in callers if function.name in identifiers(node) and not node.name.startswith("_")}
    return wrappers | {function.name, function.name.removesuffix("_kernel")}


def test_a_kernel_has_a_slow_reference():
    references = [module for module in modules("tests") if module.name.startswith("tests.reference")]
    defined = {node.name for reference in references for node in ast.walk(reference.tree) if isinstance(node, ast.FunctionDef)}
    text = "\n".join((ROOT / reference.path).read_text(encoding="utf-8") for reference in references)

    def has_reference(name: str) -> bool:
        return any(name in other for other in defined) or re.search(rf"``(?:[\w.]+\.)?{name}``", text) is not None

    assert_none([f"{module.name}.{f.name}" for module, f in PUBLIC if not any(has_reference(name) for name in names_of(module, f))])


def test_a_kernel_has_a_property_test_against_its_reference():
    comparing = []
    for test in modules("tests"):
        imports, used = imported_names(test.tree), identifiers(test.tree)
        refers = any(name.startswith("tests.reference") for name in imports)
        if test.name.startswith("tests.property") and "given" in used and refers:
            comparing.append((imports, used))

    def is_compared(module: Module, function: ast.FunctionDef) -> bool:
        return any(module.name in imports and names_of(module, function) & used for imports, used in comparing)

    assert_none([f"{module.name}.{function.name}" for module, function in PUBLIC if not is_compared(module, function)])


def test_a_private_kernel_is_called_by_a_kernel_of_its_file():
    private = [(module, function) for module, function in ALL if function.name.startswith("_")]

    assert not [
        f"{module.name}.{function.name}"
        for module, function in private
        if not any(function.name in identifiers(other) for other in kernels(module) if other is not function)
    ]


def test_a_kernel_takes_positional_arguments_only():
    assert not [f"{m.name}.{f.name}" for m, f in ALL if f.args.kwonlyargs or f.args.vararg is not None or f.args.kwarg is not None]
