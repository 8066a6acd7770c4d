"""What the operator counts, and the gauges of each service from its last look. Names are in operators.telemetry.operator_names.

Counting is the caller's; serving the page is operators.handlers.pages's."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from operators.rollout.status import Phase, RolloutStatus, Verdict
from operators.telemetry import operator_names as names
from operators.telemetry.exposition import MetricsPage, Sample
from serving.telemetry.metric_doc import MetricDoc

_PROBLEMS: Final = ("invalid", "measured", "acted", "overdue", "recorded")
_WAITS: Final = ("approval", "pause", "inconclusive")
OUTCOMES_OF_LOOKS: Final = ("done", "retried", "failed")


class ServiceView(NamedTuple):
    """What the gauges of one service are made of."""

    rollout: RolloutStatus
    replicas: int
    step_seconds: float
    problems: frozenset[str]


class OperatorMetrics:
    """All metrics of one operator."""

    def __init__(self) -> None:
        self._services: dict[tuple[str, str], ServiceView] = {}
        self._is_leader = self._is_log_kept = False
        self.is_watching: Callable[[], bool] = lambda: False
        """Whether the API server lists what is looked after."""
        self.on_seen: Callable[[tuple[str, str], ServiceView], None] = lambda key, view: None
        """Told of each look."""
        self._is_log_failing: Callable[[], bool] = lambda: False
        self.notices_waiting: Callable[[], int] = lambda: 0
        """Webhooks that wait."""
        self._page = MetricsPage(names.OPERATOR_METRICS, self._samples)
        self.count, self.observe, self.render = self._page.count, self._page.observe, self._page.render
        for outcome in OUTCOMES_OF_LOOKS:
            self.count(names.LOOKS, outcome, by=0)
        for outcome in ("sent", "failed", "postponed", "dropped"):
            self.count(names.NOTICES, outcome, by=0)

    def saw(self, key: tuple[str, str], view: ServiceView) -> None:
        """Keep what the last look at a service saw."""
        self._services[key] = view
        self.on_seen(key, view)

    def forget(self, key: tuple[str, str]) -> None:
        """The service is gone, or another operator looks at it."""
        self._services.pop(key, None)

    def leads(self, *, is_leader: bool) -> None:
        """Whether this operator acts. A standby has no gauges of services: the leader has them."""
        self._is_leader = is_leader
        if not is_leader:
            self._services.clear()
            self._is_log_failing = lambda: False

    def keeps_log(self, *, is_kept: bool, is_failing: Callable[[], bool]) -> None:
        """Whether governed acts are recorded. is_failing: asked at each scrape, as acts fail between two looks."""
        self._is_log_kept, self._is_log_failing = is_kept, is_failing

    def on_request(self, verb: str, plural: str, status: int, seconds: float) -> None:
        """Count one request to the API server."""
        del seconds
        self.count(names.API_REQUESTS, verb, plural, str(status))

    def _samples(self) -> Iterator[Sample]:
        yield names.LEADER, (), float(self._is_leader)
        yield names.WATCHING, (), float(self.is_watching())
        yield names.GOVERNANCE, (), float(self._is_log_kept)
        yield names.GOVERNANCE_FAILING, (), float(self._is_log_failing())
        yield names.NOTICES_WAITING, (), float(self.notices_waiting())
        for key, view in list(self._services.items()):
            yield from _of_service(key, view)


def _of_service(key: tuple[str, str], view: ServiceView) -> Iterator[Sample]:
    rollout = view.rollout
    yield from _one_of(names.PHASE, key, tuple(Phase), {rollout.phase})
    yield names.WEIGHT, key, rollout.weight
    yield names.STEP, key, float(rollout.step_index + 1 if rollout.is_under_way else 0)
    yield names.STEP_SECONDS, key, view.step_seconds
    yield names.REPLICAS, key, float(view.replicas)
    yield names.GLASS, key, float(len(rollout.break_glass))
    yield from _one_of(names.PROBLEM, key, _PROBLEMS, view.problems)
    yield from _one_of(names.WAITING, key, _WAITS, {waits_for(rollout)})
    if rollout.is_under_way:
        yield from _of_evidence(key, rollout)


def _of_evidence(key: tuple[str, str], rollout: RolloutStatus) -> Iterator[Sample]:
    assessment = rollout.assessment
    yield from _one_of(names.VERDICT, key, tuple(Verdict), {assessment.verdict})
    for gate in assessment.gates:
        yield names.E_VALUE, (*key, gate.name, "no_worse"), gate.e_worse
        yield names.E_VALUE, (*key, gate.name, "worse"), gate.e_no_worse
    if assessment.more is not None:
        yield names.MORE, key, float(assessment.more)


def _one_of(doc: MetricDoc, key: tuple[str, str], all_: tuple[str, ...], is_on: frozenset[str] | set[str]) -> Iterator[Sample]:
    for name in all_:
        yield doc, (*key, name), float(name in is_on)


def waits_for(rollout: RolloutStatus) -> str:
    """What people have to do before it goes on: approval, pause or inconclusive; empty if nothing."""
    if rollout.phase is not Phase.PAUSED:
        return ""
    if rollout.paused_by is None and rollout.is_inconclusive:
        return "inconclusive"
    steps = rollout.policy.steps if rollout.policy is not None else ()
    is_approval = rollout.step_index < len(steps) and steps[rollout.step_index].approval is not None
    return "approval" if is_approval and rollout.paused_by is None else "pause"
