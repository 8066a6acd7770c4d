"""What the log of governed acts says about one service: which revisions became stable by a recorded act, and who started the current
rollout, approved it and passed its steps. Pure.

A resource status that claims more than this was edited by hand."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from lifecycle.governance.acts import Act
from lifecycle.governance.approvals.people import NOBODY, People

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OpenRollout:
    """The current rollout of a service, as the log of acts records it.

    revisions: digests of its candidate, as asked for and as calibrated. policy: as JSON. starters: who started it. passed: indexes, from
    0, of the steps that an act passed. approvals: (name, step from 1) of those accepted. analyses: indexes of the analysis steps that an
    act must pass; None if it began before these were recorded. full_by: who decided to go on without evidence."""

    attempt: str
    revisions: frozenset[str]
    policy: Json
    starters: frozenset[str]
    passed: frozenset[int] = frozenset()
    approvals: frozenset[tuple[str, int]] = frozenset()
    analyses: frozenset[int] | None = None
    full_by: str | None = None


@dataclass(frozen=True, slots=True)
class RecordedState:
    """What the recorded acts of a service add up to.

    stable: the revision that became stable last, as JSON. settled: digests of all revisions that ever did. floor: the policy of the last
    promoted rollout; the next rollout must not need fewer approvals. is_new: no act of the service is recorded. variants: digests of the
    current experiment."""

    stable: Json | None = None
    settled: frozenset[str] = frozenset()
    opened: OpenRollout | None = None
    floor: Json | None = None
    is_new: bool = True
    variants: frozenset[str] = frozenset()


NOTHING_RECORDED: Final = RecordedState()


@dataclass(frozen=True, slots=True)
class GovernanceView:
    """What one look at a service knows about who may approve.

    service: `modelservice/NAMESPACE/NAME`. recorded: None if no log is kept or it cannot be read. involved: who must not approve besides
    the starters -> what they did. checked: ids of requests whose `by` and groups somebody checked. people_problem: why the people file
    is unknown, so that no approval counts; empty: it is known."""

    service: str = ""
    people: People = NOBODY
    recorded: RecordedState | None = None
    involved: Mapping[str, str] = field(default_factory=dict)
    checked: frozenset[str] = frozenset()
    people_problem: str = ""


UNGOVERNED: Final = GovernanceView()
_MADE: Final = {
    "bundle.train": "trained its bundle",
    "retraining.train": "trained its bundle",
    "registry.push": "pushed its bundle to the registry",
    "registry.promote": "promoted its bundle in the registry",
    "registry.stage": "promoted its bundle in the registry",
    "registry.alias": "promoted its bundle in the registry",
}


def and_then(view: GovernanceView, acts: Iterable[Act]) -> GovernanceView:
    """The view after further acts were recorded."""
    if view.recorded is None:
        return view
    return replace(view, recorded=recorded_state(acts, view.service, view.recorded))


def makers(acts: Iterable[Act], bundles: frozenset[str]) -> Mapping[str, str]:
    """Who trained, pushed or promoted one of these bundles (digests) -> what they did."""
    subjects = {f"bundle/{digest}" for digest in bundles}
    return {a.actor: _MADE[a.action] for a in acts if a.subject in subjects and a.action in _MADE and a.outcome == "accepted"}


def recorded_state(acts: Iterable[Act], service: str, before: RecordedState = NOTHING_RECORDED) -> RecordedState:
    """Fold the acts of one service, oldest first. before: what earlier acts add up to."""
    found = before
    for act in acts:
        if act.subject == service and act.outcome == "accepted":
            found = _after(found, act)
        elif act.subject == service and act.action == "rollout.status-edit" and act.evidence.get("ended"):
            found = replace(found, opened=None, variants=frozenset())
    return found


def _after(before: RecordedState, act: Act) -> RecordedState:
    seen, opened = act.evidence, before.opened
    match act.action:
        case "rollout.adopt":
            return _adopted(before, seen)
        case "rollout.release":
            return RecordedState()
        case "rollout.start":
            return replace(before, opened=_opened(seen), is_new=False)
        case "threshold.calibrate" if opened is not None:
            calibrated = opened.revisions | {str(seen.get("revision"))}
            return replace(before, opened=replace(opened, revisions=calibrated))
        case "rollout.approve" if opened is not None and seen.get("attempt") == opened.attempt:
            yes = (act.actor, int(seen.get("step") or 0))
            return replace(before, opened=replace(opened, approvals=opened.approvals | {yes}))
        case "rollout.pass" | "rollout.break-glass" if opened is not None and seen.get("attempt") == opened.attempt:
            passed = opened.passed | {int(seen.get("step") or 0) - 1}
            return replace(before, opened=replace(opened, passed=passed))
        case "rollout.promote-full" if opened is not None and seen.get("attempt") == opened.attempt:
            return replace(before, opened=replace(opened, full_by=act.actor))
        case "rollout.promote" | "rollout.undo":
            revision = seen.get("candidate") or {}
            digest = str(seen.get("revision"))
            floor = seen.get("floor", before.floor)
            return RecordedState(revision, before.settled | {digest}, None, floor, is_new=False)
        case "experiment.start":
            return replace(before, variants=_digests(seen), is_new=False)
        case "experiment.conclude":
            return replace(before, variants=frozenset())
        case "rollout.abort" | "rollout.reject":
            return replace(before, opened=None)
    return before


def _adopted(before: RecordedState, seen: Json) -> RecordedState:
    settled = before.settled | frozenset(map(str, seen.get("settled") or ()))
    opened = _opened(seen) if seen.get("candidate") else None
    return RecordedState(seen.get("stable") or None, settled, opened, seen.get("floor"), is_new=False, variants=_digests(seen))


def _digests(seen: Json) -> frozenset[str]:
    """Digests of an experiment's variants, which are recorded as [name, digest, weight]."""
    return frozenset(str(digest) for _, digest, _ in seen.get("variants") or ())


def _opened(seen: Json) -> OpenRollout:
    return OpenRollout(
        attempt=str(seen.get("attempt") or ""),
        revisions=frozenset(map(str, seen.get("revisions") or ())),
        policy=seen.get("policy") or {},
        starters=frozenset(map(str, seen.get("starters") or ())),
        passed=frozenset(map(int, seen.get("passed") or ())),
        approvals=frozenset((str(name), int(step)) for name, step in seen.get("approved") or ()),
        analyses=None if seen.get("analyses") is None else frozenset(map(int, seen["analyses"])),
        full_by=seen.get("full_by"),
    )
