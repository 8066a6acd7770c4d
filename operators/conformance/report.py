"""What came of a run: as a table for people and as JSON for programs."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from operators.conformance.run import broken
from operators.conformance.values import Level, Result, Status

_COLOURS = {Status.PASS: "green", Status.FAIL: "red", Status.SKIP: "dim"}


def summary(results: Sequence[Result]) -> dict[str, int]:
    """Counts by status, and the failures by level."""
    counts = Counter(result.status for result in results)
    return {
        **{str(status): counts[status] for status in Status},
        "must_failures": len(broken(results, Level.MUST)),
        "should_failures": len(broken(results, Level.SHOULD)),
    }


def as_json(results: Sequence[Result]) -> dict[str, object]:
    """The whole run, JSON-able."""
    return {
        "protocol": "Open Inference Protocol v2",
        "summary": summary(results),
        "checks": [
            {
                "id": r.check.id,
                "model": r.model,
                "section": r.check.section,
                "level": str(r.check.level),
                "requires": r.check.requires,
                "status": str(r.status),
                "detail": r.detail,
                "ms": round(r.seconds * 1000, 2),
            }
            for r in results
        ],
    }


def table(results: Sequence[Result], *, is_verbose: bool) -> Table:
    """Failures with what was required and seen; with is_verbose every check."""
    shown = [r for r in results if is_verbose or r.status is Status.FAIL]
    grid = Table("check", "model", "level", "", "requires", "seen", title=None if shown else "every check passed")
    for r in shown:
        colour = _COLOURS[r.status]
        grid.add_row(
            r.check.id,
            r.model or "",
            str(r.check.level),
            f"[{colour}]{r.status}[/]",
            escape(r.check.requires),
            escape(r.detail),
        )
    return grid


def show(console: Console, results: Sequence[Result], *, is_verbose: bool) -> None:
    """Print the table and one line of counts."""
    if is_verbose or broken(results):
        console.print(table(results, is_verbose=is_verbose))
    counts = summary(results)
    console.print(
        f"{counts['pass']} passed, {counts['fail']} failed ({counts['must_failures']} MUST, "
        f"{counts['should_failures']} SHOULD), {counts['skip']} skipped"
    )
