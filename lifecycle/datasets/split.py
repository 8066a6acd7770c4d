"""Which rows train, which choose thresholds, which are only reported on. Pure: nothing here sees a score.

The same declaration, data and salt give the same split, whatever the order of the rows of other entities."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lifecycle.arrays import Mask
from lifecycle.datasets.benign_clusters import dealt, kinds_of
from lifecycle.datasets.data import Dataset
from lifecycle.datasets.detector import Detector
from lifecycle.errors import DataError

SALT: Final = "vedette"
OTHER: Final = -1


@dataclass(frozen=True, slots=True)
class Fold:
    """One cross-fit: a model fitted on `train` scores `held`, whose attack types are not in `train`."""

    train: Mask
    held: Mask


@dataclass(frozen=True, slots=True)
class Parts:
    """Masks of shape (n,). folds: if there are any, thresholds are chosen on their pooled scores; `validation` is then empty

    and the served model is fitted on all of `train`. benign_kind: the kind of each benign row, shape (n,), where the split leaves
    benign rows out by kinds; negative for attacks."""

    train: Mask
    validation: Mask
    test: Mask
    folds: tuple[Fold, ...] = ()
    benign_kind: NDArray[np.int64] | None = None


def split(detector: Detector, data: Dataset, *, with_test: bool) -> Parts:
    """Split by the declaration. with_test: take a test part off (no test file was given). Raises DataError."""
    detector = detector.for_generated_rows() if data.is_generated else detector
    spec = detector.split
    share = spec.test if with_test else 0.0
    n = len(data)
    match spec.by:
        case "rows":
            place = fractions(np.array([str(i) for i in range(n)], dtype=object))
            parts = _by_place(place, share, spec.validation)
        case "time":
            parts = _by_place(1.0 - _time_place(data), share, spec.validation)
        case "features":
            parts = _by_place(_places_of_features(detector, data), share, spec.validation)
        case "entity" | "group":
            parts = _by_owner(detector, data, share)
        case "types":
            parts = _by_types(detector, data, share)
    if detector.label.others == "ignore":
        parts = _only(parts, data.verified)
    _not_empty(detector, data, parts, with_test=with_test)
    return parts


def _only(parts: Parts, rows: Mask) -> Parts:
    folds = tuple(Fold(f.train & rows, f.held & rows) for f in parts.folds)
    return replace(parts, train=parts.train & rows, validation=parts.validation & rows, test=parts.test & rows, folds=folds)


def _by_place(place: NDArray[np.float64], test: float, validation: float) -> Parts:
    is_test = place < test
    is_validation = ~is_test & (place < test + validation)
    return Parts(~is_test & ~is_validation, is_validation, is_test)


def _places_of_features(detector: Detector, data: Dataset) -> NDArray[np.float64]:
    """The place of each row by its request fields, so that equal rows have one."""
    hashed = pd.util.hash_pandas_object(data.frame[list(detector.request_fields)], index=False).to_numpy()
    known, which = np.unique(hashed, return_inverse=True)
    return fractions(known.astype(str).astype(object))[which]


def _by_owner(detector: Detector, data: Dataset, test: float) -> Parts:
    spec = detector.split
    column = detector.entity.key if spec.by == "entity" and detector.entity else spec.group
    owners, which = np.unique(data.frame[column].astype(str).to_numpy(dtype=object), return_inverse=True)
    place = fractions(owners)
    role = np.where(place < test, "test", "train").astype(object)
    if not spec.validation_in_time:
        role[(place >= test) & (place < test + spec.validation)] = "validation"
    for owner, assigned in spec.assign.items():
        role[owners == owner] = assigned if test > 0 or assigned != "test" else "train"
    of_row = role[which]
    if spec.validation_in_time:
        late = _time_place(data) >= 1.0 - spec.validation
        of_row[(of_row == "train") & late] = "validation"
    return Parts(of_row == "train", of_row == "validation", of_row == "test")


def _by_types(detector: Detector, data: Dataset, test: float) -> Parts:
    spec = detector.split
    kind = data.kind if data.kind is not None else np.full(len(data), "", dtype=object)
    place = fractions(np.array([str(i) for i in range(len(data))], dtype=object))
    is_test = place < test
    fold_of = _fold_of_type(detector, kind[data.attack])
    fold = np.array([fold_of.get(str(k), OTHER) for k in kind])
    benign_kind = _benign_kinds(detector, data)
    fold[~data.attack] = _fold_of_benign(detector, data, benign_kind)
    folds = tuple(Fold(~is_test & (fold != f), ~is_test & (fold == f)) for f in range(spec.folds))
    return Parts(~is_test, np.zeros(len(data), dtype=bool), is_test, folds, benign_kind)


def _benign_kinds(detector: Detector, data: Dataset) -> NDArray[np.int64] | None:
    spec = detector.split
    if not spec.benign_kinds:
        return None
    if all(data.frame[column].dtype == object for column in detector.request_fields):
        raise DataError(
            f"split.benign_kinds of detector {detector.name!r} groups benign rows by their numbers, but no request field is a "
            "number; leave it out"
        )
    kinds = np.full(len(data), OTHER, dtype=np.int64)
    kinds[~data.attack] = kinds_of(data.frame[~data.attack], tuple(detector.request_fields), spec.benign_kinds)
    return kinds


def _fold_of_benign(detector: Detector, data: Dataset, benign_kind: NDArray[np.int64] | None) -> NDArray[np.int64]:
    spec = detector.split
    if benign_kind is not None:
        return dealt(benign_kind[~data.attack], spec.folds)
    place = fractions(np.flatnonzero(~data.attack).astype(str).astype(object), "benign")
    return np.asarray(np.floor(place * spec.folds), dtype=np.int64)


def _fold_of_type(detector: Detector, kinds: NDArray[np.object_]) -> dict[str, int]:
    """Types of each family dealt out to the folds in turn, the most frequent first."""
    names, counts = np.unique(kinds.astype(str), return_counts=True)
    count = dict(zip(names.tolist(), counts.tolist(), strict=True))
    families = detector.split.families or {t: (t,) for t in sorted(count, key=lambda t: (-count[t], t))}
    if missing := sorted(set(count) - {t for family in families.values() for t in family}):
        raise DataError(f"attack types {missing} are missing in split.families of detector {detector.name!r}; add them to one")
    dealt = [t for family in families.values() for t in sorted(family, key=lambda t: (-count.get(t, 0), t)) if t in count]
    return {t: i % detector.split.folds for i, t in enumerate(dealt)}


def fractions(names: NDArray[np.object_], purpose: str = "split") -> NDArray[np.float64]:
    """A number in [0, 1) by each name: a hash, so that an entity keeps its place when others come and go."""
    hashed = (hashlib.blake2b(f"{SALT}/{purpose}/{n}".encode(), digest_size=6).digest() for n in names.tolist())
    return np.array([int.from_bytes(h, "big") / 2**48 for h in hashed], dtype=np.float64)


def _time_place(data: Dataset) -> NDArray[np.float64]:
    """When a row counts, as a share of the time from the first to the last row."""
    if data.at_us is None:
        raise DataError("a split in time needs an event_time in the declaration")
    first, last = int(data.at_us.min()), int(data.at_us.max())
    return np.asarray((data.at_us - first) / max(last - first, 1), dtype=np.float64)


def _not_empty(detector: Detector, data: Dataset, parts: Parts, *, with_test: bool) -> None:
    needed: list[tuple[str, Any]] = [("train part", parts.train)]
    if not parts.folds:
        needed.append(("validation part", parts.validation))
    needed += [(f"train part of fold {number}", fold.train) for number, fold in enumerate(parts.folds, 1)]
    if with_test and detector.split.test > 0:
        needed.append(("test part", parts.test))
    for name, mask in needed:
        for what, label in (("attack", data.attack), ("benign", ~data.attack)):
            if not (mask & label).any():
                origin = "" if detector.has_split else ", the default, as its file declares none"
                raise DataError(
                    f"the {name} has no {what} rows ({int(mask.sum())} rows in all); change split of detector "
                    f"{detector.name!r} (by: {detector.split.by}{origin}), or give more data"
                )
