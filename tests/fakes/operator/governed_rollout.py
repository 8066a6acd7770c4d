"""A rollout whose acts are kept, look by look, without files: what the log says is handed to the next look. Everything that was promoted
is held to the approvals that were honestly given."""

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from lifecycle.governance.acts import Act
from lifecycle.governance.approvals.note import ApprovalSubject
from lifecycle.governance.approvals.people import People
from lifecycle.governance.approvals.recorded_state import GovernanceView, makers, recorded_state
from operators.rollout.advance import Advance, advance
from operators.rollout.facts import Desired
from operators.rollout.spec import Revision, RolloutSpec
from operators.rollout.status import RolloutStatus, VerbRequest, Verdict
from tests.fakes.approvers import PEOPLE, signed
from tests.fakes.operator.rollouts import T0, A, B, ScriptedJudge, observed, tools

SERVICE = "modelservice/soc/flows"
STEP: dict[str, Any] = {
    "roles": ["detection-lead", "soc-manager"],
    "validFor": "4h",
    "breakGlassRoles": ["incident-commander"],
}
GOVERNED = RolloutSpec.model_validate(
    {"steps": [{"setWeight": 5}, {"approval": STEP}, {"setWeight": 100}], "analysis": {"minRequests": 0}}
)
FREE = RolloutSpec.model_validate({"steps": [{"setWeight": 100}], "analysis": {"minRequests": 0}})


@dataclass
class GovernedRollout:
    """status may be changed by a test, as an attacker would. requests: what was said and not handled."""

    desired: Desired = field(default_factory=lambda: Desired(revision=A, rollout=GOVERNED, by="ada"))
    status: RolloutStatus = field(default_factory=lambda: RolloutStatus(stable=A))
    people: People = PEOPLE
    acts: list[Act] = field(default_factory=list)
    requests: list[VerbRequest] = field(default_factory=list)
    checked: set[str] = field(default_factory=set)
    seconds: float = 0.0
    is_logged: bool = True
    verdict: Verdict = Verdict.NO_WORSE
    last: Advance | None = None
    refused_by_replicas: dict[str, str] = field(default_factory=dict)
    """Revision digest -> why no replica loads it."""

    def look(self, times: int = 1) -> RolloutStatus:
        for _ in range(times):
            self.seconds += 10
            now = T0 + timedelta(seconds=self.seconds)
            bundles = frozenset({self.desired.revision.bundle} if self.desired.revision else ())
            view = GovernanceView(
                SERVICE,
                self.people,
                recorded_state(self.acts, SERVICE) if self.is_logged else None,
                makers(self.acts, bundles),
                frozenset(self.checked),
            )
            own = (self.status.stable, self.status.candidate, self.status.former, self.desired.revision)
            loaded = [
                r for r in (*own, *(v.revision for v in self.status.variants)) if r and r.digest not in self.refused_by_replicas
            ]
            observation = observed(self.seconds, *loaded, failed=self.refused_by_replicas)
            kit = tools(ScriptedJudge(self.verdict, requests=500, mirrored=500))
            asked = replace(self.desired, governance=view)
            self.last = advance(asked, self.status, observation, tuple(self.requests), now, kit)
            self.acts += self.last.acts
            self.status = RolloutStatus.model_validate_json(self.last.status.model_dump_json(by_alias=True))
        return self.status

    def start(self, revision: Revision = B, by: str = "ada", rollout: RolloutSpec = GOVERNED) -> RolloutStatus:
        """Ask for a revision, and come to the approval."""
        self.look()
        self.desired = replace(self.desired, revision=revision, by=by, rollout=rollout)
        return self.look(4)

    @property
    def subject(self) -> ApprovalSubject:
        candidate = self.status.candidate
        return ApprovalSubject(
            SERVICE, self.status.attempt, candidate.digest if candidate else "sha256:" + "0" * 64, self.status.step_index + 1
        )

    def say(self, verb: str, by: str, why: str = "looked at it", *, is_checked: bool = False, **args: str) -> VerbRequest:
        at = T0 + timedelta(seconds=self.seconds)
        request = VerbRequest(id=f"q{len(self.requests)}", verb=verb, by=by, why=why, at=at, args=args)  # type: ignore[arg-type]
        self.requests.append(request)
        if is_checked:
            self.checked.add(request.id)
        return request

    def approve(
        self, by: str, role: str | None = None, *, subject: ApprovalSubject | None = None, key_of: str | None = None,
        decision: str = "approve", verb: str = "approve",
    ) -> VerbRequest:  # fmt: skip
        """Say a signed yes; key_of: it is forged with somebody else's key."""
        at = T0 + timedelta(seconds=self.seconds)
        note = signed(by, role=role, subject=subject or self.subject, at=at, key_of=key_of, decision=decision)
        return self.say(verb, by, note=note, **({"role": role} if role else {}))

    def refused(self) -> list[tuple[str, str, str]]:
        """(who, what, why) of every act that was refused."""
        return [(a.actor, a.action, a.reason) for a in self.acts if a.outcome == "refused"]

    def edit(self, **fields: Any) -> None:
        """Change the status by hand, as its JSON."""
        kept = json.loads(self.status.model_dump_json(by_alias=True))
        self.status = RolloutStatus.model_validate({**kept, **fields})

    def did(self, action: str) -> list[Act]:
        return [a for a in self.acts if a.action == action and a.outcome == "accepted"]
