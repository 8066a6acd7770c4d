"""The result of a check as a document: the share, the reasons, the first bad rows."""

from typing import Final

from lifecycle.datasets.checks.bad_rows import FileQuality
from lifecycle.datasets.checks.check import is_refused
from lifecycle.documents.document import Document, Grid, Section, percent

SHOWN: Final = 20
"""Bad rows on the page; all of them are in the file of bad rows."""


def check_page(name: str, where: str, quality: FileQuality, limit: float) -> Document:
    """name: of the detector. where: the file. limit: the share of bad rows that is still accepted."""
    refused = is_refused(quality, limit)
    facts = (
        ("file", where), ("detector", name), ("rows", f"{quality.rows:,}"), ("bad rows", f"{len(quality.bad):,}"),
        ("share", percent(quality.share)), ("accepted up to", percent(limit)), ("verdict", "refused" if refused else "accepted"),
    )  # fmt: skip
    reasons = tuple((reason, f"{count:,}") for reason, count in quality.by_reason().items())
    rows = tuple((row.where, "; ".join(f.words for f in row.faults)) for row in quality.bad[:SHOWN])
    return Document(
        f"Check of {where}",
        f"Rows that detector {name} can be trained on, and what is set aside.",
        (
            Section("Result", facts=facts, text=quality.remarks),
            Section("Reasons", grid=Grid(("column and rule", "rows"), reasons, ("rows",)), empty="no row is bad"),
            Section(f"First {min(SHOWN, len(quality.bad))} bad rows", grid=Grid(("where", "why"), rows), empty="none"),
        ),
        check_record(name, where, quality, limit),
    )


def check_record(name: str, where: str, quality: FileQuality, limit: float) -> dict[str, object]:
    """The result for programs; it holds no value of a row."""
    return {
        "detector": name, "file": where, "accepted": not is_refused(quality, limit), "max_bad": limit, "rows": quality.rows,
        "bad": len(quality.bad), "share": quality.share, "reasons": quality.by_reason(), "remarks": list(quality.remarks),
    }  # fmt: skip
