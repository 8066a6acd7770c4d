"""The rollouts of this machine: the loop that `vedette up` runs beside its replicas. Thin: parse, observe, decide, record, tell, act.

Every look carries out the whole target, which is idempotent; so a loop that is killed at any moment goes on where it was: no step is lost
or done twice. One loop acts on a store; another waits until the lock is free."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from lifecycle.governance.acts import Act
from lifecycle.governance.approvals.desk import ActNotRecorded, ApprovalDesk
from lifecycle.governance.approvals.recorded_state import GovernanceView
from operators.api.columns import resource_status
from operators.api.service_intent import NOTHING_KNOWN, LastKnown, ServiceIntent, desired_of
from operators.api.types import ModelService
from operators.backends.label_evidence.gate_labels import with_labels
from operators.backends.label_evidence.store import StoreLabels
from operators.backends.local import LocalBackend
from operators.control.files import held
from operators.control.folder import ControlFolder, people_file
from operators.control.looks import append_look
from operators.control.port import ControlError
from operators.control.scaling import LocalScaling
from operators.one_look import look_outcome
from operators.ports import BackendError, LabelEvidence, ServiceRef
from operators.rollout.advance import Advance
from operators.rollout.governance.floor import check_step
from operators.rollout.status import RolloutStatus
from serving.audit.keys.keyring import Keyring, default_key
from serving.audit.signed_note import Signer

LOOK_EVERY_S: Final = 1.0
_log = logging.getLogger("vedette.rollout")


def _utc() -> datetime:
    return datetime.now(UTC)


def approval_desk(
    folder: ControlFolder, now: Callable[[], datetime], signer: Callable[[], Signer | None] | None = None
) -> ApprovalDesk:
    """The people and the log of governed acts of a store. signer: of the log's checkpoints; the store's key, if it has one, if None."""
    place = folder.store_dir / "governance"
    return ApprovalDesk(
        place,
        people_file(folder.store_dir),
        signer=signer or Keyring(default_key(folder.store_dir)).signer,
        now_us=lambda: microseconds(now()),
        check_step=check_step,
    )


def microseconds(at: datetime) -> int:
    """Since the epoch, UTC."""
    return round(at.timestamp() * 1_000_000)


class Loop:
    """Looks at every service of a folder, again and again. most_replicas: as many as may be started here. desk: who may approve, and
    the log of governed acts; labels: of analysts, for the gates precision and recall; of each the store's if None."""

    def __init__(
        self,
        folder: ControlFolder,
        backend: LocalBackend,
        *,
        most_replicas: int = 1,
        every_s: float = LOOK_EVERY_S,
        now: Callable[[], datetime] = _utc,
        desk: ApprovalDesk | None = None,
        labels: LabelEvidence | None = None,
    ) -> None:
        self._folder, self._backend, self._every_s, self._now = folder, backend, every_s, now
        self._desk = desk or approval_desk(folder, now)
        self._labels = labels or StoreLabels(folder.store_dir)
        self._logged_problems: dict[str, str] = {}
        self._known: dict[str, ServiceRef] = {}
        self._owners: dict[str, str] = {}
        """By model: the service that serves it."""
        self._followed: dict[str, LastKnown] = {}
        self._scaling = LocalScaling(folder, most_replicas)

    async def run(self, stopping: asyncio.Event) -> None:
        """Look until told to stop. Waits for the lock where another process acts on this store."""
        while not stopping.is_set():
            with held(self._folder.loop_lock) as is_ours:
                while is_ours and not stopping.is_set():
                    await self.look_at_all()
                    await pause(stopping, self._every_s)
            if not stopping.is_set():
                self._tell("", "another process runs the rollouts of this store; waiting for it to end")
                await pause(stopping, self._every_s)

    async def look_at_all(self) -> None:
        """One look at every service; a problem of one holds up no other, and none ends the loop."""
        try:
            names, orphans = self._folder.names(), self._folder.orphans()
            names = tuple(sorted(names, key=lambda n: not self._folder.is_observed(n)))  # who has a model is first to claim it
        except OSError as problem:
            self._tell("", f"the services of {self._folder.where} cannot be listed: {problem}")
            return
        there = {*names, *orphans}
        self._owners = {model: name for model, name in self._owners.items() if name in there}
        self._logged_problems.pop("", None)
        for name in names:
            await self._guarded(name, self.look)
        for name in orphans:
            await self._guarded(name, self._let_go)

    async def _guarded(self, name: str, act: Callable[[str], Awaitable[None]]) -> None:
        try:
            await act(name)
            self._logged_problems.pop(name, None)
        except (ControlError, BackendError, ActNotRecorded) as problem:
            self._tell(name, str(problem))
        except Exception as defect:
            self._tell(name, f"the look failed: {type(defect).__name__}: {defect}", defect)

    async def look(self, name: str) -> None:
        """One look at one service. Raises ControlError, BackendError."""
        asked = self._asked(name)
        service = asked.service
        self._claim(service.ref)
        self._known[name] = service.ref
        before = self._folder.status(name) or self._first(service)
        requests = self._folder.waiting(name)
        view = await self._backend.look(service.ref)
        view, problem = await with_labels(view, self._labels, service.ref, asked.rollout, before)
        self._tell_or_forget(f"{name}, labels", problem)
        now = self._now()
        desired = replace(desired_of(asked, before), governance=self._governance(service, before))
        found = look_outcome(desired, before, view, requests, self._scaling.of(service), now)
        outcome = self._scaling.decided(service, found, view.load, now)
        await self._settle(service, before, outcome)

    async def _settle(self, service: ModelService, before: RolloutStatus, outcome: Advance) -> None:
        """Record, tell, act. Traffic is taken from a candidate though the record fails."""
        name = service.metadata.name
        try:
            self._desk.record(outcome.acts)
            self._record(service, before, outcome)
        except (OSError, ActNotRecorded):
            if outcome.acts_first:
                await self._carry_out(service, outcome)
            raise
        for event in outcome.events:
            level = logging.WARNING if event.type == "Warning" else logging.INFO
            _log.log(level, "%s: %s: %s", name, event.reason, event.message)
        await self._carry_out(service, outcome)

    def _governance(self, service: ModelService, before: RolloutStatus) -> GovernanceView:
        """Who may approve, and what is recorded of the service."""
        name = service.metadata.name
        bundles = {r.bundle for r in (service.spec.revision, before.candidate) if r is not None}
        writer = self._folder.writer(name)
        made_by = {writer: "wrote its document"} if writer is not None else {}
        view = self._desk.view(_subject(service.ref), bundles, checked=self._folder.checked(name), made_by=made_by)
        self._tell_or_forget(f"{name}, approvals", self._desk.problem)
        return view

    def _claim(self, service: ServiceRef) -> None:
        """A model belongs to one service until its document is gone or names another model. Raises ControlError for another service."""
        owner = self._owners.setdefault(service.model, service.name)
        if owner != service.name:
            raise ControlError(
                f"model {service.model} is served by service {owner}; delete one of the two documents, or give this one another model"
            )
        self._owners = {m: n for m, n in self._owners.items() if n != service.name or m == service.model}

    def _asked(self, name: str) -> ServiceIntent:
        """The intent to follow. Problems are logged, and a rollout under way goes on with what is known. Raises ControlError."""
        asked = self._folder.asked(name, self._followed.get(name, NOTHING_KNOWN))
        wrong = [*([asked.problem] if asked.problem is not None else []), *self._folder.damaged(name)]
        if asked.problem is None:
            spec = asked.service.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
            self._followed[name] = LastKnown(spec, asked.rollout)
        self._tell_or_forget(f"{name}, as it is written", "; ".join(wrong) or None)
        return asked

    async def _carry_out(self, service: ModelService, outcome: Advance) -> None:
        if outcome.target is not None:
            await self._backend.carry_out(service.ref, outcome.target)

    def _record(self, service: ModelService, before: RolloutStatus, outcome: Advance) -> None:
        name = service.metadata.name
        if outcome.status != before or not self._folder.is_observed(name) or self._folder.waiting(name):
            status = resource_status(outcome.status, generation=service.metadata.generation)
            self._folder.record(name, status)
            append_look(self._folder.looks_path(name), before, outcome.status)

    def _first(self, service: ModelService) -> RolloutStatus:
        """The status of a service before its first look: what is served now is its stable."""
        return RolloutStatus(stable=self._backend.serves(service.ref.model))

    async def _let_go(self, name: str) -> None:
        """The document is gone: variants come down, stable stays served, as before the service was managed."""
        ref = self._known.get(name, ServiceRef("local", name, name))
        gone = Act(
            time_us=microseconds(self._now()),
            actor=self._folder.writer(name) or "operator",
            action="rollout.release",
            subject=_subject(ref),
            reason="its document was deleted; the served revisions stay, and the rollout ends",
        )
        self._desk.record([gone])
        await self._backend.remove(ref)
        self._folder.forget(name)
        self._known.pop(name, None)
        self._followed.pop(name, None)
        self._scaling.forget(name)
        _log.info("%s: its document was deleted; stable stays served, and the rollout ends", name)

    def _tell_or_forget(self, name: str, problem: str | None) -> None:
        if problem is not None:
            self._tell(name, problem)
        else:
            self._logged_problems.pop(name, None)

    def _tell(self, name: str, problem: str, defect: Exception | None = None) -> None:
        """Log a problem once, not at every look; log a defect with its trace."""
        if self._logged_problems.get(name) != problem:
            self._logged_problems[name] = problem
            _log.error("%s%s", f"{name}: " if name else "", problem, exc_info=defect)


def _subject(service: ServiceRef) -> str:
    return f"modelservice/{service.namespace}/{service.name}"


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until told to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
