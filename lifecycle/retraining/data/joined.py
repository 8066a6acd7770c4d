"""Labelled rows put behind the base rows that a detector is trained on, and which of them train, choose thresholds, or are held out. Pure.

The newest labelled rows are held out, and so are those of entities that the base split tests: neither model is trained on them. Of the
others an entity's rows go one way, by a hash of its name. The base rows keep their parts."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lifecycle.arrays import Mask
from lifecycle.datasets.data import Dataset
from lifecycle.datasets.detector import Detector
from lifecycle.datasets.split import Fold, Parts, fractions
from lifecycle.retraining.data.labelled_rows import LabelledAnswers
from lifecycle.retraining.data.weights import false_alarm_weights, inclusion_weights
from lifecycle.retraining.errors import NotTrainable
from lifecycle.retraining.policy import RetrainingPolicy
from lifecycle.training.origin import describe_file
from lifecycle.training.train import AddedRows, Prepared
from serving.models.manifest import Lineage

HASHED_FOR: Final = "retraining"


@dataclass(frozen=True, slots=True)
class SeenLabels:
    """Up to when the champion's labelled rows go, as its lineage says: by the time of the answer, and of the label. 0: it has none."""

    answered_until_us: int = 0
    given_until_us: int = 0

    def have(self, rows: LabelledAnswers) -> Mask:
        """Which rows the champion may have been trained on, shape (n,)."""
        return (rows.times_us <= self.answered_until_us) & (rows.given_us <= self.given_until_us)


def seen_by(lineage: Lineage) -> SeenLabels:
    """What the lineage of a bundle says of labels."""
    labels = lineage.data.get("labels") or {}
    return SeenLabels(int(labels.get("answered_until_us", 0)), int(labels.get("given_until_us", 0)))


@dataclass(frozen=True, slots=True)
class JoinedRows:
    """Base and labelled rows, ready to train. held: labelled rows that are held out. trained: those behind the base rows.

    champion_rows: which of all rows the champion was trained on, shape (n,)."""

    prepared: Prepared
    held: LabelledAnswers
    trained: LabelledAnswers
    champion_rows: Mask


def joined(
    base: Prepared,
    labelled: LabelledAnswers,
    policy: RetrainingPolicy,
    seen: SeenLabels,
    *,
    origin: Mapping[str, Any],
    benign_beside: float | None = None,
) -> JoinedRows:
    """Put them together. origin: what the bundle's lineage says besides. benign_beside: how many benign base rows are trained on; None: all
    of the train part. Raises NotTrainable where labels are too few."""
    detector = with_new_families(base.detector, labelled)
    is_held = held_out(base, labelled, policy.challenge.newest.share, seen)
    trained, held = labelled.take(~is_held), labelled.take(is_held)
    if len(trained) < policy.labels.least_rows:
        raise NotTrainable(
            f"{len(trained)} labelled rows can be trained on, and labels.least_rows of the policy is {policy.labels.least_rows}"
            f"{_why(labelled)}; label more, or train in full with `vedette train`"
        )
    if benign_beside is None:
        benign_beside = float((base.parts.train & ~base.data.attack).sum())
    chosen_by = policy.labels.weight * inclusion_weights(trained.inclusion, policy.labels.inclusion_cap)
    fit_weights = false_alarm_weights(
        np.full(len(trained), policy.labels.weight), trained.attack, trained.was_alert, factor=policy.labels.false_alarm_weight,
        share=policy.labels.false_alarm_cap, benign_beside=benign_beside,
    )  # fmt: skip
    digest = digest_of(trained, fit_weights)
    n = len(base.data)
    added = AddedRows(
        own=n,
        fit_weights=np.concatenate([np.ones(n), fit_weights]),
        choice_weights=np.concatenate([np.ones(n), chosen_by]),
        origin={**_described(base, trained, digest), **origin},
    )
    frame = _frame(base.frame, detector, trained)
    data = _data(base.data, frame, trained, digest)
    parts = _parts(base, detector, trained)
    champion_rows = np.concatenate([base.parts.train, seen.have(trained) & parts.train[n:]])
    prepared = replace(base, detector=detector, data=data, frame=frame, parts=parts, added=added)
    return JoinedRows(prepared, held, trained, champion_rows)


def held_out(base: Prepared, labelled: LabelledAnswers, share: float, seen: SeenLabels) -> Mask:
    """Which labelled rows are held out, shape (n,): of those answered after what the champion has seen the newest, and all rows of entities
    that the base split tests."""
    is_held = np.zeros(len(labelled), dtype=bool)
    order = np.argsort(labelled.times_us, kind="stable")  # rows of one answer stay in its order
    fresh = order[labelled.times_us[order] > seen.answered_until_us]
    is_held[fresh[len(fresh) - int(np.ceil(len(fresh) * share)) :]] = True
    entity = base.detector.entity
    if entity is not None and entity.key in labelled.columns:
        tested = (
            set(base.data.frame[entity.key].astype(str)[base.parts.test].tolist())
            if base.detector.split.by == "entity"
            else set()
        )
        is_held |= np.array([str(value) in tested for value in labelled.columns[entity.key].tolist()], dtype=bool)
    return is_held


def with_new_families(detector: Detector, labelled: LabelledAnswers) -> Detector:
    """The detector, knowing the families that analysts named and it does not declare; each is its own type."""
    families = detector.split.families
    if not families:
        return detector
    known = {*families, *(kind for kinds in families.values() for kind in kinds)}
    new = sorted({str(f) for f in labelled.family[labelled.attack].tolist() if f} - known)
    named = {name: tuple(dict.fromkeys((*kinds, name))) for name, kinds in families.items()} | {name: (name,) for name in new}
    return detector.model_copy(update={"split": detector.split.model_copy(update={"families": named})})


def digest_of(rows: LabelledAnswers, weights: NDArray[np.float64]) -> str:
    """A digest of labelled rows: their values, what was said of them, and what they count for."""
    state = hashlib.sha256()
    for name in sorted(rows.columns):
        state.update(name.encode())
        state.update(json.dumps(rows.columns[name].tolist(), default=str).encode())
    rows_with_labels = zip(rows.events.tolist(), rows.attack.tolist(), rows.family.tolist(), weights.tolist(), strict=True)
    state.update(json.dumps(list(rows_with_labels)).encode())
    return f"sha256:{state.hexdigest()}"


def _described(base: Prepared, rows: LabelledAnswers, digest: str) -> dict[str, Any]:
    """What the bundle's lineage says of the labels, and of the base rows beside them."""
    return {
        "base": {"digest": base.data.digest, "rows": len(base.data), **describe_file(base.data)},
        "labels": {
            "digest": digest,
            "rows": len(rows),
            "attacks": int(rows.attack.sum()),
            "false_alarms": int((rows.was_alert & ~rows.attack).sum()),
            "answered_from_us": int(rows.times_us.min()),
            "answered_until_us": int(rows.times_us.max()),
            "given_until_us": int(rows.given_us.max()),
            "families": {str(f): int((rows.family == f).sum()) for f in sorted(set(rows.family.tolist())) if f},
        },
    }


def _frame(base: Any, detector: Detector, rows: LabelledAnswers) -> Any:
    """Base rows, then labelled ones, with the base rows' columns and their types where no value is missing."""
    added = pd.DataFrame({name: values for name, values in rows.columns.items() if name in base.columns})
    key = None if detector.entity is None else detector.entity.key
    if key is not None and key in base.columns:
        known = added[key].astype(object) if key in added else pd.Series([None] * len(rows), dtype=object)
        added[key] = np.where(known.isna(), rows.events, known)
    typed = {name: _as_in(base[name], added[name]) for name in added.columns if not added[name].isna().all()}
    return pd.concat([base, pd.DataFrame(typed)], ignore_index=True)


def _as_in(column: Any, values: Any) -> Any:
    """Values in the type of a column, unless one is missing that the type cannot say."""
    is_whole = column.dtype.kind == "O" or not values.isna().any()
    return values.astype(column.dtype) if is_whole else values


def _data(base: Dataset, frame: Any, rows: LabelledAnswers, digest: str) -> Dataset:
    own = [name for name in base.frame.columns if name in frame.columns]
    whole = hashlib.sha256(f"{base.digest} {digest}".encode()).hexdigest()
    return replace(
        base,
        frame=frame[own],
        attack=np.concatenate([base.attack, rows.attack]),
        verified=np.concatenate([base.verified, np.ones(len(rows), dtype=bool)]),
        kind=None if base.kind is None else np.concatenate([base.kind, rows.family]),
        at_us=None if base.at_us is None else np.concatenate([base.at_us, rows.times_us]),
        digest=f"sha256:{whole}",
        file=None,
    )


def _parts(base: Prepared, detector: Detector, rows: LabelledAnswers) -> Parts:
    """The base parts go on; labelled rows train or choose thresholds by a hash of their entity, or of the event."""
    parts, n = base.parts, len(rows)
    key = detector.entity.key if detector.entity is not None else None
    owners = rows.columns[key] if key is not None and key in rows.columns else rows.events
    place = fractions(np.array([str(o) for o in owners.tolist()], dtype=object), HASHED_FOR)
    chooses = place < detector.split.validation
    if parts.folds:
        fold = _fold_of(base, rows, place)
        folds = tuple(
            Fold(np.concatenate([f.train, fold != i]), np.concatenate([f.held, fold == i])) for i, f in enumerate(parts.folds)
        )
        kinds = parts.benign_kind
        if kinds is not None:  # labelled benign rows are a kind of their own
            kinds = np.concatenate([kinds, np.where(rows.attack, -1, kinds.max() + 1)])
        nothing = np.zeros(n, dtype=bool)
        return Parts(
            np.concatenate([parts.train, ~nothing]), np.concatenate([parts.validation, nothing]),
            np.concatenate([parts.test, nothing]), folds, kinds,
        )  # fmt: skip
    return Parts(
        np.concatenate([parts.train, ~chooses]), np.concatenate([parts.validation, chooses]),
        np.concatenate([parts.test, np.zeros(n, dtype=bool)]),
    )  # fmt: skip


def _fold_of(base: Prepared, rows: LabelledAnswers, place: NDArray[np.float64]) -> NDArray[np.int64]:
    """The fold that leaves a labelled row out: of an attack that which leaves its type out, else by the hash."""
    folds = base.parts.folds
    fold = np.floor(place * len(folds)).astype(np.int64)
    if base.data.kind is None:
        return fold
    known: dict[str, int] = {}
    for number, one in enumerate(folds):
        known |= dict.fromkeys(map(str, np.unique(base.data.kind[one.held & base.data.attack].astype(str)).tolist()), number)
    names = fractions(np.array([str(f) for f in rows.family.tolist()], dtype=object), HASHED_FOR)
    by_name = np.floor(names * len(folds)).astype(np.int64)
    for row in np.flatnonzero(rows.attack & (rows.family != "")).tolist():
        fold[row] = known.get(str(rows.family[row]), int(by_name[row]))
    return fold


def _why(labelled: LabelledAnswers) -> str:
    found = ", ".join(f"{count} because {why}" for why, count in labelled.left_out.items())
    return f" (left out: {found})" if found else ""
