"""Every public docstring is complete: parameters, results, errors and, in ``common/security``, source and status.

What the house asks, in NumPy style:

- A module, a public class and a public function or method has a docstring.
- A function with parameters has a ``Parameters`` section that names every one as ``name : type``, and a ``Returns`` or ``Yields``
  section unless it returns nothing.
- A *small* function (at most two parameters, at most ten lines of code) may have a short docstring instead, which then names every
  parameter in double backticks. A small method may leave that out: its class has said what it is about.
- A class with fields (dataclass, named tuple, pydantic model) names every public one in an ``Attributes`` or ``Parameters`` section, in
  double backticks, or documents it with a string below it. A class of at most two fields may leave it to its summary. Enumerations and
  errors are left out; their members carry their meaning.
- A method that overrides one of a class of the same file, or implements one of a ``Protocol`` there, is described there. Properties of a
  ``Protocol`` are described by the class.
- A function that raises an error of ``common.errors``, ``ValueError`` or ``TypeError`` in its own body names it in a ``Raises`` section.
  Exceptions: magic methods, and the mere ``raise`` that hands on what it caught.
- Click reads a command's docstring as its help text and documents options itself: commands need the docstring only.
- A module of ``common/security`` with public functions has ``References``, and each such function or its module states
  ``status: rigorous``, ``paper`` or ``planning``.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.tree import Module, assert_none, modules

MOST_PARAMETERS = 2
MOST_LINES = 10
SECTION = re.compile(r"^ *([A-Z][A-Za-z ]+)\n *-{3,} *$", flags=re.MULTILINE)
STATUS = re.compile(r"status:?\s+\**(rigorous|paper|planning)", flags=re.IGNORECASE)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
OPEN_ERRORS = {"ValueError", "TypeError"}


@dataclass(frozen=True)
class Public:
    """A public function and where it stands."""

    module: Module
    function: ast.FunctionDef | ast.AsyncFunctionDef
    owner: ast.ClassDef | None

    @property
    def where(self) -> str:
        owner = f"{self.owner.name}." if self.owner else ""
        return f"{self.module.path}:{self.function.lineno} {owner}{self.function.name}"

    @property
    def text(self) -> str:
        return ast.get_docstring(self.function) or ""

    @property
    def parameters(self) -> list[str]:
        arguments = self.function.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *filter(None, [arguments.vararg, arguments.kwarg])]
        bound = self.owner is not None and "staticmethod" not in decorators(self.function)
        return [argument.arg for argument in every[1 if bound else 0 :]]

    @property
    def is_small(self) -> bool:
        return len(self.parameters) <= MOST_PARAMETERS and count_code_lines(self.function) <= MOST_LINES


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> set[str]:
    return {ast.unparse(decorator.func if isinstance(decorator, ast.Call) else decorator) for decorator in node.decorator_list}


def count_code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def sections(text: str) -> dict[str, str]:
    """The sections of a NumPy docstring by title."""
    found = list(SECTION.finditer(text))
    ends = [*(following.start() for following in found[1:]), len(text)][: len(found)]
    return {section.group(1): text[section.end() : end] for section, end in zip(found, ends, strict=True)}


def described(section: str) -> set[str]:
    """Names on the ``name, name : type`` lines of a section."""
    heads = re.findall(r"^([*\w]+(?:, *[*\w]+)*) *:", section, flags=re.MULTILINE)
    return {name.strip().lstrip("*") for head in heads for name in head.split(",")}


def in_backticks(text: str) -> set[str]:
    return {word for span in re.findall(r"``([^`]+)``", text) for word in re.findall(r"\w+", span)}


def is_public(name: str) -> bool:
    return not name.startswith("_")


def public_classes() -> Iterator[tuple[Module, ast.ClassDef]]:
    for module in modules():
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and is_public(node.name):
                yield module, node


def overridden(module: Module, owner: ast.ClassDef) -> set[str]:
    """Methods that a base class or a protocol of the same file describes."""
    bases = {ast.unparse(base).split("[")[0] for base in owner.bases}
    others = [node for node in module.tree.body if isinstance(node, ast.ClassDef) and node is not owner]
    parents = [node for node in others if node.name in bases or is_protocol(node)]
    return {node.name for parent in parents for node in parent.body if isinstance(node, FUNCTIONS)}


def is_protocol(owner: ast.ClassDef) -> bool:
    return any(ast.unparse(base).split("[")[0].endswith("Protocol") for base in owner.bases)


def public_functions() -> Iterator[Public]:
    for module in modules():
        for node in module.tree.body:
            if isinstance(node, FUNCTIONS) and is_public(node.name):
                yield Public(module, node, None)
    for module, owner in public_classes():
        described_by_base = overridden(module, owner)
        for node in owner.body:
            if not isinstance(node, FUNCTIONS) or not is_public(node.name) or node.name in described_by_base:
                continue
            if not decorators(node) & {"overload", "typing.overload"} and not (is_protocol(owner) and "property" in decorators(node)):
                yield Public(module, node, owner)


def is_command(function: Public) -> bool:
    return any(name.split(".")[-1] in {"command", "group"} for name in decorators(function.function))


def fields(owner: ast.ClassDef) -> dict[str, bool]:
    """Public annotated names of a class body, and whether a string below documents each."""
    found = {}
    for node, below in zip(owner.body, [*owner.body[1:], None], strict=True):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and is_public(node.target.id)
            and "ClassVar" not in ast.unparse(node.annotation)
        ):
            found[node.target.id] = (
                isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
            )
    return found


def is_enumeration_or_error(owner: ast.ClassDef) -> bool:
    return any(re.search(r"Enum|Flag|Error|Exception|Aborted", ast.unparse(base)) for base in owner.bases)


def raised(function: ast.AST) -> set[str]:
    """Errors constructed in a ``raise`` of this body, nested functions left out."""
    names: set[str] = set()
    for node in ast.iter_child_nodes(function):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            names.add(ast.unparse(node.exc.func).split(".")[-1])
        names |= raised(node)
    return names


def project_errors() -> set[str]:
    (module,) = (module for module in modules("common") if module.name == "common.errors")
    return {node.name for node in module.tree.body if isinstance(node, ast.ClassDef)} - {"AbortReason"}


def test_every_module_class_and_function_has_a_docstring():
    missing = [str(module.path) for module in modules() if not ast.get_docstring(module.tree)]
    missing += [f"{module.path}:{owner.lineno} {owner.name}" for module, owner in public_classes() if not ast.get_docstring(owner)]
    missing += [function.where for function in public_functions() if not function.text]

    assert_none(missing)


def test_every_parameter_is_described():
    missing = []
    for function in public_functions():
        if is_command(function) or not function.text:
            continue
        parts = sections(function.text)
        if "Parameters" in parts:
            lacking = set(function.parameters) - described(parts["Parameters"])
        elif function.is_small:
            lacking = set() if function.owner else set(function.parameters) - in_backticks(function.text)
        else:
            lacking = set(function.parameters)
        if lacking:
            missing.append(f"{function.where}: {', '.join(sorted(lacking))}")

    assert_none(missing, "Give a Parameters section (name : type, unit); a small function may name its parameters in double backticks.")


def test_no_parameter_is_described_that_does_not_exist():
    stale = []
    for function in public_functions():
        known = set(function.parameters)
        extra = described(sections(function.text).get("Parameters", "")) - known
        if extra:
            stale.append(f"{function.where}: {', '.join(sorted(extra))}")

    assert_none(stale)


def test_every_result_is_described():
    missing = []
    for function in public_functions():
        returns = function.function.returns
        nothing = returns is None or ast.unparse(returns) in {"None", "NoReturn", "Never"}
        if nothing or function.is_small or is_command(function) or "property" in decorators(function.function):
            continue
        if not sections(function.text).keys() & {"Returns", "Yields"}:
            missing.append(function.where)

    assert_none(missing, "Say under Returns what comes back: type, shape, unit.")


def test_every_field_is_described():
    missing = []
    for module, owner in public_classes():
        if is_enumeration_or_error(owner) or len(fields(owner)) <= MOST_PARAMETERS:
            continue
        text = ast.get_docstring(owner) or ""
        parts = sections(text)
        known = described(parts.get("Attributes", "")) | described(parts.get("Parameters", "")) | in_backticks(text)
        lacking = [name for name, below in fields(owner).items() if not below and name not in known]
        if lacking:
            missing.append(f"{module.path}:{owner.lineno} {owner.name}: {', '.join(lacking)}")

    assert_none(missing, "Name the fields under Attributes (name : type, unit).")


def test_every_error_raised_is_described():
    watched = project_errors() | OPEN_ERRORS
    missing = []
    for function in public_functions():
        lacking = {name for name in raised(function.function) & watched if name not in sections(function.text).get("Raises", "")}
        if lacking and not is_command(function):
            missing.append(f"{function.where}: {', '.join(sorted(lacking))}")

    assert_none(missing, "Say under Raises when.")


def test_every_bound_states_its_source_and_status():
    missing = []
    for function in public_functions():
        if not function.module.name.startswith("common.security.") or function.owner:
            continue
        module_text = ast.get_docstring(function.module.tree) or ""
        if not STATUS.search(function.text) and not STATUS.search(module_text):
            missing.append(f"{function.where}: status")
        if "References" not in sections(function.text) | sections(module_text):
            missing.append(f"{function.where}: References")

    assert_none(missing, "Status: rigorous, paper or planning; References with an equation's number.")
