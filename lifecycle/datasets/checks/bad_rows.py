"""What a check of a file found: rows that are set aside with their reasons, remarks about the others, and the share."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

Rule = Literal["line", "type", "null", "range", "category", "time", "late", "duplicate"]
"""What a row does not keep to:

- line: it cannot be read as a row at all
- type: a value is none of the column's type
- null: a value is missing where one is needed
- range: a number below `min`, above `max`, or beyond what the model's FP32 holds
- category: a value that `values` does not have
- time: a local time that does not exist or exists twice; a time with an offset among times without
- late: further behind the newest event before it than `checks.max_lateness_s`
- duplicate: equal to an earlier row, where `checks.duplicates` is `bad`"""
LONGEST_VALUE: Final = 80
_WORDS: Final[Mapping[str, str]] = {
    "line": "not readable as a row", "type": "not of its type", "null": "missing", "range": "out of range",
    "category": "not among its values", "time": "no time of this clock", "late": "too late", "duplicate": "a repeated row",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class RowFault:
    """One reason why a row is set aside. column: as the file calls it; None: the row as a whole. value: as it was found, cut."""

    column: str | None
    rule: Rule
    value: str
    words: str


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is set aside. row: its place among the file's rows, from 0. line: in the file, from 1; None: the format has none."""

    row: int
    line: int | None
    faults: tuple[RowFault, ...]

    @property
    def where(self) -> str:
        """Its place, in words."""
        return f"row {self.row}" if self.line is None else f"line {self.line}"

    def as_record(self) -> dict[str, Any]:
        """For programs."""
        faults = [{"column": f.column, "rule": f.rule, "value": f.value, "words": f.words} for f in self.faults]
        return {"row": self.row, "line": self.line, "faults": faults}


@dataclass(frozen=True, slots=True)
class FileQuality:
    """The result for one file. rows: all that it has, bad ones too. remarks: what is odd and no reason to set a row aside."""

    rows: int
    bad: tuple[BadRow, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of rows that are set aside, 0..1; 0 without rows."""
        return len(self.bad) / self.rows if self.rows else 0.0

    def by_reason(self) -> dict[str, int]:
        """`column: rule`, or the rule alone -> number of rows, most first. It holds no value of a row."""
        counts: Counter[str] = Counter()
        for row in self.bad:
            counts.update({_reason(f) for f in row.faults})
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def findings(self) -> tuple[str, ...]:
        """What a bundle says of it: how many rows, which columns and why; no values, which may be personal."""
        if not self.bad:
            return self.remarks
        reasons = ", ".join(f"{_in_words(name)} in {count}" for name, count in self.by_reason().items())
        return (f"{len(self.bad)} of {self.rows} rows ({self.share:.2%}) were set aside: {reasons}", *self.remarks)

    def as_record(self) -> dict[str, Any]:
        """For a bundle's lineage: rows, share, reasons."""
        return {"rows": len(self.bad), "of": self.rows, "share": self.share, "reasons": self.by_reason()}

    def shown(self, most: int) -> Iterator[str]:
        """The first bad rows in words."""
        for row in self.bad[:most]:
            yield f"{row.where}: {'; '.join(f.words for f in row.faults)}"


def cut(value: object) -> str:
    """A value as it is shown."""
    plain = value.item() if isinstance(value, np.generic) else value
    text = plain if isinstance(plain, str) else repr(plain)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _reason(fault: RowFault) -> str:
    return fault.rule if fault.column is None else f"{fault.column}: {fault.rule}"


def _in_words(reason: str) -> str:
    column, _, rule = reason.rpartition(": ")
    return f"column {column!r} {_WORDS[rule]}" if column else _WORDS[rule]
