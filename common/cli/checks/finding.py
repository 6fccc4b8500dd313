"""What a check found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    check : str
        What was checked.
    verdict : Verdict
        ``fail`` where qkdlink cannot run or could not be trusted, ``warn`` where it runs worse than it could.
    found : str
        What is the case.
    advice : str
        What to do; empty where nothing is.
    """

    check: str
    verdict: Verdict
    found: str
    advice: str = ""

    def fields(self) -> dict[str, str]:
        """Return the entries of the JSON record."""
        return {"check": self.check, "verdict": str(self.verdict), "found": self.found, "advice": self.advice}

    def line(self) -> str:
        """Return the line for a terminal, the advice on a second one."""
        text = f"{self.verdict:<5} {self.check}: {self.found}"
        return f"{text}\n      → {self.advice}" if self.advice else text


Check: TypeAlias = Callable[[], Iterator[Finding]]


def ok(check: str, found: str) -> Finding:
    """Say that ``check`` came out well, and what was ``found``."""
    return Finding(check, Verdict.OK, found)


def warn(check: str, found: str, advice: str) -> Finding:
    """Say that something could be better.

    Parameters
    ----------
    check, found, advice : str
        As in ``Finding``.

    Returns
    -------
    Finding
        A warning.
    """
    return Finding(check, Verdict.WARN, found, advice)


def fail(check: str, found: str, advice: str) -> Finding:
    """Say that something must be mended.

    Parameters
    ----------
    check, found, advice : str
        As in ``Finding``.

    Returns
    -------
    Finding
        A failure.
    """
    return Finding(check, Verdict.FAIL, found, advice)


def guarded(check: Check) -> list[Finding]:
    """Run a check; one that breaks is a failure of its own, and the others still run.

    Parameters
    ----------
    check : callable
        Yields findings.

    Returns
    -------
    list[Finding]
        What it found.
    """
    findings: list[Finding] = []
    try:
        findings.extend(check())
    except Exception as error:  # noqa: BLE001 - on a broken machine anything may break, and saying so is the purpose
        name = check.__name__.strip("_").replace("_", " ")
        findings.append(fail(name, f"the check broke: {type(error).__name__}: {error}", "report this line together with the ones above"))
    return findings


def conclusion(findings: list[Finding]) -> str:
    """Sum ``findings`` up in a sentence."""
    verdicts = [finding.verdict for finding in findings]
    failed, warnings = verdicts.count(Verdict.FAIL), verdicts.count(Verdict.WARN)
    if failed:
        return f"{failed} failed, {warnings} warnings: mend what failed first."
    return f"Nothing failed, {warnings} warnings."
