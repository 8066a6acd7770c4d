"""One look at one service: parse, observe, advance, record, act. The handler of the operator; thin, and it decides nothing.

It records before it acts (docs/decisions/0014-record-then-act.md): a status is written over the version that was read or not at all, so an
operator with an old view is stopped before it touches traffic. An operator that is killed in between finds its decision in the status and
carries it out, since acting is idempotent. One exception: traffic is taken from a candidate even if recording fails."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lifecycle.governance.approvals.desk import ActNotRecorded
from operators.api.read import ApiError
from operators.api.service_intent import CHANGED_BY, desired_of, generation_of, status_of
from operators.api.types import ModelService
from operators.autoscaling.values import ScalingDecision
from operators.backends.kube import Conflict, Kube, KubeError, NotFound
from operators.backends.label_evidence.gate_labels import with_labels
from operators.handlers.claims import waiting_claimants, without_taken_places
from operators.handlers.documents import Key, ResourceDocument, annotations, manager_of_revision, pending_verbs
from operators.handlers.looking.acting import Acting
from operators.handlers.looking.backends import Backends, ClusterBackend
from operators.handlers.looking.governance import NOT_RECORDED, Governance, approval_desk, bundles_of
from operators.handlers.looking.intents import IntentReader
from operators.handlers.looking.look_spans import judged, observed
from operators.handlers.looking.look_state import LookContext, ServiceMemory
from operators.handlers.looking.record import Recorder
from operators.handlers.looking.status_view import (
    LookFindings,
    as_json,
    invalid_status,
    is_material,
    service_status,
    unserved_status,
    unwritten_status,
)
from operators.handlers.metrics import OperatorMetrics, ServiceView
from operators.handlers.settings import OperatorSettings
from operators.handlers.watching.resource_cache import ResourceCache, says_the_same
from operators.handlers.watching.work_queue import TryLater
from operators.one_look import Scaling
from operators.ports import BackendError, BackendView
from operators.rollout.advance import Advance
from operators.rollout.events import Event
from operators.rollout.evidence import Observation
from operators.rollout.status import Phase, RolloutStatus, Target
from operators.telemetry.operator_names import LOOK_SECONDS, LOOKS, MOVES

_log = logging.getLogger("vedette.operator")
_TRIES = 8
_UNDER_WAY = (Phase.PROGRESSING, Phase.EXPERIMENT)
_AGAIN = -1.0
_OF_CONTENT = frozenset({400, 413, 422, 500})
"""Statuses with which an API server refuses a status that it cannot store: not YAML, too large, against the schema (500 where it is
applied)."""


class Looker:
    """Looks at services. leads: asked before each write."""

    def __init__(
        self,
        kube: Kube,
        cache: ResourceCache,
        backends: Backends,
        metrics: OperatorMetrics,
        settings: OperatorSettings,
        *,
        leads: Callable[[], bool],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube, self._cache, self._backends, self._metrics, self._settings = kube, cache, backends, metrics, settings
        self._leads, self._now, self._monotonic = leads, now, monotonic
        self._recorder, self._acting = Recorder(kube), Acting(leads, settings.act_limit_s)
        self._memories: dict[Key, ServiceMemory] = {}
        self._intents = IntentReader(kube, cache)
        desk = approval_desk(settings, lambda: round(self._now().timestamp() * 1_000_000))
        self._governance = Governance(desk, is_speech_checked=settings.webhook_port > 0)

    async def look(self, key: Key) -> float | None:
        """One look; in how many seconds the next is due, None: when something changes. Raises TryLater."""
        document = self._cache.service(key)
        if document is None or not self._leads():
            self._forget(key)
            return None
        started = self._monotonic()
        try:
            after_s = await self._looked(key, document)
        except (KubeError, BackendError, ActNotRecorded) as problem:
            self._metrics.count(LOOKS, "failed")
            raise TryLater(str(problem)) from problem
        if after_s == _AGAIN:
            self._metrics.count(LOOKS, "retried")
            return self._settings.backoff_first_s
        self._metrics.count(LOOKS, "done")
        self._metrics.observe(LOOK_SECONDS, self._monotonic() - started)
        return after_s

    def forget_all(self) -> None:
        """Another operator leads now."""
        self._memories.clear()
        self._intents.forget_all()

    async def _looked(self, key: Key, document: ResourceDocument) -> float | None:
        """A look; _AGAIN: somebody wrote or deleted the resource meanwhile, and it was read again. Raises KubeError, BackendError."""
        try:
            return await self._look(key, document)
        except Conflict:
            await self._refresh(key, document)
            return _AGAIN
        except NotFound:
            if await self._refresh(key, document):
                raise
            self._forget(key)
            return None
        finally:
            self._intents.end(key)

    async def _look(self, key: Key, document: ResourceDocument) -> float | None:
        if document["metadata"].get("deletionTimestamp"):
            await self._release(key, document)
            return None
        try:
            asked = without_taken_places(document, await self._intents.of(key, document), self._intents.claimants(key))
            self._intents.take_places(key)
        except (ApiError, LookupError) as problem:
            await self._refuse(key, document, problem)
            return self._settings.rest_interval_s
        except KubeError as problem:
            if not problem.can_retry:
                await self._refuse(key, document, problem)
            raise
        self._must_lead()
        document = self._keep(await self._recorder.hold(document))
        backend = self._backends.of(asked.service, document)
        try:
            memory = await self._remembered(key, document, asked.service, backend)
        except BackendError as problem:
            await self._wait(key, document, problem)
            return self._settings.active_interval_s
        if asked.problem is not None and asked.problem not in memory.told:
            memory.told.add(asked.problem)
            reason = "NotRead" if asked.is_unread else "Refused"
            await self._recorder.event(document, Event("Warning", reason, asked.problem), self._now())
        return await self._advance(LookContext(key, document, asked.service, asked, backend, memory))

    async def _advance(self, case: LookContext) -> float:
        """Observe, decide, record, act."""
        verbs = pending_verbs(case.document)
        view = await observed(case.backend, case.service.ref)
        asked, status = case.asked.rollout, case.memory.status
        view, case.memory.no_labels = await with_labels(view, self._backends.labels, case.service.ref, asked, status)
        if case.memory.no_labels is not None:
            await self._tell_once(case, "LabelsNotRead", case.memory.no_labels)
        now = self._now()
        is_by_checked = self._settings.webhook_port > 0 and CHANGED_BY in annotations(case.document)
        manager = manager_of_revision(case.document)
        desired = desired_of(case.asked, case.memory.status, manager=manager, is_by_checked=is_by_checked)
        bundles = bundles_of(case.document["spec"], case.memory.status)
        desired = replace(desired, governance=await self._governance.view(case.document, bundles, verbs))
        self._metrics.keeps_log(is_kept=self._governance.is_kept, is_failing=lambda: self._governance.is_failing)
        if self._governance.problem is not None:
            await self._tell_once(case, "GovernanceNotRead", self._governance.problem)
        found = judged(desired, case.memory.status, view, verbs.requests, _scaling(case, view), now)
        outcome = found.rollout
        if found.scaling is not None:
            await self._scaled(case, found.scaling, now)
        seen = _seen(case, view.observation, outcome.target)
        if verbs.damaged and verbs.damaged not in case.memory.told:
            case.memory.told.add(verbs.damaged)
            await self._recorder.event(case.document, Event("Warning", "RequestDamaged", verbs.damaged), now)
        await self._settle(case, outcome, seen, now)
        self._show(case, seen, now)
        is_busy = outcome.status.phase in _UNDER_WAY or case.scaling is not None or case.asked.is_unread
        return self._settings.active_interval_s if is_busy else self._settings.rest_interval_s

    async def _settle(self, case: LookContext, outcome: Advance, seen: LookFindings, now: datetime) -> None:
        """Record, act, tell. Raises Conflict (somebody wrote since: nothing was done), KubeError, BackendError."""
        memory, before, target = case.memory, case.memory.problem, outcome.target
        document = case.document
        try:
            self._must_lead()
            await self._governance.record(outcome.acts)
            document = await self._record(case, document, outcome.status, seen, now)
        except Conflict:
            raise
        except (KubeError, ActNotRecorded) as problem:
            try:
                if outcome.acts_first and target is not None and self._leads():
                    await self._acting.do(lambda: case.backend.carry_out(case.service.ref, target))
            finally:
                await self._not_written(case, document, outcome.status, seen, problem)
            raise
        for event in outcome.events:
            self._metrics.count(MOVES, *case.key, event.reason)
            await self._recorder.event(document, event, now)
        try:
            await self._act(case, target)
        finally:
            if memory.problem != before:
                seen = replace(seen, problem=memory.problem)
                document = await self._record(case, document, outcome.status, seen, now)
        self._keep(await self._recorder.prune(document, outcome.status.handled))

    async def _record(
        self, case: LookContext, document: ResourceDocument, rollout: RolloutStatus, seen: LookFindings, now: datetime
    ) -> ResourceDocument:
        """Write the status if it says something new: at once what matters, evidence now and then."""
        memory, written = case.memory, status_of(document)
        view = as_json(service_status(written, generation_of(document), rollout, seen, now))
        before = as_json(written)
        if view != before and (is_material(before, view) or self._is_due(memory, rollout)):
            self._must_lead()
            document = self._keep(await self._written(document, view))
            memory.base, memory.written_s = status_of(document).rollout, self._monotonic()
        memory.status, memory.unwritten = rollout, None
        return document

    async def _not_written(
        self,
        case: LookContext,
        document: ResourceDocument,
        rollout: RolloutStatus,
        seen: LookFindings,
        problem: KubeError | ActNotRecorded,
    ) -> None:
        """An act was not recorded, or the API server did not take the status: an event, a metric, and if it refuses its content, a
        status that says so."""
        memory, now = case.memory, self._now()
        is_act = isinstance(problem, ActNotRecorded)
        why = str(problem) if is_act else f"the status was not written: {problem}"
        is_told, memory.unwritten = memory.unwritten is not None, why
        self._show(case, seen, now)
        if not is_told:
            reason = NOT_RECORDED if is_act else "StatusNotWritten"
            await self._recorder.event(document, Event("Warning", reason, why), now)
        if isinstance(problem, ActNotRecorded) or problem.status not in _OF_CONTENT or not self._leads():
            return
        view = as_json(service_status(status_of(document), generation_of(document), rollout, seen, now))
        after = unwritten_status(document.get("status") or {}, view, why, now)
        if is_material(document.get("status") or {}, after):
            try:
                self._keep(await self._recorder.status(document, after))
            except KubeError as again:
                _log.warning("%s: %s", "/".join(case.key), again)

    async def _written(self, document: ResourceDocument, view: Mapping[str, Any]) -> ResourceDocument:
        """Write over the version that was read, or over a newer one that differs only in fields without influence on the decision.
        Otherwise frequent edits of labels would starve the rollout. Raises Conflict, KubeError."""
        for _ in range(_TRIES):
            try:
                return await self._recorder.status(document, view)
            except Conflict:
                found = await self._recorder.read(document)
                if found is None or not says_the_same(document, found):
                    raise
                document = found
        return await self._recorder.status(document, view)

    def _must_lead(self) -> None:
        """Raises TryLater if another operator may lead by now."""
        if not self._leads():
            raise TryLater("this operator no longer leads")

    def _is_due(self, memory: ServiceMemory, rollout: RolloutStatus) -> bool:
        is_busy = rollout.is_under_way or rollout.phase is Phase.EXPERIMENT
        interval_s = self._settings.record_interval_s if is_busy else self._settings.quiet_interval_s
        return self._monotonic() - memory.written_s >= interval_s

    async def _act(self, case: LookContext, target: Target | None) -> None:
        """Carry out the whole target at every look, since others may have changed it. Raises BackendError."""
        memory = case.memory
        if target is None:
            return
        try:
            await self._acting.do(lambda: case.backend.carry_out(case.service.ref, target))
        except BackendError as problem:
            memory.problem, memory.carried = str(problem), None
            await self._tell_once(case, "ActFailed", memory.problem)
            raise
        memory.problem, memory.carried = case.backend.shortfall, target
        damaged = pending_verbs(case.document).damaged
        known = {memory.problem, memory.no_labels, case.asked.problem, damaged, self._governance.problem}
        memory.told &= known  # the rest is news when it comes back
        if memory.problem:
            await self._tell_once(case, "NoRoom", memory.problem)

    async def _tell_once(self, case: LookContext, reason: str, what: str) -> None:
        if what not in case.memory.told:
            case.memory.told.add(what)
            await self._recorder.event(case.document, Event("Warning", reason, what), self._now())

    async def _scaled(self, case: LookContext, decision: ScalingDecision, now: datetime) -> None:
        """Remember the autoscaler's decision; a changed count gives an event."""
        memory = case.memory
        memory.scaling = decision.state
        if memory.carried is not None and memory.carried.replicas != decision.replicas:
            await self._recorder.event(case.document, Event("Normal", "Scaled", decision.reason), now)

    async def _remembered(
        self, key: Key, document: ResourceDocument, service: ModelService, backend: ClusterBackend
    ) -> ServiceMemory:
        """The remembered status if it extends the API server's status; else the API server's."""
        base, uid = service.status.rollout, str(document["metadata"].get("uid"))
        memory = self._memories.get(key)
        if memory is not None and memory.uid == uid and memory.base == base:
            return memory
        status = base or RolloutStatus(stable=await backend.serves(service.ref))
        told = memory.told if memory is not None else set()
        memory = self._memories[key] = ServiceMemory(uid, base, status, self._monotonic(), told=told)
        return memory

    async def _refuse(self, key: Key, document: ResourceDocument, problem: Exception) -> None:
        """A resource that cannot be followed and never was: the status says why nothing moves. A KubeError means that something it names
        could not be read; the resource itself may be valid."""
        now, before, is_unread = self._now(), document.get("status") or {}, isinstance(problem, KubeError)
        after = invalid_status(before, str(problem), generation_of(document), now, is_unread=is_unread)
        if is_material(before, after):
            self._must_lead()
            self._keep(await self._recorder.status(document, after))
            await self._recorder.event(document, Event("Warning", "NotRead" if is_unread else "Refused", str(problem)), now)
        memory = self._memories.get(key)
        status = memory.status if memory is not None else RolloutStatus()
        self._metrics.saw(key, ServiceView(status, 0, 0.0, frozenset({"invalid"})))

    async def _wait(self, key: Key, document: ResourceDocument, problem: BackendError) -> None:
        """It is not known yet what is served: the status says what is missing."""
        now, before, cause = self._now(), document.get("status") or {}, problem.__cause__
        is_unread = isinstance(cause, KubeError) and not isinstance(cause, NotFound)
        after = unserved_status(before, str(problem), generation_of(document), now, is_unread=is_unread)
        if is_material(before, after):
            self._must_lead()
            self._keep(await self._recorder.status(document, after))
            reason = "BackendNotRead" if is_unread else "BackendMissing"
            await self._recorder.event(document, Event("Warning", reason, str(problem)), now)
        self._metrics.saw(key, ServiceView(RolloutStatus(), 0, 0.0, frozenset({"acted"})))

    async def _release(self, key: Key, document: ResourceDocument) -> None:
        """Remove what was made for it, then remove the finalizer. For a resource that cannot be read nothing new was made."""
        service = self._intents.readable(key, document)
        if service is None:
            _log.warning("%s: released, and nothing removed: the resource does not say where it is served", "/".join(key))
        else:
            if not waiting_claimants(document, self._intents.claimants(key)):
                await self._acting.do(lambda: self._backends.of(service, document).remove(service.ref))
            self._backends.forget(service.ref)
        self._must_lead()
        await self._governance.release(document, self._now())
        await self._recorder.let_go(document)
        self._forget(key)

    async def _refresh(self, key: Key, document: ResourceDocument) -> bool:
        """Read again what somebody else wrote; whether it is still there. Raises KubeError."""
        found = await self._recorder.read(document)
        if found is None:
            self._cache.drop_service(key)
        else:
            self._cache.put_service(found)
        return found is not None

    def _keep(self, document: ResourceDocument) -> ResourceDocument:
        self._cache.put_service(document)
        return document

    def _forget(self, key: Key) -> None:
        self._memories.pop(key, None)
        self._intents.forget(key)
        self._metrics.forget(key)

    def _show(self, case: LookContext, seen: LookFindings, now: datetime) -> None:
        rollout = case.memory.status
        since = rollout.step_started
        flags = {
            "measured": seen.observation is not None and seen.observation.problem is not None,
            "acted": case.memory.problem is not None,
            "overdue": rollout.is_overdue,
            "invalid": seen.invalid is not None,
            "recorded": case.memory.unwritten is not None,
        }
        step_s = (now - since).total_seconds() if since is not None and rollout.is_under_way else 0.0
        self._metrics.saw(case.key, ServiceView(rollout, seen.replicas, step_s, frozenset(k for k, on in flags.items() if on)))


def _scaling(case: LookContext, view: BackendView) -> Scaling | None:
    """How it is scaled by load, if it is."""
    if case.scaling is None:
        return None
    memory, most = case.memory, view.load.most_replicas
    return Scaling(case.scaling, memory.scaling, memory.carried, most, case.backend.shares_replicas)


def _seen(case: LookContext, observation: Observation, target: Target | None) -> LookFindings:
    """What a look saw besides the rollout."""
    asked = case.asked
    invalid, unread = (None, asked.problem) if asked.is_unread else (asked.problem, None)
    replicas, count = len(observation.replicas), None if target is None else target.replicas
    return LookFindings(observation, replicas, case.backend.selector, case.memory.problem, invalid, unread, count)
