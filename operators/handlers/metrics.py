"""Prometheus metrics of the rollouts themselves, and of the operator: every name, once.

Gauges of a service come from its last look and go when it goes. Counting is the caller's; serving the page is
operators.handlers.pages's."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from operators.rollout.status import Phase, RolloutStatus, Verdict
from serving.telemetry.metric_doc import MetricDoc

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
_SERVICE: Final = ("namespace", "name")


PHASE: Final = MetricDoc(
    "vedette_rollout_phase", "gauge", (*_SERVICE, "phase"), "1 for the phase of the service, 0 for the others."
)
WEIGHT: Final = MetricDoc(
    "vedette_rollout_weight_percent", "gauge", _SERVICE, "Percentage of entities that the candidate serves."
)
STEP: Final = MetricDoc(
    "vedette_rollout_step", "gauge", _SERVICE, "Number of the current step, from 1. 0: no step is under way."
)
VERDICT: Final = MetricDoc(
    "vedette_rollout_verdict", "gauge", (*_SERVICE, "verdict"), "1 for the verdict at the last look, 0 for the others."
)
E_VALUE: Final = MetricDoc(
    "vedette_rollout_e_value",
    "gauge",
    (*_SERVICE, "gate", "against"),
    "E-value of a gate: against `no_worse` (at 1/alpha the verdict is worse) or against `worse` (at 1/beta the verdict is no_worse).",
)
MORE: Final = MetricDoc(
    "vedette_rollout_more_requests",
    "gauge",
    _SERVICE,
    "Estimated number of further candidate requests that the evidence needs. Absent: unknown.",
)
STEP_SECONDS: Final = MetricDoc(
    "vedette_rollout_step_seconds", "gauge", _SERVICE, "Seconds from the start of the current step to the last look."
)
PROBLEM: Final = MetricDoc(
    "vedette_rollout_problem",
    "gauge",
    (*_SERVICE, "kind"),
    "1 while there is a problem of this kind: invalid (the resource is refused), measured (evidence could not be read), acted (the "
    "backend did not carry out the decision), overdue (no progress), recorded (the status or a governed act could not be written).",
)
GLASS: Final = MetricDoc(
    "vedette_rollout_glass_broken",
    "gauge",
    _SERVICE,
    "Approval steps that one person passed alone in an emergency (break-glass) and that are not reviewed yet. Alarm if above 0.",
)
REPLICAS: Final = MetricDoc("vedette_service_replicas", "gauge", _SERVICE, "Replicas that answered at the last look.")
MOVES: Final = MetricDoc(
    "vedette_rollout_moves_total",
    "counter",
    (*_SERVICE, "move"),
    "Moves of rollouts and experiments, by name: RolloutStarted, WeightSet, RolloutAborted...",
)
LOOKS: Final = MetricDoc(
    "vedette_operator_looks_total", "counter", ("outcome",), "Looks at services, by outcome: done, retried, failed, not_leader."
)
LOOK_SECONDS: Final = MetricDoc("vedette_operator_look_seconds", "histogram", (), "Duration of a look at a service.")
API_REQUESTS: Final = MetricDoc(
    "vedette_operator_api_requests_total",
    "counter",
    ("verb", "resource", "status"),
    "Requests to the Kubernetes API, without kopf's watches; status 0: no answer.",
)
LEADER: Final = MetricDoc("vedette_operator_leader", "gauge", (), "1 if this operator is the leader and acts.")
GOVERNANCE: Final = MetricDoc(
    "vedette_operator_governance_log",
    "gauge",
    (),
    "1 if the log of governed acts is kept and readable. 0: governed acts appear as Events only.",
)
ADMISSIONS: Final = MetricDoc(
    "vedette_operator_admissions_total", "counter", ("kind", "outcome"), "Admission reviews answered: allowed or refused."
)
METRICS: Final = (
    PHASE,
    WEIGHT,
    STEP,
    VERDICT,
    E_VALUE,
    MORE,
    STEP_SECONDS,
    PROBLEM,
    GLASS,
    REPLICAS,
    MOVES,
    LOOKS,
    LOOK_SECONDS,
    API_REQUESTS,
    LEADER,
    GOVERNANCE,
    ADMISSIONS,
)
"""Every metric of the operator; docs/reference/operator.md holds each. The standard `process_*` metrics come along."""


class ServiceView(NamedTuple):
    """What the gauges of one service are made of."""

    rollout: RolloutStatus
    replicas: int
    step_seconds: float
    problems: frozenset[str]


class OperatorMetrics(Collector):
    """All metrics of one operator, on a registry of its own."""

    def __init__(self) -> None:
        self._services: dict[tuple[str, str], ServiceView] = {}
        self._is_leader = self._is_log_kept = False
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self.moves = self._counter(MOVES)
        self.looks = self._counter(LOOKS)
        self.api = self._counter(API_REQUESTS)
        self.admissions = self._counter(ADMISSIONS)
        self.look_seconds = Histogram(LOOK_SECONDS.name, LOOK_SECONDS.says, registry=self._registry)

    def saw(self, key: tuple[str, str], view: ServiceView) -> None:
        """Keep what the last look at a service saw."""
        self._services[key] = view

    def forget(self, key: tuple[str, str]) -> None:
        """The service is gone, or another operator looks at it."""
        self._services.pop(key, None)

    def leads(self, *, is_leader: bool) -> None:
        """Whether this operator acts. A standby has no gauges of services: the leader has them."""
        self._is_leader = is_leader
        if not is_leader:
            self._services.clear()

    def keeps_log(self, *, is_kept: bool) -> None:
        """Whether governed acts are recorded."""
        self._is_log_kept = is_kept

    def on_request(self, verb: str, plural: str, status: int, seconds: float) -> None:
        """Count one request to the API server."""
        del seconds
        self.api.labels(verb, plural, str(status)).inc()

    def render(self) -> bytes:
        """The Prometheus text exposition, of type CONTENT_TYPE."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Build the gauges; prometheus_client calls this at each scrape."""
        families = {d.name: GaugeMetricFamily(d.name, d.says, labels=d.labels) for d in METRICS if d.kind == "gauge"}
        families[LEADER.name].add_metric((), float(self._is_leader))
        families[GOVERNANCE.name].add_metric((), float(self._is_log_kept))
        for key, view in list(self._services.items()):
            _add(families, key, view)
        yield from families.values()

    def _counter(self, doc: MetricDoc) -> Counter:
        return Counter(doc.name, doc.says, doc.labels, registry=self._registry)


def _add(families: dict[str, GaugeMetricFamily], key: tuple[str, str], view: ServiceView) -> None:
    rollout, assessment = view.rollout, view.rollout.assessment
    for phase in Phase:
        families[PHASE.name].add_metric((*key, phase), float(phase is rollout.phase))
    families[WEIGHT.name].add_metric(key, rollout.weight)
    families[STEP.name].add_metric(key, float(rollout.step_index + 1 if rollout.is_under_way else 0))
    families[STEP_SECONDS.name].add_metric(key, view.step_seconds)
    families[REPLICAS.name].add_metric(key, float(view.replicas))
    families[GLASS.name].add_metric(key, float(len(rollout.break_glass)))
    for kind in ("invalid", "measured", "acted", "overdue", "recorded"):
        families[PROBLEM.name].add_metric((*key, kind), float(kind in view.problems))
    if not rollout.is_under_way:
        return
    for verdict in Verdict:
        families[VERDICT.name].add_metric((*key, verdict), float(verdict is assessment.verdict))
    for gate in assessment.gates:
        families[E_VALUE.name].add_metric((*key, gate.name, "no_worse"), gate.e_worse)
        families[E_VALUE.name].add_metric((*key, gate.name, "worse"), gate.e_no_worse)
    if assessment.more is not None:
        families[MORE.name].add_metric(key, float(assessment.more))
