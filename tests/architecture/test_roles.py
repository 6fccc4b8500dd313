"""No role branch outside the playbooks: a half is named for what it does, and who does which is chosen once.

A branch is an ``if``, ``while``, conditional expression, ``match`` or comprehension condition that asks which end we are. Commands may
ask it to name files and sections for their reader, so ``common/cli`` is left out; data (a table keyed by node) is no branch.
"""

import ast

import pytest

from tests.support.tree import assert_none, modules

ENDS = {"alice", "bob"}
FLAGS = {"is_alice", "is_bob", "am_alice", "am_bob", "is_initiator", "is_responder"}


def conditions(tree: ast.Module):
    for node in ast.walk(tree):
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            yield node.test
        elif isinstance(node, ast.comprehension):
            yield from node.ifs
        elif isinstance(node, ast.Match):
            yield node.subject
            for case in node.cases:
                yield case.pattern
                if case.guard is not None:
                    yield case.guard


def ends_named(node: ast.AST) -> set[str]:
    """Which ends the expression names, as text, name or member of an enumeration."""
    parts = list(ast.walk(node))
    texts = {part.value.lower() for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    names = {part.id.lower() for part in parts if isinstance(part, ast.Name)} | {
        part.attr.lower() for part in parts if isinstance(part, ast.Attribute)
    }
    return (texts | names) & (ENDS | FLAGS | {"role"})


def asks_for_the_role(condition: ast.AST) -> bool:
    """Whether the condition names one end; naming both is asking whether something is an end at all."""
    return bool(ends_named(condition)) and ends_named(condition) != ENDS


def branches() -> list[str]:
    found = []
    for module in modules():
        if module.path.name == "playbook.py" or module.name.startswith("common.cli"):
            continue
        found += [f"{module.path}:{c.lineno}" for c in conditions(module.tree) if hasattr(c, "lineno") and asks_for_the_role(c)]
    return found


def test_nobody_but_a_playbook_asks_which_end_it_is():
    assert_none(branches(), "Choose the half in alice/playbook.py and bob/playbook.py instead.")


@pytest.mark.parametrize(
    "source",
    [
        "if role == 'x': pass",
        "y = 1 if self.role is Role.ALICE else 2",
        "if node == 'bob': pass",
        "match who:\n case 'alice': pass",
        "[x for x in y if x.is_bob]",
    ],
)
def test_a_role_branch_is_recognised(source):
    assert any(asks_for_the_role(condition) for condition in conditions(ast.parse(source)))


@pytest.mark.parametrize(
    "source", ["if direction == 'reverse': pass", "if sender != self.party.peer: pass", "if x not in (Party.ALICE, Party.BOB): pass"]
)
def test_a_branch_on_something_else_is_not_a_role_branch(source):
    assert not any(asks_for_the_role(condition) for condition in conditions(ast.parse(source)))
