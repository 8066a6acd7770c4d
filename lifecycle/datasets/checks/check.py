"""Checking the rows of a file: what can be trained on, typed, and what is set aside with its reasons.

Whole-file faults (another format, a missing column, no rows) are DataErrors of file_rows.py; here rows are judged one by one."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lifecycle.datasets.checks.bad_rows import BadRow, FileQuality, RowFault, Rule, cut
from lifecycle.datasets.checks.column_values import TypedColumn, typed
from lifecycle.datasets.checks.file_rows import FileRows, read_rows
from lifecycle.datasets.detector import Detector
from lifecycle.errors import DataError, TooManyBadRows

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """The rows of a file that can be used, and what the check found. frame: typed columns by the detector's names, index 0..n-1."""

    frame: Any
    quality: FileQuality
    raw: FileRows

    def set_aside(self) -> Iterator[dict[str, Any]]:
        """Each bad row for programs, with its declared columns as the file has them."""
        names = [str(name) for name in self.raw.frame]
        for row in self.quality.bad:
            at = int(np.searchsorted(self.raw.places, row.row))
            is_row = at < len(self.raw.places) and int(self.raw.places[at]) == row.row
            values = self.raw.frame.iloc[at].tolist() if is_row else []
            yield {**row.as_record(), "content": {n: _plain(v) for n, v in zip(names, values, strict=False)}}


def check_file(detector: Detector, path: Path, *, max_bad: float | None = None) -> CheckedRows:
    """Read and check a file. max_bad: the largest share of bad rows; None: the detector's.

    Raises DataError; TooManyBadRows if the share is larger."""
    checked = judge_file(detector, path)
    limit = detector.checks.max_bad if max_bad is None else max_bad
    if is_refused(checked.quality, limit):
        raise TooManyBadRows(refusal(checked.quality, limit, str(path)))
    return checked


def judge_file(detector: Detector, path: Path) -> CheckedRows:
    """Read and check a file, whatever its share of bad rows. Raises DataError."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    rows = read_rows(detector, path)
    if rows.total == 0:
        raise DataError(f"{path}: has no rows")
    return _judge(detector, rows, str(path))


def is_refused(quality: FileQuality, limit: float) -> bool:
    """Whether more than this share of the rows is bad, or all of them."""
    return quality.share > limit or len(quality.bad) == quality.rows


def refusal(quality: FileQuality, limit: float, where: str) -> str:
    """Why a file is refused."""
    first = "; ".join(quality.shown(_SHOWN))
    more = f"; and {len(quality.bad) - _SHOWN} more" if len(quality.bad) > _SHOWN else ""
    return (
        f"{where}: {len(quality.bad)} of {quality.rows} rows ({quality.share:.2%}) are bad, more than {limit:.2%} (checks.max_bad): "
        f"{first}{more}; correct the file, or list all with `vedette data check DETECTOR FILE --bad-rows BAD.jsonl`"
    )


def _judge(detector: Detector, rows: FileRows, where: str) -> CheckedRows:
    from lifecycle.datasets.checks.schema import EVENT_TIME, event_times, failures

    in_file = {name: spec.source or name for name, spec in detector.source.columns.items()}
    faults: dict[int, list[RowFault]] = defaultdict(list)
    columns: dict[str, Any] = {}
    for name, spec in detector.source.columns.items():
        raw = rows.frame[in_file[name]]
        column = typed(raw, spec.type, f"{where}: column {in_file[name]!r}")
        columns[name] = column.values
        for at, fault in _type_faults(column, raw, in_file[name], spec.type):
            faults[at].append(fault)
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(rows.frame)))
    usable = np.ones(len(frame), dtype=np.bool_)
    usable[list(faults)] = False
    judged = frame.assign(**{EVENT_TIME: event_times(detector, frame)}) if detector.event_time else frame
    if detector.event_time:
        of_no_clock = judged[EVENT_TIME].isna() & frame[detector.event_time.column].notna() & usable
        if detector.event_time.duration is not None:
            of_no_clock &= frame[detector.event_time.duration].notna()
        place, zone = in_file[detector.event_time.column], detector.event_time.timezone
        for position in np.flatnonzero(of_no_clock).tolist():
            value = cut(str(frame[detector.event_time.column].iloc[position]))
            words = f"column {place!r}: {value!r} does not exist or exists twice in {zone}; store UTC times instead"
            faults[position].append(RowFault(place, "time", value, words))
        usable &= ~of_no_clock.to_numpy(dtype=np.bool_)
    for failure in failures(detector, judged.iloc[np.flatnonzero(usable)]):
        named = None if failure.column is None else in_file[failure.column]
        value = "" if named is None else cut(str(rows.frame[named].iloc[failure.position]))
        faults[failure.position].append(RowFault(named, failure.rule, value, failure.words))
    bad = np.zeros(len(frame), dtype=np.bool_)
    bad[list(faults)] = True
    found = [*rows.unreadable, *(_bad_row(rows, at, faults[at]) for at in sorted(faults))]
    quality = FileQuality(rows.total, tuple(sorted(found, key=lambda r: r.row)), tuple(_remarks(detector, frame, bad)))
    good = frame if not faults else _good_rows(detector, rows, np.flatnonzero(~bad), in_file, where)
    return CheckedRows(good, quality, rows)


def _type_faults(column: TypedColumn, raw: Any, name: str, kind: str) -> list[tuple[int, RowFault]]:
    found: list[tuple[int, RowFault]] = []

    def add(where: NDArray[np.bool_], rule: Rule, words: str) -> None:
        for at in np.flatnonzero(where):
            value = cut(raw.iloc[at])
            found.append((int(at), RowFault(name, rule, value, f"column {name!r}: {value!r} {words}")))

    add(column.of_no_type, "type", f"is not of type {kind}")
    usual = "others have one" if column.has_offset else "others have none"
    add(column.odd_offset, "time", f"has {'no' if column.has_offset else 'an'} offset, {usual}")
    return found


def _good_rows(detector: Detector, rows: FileRows, good: NDArray[np.int64], in_file: Mapping[str, str], where: str) -> Any:
    """The good rows alone, typed again: one bad value must not change the type of its column."""
    raw = rows.frame.iloc[good].reset_index(drop=True)
    columns = detector.source.columns
    return pd.DataFrame({n: typed(raw[in_file[n]], spec.type, where).values for n, spec in columns.items()})


def _bad_row(rows: FileRows, at: int, faults: list[RowFault]) -> BadRow:
    return BadRow(int(rows.places[at]), None if rows.lines is None else int(rows.lines[at]), tuple(faults))


def _plain(value: Any) -> str | None:
    is_scalar = pd.api.types.is_scalar(value)
    return None if is_scalar and pd.isna(value) else str(value)


def _remarks(detector: Detector, frame: Any, bad: NDArray[np.bool_]) -> list[str]:
    """What is odd in the good rows and sets none of them aside."""
    good = frame.iloc[np.flatnonzero(~bad)]
    repeated = int(good.duplicated().sum()) if len(good) else 0
    return [f"{repeated} rows are equal to an earlier one in every declared column"] if repeated else []
