"""The verdict of a load test for people and programs: a table, a section of a page, JSON. Core: makes text from findings."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from pydantic import TypeAdapter

from loadtests.objectives import Finding

_UNITS: Final[Mapping[str, str]] = {"p50_ms": "ms", "p99_ms": "ms", "min_per_s": "/s"}
_AT_LEAST: Final = ("min_requests", "min_per_s")
_HEAD: Final = ("kind", "objective", "limit", "measured", "", "missed by")
_STYLE: Final = "font-family:sans-serif;border-collapse:collapse;margin:1em"


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Findings for programs."""
    return {"passed": passed(findings), "findings": [asdict(f) for f in findings]}


def from_json(text: str) -> tuple[Finding, ...]:
    """The findings that `as_json` gave. Raises pydantic's ValidationError."""
    found: dict[str, Any] = TypeAdapter(dict[str, Any]).validate_json(text)
    return tuple(TypeAdapter(list[Finding]).validate_python(found["findings"]))


def passed(findings: Sequence[Finding]) -> bool:
    """Whether every objective was met. No findings are no success."""
    return bool(findings) and all(f.is_met for f in findings)


def rows(findings: Sequence[Finding]) -> list[tuple[str, ...]]:
    """One row for each objective, as text.

    >>> rows([Finding("http", "p99_ms", 50.0, 60.0, False, "")])
    [('http', 'p99_ms', '<= 50 ms', '60 ms', 'FAIL', '10 ms (20 %)')]
    """
    return [
        (f.kind, f.what, f"{'>=' if f.what in _AT_LEAST else '<='} {_value(f.what, f.limit)}",
         "" if f.measured is None else _value(f.what, f.measured), "pass" if f.is_met else "FAIL", _missed(f))
        for f in findings
    ]  # fmt: skip


def table(findings: Sequence[Finding]) -> str:
    """The rows as aligned text."""
    lines = [_HEAD, *rows(findings)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def with_verdict(page: str, title: str, findings: Sequence[Finding]) -> str:
    """Locust's page with the verdict at the beginning of its body, or of the text if it has no body."""
    head = "".join(f"<th align=left>{html.escape(cell)}</th>" for cell in _HEAD)
    body = "".join(
        f"<tr style='color:{'#1b7f3b' if line[4] == 'pass' else '#b00020'}'>"
        + "".join(f"<td style='padding:0.2em 1em 0.2em 0'>{html.escape(cell)}</td>" for cell in line)
        + "</tr>"
        for line in rows(findings)
    )
    said = "every objective is met" if passed(findings) else "NOT every objective is met"
    section = (
        f"<section id='verdict'><h2 style='font-family:sans-serif;margin:1em'>{html.escape(title)}: {said}</h2>"
        f"<table style='{_STYLE}'><tr>{head}</tr>{body}</table></section>"
    )
    start = page.find("<body")
    end = page.find(">", start) + 1 if start >= 0 else 0
    return page[:end] + section + page[end:]


def _value(what: str, value: float) -> str:
    if what == "failure_ratio":
        return f"{100 * value:.4g} %"
    return f"{value:.5g} {_UNITS[what]}" if what in _UNITS else f"{value:.0f}"


def _missed(f: Finding) -> str:
    if f.is_met or f.measured is None:
        return ""
    by = abs(f.measured - f.limit)
    if f.what == "failure_ratio":
        return f"{100 * by:.4g} points"
    return f"{_value(f.what, by)} ({100 * by / f.limit:.0f} %)"
