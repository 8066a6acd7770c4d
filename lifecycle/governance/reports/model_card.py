"""A model card: purpose, data, figures, operating points, limits, and who decided what about one bundle. Pure.

Source of its headings: Mitchell et al. (2019), "Model Cards for Model Reporting", FAT*. Every figure comes from the bundle, from an
evaluation that is handed in, or from the records of rollouts and acts. The card says what nobody recorded."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lifecycle.documents.document import Document, Grid, Section, as_facts, interval, percent
from lifecycle.governance.acts import Act
from lifecycle.governance.lineage.facts import BundleFact, RolloutFact, provenance_of, short
from lifecycle.governance.reports.moments import when, when_iso
from lifecycle.metrics import Rates
from lifecycle.training.operating_points.promise import promise, promise_in_full
from serving.models.manifest import Expected, Manifest, OperatingPoint
from serving.spec import RevisionSpec

_NOT_EVALUATED = (
    "No evaluation on unseen rows was handed in. `vedette evaluate DETECTOR --json` makes one; give it with --evaluation."
)
_NO_ALARM = "No major alarm of `vedette monitor` is recorded about answers of this bundle."
_ALARM = "monitor.alarm"


def model_card(
    bundle: BundleFact, rollouts: Sequence[RolloutFact], acts: Sequence[Act], evaluation: Mapping[str, Any] | None = None
) -> Document:
    """The card of one bundle. evaluation: what `vedette evaluate --json` printed about the same detector. Raises ValueError if it is
    another's, or is not an object."""
    manifest = bundle.manifest
    if evaluation is not None and not isinstance(evaluation, Mapping):
        raise ValueError(f"the evaluation is a {type(evaluation).__name__}, expected a JSON object")
    if evaluation is not None and evaluation.get("detector") != manifest.name:
        raise ValueError(f"the evaluation is of detector {evaluation.get('detector')!r}, the bundle is {manifest.name!r}")
    mine = [r for r in rollouts if bundle.digest in (r.candidate.bundle, r.stable.bundle if r.stable else None)]
    revisions = {spec.digest for r in mine for spec in (r.candidate, r.stable) if spec and spec.bundle == bundle.digest}
    alarms = [a for a in acts if a.action == _ALARM and a.evidence.get("revision") in revisions | _without_rollout(bundle)]
    about = [
        a
        for a in acts
        if a.action != _ALARM and (a.subject == f"bundle/{bundle.digest}" or a.evidence.get("revision") in revisions)
    ]
    sections = (
        _purpose(bundle),
        _data(manifest),
        _training(manifest),
        _points(manifest),
        *_evaluation(evaluation),
        _limits(manifest),
        acts_section("Approvals and other governed acts", about),
        _rollouts(mine),
        _drift(alarms),
    )
    record = {
        "bundle": bundle.digest,
        "manifest": manifest.model_dump(mode="json", exclude={"files", "calibration"}),
        "operating_points": _point_figures(manifest),
        "evaluation": evaluation,
        "rollouts": [rollout_record(r) for r in mine],
        "acts": [act_record(a) for a in about],
        "alarms": [dict(a.evidence) for a in alarms],
    }
    title = f"Model card: {manifest.name} {manifest.version}"
    return Document(title, manifest.description or "The bundle has no description.", sections, record)


def _purpose(bundle: BundleFact) -> Section:
    manifest = bundle.manifest
    inputs = [f"{f.name}: {f.description or f.datatype}" for f in manifest.request_fields]
    inputs = inputs or [f"{t.name}: {t.datatype}" for t in manifest.inputs]
    facts = {
        "bundle": bundle.digest,
        "entity": [k.name for k in manifest.entity_keys],
        "inputs": inputs,
        "feature_service": manifest.feature_service,
        "answers": "a score and a verdict for each row" if manifest.score else "the model's outputs, without a verdict",
        "rules_in_its_place": "yes, where the model or its features are out" if manifest.rules else "none",
    }
    return Section("Purpose", facts=as_facts(facts))


def _data(manifest: Manifest) -> Section:
    lineage = manifest.lineage
    if lineage is None:
        return Section("Training data", empty="The model was made elsewhere; its bundle does not describe its data.")
    provenance = dict(provenance_of(lineage))
    labels = provenance.pop("labels", None) or []
    figures = {key: value for key, value in lineage.data.items() if not key.endswith("_us")}
    if {"first_us", "last_us"} <= lineage.data.keys():
        figures["time_range"] = f"{when(lineage.data['first_us'])} to {when(lineage.data['last_us'])}"
    known = provenance.pop("findings", None) or []
    facts = {
        "digest": lineage.data_digest,
        **figures,
        **provenance,
        "known_problems": known,
        "findings_at_training": lineage.findings,
    }
    grid = Grid(("rows", "labelled by", "how"), tuple((x["rows"], x["by"], x["how"]) for x in labels))
    return Section("Training data and its provenance", facts=as_facts(facts), grid=grid)


def _training(manifest: Manifest) -> Section:
    lineage = manifest.lineage
    if lineage is None:
        return Section("Training", empty="Unknown: the model was made elsewhere.")
    parameters = {key: value for key, value in lineage.parameters.items() if key != "columns"}
    split = (lineage.detector.get("split") or {}).get("why", "")
    facts = {
        "code_commit": lineage.code_commit,
        "seed": lineage.seed,
        "parameters": parameters,
        "environment": lineage.environment,
        "feature_definitions": lineage.features.get("digest"),
        "split": " ".join(str(split).split()),
    }
    return Section("Training", facts=as_facts(facts))


def _points(manifest: Manifest) -> Section:
    columns = (
        "operating point",
        "requirement",
        "threshold",
        "holds",
        "recall",
        "precision",
        "false alarms",
        "attack share",
        "rows",
    )
    rows: list[tuple[str, ...]] = []
    for name, point in manifest.operating_points.items():
        expected = point.expected
        if expected is None:
            rows.append((name, point.requirement, f"{point.threshold:.6g}", "not measured", "-", "-", "-", "-", "-"))
            continue
        counted = validation_rates(expected)
        shares = [interval(i.value, i.low, i.high) for i in (counted.recall, counted.precision, counted.false_alarm_rate)]
        rows.append(
            (
                name,
                point.requirement,
                f"{point.threshold:.6g}",
                _held(point, expected),
                *shares,
                percent(expected.attack_share),
                f"{expected.rows:,}",
            )
        )
    text = (
        "Measured on the validation rows that the thresholds were chosen on, with 95 % Wilson intervals: unseen rows are harder.",
        *(f"{name}: {promised}." for name, point in manifest.operating_points.items() if (promised := promise_in_full(point))),
    )
    grid = Grid(columns, tuple(rows))
    return Section("Operating points", text if rows else (), grid=grid, empty="The model gives no score, so it has none.")


def _held(point: OperatingPoint, expected: Expected) -> str:
    """What is promised. If no promise was asked for: whether the requirement was met on the validation rows."""
    promised = promise(point)
    return ("met, no promise" if expected.is_met else "NO") if promised == "-" else promised


def validation_rates(expected: Expected) -> Rates:
    """The counts behind the figures of an operating point, computed back from the shares and rounded."""
    attacks = round(expected.rows * expected.attack_share)
    hits, alarms = round(attacks * expected.recall), round((expected.rows - attacks) * expected.false_alarm_rate)
    return Rates(hits, attacks - hits, alarms, expected.rows - attacks - alarms)


def _point_figures(manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, point in manifest.operating_points.items():
        figures: dict[str, Any] = {"threshold": point.threshold, "requirement": point.requirement}
        if point.expected is not None:
            counted = validation_rates(point.expected)
            shares = {"recall": counted.recall, "precision": counted.precision, "false_alarm_rate": counted.false_alarm_rate}
            holds = point.holds.model_dump(mode="json") if point.holds else None
            figures |= {
                "is_met": point.expected.is_met,
                "holds": holds,
                "shortfall": point.shortfall,
                **{key: asdict(value) for key, value in shares.items()},
            }
        found[name] = figures
    return found


def _evaluation(evaluation: Mapping[str, Any] | None) -> tuple[Section, ...]:
    if evaluation is None:
        return (Section("Figures on unseen rows", empty=_NOT_EVALUATED),)
    rows, segments = [], []
    for seed in evaluation["seeds"]:
        for unit in seed["units"]:
            for point in unit["operating_points"]:
                shares = [_of_record(point[name]) for name in ("recall", "precision", "false_alarm_rate")]
                rows.append((str(seed["seed"]), f"{unit['unit']}, benign: {unit['benign']}", point["operating_point"], *shares))
        for one in seed["segments"]:
            shares = [_of_record(one["rates"][name]) for name in ("recall", "precision", "false_alarm_rate")]
            segments.append((str(seed["seed"]), f"{one['segment']} = {one['value']}", one["scenario"], *shares))
    columns = ("seed", "counted", "operating point", "recall", "precision", "false alarms")
    text = ("With 95 % intervals. Each seed is a model of its own, trained on the same data.",)
    return (
        Section("Figures on unseen rows", text, grid=Grid(columns, tuple(rows))),
        Section("By segment", grid=Grid(columns, tuple(segments)), empty="The detector declares no segments."),
    )


def _of_record(figure: Mapping[str, Any]) -> str:
    return interval(figure["value"], figure["low"], figure["high"])


def _limits(manifest: Manifest) -> Section:
    limits = ["It judges the rows that it is sent: a score is no proof of an attack.",
              "Figures hold for traffic like the training data; precision holds for the stated attack share only."]  # fmt: skip
    if manifest.lineage is not None:
        limits += [f"Known of the data: {finding}." for finding in provenance_of(manifest.lineage).get("findings") or []]
        if manifest.lineage.data.get("is_generated"):
            limits.append("The training rows were generated, so no figure says anything about real traffic.")
    for name, point in manifest.operating_points.items():
        if point.shortfall:
            limits.append(f"Operating point {name} keeps its requirement with no stated confidence.")
        elif point.expected and not point.expected.is_met:
            limits.append(f"Operating point {name} does not meet its requirement on the validation rows.")
    return Section("Limits", tuple(limits))


def acts_section(title: str, acts: Sequence[Act]) -> Section:
    """A table of governed acts."""
    rows = tuple((when(a.time_us), a.actor, a.action, a.outcome, a.subject, a.reason) for a in acts)
    return Section(title, grid=Grid(("when", "who", "what", "outcome", "subject", "why"), rows), empty="None are recorded.")


def _rollouts(rollouts: Sequence[RolloutFact]) -> Section:
    rows = tuple(
        (
            r.service,
            str(r.number),
            short(r.candidate.digest),
            when_iso(r.started),
            when_iso(r.ended or "-"),
            r.outcome,
            r.by,
            r.reason,
        )
        for r in rollouts
    )
    columns = ("service", "number", "revision", "started", "ended", "outcome", "by", "why")
    return Section("Rollouts and experiments", grid=Grid(columns, rows), empty="This bundle was never rolled out here.")


def _without_rollout(bundle: BundleFact) -> set[str]:
    """Digests of the bundle's revisions that are served without a rollout: they have the bundle's own thresholds."""
    points = (None, *bundle.manifest.operating_points)
    return {RevisionSpec(bundle=bundle.digest, operating_point=point).digest for point in points}


def _drift(alarms: Sequence[Act]) -> Section:
    """Major alarms about answers of the bundle."""
    rows = tuple(
        (
            when(a.time_us),
            str(a.evidence.get("kind", "-")).replace("_", " "),
            str(a.evidence.get("subject", "-")),
            str(a.evidence.get("segment") or "all rows"),
            short(str(a.evidence.get("revision"))),
            a.reason,
        )
        for a in alarms
    )
    return Section("Drift", grid=Grid(("when", "what", "subject", "segment", "revision", "seen"), rows), empty=_NO_ALARM)


def rollout_record(rollout: RolloutFact) -> dict[str, Any]:
    """A rollout as JSON."""
    record = {name: getattr(rollout, name) for name in ("service", "number", "started", "ended", "outcome", "by", "reason")}
    stable = rollout.stable.digest if rollout.stable else None
    return {**record, "candidate": rollout.candidate.digest, "stable": stable, "moves": [m.words for m in rollout.moves]}


def act_record(act: Act) -> dict[str, Any]:
    """An act as JSON."""
    return {name: getattr(act, name) for name in act.__struct_fields__}
