"""The facts of a lineage graph, and how each becomes nodes and edges. Pure.

A bundle says what it was made of (bundle.json), the control plane which revisions it rolled out, the prediction log what was answered,
and the log of acts who decided. lifecycle.governance.lineage.store reads them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lifecycle.governance.acts import Act
from lifecycle.governance.lineage.graph import Edge, LineageGraph, Node, NodeKind
from lifecycle.governance.lineage.retraining import asked_for, data_nodes, is_of_retraining, retraining_nodes
from serving.models.manifest import Lineage, Manifest
from serving.spec import RevisionSpec

_SHORT = 12


@dataclass(frozen=True, slots=True)
class BundleFact:
    """A bundle of the store."""

    digest: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class RolloutMove:
    """One move of a rollout. at: ISO 8601. move: start, mirror, setWeight, promote, abort, ... weight: percent, after the move."""

    at: str
    move: str
    by: str
    reason: str = ""
    weight: float | None = None

    @property
    def words(self) -> str:
        """The move in words."""
        return f"{self.move} by {self.by}: {self.reason}"


@dataclass(frozen=True, slots=True)
class RolloutFact:
    """A rollout or experiment of a service. Times: ISO 8601. outcome: how it ended, or `under way`."""

    service: str
    number: int
    candidate: RevisionSpec
    stable: RevisionSpec | None
    started: str
    ended: str | None
    outcome: str
    by: str
    reason: str
    moves: tuple[RolloutMove, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswersFact:
    """The answers of one revision. records: how many. first_us, last_us: times of the first and last, microseconds since the epoch."""

    model: str
    version: str
    revision: str
    records: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class AnswerFact:
    """One answer, by its receipt."""

    receipt: str
    model: str
    version: str
    revision: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Everything that is known about a store."""

    bundles: tuple[BundleFact, ...] = ()
    revisions: tuple[RevisionSpec, ...] = ()
    """Revisions that are or were served, as specifications say."""
    rollouts: tuple[RolloutFact, ...] = ()
    answers: tuple[AnswersFact, ...] = ()
    acts: tuple[Act, ...] = ()


def graph_of(facts: StoreFacts, answer: AnswerFact | None = None) -> LineageGraph:
    """The whole graph. answer: one answer that gets its own node."""
    nodes: list[Node] = []
    edges: list[Edge] = []
    for bundle in facts.bundles:
        _add_bundle(bundle, nodes, edges)
    known = {b.digest: b for b in facts.bundles}
    rolled = [spec for r in facts.rollouts for spec in (r.candidate, r.stable) if spec is not None]
    as_they_are = [RevisionSpec(bundle=b.digest) for b in facts.bundles]
    for spec in distinct((*facts.revisions, *rolled, *as_they_are)):
        _add_revision(spec, known, nodes, edges)
    for rollout in facts.rollouts:
        _add_rollout(rollout, nodes, edges)
    for answers in facts.answers:
        _add_answers(answers, nodes, edges)
    if answer is not None:
        nodes.append(Node(f"answer/{answer.receipt}", NodeKind.ANSWER, f"answer {answer.receipt}", answer.facts))
        edges.append(Edge(_revision(answer.revision), f"answer/{answer.receipt}", "answered"))
        nodes.append(_unknown_revision(answer.revision))
    for number, act in enumerate(facts.acts, start=1):
        if not is_of_retraining(act):
            _add_act(number, act, nodes, edges)
    edges += _pipeline_edges(facts.acts)
    told, led_to = retraining_nodes(facts.acts)
    nodes += told
    edges += led_to
    return LineageGraph.of(nodes, edges)


def _add_bundle(bundle: BundleFact, nodes: list[Node], edges: list[Edge]) -> None:
    manifest, node_id = bundle.manifest, f"bundle/{bundle.digest}"
    label = f"{manifest.name} {manifest.version} ({short(bundle.digest)})"
    lineage = manifest.lineage
    if lineage is None:
        nodes.append(Node(node_id, NodeKind.BUNDLE, label, {"name": manifest.name, "origin": "made elsewhere; origin unknown"}))
        return
    facts = {"name": manifest.name, "version": manifest.version, "digest": bundle.digest, "metrics": dict(lineage.metrics)}
    nodes.append(Node(node_id, NodeKind.BUNDLE, label, facts))
    run = f"training/{bundle.digest}"
    trained = {
        "code_commit": lineage.code_commit,
        "seed": lineage.seed,
        "parameters": dict(lineage.parameters),
        "environment": dict(lineage.environment),
    }
    nodes.append(Node(run, NodeKind.TRAINING, f"training at commit {short(lineage.code_commit)}, seed {lineage.seed}", trained))
    edges.append(Edge(run, node_id, "trained"))
    edges += asked_for(lineage.data, run)
    of_labels, reads = data_nodes(lineage.data, lineage.data_digest, run)
    nodes += of_labels
    edges += reads
    data = of_labels[0].id if of_labels else f"data/{lineage.data_digest}"
    described = {
        "digest": lineage.data_digest,
        **lineage.data,
        "findings": list(lineage.findings),
        "provenance": provenance_of(lineage),
    }
    if not of_labels:
        nodes.append(Node(data, NodeKind.DATA, _data_label(lineage.data, lineage.data_digest), described))
        edges.append(Edge(data, run, "was read by"))
    if manifest.feature_service is None:
        return
    service = lineage.features.get("digest") or manifest.feature_service
    views = lineage.features.get("views", {})
    features = {"service": manifest.feature_service, "digest": lineage.features.get("digest"), "views": views}
    counted = f", {len(views)} views" if views else ""
    nodes.append(Node(f"features/{service}", NodeKind.FEATURES, f"{manifest.feature_service}{counted}", features))
    edges += [Edge(data, f"features/{service}", "was counted into"), Edge(f"features/{service}", run, "was joined by")]


def provenance_of(lineage: Lineage) -> Mapping[str, Any]:
    """Where the training data comes from, as the detector declares it. For generated rows the declared origin does not hold."""
    if lineage.data.get("is_generated"):
        return {"source": "rows made by the detector's generator; the declared origin does not apply to them"}
    return lineage.detector.get("provenance") or {}


def _add_revision(spec: RevisionSpec, known: Mapping[str, BundleFact], nodes: list[Node], edges: list[Edge]) -> None:
    bundle = known.get(spec.bundle)
    overrides = {
        "operating_point": spec.operating_point,
        "thresholds": dict(spec.thresholds),
        "feature_service": spec.feature_service,
    }
    changed = {key: value for key, value in overrides.items() if value}
    name = f"{bundle.manifest.name} {bundle.manifest.version}" if bundle else f"bundle {short(spec.bundle)}"
    words = ", ".join(f"{key} {value}" for key, value in changed.items()) or "as the bundle says"
    label = f"revision {short(spec.digest)} of {name}: {words}"
    nodes.append(Node(_revision(spec.digest), NodeKind.REVISION, label, {"digest": spec.digest, **changed}))
    if bundle is None:
        missing = {"digest": spec.bundle, "origin": "not in this store"}
        nodes.append(Node(f"bundle/{spec.bundle}", NodeKind.BUNDLE, f"bundle {short(spec.bundle)}, not in this store", missing))
    edges.append(Edge(f"bundle/{spec.bundle}", _revision(spec.digest), "is served as"))


def _add_rollout(rollout: RolloutFact, nodes: list[Node], edges: list[Edge]) -> None:
    node_id = f"rollout/{rollout.service}/{rollout.number}"
    facts = {
        "service": rollout.service,
        "started": rollout.started,
        "ended": rollout.ended,
        "outcome": rollout.outcome,
        "by": rollout.by,
        "reason": rollout.reason,
        "moves": [move.words for move in rollout.moves],
        "instead_of": rollout.stable.digest if rollout.stable else None,
    }
    nodes.append(Node(node_id, NodeKind.ROLLOUT, f"rollout {rollout.number} of {rollout.service}: {rollout.outcome}", facts))
    edges.append(Edge(_revision(rollout.candidate.digest), node_id, "was rolled out by"))


def _add_answers(answers: AnswersFact, nodes: list[Node], edges: list[Edge]) -> None:
    node_id = f"answers/{answers.model}/{answers.revision}"
    facts = {"records": answers.records, "first_us": answers.first_us, "last_us": answers.last_us, "version": answers.version}
    nodes.append(Node(node_id, NodeKind.ANSWERS, f"{answers.records:,} answers of {answers.model} {answers.version}", facts))
    nodes.append(_unknown_revision(answers.revision))
    edges.append(Edge(_revision(answers.revision), node_id, "answered"))


def _add_act(number: int, act: Act, nodes: list[Node], edges: list[Edge]) -> None:
    """Draw an act, with edges to what it is about: a bundle, or the revision that its evidence names."""
    node_id = f"act/{number}"
    label = f"{act.action} by {act.actor}" + (f" ({act.outcome})" if act.outcome != "accepted" else "")
    facts = {"time_us": act.time_us, "reason": act.reason, "evidence": dict(act.evidence), "subject": act.subject}
    subjects = [act.subject] if act.subject.startswith("bundle/") else []
    revision = act.evidence.get("revision")
    subjects += [_revision(revision)] if isinstance(revision, str) else []
    nodes.append(Node(node_id, NodeKind.ACT, label, facts))
    edges += [Edge(node_id, subject, "decided about") for subject in subjects]


def _pipeline_edges(acts: tuple[Act, ...]) -> list[Edge]:
    """From the runs of pipelines to the bundles that were trained in them."""
    runs = {act.evidence.get("run"): number for number, act in enumerate(acts, start=1) if act.action == "pipeline.run"}
    trained = [(act.evidence.get("pipeline_run"), act.subject) for act in acts if act.action == "bundle.train"]
    return [Edge(f"act/{runs[run]}", bundle, "trained") for run, bundle in trained if run in runs]


def _unknown_revision(digest: str) -> Node:
    """Stands in for a digest that no specification of the store explains. If one does, its node comes first and the graph keeps that
    one."""
    facts = {"digest": digest, "origin": "no specification of this store has this digest"}
    return Node(_revision(digest), NodeKind.REVISION, f"revision {short(digest)}, not known to this store", facts)


def _data_label(data: Mapping[str, Any], digest: str) -> str:
    made = "generated, " if data.get("is_generated") else ""
    rows = f"{data['rows']:,} rows, {data['attacks']:,} attacks, " if "rows" in data else ""
    return f"{made}{rows}{short(digest)}"


def _revision(digest: str) -> str:
    return f"revision/{digest}"


def short(digest: str) -> str:
    """The first 12 characters of a digest or commit, for people."""
    return digest.removeprefix("sha256:")[:_SHORT]


def distinct(specs: Iterable[RevisionSpec]) -> tuple[RevisionSpec, ...]:
    """Each revision once, in the order given."""
    return tuple({spec.digest: spec for spec in specs}.values())
