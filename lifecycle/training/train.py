"""From a declaration and its data to a bundle: features, split, fit, export, operating points, calibration, bundle.

Same seed and data, same digest. Each step has its own module; this one has their order and what they pass on."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lifecycle.arrays import Floats, Mask
from lifecycle.datasets.data import Dataset
from lifecycle.datasets.datatypes import DATATYPES
from lifecycle.datasets.detector import Detector, TriageDeclaration
from lifecycle.datasets.reasons import explain_spec
from lifecycle.datasets.split import Parts, split
from lifecycle.errors import DetectorError
from lifecycle.metrics import ranking
from lifecycle.training.calibrate import venn_abers
from lifecycle.training.conformal import conformal_spec
from lifecycle.training.ensemble.fitted import FittedEnsemble, fit_ensemble
from lifecycle.training.example import EVENT_TIME, example_request
from lifecycle.training.export import assembly_of, check_parity, margins_to_onnx, tensors_of, to_onnx
from lifecycle.training.features import FeatureStore, input_columns, with_features
from lifecycle.training.fit import Encoding, Fitted, FittedFamilies, encoding_of, even_over_types, fit, fit_families
from lifecycle.training.operating_points.choose import choose_points
from lifecycle.training.operating_points.validation import validation_rows
from lifecycle.training.origin import code_commit, describe_data, describe_service, environment
from lifecycle.training.reference import golden_rows, reference_files
from lifecycle.training.rules import measure_rules, rule_files
from lifecycle.training.stream_windows import window_spec
from lifecycle.training.triage.bound import choose_bound
from lifecycle.training.triage.cheap_model import fit_cheap, triage_part
from serving.models.build import build_bundle
from serving.models.bundle import Bundle
from serving.models.manifest import FieldSpec, Lineage, ScoreSpec
from serving.models.onnx import OnnxModel
from serving.models.store import BundleStore
from serving.ports import FeatureServiceInfo

Progress = Callable[[str, float], None]
"""(what is being done, share of the whole that is done)."""

PARITY_ROWS: Final = 20_000
ScoreLeftOut = Callable[["Prepared", Mask, NDArray[np.int64], int], Floats]
"""(the rows, which of them are trained on, which are scored, the seed) to the scores."""


@dataclass(frozen=True, slots=True)
class AddedRows:
    """Rows that were put behind the detector's own, such as those that analysts labelled. n: all rows, both kinds.

    own: how many rows are the detector's own; they come first, and the bundle's example is made of them. fit_weights, choice_weights: what
    a row counts for when the model is fitted, and when thresholds are chosen; shape (n,). origin: stands in the bundle's lineage."""

    own: int
    fit_weights: Floats
    choice_weights: Floats
    origin: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Continuation:
    """Trained trees that a training goes on from, with more trees on rows of its own. rows: shape (n,), what it is trained on."""

    encoding: Encoding
    fitted: Fitted
    trees: int
    rows: Mask


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that does not depend on the seed. frame: the declared columns and the features, in event-time order."""

    detector: Detector
    data: Dataset
    frame: Any
    service: FeatureServiceInfo | None
    columns: tuple[str, ...]
    parts: Parts
    added: AddedRows | None = None
    """Rows at the end that are not of the detector's own data; None: there are none."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and the content of its bundle, before it is written."""

    model: bytes
    encoding: Encoding
    manifest: Mapping[str, Any]
    golden: Mapping[str, NDArray[Any]]
    files: Mapping[str, bytes]
    parity: float
    rule_files: Mapping[str, bytes] = field(default_factory=dict)
    cheap: bytes | None = None
    """The graph of its triage."""
    fitted: Fitted | None = None
    """The trees, for a training that goes on from them."""


@dataclass(slots=True)
class _Steps:
    """Reports the progress."""

    tell: Progress
    total: int
    done: int = field(default=0)

    def next(self, what: str) -> None:
        """One step begins."""
        self.tell(what, self.done / self.total)
        self.done += 1


def prepare(
    detector: Detector, data: Dataset, store: FeatureStore, *, with_test: bool, progress: Progress | None = None
) -> Prepared:
    """Features and split. with_test: a test part is taken off (the source has no test file of its own). Raises TrainingError."""
    if progress:
        progress("joining features as of each event", 0.0)
    detector = detector.for_generated_rows() if data.is_generated else detector
    frame, service = with_features(detector, data, store)
    return Prepared(
        detector, data, frame, service, input_columns(detector, service), split(detector, data, with_test=with_test)
    )


def train(
    prepared: Prepared, *, seed: int | None = None, progress: Progress | None = None, onward: Continuation | None = None
) -> Trained:
    """Fit, export, choose. onward: fit only more trees, on top of these. Raises TrainingError."""
    detector, parts = prepared.detector, prepared.parts
    chosen_seed = detector.model.seed if seed is None else seed
    steps = _Steps(progress or (lambda what, share: None), len(parts.folds) + 3)
    steps.next("fitting the model")
    encoding, fitted = fit_rows(prepared, parts.train, chosen_seed) if onward is None else _go_on(prepared, onward, chosen_seed)
    families = _fit_families(prepared, encoding, chosen_seed)
    model = to_onnx(fitted, encoding, families)
    session = OnnxModel(model)
    every = model_scores(session, encoding, prepared.frame)
    parity = check_parity(session, fitted, encoding, prepared.frame.iloc[:PARITY_ROWS], families)
    if parts.folds:
        rows, scores = _cross_fitted(prepared, chosen_seed, steps, _scores_left_out)
    else:
        rows = np.flatnonzero(parts.validation)
        scores = every[rows]
    cheap, triage = _triage(prepared, encoding, chosen_seed, rows)
    steps.next("choosing operating points and calibrating")
    attack = prepared.data.attack[rows]
    points = choose_points(detector, validation_rows(detector, prepared.data, parts, rows, scores, _weights(prepared, rows)))
    trained_on = prepared.frame.iloc[np.flatnonzero(parts.train)]
    lineage = Lineage(
        data_digest=prepared.data.digest, data=_described(prepared), findings=prepared.data.notes,
        features=describe_service(prepared.service), code_commit=code_commit(), seed=chosen_seed, environment=environment(),
        parameters={**detector.model.model_dump(mode="json"), "columns": list(encoding.columns)},
        metrics={"validation": {"rows": len(rows), **ranking(scores, attack)}, "onnx_largest_difference": parity, **_of_rules(prepared)},
        detector=detector.model_dump(mode="json", by_alias=True),
    )  # fmt: skip
    manifest = {
        **_contract(prepared, encoding),
        "score": ScoreSpec(output="probabilities", column=1),
        "operating_points": points,
        "default_operating_point": detector.default_operating_point,
        "calibration": venn_abers(scores, attack),
        "conformal": conformal_spec(detector.confidence, scores, attack, _groups(prepared, rows)),
        "triage": triage,
        "segments": detector.segments,
        "personal": detector.personal,
        "techniques": detector.techniques,
        "explain": explain_spec(detector.reasons, encoding.columns),
        "lineage": lineage,
    }
    files = reference_files(
        encoding, trained_on, every[parts.train], prepared.data.attack[parts.train], chosen_seed, (scores, attack)
    )
    own = np.arange(len(prepared.data) if prepared.added is None else prepared.added.own)
    files["example.json"] = example_request(detector, prepared.data.take(own), every[own])
    return Trained(
        model,
        encoding,
        manifest,
        golden_rows(encoding, prepared.frame, prepared.data.attack, chosen_seed),
        files,
        parity,
        rule_files(detector),
        cheap,
        fitted if isinstance(fitted, Fitted) else None,
    )


def _described(prepared: Prepared) -> dict[str, Any]:
    """What the lineage says of the data; of added rows what they come from."""
    return describe_data(prepared.data) | ({} if prepared.added is None else dict(prepared.added.origin))


def _groups(prepared: Prepared, rows: NDArray[np.int64]) -> NDArray[np.object_] | None:
    """The declared group of each row, as clients name it."""
    confidence = prepared.detector.confidence
    if confidence is None or confidence.group is None:
        return None
    return np.array([str(v) for v in prepared.frame[confidence.group].iloc[rows].tolist()], dtype=object)


def _of_rules(prepared: Prepared) -> dict[str, Any]:
    """Figures of the declared rules alone: on the test part if there is one, else on the rows that choose thresholds."""
    if prepared.detector.rules is None:
        return {}
    parts = prepared.parts
    masks = {"test": parts.test, "validation": parts.validation, "training": parts.train}
    on = next(name for name, rows in masks.items() if rows.any())
    return {"rules": {"on": on, **measure_rules(prepared.detector, prepared.frame, prepared.data.attack, masks[on])}}


def add_to_store(trained: Trained, store: BundleStore) -> Bundle:
    """Build the bundle and add it. The very same model again keeps its version; a new one gets the next."""
    name = trained.manifest["name"]
    versions = [e for e in store.entries() if e.name == name]
    with TemporaryDirectory(prefix="vedette-") as scratch:
        for i, entry in enumerate(versions[-1:]):
            again = _build(trained, Path(scratch) / str(i), entry.version)
            if again.digest == entry.digest:
                return store.resolve(name, entry.version)
        store.add(_build(trained, Path(scratch) / "new", store.next_version(name)))
    return store.resolve(name)


def write_bundle(trained: Trained, folder: Path, version: str = "1") -> Bundle:
    """Build the bundle in a folder, without a store."""
    return _build(trained, folder, version)


def model_scores(session: OnnxModel, encoding: Encoding, frame: Any) -> NDArray[np.float32]:
    """The served graph's scores, shape (n,)."""
    return np.ascontiguousarray(session.run(tensors_of(encoding, frame), ["probabilities"])["probabilities"][:, 1])


def _build(trained: Trained, folder: Path, version: str) -> Bundle:
    return build_bundle(
        folder,
        model=trained.model,
        golden_inputs=trained.golden,
        files=trained.files,
        rule_files=trained.rule_files,
        cheap=trained.cheap,
        version=version,
        **trained.manifest,
    )


def fit_rows(prepared: Prepared, rows: Mask, seed: int) -> tuple[Encoding, Fitted | FittedEnsemble]:
    """The declared model, fitted on these rows. rows: shape (n,). Raises DetectorError."""
    encoding = encoding_of(prepared.frame.iloc[np.flatnonzero(rows)], prepared.columns)
    return encoding, _fitted(prepared, encoding, rows, seed)


def _go_on(prepared: Prepared, onward: Continuation, seed: int) -> tuple[Encoding, Fitted | FittedEnsemble]:
    """More trees on top of those that there are, in their encoding: a value that they do not know stays unknown."""
    return onward.encoding, _fitted(prepared, onward.encoding, onward.rows, seed, onward)


def _fitted(
    prepared: Prepared, encoding: Encoding, rows: Mask, seed: int, onward: Continuation | None = None
) -> Fitted | FittedEnsemble:
    where = np.flatnonzero(rows)
    kind, added = prepared.data.kind, prepared.added
    if prepared.detector.model.ensemble is not None:
        if onward is not None:
            raise DetectorError(
                "an ensemble is not continued, because its ranks are those of all training rows; train it in full"
            )
        rules = prepared.detector.rules
        return fit_ensemble(
            prepared.detector.model,
            encoding,
            encoding.matrix(prepared.frame.iloc[where]),
            prepared.data.attack[where],
            None if kind is None else kind[where],
            seed,
            given=None if added is None else added.fit_weights[where],
            rules_weight=1.0 if rules is None else rules.weight,
            rules_vote_alone=rules is not None and rules.use == "member",
        )
    return fit(
        prepared.detector.model,
        encoding.matrix(prepared.frame.iloc[where]),
        prepared.data.attack[where],
        None if kind is None else kind[where],
        seed,
        given=None if added is None else added.fit_weights[where],
        start=None if onward is None else onward.fitted,
        trees=None if onward is None else onward.trees,
    )


def _fit_families(prepared: Prepared, encoding: Encoding, seed: int) -> FittedFamilies | None:
    """What names the family of an attack, where the detector asks for it."""
    detector, kind = prepared.detector, prepared.data.kind
    if not detector.model.family_trees or kind is None:
        return None
    where = np.flatnonzero(prepared.parts.train & prepared.data.attack)
    return fit_families(detector.model, detector.split.families, encoding.matrix(prepared.frame.iloc[where]), kind[where], seed)


def _triage(
    prepared: Prepared, encoding: Encoding, seed: int, rows: NDArray[np.int64]
) -> tuple[bytes | None, dict[str, Any] | None]:
    """The graph and the description of the declared triage. rows: which its bound is chosen on. Raises DetectorError, ExportError."""
    declared, parts = prepared.detector.triage, prepared.parts
    if declared is None:
        return None, None
    made = margins_to_onnx(_cheap(prepared, encoding, parts.train, seed), encoding)
    if parts.folds:
        rows, scores = _cross_fitted(prepared, seed, None, _margins_left_out)
    else:
        scores = OnnxModel(made).run(tensors_of(encoding, prepared.frame.iloc[rows]))["margin"][:, 0]
    chosen = choose_bound(scores, prepared.data.attack[rows], declared.lost_attacks, declared.confidence)
    return made, triage_part(declared, chosen)


def _scores_left_out(prepared: Prepared, train: Mask, held: NDArray[np.int64], seed: int) -> Floats:
    encoding, fitted = fit_rows(prepared, train, seed)
    return fitted.scores(encoding.matrix(prepared.frame.iloc[held]))


def _margins_left_out(prepared: Prepared, train: Mask, held: NDArray[np.int64], seed: int) -> Floats:
    encoding = encoding_of(prepared.frame.iloc[np.flatnonzero(train)], prepared.columns)
    return _cheap(prepared, encoding, train, seed).margins(encoding.matrix(prepared.frame.iloc[held]))


def _cheap(prepared: Prepared, encoding: Encoding, rows: Mask, seed: int) -> Fitted:
    where, kind, added, declared = np.flatnonzero(rows), prepared.data.kind, prepared.added, prepared.detector.triage
    return fit_cheap(
        prepared.detector.model,
        declared or TriageDeclaration(),
        encoding.matrix(prepared.frame.iloc[where]),
        prepared.data.attack[where],
        None if kind is None else kind[where],
        seed,
        None if added is None else added.fit_weights[where],
    )


def _cross_fitted(
    prepared: Prepared, seed: int, steps: _Steps | None, score: ScoreLeftOut
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows and their scores by models that have not seen them, nor their attack type. Folds are fitted side by side."""
    folds = prepared.parts.folds
    held = [np.flatnonzero(fold.held) for fold in folds]

    def scores_of(i: int) -> NDArray[np.float32]:
        return score(prepared, folds[i].train, held[i], seed).astype(np.float32)

    scores = []
    with ThreadPoolExecutor(min(os.cpu_count() or 1, len(folds))) as pool:
        for i, found in enumerate(pool.map(scores_of, range(len(folds)))):
            if steps is not None:
                steps.next(f"scoring what was left out, {i + 1} of {len(folds)}")
            scores.append(found)
    order = np.argsort(np.concatenate(held), kind="stable")
    return np.concatenate(held)[order], np.concatenate(scores)[order]


def _weights(prepared: Prepared, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a row counts for when thresholds are chosen: as many rows as it stands for, or with left-out types the same for every type."""
    weights = np.ones(len(rows)) if prepared.added is None else prepared.added.choice_weights[rows]
    attack, kind = prepared.data.attack[rows], prepared.data.kind
    if prepared.parts.folds and kind is not None:
        of_attacks = weights[attack]
        weights[attack] = even_over_types(kind[rows][attack], of_attacks) * of_attacks.sum()
    return weights


def _contract(prepared: Prepared, encoding: Encoding) -> dict[str, Any]:
    detector, types = prepared.detector, prepared.detector.source.columns
    fields = tuple(
        FieldSpec(name=name, datatype=DATATYPES[types[name].type], description=f.description)
        for name, f in detector.request_fields.items()
    )
    body: dict[str, Any] = {
        "name": detector.name, "description": detector.description, "request_fields": fields, "assembly": assembly_of(encoding),
    }  # fmt: skip
    if prepared.service is not None and detector.entity is not None:
        body["feature_service"] = prepared.service.name
        body["entity_keys"] = tuple(FieldSpec(name=k.name, datatype=k.datatype) for k in prepared.service.join_keys)
        body["windows"] = window_spec(detector)
    if detector.event_time is not None:
        body["event_time_field"] = EVENT_TIME
    return body
