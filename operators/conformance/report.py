"""The results of a run, as text and as JSON. Pure; the command line draws the table."""

from collections import Counter
from collections.abc import Sequence

from operators.conformance.run import broken
from operators.conformance.values import Level, Result, Status

COLUMNS = ("check", "model", "level", "", "requires", "seen")


def summary(results: Sequence[Result]) -> dict[str, int]:
    """Counts by status, and the failures by level."""
    counts = Counter(result.status for result in results)
    return {
        **{str(status): counts[status] for status in Status},
        "must_failures": len(broken(results, Level.MUST)),
        "should_failures": len(broken(results, Level.SHOULD)),
    }


def in_words(results: Sequence[Result]) -> str:
    """The summary in one line."""
    counts = summary(results)
    return (
        f"{counts['pass']} passed, {counts['fail']} failed ({counts['must_failures']} MUST, "
        f"{counts['should_failures']} SHOULD), {counts['skip']} skipped"
    )


def rows(results: Sequence[Result], *, is_verbose: bool) -> list[tuple[str, ...]]:
    """Failures with what was required and seen; with is_verbose every check. The columns are COLUMNS."""
    return [
        (r.check.id, r.model or "", str(r.check.level), str(r.status), r.check.requires, r.detail)
        for r in results
        if is_verbose or r.status is Status.FAIL
    ]


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
