"""The section of an evaluation about the bundle's triage: what it ends and what it loses, by part of the rows. Pure."""

from collections.abc import Iterator
from typing import Final

from lifecycle.documents.document import Grid, Section
from lifecycle.evaluation.evaluate import SeedReport
from lifecycle.evaluation.pages import words

_COLUMNS: Final = ("rows of", "ended", "benign ended", "attacks", "attacks lost", "share lost, at most", "lost alerts")


def triage_section(seed: SeedReport) -> Iterator[Section]:
    """The section; nothing for a bundle without triage."""
    found = seed.triage
    if found is None:
        return
    text = (
        f"A cheap model ends rows that it scores below {found.bound:.4g}, where a revision switches it on. "
        f"At most {found.required:.3%} of the attacks may be lost, with a confidence of {found.confidence:.0%}.",
        "The promise is about rows drawn as the validation rows are. Lost alerts: lost attacks that the model finds at the default "
        "operating point.",
    )
    rows = tuple(
        (p.part, "" if p.ended is None else words.share(p.ended), f"{p.ended_benign:.2%}", f"{p.attacks:,}", f"{p.lost:,}",
         f"{p.upper:.3%}", "" if p.lost_alerts is None else f"{p.lost_alerts:,}")
        for p in found.parts
    )  # fmt: skip
    yield Section(f"Triage; seed {seed.seed}", text, grid=Grid(_COLUMNS, rows, right=_COLUMNS[1:]))
