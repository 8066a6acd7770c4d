"""Records of the prediction log through two revisions, by the Scorer's own parts: the answers are those that clients would get.

Features are the logged ones, as stable saw them, so nothing depends on what the store holds now."""

import time
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from operators.labs.forecast import Replayed
from serving.audit.encoding import decode_array
from serving.audit.record import AuditRecord
from serving.errors import ServingError
from serving.messages import InferRequest, Tensor
from serving.models.assembly import assemble
from serving.models.errors import RunError
from serving.models.verdicts import VERDICTS
from serving.ports import FeatureRows
from serving.scoring.answer_plan import answer_plan_of, outputs_to_run
from serving.scoring.inputs import ColumnRows, TensorRows
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.row_group import RowGroup, Verdicts, judge, with_unknown
from serving.scoring.rules.columns import fields_with_rules
from serving.scoring.rules.fallback import columns_of
from serving.scoring.rules.raising import raised
from serving.scoring.rules.suppressing import changed, changes_of, open_rows
from serving.scoring.variant_runner import runtime_feed
from serving.scoring.variant_set import Variant

EXAMPLES: Final = 10
_MAX_ROWS: Final = 1_000_000


class CannotReplay(Exception):
    """The log does not hold what the candidate needs."""


def replay(records: Iterable[AuditRecord], stable: LoadedRevision, candidate: LoadedRevision) -> Replayed:
    """Both revisions on every record; one that cannot be replayed is skipped with its reason.

    Raises CannotReplay if no record has the features that the candidate takes."""
    found = Replayed()
    first = last = None
    for record in records:
        if not record.verdicts or not record.inputs:
            continue
        try:
            _replay_one(found, record, stable, candidate)
        except (
            CannotReplay,
            ServingError,
            RunError,
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
        ) as problem:
            found.skipped.append((record.receipt, problem))
            continue
        first, last = min(first or record.time_us, record.time_us), max(last or record.time_us, record.time_us)
    lacking = [problem for _, problem in found.skipped if isinstance(problem, CannotReplay)]
    if lacking and not found.requests:
        raise lacking[0]
    found.span_s = 0.0 if first is None or last is None else (last - first) / 1e6
    return found


def _replay_one(found: Replayed, record: AuditRecord, stable: LoadedRevision, candidate: LoadedRevision) -> None:
    """Adds all rows of the record or none."""
    rows, features = _read(record, stable)
    _check(candidate, rows, features)
    logged = [VERDICTS.index(v) for v in record.verdicts]
    if len(logged) != rows.rows:
        raise ValueError(f"the record has {len(logged)} verdicts for {rows.rows} rows")
    entities = _entities(record, rows)
    point = record.operating_point if record.operating_point != stable.default_point else None
    codes, took_us = _run(stable, record, rows, features, point)
    if codes is None:
        raise ValueError("stable, replayed, fails on it")
    tried, tried_us = _run(candidate, record, rows, features, point)
    found.requests += 1
    found.stable_us.append(took_us)
    found.candidate_us.append(tried_us)
    _add(found, record, entities, logged, codes, tried)


def _read(record: AuditRecord, stable: LoadedRevision) -> tuple[TensorRows | ColumnRows, dict[str, Any]]:
    """The request as the Scorer read it, and the features it saw."""
    tensors = tuple(Tensor(name, body["datatype"], decode_array(body)) for name, body in record.inputs.items())
    request = InferRequest(record.model, None, tensors)
    features = {name: decode_array(values) for name, values in record.features.items()}
    return stable.inputs.read(request, record.time_us, _MAX_ROWS), features


def _check(candidate: LoadedRevision, rows: TensorRows | ColumnRows, features: dict[str, Any]) -> None:
    if isinstance(rows, TensorRows):
        return
    missing = [c for part in candidate.assembly for c in part.columns if c not in rows.fields and c not in features]
    if missing:
        raise CannotReplay(
            f"version {candidate.version} takes {missing[:5]}, which the prediction log does not have: stable does not use them; "
            "begin the rollout with a mirror step, where they are read as they will be"
        )


def _run(
    revision: LoadedRevision,
    record: AuditRecord,
    rows: TensorRows | ColumnRows,
    features: dict[str, Any],
    point: str | None,
) -> tuple[list[int] | None, float]:
    """Verdict codes (None: the model failed) and the time of the run."""
    if isinstance(rows, TensorRows):
        tensors = rows.tensors
    else:
        tensors = assemble(revision.assembly, {**fields_with_rules(revision, rows), **features}, rows.rows)
    names = outputs_to_run(revision, ())
    began = time.perf_counter()
    try:
        raw = revision.model.run(runtime_feed(tensors), names)
        judged = judge(revision, raw, rows.rows, point if point in revision.points else revision.default_point)
        judged = with_unknown(revision, judged, rows)
        codes = None if judged is None else _settled(revision, record, rows, features, judged)
    except (RunError, ServingError):
        return None, (time.perf_counter() - began) * 1e6
    took_us = (time.perf_counter() - began) * 1e6
    return codes, took_us


def _settled(
    revision: LoadedRevision, record: AuditRecord, rows: TensorRows | ColumnRows, features: dict[str, Any], judged: Verdicts
) -> list[int]:
    """The verdicts' codes after rules beside the model and suppressions."""
    codes, rules, at_us = judged.codes, revision.rules, record.time_us
    if rules is None and revision.suppressions is None:
        return [int(code) for code in codes]
    group = RowGroup(Variant(revision), rows, answer_plan_of(revision, (), judged.point))
    group.degraded = decode_array(record.degraded).astype(np.bool_)
    if features:
        group.features = FeatureRows(features, {}, group.degraded, {}, None)
    columns = columns_of(group, with_features=True)
    if rules is not None and rules.use == "verdict" and rules.applies(frozenset(columns)):
        codes = raised(codes, rules.judge(columns, rows.rows))
    after = changed(codes, changes_of(group, codes, open_rows(group, codes, at_us), at_us))
    return [int(code) for code in after]


def _add(
    found: Replayed,
    record: AuditRecord,
    entities: list[bytes],
    logged: list[int],
    codes: list[int],
    tried: list[int] | None,
) -> None:
    found.entities += entities
    found.logged += logged
    found.stable += codes
    found.candidate += [-1] * len(codes) if tried is None else tried
    for row, before in enumerate(codes):
        after = -1 if tried is None else tried[row]
        if after == before or len(found.examples) >= EXAMPLES:
            continue
        found.examples.append(
            {
                "receipt": record.receipt,
                "entity": entities[row].decode("utf-8", "replace"),
                "stable": VERDICTS[before],
                "candidate": VERDICTS[after] if after >= 0 else "fails",
            }
        )


def _entities(record: AuditRecord, rows: TensorRows | ColumnRows) -> list[bytes]:
    """The entity of each row; a row of tensors is an entity of its own."""
    if isinstance(rows, TensorRows) or not rows.keys:
        return [f"{record.receipt}-{row}".encode() for row in range(rows.rows)]
    columns = [np.asarray(column, dtype=object).tolist() for column in rows.keys.values()]
    return [
        b"\x1f".join(v if isinstance(v, bytes) else str(v).encode() for v in values) for values in zip(*columns, strict=True)
    ]
