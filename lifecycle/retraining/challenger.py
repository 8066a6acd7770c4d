"""Trains a challenger: whole, or as a continuation of the champion; and puts it to the challenge. No clock, no log of acts."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from lifecycle.arrays import Mask
from lifecycle.datasets.declarations import parse_detector
from lifecycle.datasets.detector import Detector
from lifecycle.errors import DetectorError
from lifecycle.evaluation.held_out import HeldOutRows
from lifecycle.evaluation.scoring import row_scores
from lifecycle.labels.label import Label
from lifecycle.monitoring.windows.answered import AnsweredRows
from lifecycle.retraining.challenge.judge import judge
from lifecycle.retraining.challenge.left_out import left_out_families
from lifecycle.retraining.challenge.paired_harm import PairedAlerts
from lifecycle.retraining.challenge.result import ChallengedBundle, ChallengeResult
from lifecycle.retraining.challenge.rows import Judge, KeptRows, newest_alerts
from lifecycle.retraining.data.joined import JoinedRows, joined, seen_by
from lifecycle.retraining.data.labelled_rows import LabelledAnswers, labelled_rows
from lifecycle.retraining.errors import NotTrainable
from lifecycle.retraining.policy import Incremental, RetrainingPolicy
from lifecycle.retraining.progress import Trigger
from lifecycle.retraining.signals import Champion
from lifecycle.training.export import TOLERANCE
from lifecycle.training.fit import Encoding, Fitted, fitted_as_text, fitted_from_text
from lifecycle.training.train import Continuation, Prepared, Progress, Trained, fit_rows, train, write_bundle
from serving.files.whole_files import write_whole
from serving.models.bundle import Bundle
from serving.models.manifest import Lineage, Manifest

_CHECKED_ROWS: Final = 2000
_KEPT: Final = 5
"""Challengers and kept trees that stay on the disk."""


@dataclass(frozen=True, slots=True)
class ChallengeInputs:
    """The champion, with the rows to beat it on. test: the detector's test file, where it has one.

    labels, answers: of the log; only labels that the training may use."""

    trigger: Trigger
    serving: Champion
    champion: Bundle
    base: Prepared
    test: HeldOutRows | None
    answers: AnsweredRows
    labels: Mapping[str, Label]
    since_us: int


def detector_of(champion: Bundle) -> Detector:
    """The declaration that the champion was trained by. Raises NotTrainable for a bundle that was made elsewhere."""
    lineage = _lineage(champion.manifest)
    return parse_detector(dict(lineage.detector), where=f"bundle {champion.manifest.name}")


def train_challenger(
    inputs: ChallengeInputs, policy: RetrainingPolicy, folder: Path, version: str, tell: Progress
) -> tuple[Bundle, JoinedRows]:
    """Train and write the bundle to `folder/challengers/TRIGGER`. Raises NotTrainable, TrainingError."""
    lineage = _lineage(inputs.champion.manifest)
    _same_base(inputs, lineage)
    rows = _labelled(inputs, policy)
    seed = inputs.base.detector.model.seed if lineage.seed is None else lineage.seed
    spec = policy.strategies.incremental if inputs.trigger.strategy == "incremental" else None
    if spec is None:
        together = joined(inputs.base, rows, policy, seen_by(lineage), origin=_origin(inputs))
        trained = train(together.prepared, seed=seed, progress=tell)
    else:
        together, onward = _onward(inputs, policy, spec, rows, lineage, folder, seed)
        trained = train(together.prepared, seed=seed, progress=tell, onward=onward)
    place = folder / "challengers" / inputs.trigger.trigger_id
    shutil.rmtree(place, ignore_errors=True)
    bundle = write_bundle(trained, place, version)
    _keep_trees(folder, bundle, trained)
    _prune(folder, keep=inputs.champion.digest.removeprefix("sha256:"))
    return bundle, together


def challenge(
    inputs: ChallengeInputs, challenger: Bundle, rows: JoinedRows, policy: RetrainingPolicy, tell: Progress
) -> ChallengeResult:
    """Put the challenger to every gate. Raises TrainingError, EvaluationError."""
    rules = policy.challenge
    point = inputs.serving.operating_point or inputs.champion.manifest.default_operating_point or ""
    first: Judge = inputs.champion, _threshold(inputs.champion.manifest, point, inputs.serving.threshold)
    second: Judge = challenger, _threshold(challenger.manifest, point, None)
    tell("judging the challenger", 0.9)
    newest = newest_alerts(rows.prepared.detector, rows.held, first, second, policy.labels.inclusion_cap)
    kept_rows = KeptRows.of(inputs.base, inputs.test)
    kept = kept_rows.alerts(first, second)
    notes = (
        []
        if len(kept)
        else ["there are no kept test rows: give the detector's test file (--test), or a test part in its split"]
    )
    left = []
    if inputs.trigger.strategy == "incremental":
        notes.append("an increment keeps the champion's trees, so attack types that neither has seen are not judged")
    elif (~kept.attack).any():
        share = float(kept.champion[~kept.attack].mean())
        seed = challenger.manifest.lineage.seed if challenger.manifest.lineage else None
        left = list(
            left_out_families(
                rows.prepared, rows.champion_rows, kept_rows.benign, share, most=rules.left_out.most_families, seed=seed or 0,
                tell=lambda what: tell(what, 0.95),
            )
        )  # fmt: skip
        if not left and rules.left_out.most_families:
            notes.append("base rows name no attack types, so attack types that neither has seen are not judged")
    champion, second_manifest = inputs.champion.manifest, challenger.manifest
    return ChallengeResult(
        champion.name, inputs.trigger.trigger_id, point,
        ChallengedBundle(champion.version, inputs.champion.digest, first[1]),
        ChallengedBundle(second_manifest.version, challenger.digest, second[1]),
        judge(rules, newest, kept, left, seed=0), _counts(rows, kept), tuple(notes),
    )  # fmt: skip


def _counts(rows: JoinedRows, kept: PairedAlerts) -> tuple[tuple[str, str], ...]:
    held, trained = rows.held, rows.trained
    left_out = ", ".join(f"{count} because {why}" for why, count in trained.left_out.items())
    return (
        ("newest labelled rows, held out", f"{len(held):,}, {int(held.attack.sum()):,} attacks"),
        ("kept test rows", f"{len(kept):,}, {int(kept.attack.sum()):,} attacks"),
        ("labelled rows trained on", f"{len(trained):,}, {int(trained.attack.sum()):,} attacks, "
                                     f"{int((trained.was_alert & ~trained.attack).sum()):,} false alarms"),
        ("labels without a row", left_out or "none"),
    )  # fmt: skip


def _labelled(inputs: ChallengeInputs, policy: RetrainingPolicy) -> LabelledAnswers:
    detector = inputs.base.detector
    optional = [*([detector.entity.key] if detector.entity is not None else []), *detector.segments]
    group = detector.confidence.group if detector.confidence is not None else None
    return labelled_rows(
        inputs.answers, inputs.labels, inputs.champion.manifest, min_sureness=policy.labels.min_sureness,
        since_us=inputs.since_us, most_rows=policy.labels.most_rows, optional=[*optional, *([group] if group else [])],
    )  # fmt: skip


def _onward(
    inputs: ChallengeInputs,
    policy: RetrainingPolicy,
    spec: Incremental,
    rows: LabelledAnswers,
    lineage: Lineage,
    folder: Path,
    seed: int,
) -> tuple[JoinedRows, Continuation]:
    """The rows of an increment: labelled ones that the champion has not seen, and a sample of the base rows."""
    base = inputs.base
    if base.parts.folds:
        raise NotTrainable(
            f"detector {base.detector.name!r} chooses thresholds on left-out attack types (split.by: types), which needs a full training; "
            "use scheduled or on_demand instead of incremental"
        )
    encoding, fitted = _trees_of(inputs, folder, seed)
    if fitted.trees + spec.trees > spec.max_trees:
        raise NotTrainable(
            f"the champion has {fitted.trees} trees, and {spec.trees} more would exceed "
            f"incremental.max_trees ({spec.max_trees}); train it in full"
        )
    drawn = _replayed(base, spec.replay_rows, inputs.trigger)
    seen = seen_by(lineage)
    together = joined(base, rows, policy, seen, origin=_origin(inputs), benign_beside=float((drawn & ~base.data.attack).sum()))
    fresh = ~seen.have(together.trained) & together.prepared.parts.train[len(base.data) :]
    if not fresh.any():
        raise NotTrainable("the champion was trained on every labelled row that is not held out; label more rows")
    return together, Continuation(encoding, fitted, spec.trees, np.concatenate([drawn, fresh]))


def _replayed(base: Prepared, rows: int, trigger: Trigger) -> Mask:
    """A sample of the base train rows, drawn by the trigger: another one for each increment, the same one again."""
    where = np.flatnonzero(base.parts.train)
    rng = np.random.default_rng([int(trigger.trigger_id[-8:], 16), 1])
    drawn = np.zeros(len(base.data), dtype=bool)
    drawn[rng.permutation(where)[:rows]] = True
    return drawn


def _trees_of(inputs: ChallengeInputs, folder: Path, seed: int) -> tuple[Encoding, Fitted]:
    """The champion's trees: as they were kept, or fitted again where it is of the base rows alone; checked against its graph."""
    path = folder / "trees" / f"{inputs.champion.digest.removeprefix('sha256:')}.json"
    base = inputs.base
    try:
        encoding, fitted = fitted_from_text(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        encoding, again = fit_rows(base, base.parts.train, seed)
        if not isinstance(again, Fitted):
            raise NotTrainable("the champion is an ensemble, whose training is not continued; train it in full") from None
        fitted = again
    except (ValueError, DetectorError) as problem:
        raise NotTrainable(f"{path}: {problem}; remove the file, and train the model in full") from problem
    frame = base.frame.iloc[:_CHECKED_ROWS]
    difference = np.abs(fitted.scores(encoding.matrix(frame)) - row_scores(inputs.champion, frame))
    if difference.max() > TOLERANCE:
        raise NotTrainable(
            f"the trees of bundle {inputs.champion.digest[:19]} are not kept on this machine, so its training cannot "
            "be continued; train it in full first"
        )
    return encoding, fitted


def _keep_trees(folder: Path, bundle: Bundle, trained: Trained) -> None:
    if trained.fitted is not None:
        body = json.dumps(fitted_as_text(trained.encoding, trained.fitted))
        write_whole(folder / "trees" / f"{bundle.digest.removeprefix('sha256:')}.json", body)


def _prune(folder: Path, keep: str) -> None:
    """The newest challengers and trees stay, and the trees of the champion."""
    for room in ("challengers", "trees"):
        old = sorted((folder / room).glob("[!.]*"), key=lambda p: p.stat().st_mtime_ns)[:-_KEPT]
        for path in old:
            if path.is_dir():
                shutil.rmtree(path)
            elif path.stem != keep:
                path.unlink()


def _origin(inputs: ChallengeInputs) -> dict[str, object]:
    trigger = inputs.trigger
    return {
        "retraining": {
            "trigger": trigger.trigger_id,
            "strategy": trigger.strategy,
            "champion": inputs.champion.digest,
            "champion_version": inputs.champion.manifest.version,
        }
    }


def _same_base(inputs: ChallengeInputs, lineage: Lineage) -> None:
    """Only of the rows that the champion was trained on is it known which it has not seen."""
    expected = (lineage.data.get("base") or {}).get("digest", lineage.data_digest)
    if inputs.base.data.digest != expected:
        raise NotTrainable(
            f"the base rows have the digest {inputs.base.data.digest[:19]}, and the champion was trained on {str(expected)[:19]}; "
            "give the same data (--data, --data-dir), or train it in full with `vedette train` and roll it out"
        )


def _lineage(manifest: Manifest) -> Lineage:
    if manifest.lineage is None or not manifest.lineage.detector:
        raise NotTrainable(
            f"model {manifest.name!r} was made elsewhere, so it is not known how it is trained; train it where it was made, and "
            "`vedette bundle create` again"
        )
    return manifest.lineage


def _threshold(manifest: Manifest, point: str, override: float | None) -> float:
    if override is not None:
        return override
    found = manifest.operating_points.get(point)
    if found is None:
        raise NotTrainable(f"bundle {manifest.name} {manifest.version} has no operating point {point!r}")
    return found.threshold
