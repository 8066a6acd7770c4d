"""Rows from a file, checked against the detector's declaration.

A wrong column, type, label or null is a DataError with the place and the remedy; what only looks wrong (rows out of order, a
column that gives the label away) is a note. Splitting and features come after."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lifecycle.datasets.checks.bad_rows import FileQuality
from lifecycle.datasets.checks.check import check_file
from lifecycle.datasets.checks.column_values import FP32, LONGEST_S, typed
from lifecycle.datasets.checks.file_rows import require_columns
from lifecycle.datasets.detector import Detector, Match
from lifecycle.errors import DataError

_SHOWN: Final = 5
MOST_VALUES: Final = 200
"""A text column with more values (and more than a tenth of the rows) identifies rather than describes."""


@dataclass(frozen=True, slots=True)
class DataFileDigest:
    """A file of rows by its bytes. md5: what DVC and the pipeline's dvc.lock call it; the digest of the rows is their proof."""

    md5: str
    size: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """Checked rows in event-time order. Arrays have shape (n,).

    frame: the declared columns (strings are str, numbers float64 or int64; nulls only where a column may have them).
    attack: the label. verified: the row is known to be what the label says (False: unverified, taken as benign).
    kind: the type of attack, or None. at_us: when the row counts, microseconds UTC, or None. notes: shown when training.
    is_generated: made up by a generator, so that what the detector declares of the data's origin does not apply."""

    frame: Any
    attack: NDArray[np.bool_]
    verified: NDArray[np.bool_]
    kind: NDArray[np.object_] | None
    at_us: NDArray[np.int64] | None
    digest: str
    notes: tuple[str, ...] = ()
    is_generated: bool = False
    quality: FileQuality | None = None
    """What the check of the file set aside; None: the rows come from no file."""
    file: DataFileDigest | None = None
    """The file as it was; None: the rows come from no file."""

    def __len__(self) -> int:
        return len(self.attack)

    def take(self, rows: NDArray[Any]) -> "Dataset":
        """Some of the rows, by mask or position; the digest stays that of the whole."""
        return replace(
            self,
            frame=self.frame.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows].reset_index(drop=True),
            attack=self.attack[rows],
            verified=self.verified[rows],
            kind=None if self.kind is None else self.kind[rows],
            at_us=None if self.at_us is None else self.at_us[rows],
        )


def find_file(detector: Detector, folder: Path, role: str = "train") -> Path:
    """The detector's file in a data folder, or in the folder's sub-folder of the detector's name. Raises DataError."""
    name = detector.source.train if role == "train" else detector.source.test
    if name is None:
        raise DataError(f"detector {detector.name!r} names no source.{role} file; give one with --data FILE")
    for path in (folder / name, folder / detector.name / name):
        if path.is_file():
            return path
    raise DataError(f"{folder / name}: no such file; --data-dir is the folder that has {name!r}, or give it with --data FILE")


def read_data(detector: Detector, path: Path) -> Dataset:
    """Load and check a file. Bad rows are set aside, and `quality` and the notes say which.

    Raises DataError; TooManyBadRows if their share is larger than `checks.max_bad`."""
    checked = check_file(detector, path)
    data = _dataset(detector, checked.frame, where=str(path))
    return replace(data, quality=checked.quality, notes=(*checked.quality.findings(), *data.notes), file=_file_digest(path))


def _file_digest(path: Path) -> DataFileDigest:
    with path.open("rb") as stream:
        md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        return DataFileDigest(md5, stream.tell())


def check_data(detector: Detector, raw: Any, *, where: str) -> Dataset:
    """Check a data frame, of which every row must be right. Raises DataError."""
    if len(raw) == 0:
        raise DataError(f"{where}: has no rows")
    require_columns(detector, list(raw.columns), where)
    declared = detector.source.columns
    frame = pd.DataFrame(
        {c: _typed(raw[s.source or c], s.type, f"{where}: column {s.source or c!r}") for c, s in declared.items()}
    )
    return _dataset(detector, frame, where=where)


def _dataset(detector: Detector, frame: Any, *, where: str) -> Dataset:
    """Rows of typed columns as a dataset, in event-time order."""
    notes: list[str] = []
    frame = _without_nulls(detector, frame, where)
    at_us = _event_times(detector, frame, where)
    if at_us is not None and np.any(np.diff(at_us) < 0):
        notes.append(f"{int((np.diff(at_us) < 0).sum())} rows are out of event-time order; sorted (stable)")
    if at_us is not None:
        order = np.argsort(at_us, kind="stable")
        frame, at_us = frame.iloc[order].reset_index(drop=True), at_us[order]
    data = _labelled(detector, frame, at_us, where)
    _no_copy_of_the_key(detector, data, where)
    return replace(data, notes=(*notes, *data.notes, *_of_split(detector), *_leaking_fields(detector, data)))


def matches(column: Any, rule: Match) -> NDArray[np.bool_]:
    """Which values a rule means. column: a pandas Series; nulls never match."""
    if rule.contains is not None:
        found = column.astype(str).str.contains(rule.contains, regex=False)
    elif rule.equals is not None:
        found = column.isin(list(rule.equals))
    else:
        found = ~column.isin(list(rule.not_equals or ()))
    return np.asarray(found & column.notna(), dtype=np.bool_)


def _typed(values: Any, kind: str, where: str) -> Any:
    """A column of which every value is of its type. Raises DataError with the first that is not."""
    column = typed(values, kind, where)
    if column.odd_offset.any():
        row = int(np.argmax(column.odd_offset))
        odd = "has no offset, others have one" if column.has_offset else "has an offset, others have none"
        raise DataError(f"{where}, row {row}: {values.iloc[row]!r:.80} {odd}; write all times with an offset, or none")
    if column.of_no_type.any():
        row = int(np.argmax(column.of_no_type))
        raise DataError(
            f"{where}, row {row}: {values.iloc[row]!r:.80} is not of type {kind}; correct the data, or the type in source.columns"
        )
    return column.values


def _without_nulls(detector: Detector, frame: Any, where: str) -> Any:
    defaults = {name: f.default for name, f in detector.request_fields.items() if f.default is not None}
    frame = frame.fillna(defaults) if defaults else frame
    times = [detector.event_time.column, detector.event_time.duration] if detector.event_time else []
    key = [detector.entity.key] if detector.entity else []
    for column in (*detector.request_fields, *key, *times, detector.label.column):
        if column is not None and (is_null := np.asarray(frame[column].isna())).any():
            way_out = "give it a default in request_fields" if column in detector.request_fields else "correct the data"
            raise DataError(
                f"{where}: column {column!r} is null in {int(is_null.sum())} rows, first in row {int(np.argmax(is_null))}; {way_out}"
            )
    for column in detector.request_fields:
        if detector.source.columns[column].type == "float" and (large := np.asarray(np.abs(frame[column]) > FP32)).any():
            row = int(np.argmax(large))
            raise DataError(
                f"{where}: column {column!r} holds infinities or numbers beyond FP32 ({FP32:.3g}), which the model cannot take: "
                f"{frame[column].iloc[row]} in row {row}; correct the data"
            )
    return frame


def _event_times(detector: Detector, frame: Any, where: str) -> NDArray[np.int64] | None:
    spec = detector.event_time
    if spec is None:
        return None
    times = frame[spec.column]
    if times.dt.tz is None:
        try:
            times = times.dt.tz_localize(ZoneInfo(spec.timezone))
        except Exception as problem:  # ambiguous or non-existing times around a change of clocks
            raise DataError(
                f"{where}: column {spec.column!r}: {problem}; store UTC times instead of {spec.timezone} ones"
            ) from problem
    micros = times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)
    if spec.duration is not None:
        seconds = frame[spec.duration].to_numpy(dtype=np.float64)
        if (odd := ~((seconds >= 0) & (seconds <= LONGEST_S))).any():
            row = int(np.argmax(odd))
            what = "negative" if seconds[row] < 0 else f"{seconds[row]:.3g}"
            raise DataError(
                f"{where}: column {spec.duration!r} is {what} in row {row}; expected a duration in seconds, at most {LONGEST_S:.0e}"
            )
        micros = micros + np.round(seconds * 1e6).astype(np.int64)
    return np.asarray(micros, dtype=np.int64)


def _labelled(detector: Detector, frame: Any, at_us: NDArray[np.int64] | None, where: str) -> Dataset:
    label = detector.label
    attack = matches(frame[label.column], label.positive)
    benign = ~attack if label.negative is None else matches(frame[label.column], label.negative)
    if (attack & benign).any():
        row = int(np.argmax(attack & benign))
        raise DataError(
            f"{where}, row {row}: label {frame[label.column].iloc[row]!r} is both positive and negative; correct label.negative"
        )
    for what, mask in (("positive", attack), ("negative", benign)):
        if not mask.any():
            seen = [repr(v) for v in frame[label.column].value_counts().index[:_SHOWN]]
            raise DataError(
                f"{where}: no row is {what}: column {label.column!r} holds {', '.join(seen)}; correct label.{what} of the detector"
            )
    kind = frame[label.type_column].astype(str).to_numpy(dtype=object) if label.type_column else None
    data = Dataset(frame, attack, attack | benign, kind, at_us, _digest(frame))
    others = int((~data.verified).sum())
    if others and label.others == "unverified":
        note = f"{others} rows are neither positive nor negative: unverified, trained on as benign, reported apart"
        return replace(data, notes=(note,))
    return data


def _digest(frame: Any) -> str:
    """Of the declared columns in event-time order, whatever the file's format."""
    state = hashlib.sha256()
    for column in sorted(frame.columns):
        state.update(column.encode())
        values = frame[column]
        hashed = pd.util.hash_pandas_object(values.astype(str) if values.dtype == object else values, index=False)
        state.update(hashed.to_numpy().astype("<u8").tobytes())
    return f"sha256:{state.hexdigest()}"


def _no_copy_of_the_key(detector: Detector, data: Dataset, where: str) -> None:
    """Refuse a request field that is a copy of the entity key."""
    if detector.entity is None:
        return
    key = data.frame[detector.entity.key].astype(str)
    for column in detector.request_fields:
        if key.nunique() > 1 and (data.frame[column].astype(str) == key).all():
            raise DataError(
                f"{where}: request field {column!r} is the entity key {detector.entity.key!r} under another name; "
                "a key names the entity and must not be a feature: remove it from request_fields"
            )


def _of_split(detector: Detector) -> tuple[str, ...]:
    """Notes on what the declaration leaves open about the split."""
    if not detector.has_split:
        how = {
            "time": "the last fifth of the time is tested, and the fifth before it chooses thresholds",
            "features": "by a hash of the request fields a fifth of the rows is tested and a fifth chooses thresholds; equal rows stay "
            "together",
        }[detector.split.by]
        instead = "" if detector.source.test is None else " (nothing is taken off for a test, as source.test names a file)"
        return (f"the detector's file has no split, so {how}{instead}; write `split:` for another",)
    if detector.split.by == "types" and not detector.split.families:
        return ("split.families is not set, so each type of attack is its own family",)
    return ()


def _leaking_fields(detector: Detector, data: Dataset) -> tuple[str, ...]:
    """Notes on request fields that alone tell attacks from all other rows."""
    separating = [c for c in detector.request_fields if _separates(data.frame[c], data.attack)]
    text = [c for c in detector.request_fields if data.frame[c].dtype == object]
    names = [c for c in text if data.frame[c].nunique() > max(MOST_VALUES, len(data) // 10)]
    return (
        *(f"request field {c!r} alone tells every attack from every other row; is it made from the label?" for c in separating),
        *(
            f"request field {c!r} has {data.frame[c].nunique()} values: a name rather than a feature; is it a key?"
            for c in names
        ),
    )


def _separates(values: Any, attack: NDArray[np.bool_]) -> bool:
    if values.dtype == object:
        of_value: Mapping[str, float] = pd.Series(attack).groupby(values.to_numpy()).mean().to_dict()
        return len(of_value) < len(attack) / 10 and all(share in (0.0, 1.0) for share in of_value.values())
    numbers = values.to_numpy(dtype=np.float64)
    yes, no = numbers[attack], numbers[~attack]
    return bool(yes.min() > no.max() or yes.max() < no.min())
