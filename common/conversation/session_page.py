"""The page ``docs/reference/session`` as text, read off the transition table: ``python -m common.conversation.session_page`` prints it."""

from __future__ import annotations

from common.conversation.session import TRANSITIONS, SessionEvent, SessionState, diagram

_HEAD = """# Session

Written by `python -m common.conversation.session_page`; do not edit. Both ends follow this one table; which half of a step an end plays in
each state stands in its playbook. What the table has no entry for cannot happen, and is a `LocalProtocolError` if it does.

| state | what is known |
|---|---|
"""

_TABLE_HEAD = """
| from \\ on | """


def page() -> str:
    """Return the whole page, Markdown."""
    states = "\n".join(f"| `{state.name}` | {state.value} |" for state in SessionState)
    events = list(SessionEvent)
    heading = _TABLE_HEAD + " | ".join(event.value for event in events) + " |\n|---" + "|---" * len(events) + "|\n"
    leaving = [state for state in SessionState if any(before is state for before, _ in TRANSITIONS)]
    rows = "\n".join(f"| `{state.name}` | " + " | ".join(_target(state, event) for event in events) + " |" for state in leaving)
    return f"{_HEAD}{states}\n{heading}{rows}\n\nAs a graph, for `dot`:\n\n```text\n{diagram()}```\n"


def _target(state: SessionState, event: SessionEvent) -> str:
    target = TRANSITIONS.get((state, event))
    return f"`{target.name}`" if target else ""


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - this is what the module is run for
