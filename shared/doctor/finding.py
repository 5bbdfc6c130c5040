"""Findings, and how they are printed."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Literal

import typer

Verdict = Literal["ok", "warning", "bad"]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    verdict: Verdict
    found: str
    """The observed state, in words with units."""
    advice: str = ""
    """How to fix it; empty if nothing is wrong."""

    def __str__(self) -> str:
        line = f"{self.verdict:<8} {self.check:<20} {self.found}"
        return f"{line}\n{'':<29} -> {self.advice}" if self.advice else line


def tried(check: str, probe: Callable[[], Finding], advice: str) -> Finding:
    """The finding of ``probe``, or a bad one with ``advice`` if the operating system raises an error."""
    try:
        return probe()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "free some space"
        return Finding(check, "bad", f"fails: {error.strerror or error}", advice)


def show(findings: Iterable[Finding], as_json: bool) -> int:
    """Print findings as they come, or all as one JSON object; the exit code: 1 when any is bad, else 0."""
    seen = []
    for finding in findings:
        seen.append(finding)
        if not as_json:
            typer.echo(str(finding))
    bad = sum(finding.verdict == "bad" for finding in seen)
    warnings = sum(finding.verdict == "warning" for finding in seen)
    if as_json:
        verdict = "bad" if bad else "warning" if warnings else "ok"
        typer.echo(json.dumps({"verdict": verdict, "findings": [asdict(finding) for finding in seen]}))
    elif bad:
        typer.echo(f"{bad} bad, {warnings} warnings: fix what is bad before a long run")
    else:
        typer.echo(f"fit for a long run, {warnings} warnings" if warnings else "fit for a long run")
    return int(bad > 0)
