"""The names of the metrics of rollouts, and of the operator: each once. docs/reference/operator.md is made from this.

Gauges of a service come from its last look and go when it goes."""

from typing import Final

from serving.telemetry.metric_doc import MetricDoc

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
WAITING: Final = MetricDoc(
    "vedette_rollout_waiting",
    "gauge",
    (*_SERVICE, "for"),
    "1 while the rollout waits for people: approval; pause (a pause step without duration, or somebody paused it); inconclusive (an "
    "analysis reached its maxDuration).",
)
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
WATCHING: Final = MetricDoc(
    "vedette_operator_watching",
    "gauge",
    (),
    "1 while the API server lists what the operator looks after, 0 while it cannot be read.",
)
NOTICES: Final = MetricDoc(
    "vedette_operator_notices_total",
    "counter",
    ("outcome",),
    "Webhooks about rollouts (`notify_url`), by outcome: sent; failed (one try, it is sent again); postponed (too many waited; "
    "taken at a later look); dropped (postponed, and no longer true at the next look: not sent).",
)
NOTICES_WAITING: Final = MetricDoc(
    "vedette_operator_notices_waiting", "gauge", (), "Webhooks about rollouts that the receiver has not taken yet."
)
LEADER: Final = MetricDoc("vedette_operator_leader", "gauge", (), "1 if this operator is the leader and acts.")
GOVERNANCE: Final = MetricDoc(
    "vedette_operator_governance_log",
    "gauge",
    (),
    "1 if the log of governed acts is kept and readable. 0: governed acts appear as Events only.",
)
GOVERNANCE_FAILING: Final = MetricDoc(
    "vedette_operator_governance_log_failing",
    "gauge",
    (),
    "1 while acts should be recorded and the log of governed acts cannot be written or read, or the file of people cannot be used. "
    "0 where no log is kept.",
)
ADMISSIONS: Final = MetricDoc(
    "vedette_operator_admissions_total", "counter", ("kind", "outcome"), "Admission reviews answered: allowed or refused."
)
OPERATOR_METRICS: Final = (
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
    WAITING,
    MOVES,
    LOOKS,
    LOOK_SECONDS,
    API_REQUESTS,
    LEADER,
    WATCHING,
    NOTICES,
    NOTICES_WAITING,
    GOVERNANCE,
    GOVERNANCE_FAILING,
    ADMISSIONS,
)
"""Every metric of the operator; docs/reference/operator.md holds each. The standard `process_*` metrics come along."""
