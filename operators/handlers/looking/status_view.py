"""Turns a rollout's status into the resource's status (columns, conditions) and says whether a change is worth a write. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from operators.api.columns import resource_status
from operators.api.types import Condition, ModelServiceStatus
from operators.rollout.evidence import Observation
from operators.rollout.status import Phase, RolloutStatus
from operators.rollout.status_bounds import clip
from serving.files.read_back import read_back

State = Literal["True", "False", "Unknown"]
TRUE: Final[State] = "True"
FALSE: Final[State] = "False"
UNKNOWN: Final[State] = "Unknown"
_MESSAGE_BYTES: Final = 1500
"""Of a condition's message; there are six conditions."""
_NOT_FOLLOWED: Final = "not known while the resource is refused"
WAITING: Final = "Waiting"
"""The phase of a service before a look could see what serves it."""


@dataclass(frozen=True, slots=True)
class LookFindings:
    """What a look saw besides the rollout. problem: why the last act failed. invalid: why the resource cannot be followed.
    unread: why it could not be read, or what it names, for now. asked_replicas: as many as are asked for; None: nobody asks for any."""

    observation: Observation | None = None
    replicas: int = 0
    selector: str = ""
    problem: str | None = None
    invalid: str | None = None
    unread: str | None = None
    asked_replicas: int | None = None


def service_status(
    written: ModelServiceStatus, generation: int, rollout: RolloutStatus, seen: LookFindings, now: datetime
) -> ModelServiceStatus:
    """The whole status. written: as it was, whose conditions keep their times if they did not change. generation: of the spec. Where
    the spec could not be read, Valid and the generation it is said of stay as they were."""
    before = {c.type: c for c in written.conditions}
    told = _conditions(rollout, seen)
    kept = {"Valid": before["Valid"]} if seen.unread is not None and "Valid" in before else {}
    conditions = [kept.get(name) or _condition(name, *state, before.get(name), generation, now) for name, state in told.items()]
    return resource_status(
        rollout,
        generation=generation if seen.unread is None else written.observed_generation,
        conditions=tuple(conditions),
        replicas=seen.replicas,
        selector=seen.selector,
    )


def invalid_status(
    written: Mapping[str, Any], why: str, generation: int, now: datetime, *, is_unread: bool = False
) -> dict[str, Any]:
    """The status of a resource that is not followed: where its rollout stood and that it is refused; the other conditions are Unknown.
    is_unread: something it names could not be read, so it is not known whether it is valid."""
    before = {c["type"]: read_back(Condition, c) for c in written.get("conditions") or ()}
    told: dict[str, tuple[State, str, str]] = dict.fromkeys(before, (UNKNOWN, "NotFollowed", _NOT_FOLLOWED))
    state, reason = (UNKNOWN, "NotRead") if is_unread else (FALSE, "Refused")
    told["Valid"] = state, reason, f"{clip(why, _MESSAGE_BYTES)}; the served revisions stay"
    conditions = [_condition(name, *stated, before.get(name), generation, now) for name, stated in told.items()]
    kept = written if written.get("rollout") else {}
    return {
        **kept,
        "observedGeneration": generation,
        "conditions": [c.model_dump(mode="json", by_alias=True) for c in conditions],
    }


def unserved_status(
    written: Mapping[str, Any], why: str, generation: int, now: datetime, *, is_unread: bool = False
) -> dict[str, Any]:
    """The status before the first look could see what is served. It holds no rollout: what is served is asked for again. is_unread: the API
    server did not answer, so a service may be there."""
    reason, is_ready, is_degraded = ("BackendNotRead", UNKNOWN, UNKNOWN) if is_unread else ("BackendMissing", FALSE, TRUE)
    before = {c["type"]: read_back(Condition, c) for c in written.get("conditions") or ()}
    told: dict[str, tuple[State, str, str]] = {
        "Valid": ("True", "Accepted", "the resource is followed"),
        "Ready": (is_ready, reason, why),
        "Degraded": (is_degraded, reason, why),
    }
    conditions = [_condition(name, *state, before.get(name), generation, now) for name, state in told.items()]
    status = ModelServiceStatus(
        observed_generation=generation, conditions=tuple(conditions), phase=WAITING, waiting_for=clip(why, _MESSAGE_BYTES)
    )
    return status.model_dump(mode="json", by_alias=True, exclude={"rollout"}, exclude_none=True)


def unwritten_status(written: Mapping[str, Any], refused: Mapping[str, Any], why: str, now: datetime) -> dict[str, Any]:
    """Replaces a status that the API server refuses. Columns and conditions are as decided, in plain letters; the part that the next
    decision needs stays as it was last written."""
    before = {c["type"]: read_back(Condition, c) for c in written.get("conditions") or ()}
    generation = int(refused.get("observedGeneration") or 0)
    told = _condition("Degraded", "True", "StatusNotWritten", _plain(why), before.get("Degraded"), generation, now)
    conditions = [{**c, "message": _plain(c["message"])} for c in refused["conditions"] if c["type"] != "Degraded"]
    columns = {k: _plain(v) if isinstance(v, str) else v for k, v in refused.items() if k not in {"rollout", "conditions"}}
    rollout = {"rollout": written["rollout"]} if "rollout" in written else {}
    return {**columns, "conditions": [*conditions, told.model_dump(mode="json", by_alias=True)], **rollout}


def _plain(text: str) -> str:
    return text.encode("ascii", "replace").decode()[:_MESSAGE_BYTES]


def as_json(status: ModelServiceStatus) -> dict[str, Any]:
    """The JSON that is written: the rollout without default values, the rest in full."""
    rollout = status.rollout.model_dump(mode="json", by_alias=True, exclude_defaults=True) if status.rollout else {}
    rest = status.model_dump(mode="json", by_alias=True, exclude={"rollout"}, exclude_none=True)
    return {**rest, "rollout": rollout}


def is_material(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the change must be written at once: everything except numbers of evidence."""
    return _core(before) != _core(after)


def _conditions(rollout: RolloutStatus, seen: LookFindings) -> dict[str, tuple[State, str, str]]:
    """(status, reason, message) by type."""
    problem = seen.observation.problem if seen.observation is not None else "not looked at yet"
    return {
        "Valid": _valid(seen),
        "Ready": _ready(rollout, seen.observation, seen.asked_replicas or 0),
        "Progressing": _progressing(rollout),
        "Paused": ("True", "Waiting", rollout.waiting_for)
        if rollout.phase is Phase.PAUSED
        else ("False", "NotPaused", "nothing waits for people"),
        "Measured": ("False", "NotMeasured", problem) if problem else ("True", "Measured", "every replica answered"),
        "Degraded": ("True", "ActFailed", seen.problem)
        if seen.problem
        else ("False", "AsDecided", "what was decided is carried out"),
    }


def _valid(seen: LookFindings) -> tuple[State, str, str]:
    if seen.invalid:
        return "False", "Refused", seen.invalid
    return ("Unknown", "NotRead", seen.unread) if seen.unread else ("True", "Accepted", "the resource is followed")


def _ready(rollout: RolloutStatus, observation: Observation | None, asked: int) -> tuple[State, str, str]:
    if rollout.stable is None:
        return "False", "NoRevisionYet", rollout.waiting_for or "no revision serves yet"
    if observation is None or not observation.replicas:
        return "Unknown", "NotMeasured", "no replica answered"
    holders = [r for r in observation.replicas if r.holds is None or "stable" in r.holds]
    there = observation.expected_by_variant.get("stable", observation.expected_replicas)
    expected = max(there, observation.wanted_replicas or 0, len(holders), asked)
    loaded = sum(rollout.stable.digest in r.loaded for r in holders)
    words = f"{loaded} of {expected} replicas serve the stable revision"
    if loaded >= expected > 0:
        return "True", "Serving", words
    return "False", "Partly" if loaded else "NotLoaded", words


def _progressing(rollout: RolloutStatus) -> tuple[State, str, str]:
    if rollout.is_overdue:
        return "False", "ProgressDeadlineExceeded", f"waiting for {rollout.waiting_for}"
    if rollout.phase is Phase.PROGRESSING:
        return "True", "RolloutUnderWay", f"waiting for {rollout.waiting_for}" if rollout.waiting_for else rollout.message
    if rollout.phase is Phase.EXPERIMENT:
        return "True", "ExperimentUnderWay", rollout.waiting_for or rollout.message
    reasons = {Phase.PAUSED: "Paused", Phase.ABORTED: "RolloutAborted"}
    return "False", reasons.get(rollout.phase, "AtRest"), rollout.message


def _condition(
    name: str, status: State, reason: str, message: str, before: Condition | None, generation: int, now: datetime
) -> Condition:
    is_same = before is not None and before.status == status
    return Condition(
        type=name,
        status=status,
        reason=reason,
        message=clip(message, _MESSAGE_BYTES),
        last_transition_time=before.last_transition_time if is_same and before is not None else now,
        observed_generation=generation,
    )


_EVIDENCE: Final = frozenset({"ledger", "totals", "assessment", "variantAssessments", "report", "lastProgress"})
_WORDS: Final = frozenset({"waitingFor", "message"})
_NUMBER: Final = re.compile(r"[0-9][0-9.,:TZ+-]*")


def _core(status: Mapping[str, Any]) -> dict[str, Any]:
    rollout = {k: _wordless(k, v) for k, v in (status.get("rollout") or {}).items() if k not in _EVIDENCE}
    conditions = [{k: _wordless(k, v) for k, v in c.items()} for c in status.get("conditions") or []]
    rest = {k: _wordless(k, v) for k, v in status.items() if k not in {"rollout", "conditions"}}
    return {**rest, "rollout": rollout, "conditions": sorted(conditions, key=lambda c: str(c.get("type")))}


def _wordless(name: str, value: object) -> object:
    """A sentence without its numbers."""
    return _NUMBER.sub("#", value) if name in _WORDS and isinstance(value, str) else value
