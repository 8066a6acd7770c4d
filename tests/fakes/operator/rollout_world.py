"""A small world around the rollout core: replicas that load, vanish and fail, a status that is written and read with all that goes
wrong, people who say things. What must hold whatever happens is checked at every look.

The shell is the one that operators.handlers and operators.control have: record, then act; but act first where traffic is taken away,
on a status read freshly."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from operators.rollout import moves
from operators.rollout.advance import Advance, advance
from operators.rollout.evidence import Observation, ReplicaEvidence
from operators.rollout.facts import Calibration, Desired, facts_at_look
from operators.rollout.spec import ExperimentSpec, Revision, RolloutSpec
from operators.rollout.status import Phase, RolloutStatus, Target, VerbRequest, Verdict
from serving.spec import ModelSpec, VariantSpec
from tests.fakes.operator.rollouts import POLICY, T0, A, B, C, ScriptedJudge, said, tools

NAMES = {A.digest: "A", B.digest: "B", C.digest: "C"}
SRE = {"ada", "bob", "eve", "zoe", "grace"}
POLICIES = {
    "every kind of step": POLICY,
    "all at once": RolloutSpec.model_validate({"steps": [{"setWeight": 100}], "analysis": {"minRequests": 50}}),
    "abort on deadline": POLICY.model_copy(update={"abort_on_deadline": True, "rollback_window": timedelta(0)}),
    "alert budget": RolloutSpec.model_validate({"alertBudget": {"minRequests": 200}, "analysis": {"minRequests": 50}}),
}
EXPERIMENT = ExperimentSpec.model_validate(
    {
        "variants": [
            {"name": "control", "weight": 50},
            {"name": "b", "weight": 25, "revision": B.model_dump(by_alias=True)},
            {"name": "c", "weight": 25, "revision": C.model_dump(by_alias=True)},
        ],
        "duration": "2h",
    }
)


@dataclass
class Replica:
    loaded: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class World:
    """All of it, and what was learnt of it on the way."""

    desired: Desired = field(default_factory=lambda: Desired(revision=A, rollout=POLICY, by="grace"))
    statuses: list[RolloutStatus] = field(default_factory=lambda: [RolloutStatus()])
    """Every status that was recorded."""
    carried: Target | None = None
    replicas: dict[str, Replica] = field(default_factory=lambda: {"r0": Replica(), "r1": Replica()})
    expected: int = 2
    requests: list[VerbRequest] = field(default_factory=list)
    judge: ScriptedJudge = field(default_factory=lambda: ScriptedJudge(verdict=Verdict.UNDECIDED))
    seconds: float = 0.0
    times_handled: dict[str, int] = field(default_factory=dict)
    born: int = 2
    spoken: int = 0

    @property
    def status(self) -> RolloutStatus:
        return self.statuses[-1]

    def say(self, verb: str, by: str, again: str | None = None) -> None:
        self.spoken += 1
        groups = "sre,all" if by in SRE else "all"
        self.requests.append(said(verb, by, id=again or f"q{self.spoken}", seconds=self.seconds, groups=groups))

    def observe(self, age: float = 0.0) -> Observation:
        each = tuple(
            ReplicaEvidence(replica=name, loaded=tuple(sorted(r.loaded)), failed=dict(r.failed))
            for name, r in self.replicas.items()
        )
        now = T0 + timedelta(seconds=self.seconds)
        return Observation(at=now - timedelta(seconds=age), replicas=each, expected_replicas=self.expected)

    def look(self, fault: str = "none", back: int = 0, age: float = 0.0) -> Advance:
        """One look of the shell. fault: none, act, record, crash (between the two). back: how many records the status is behind."""
        read = self.statuses[max(0, len(self.statuses) - 1 - back)]
        observation = self.observe(age)
        outcome = self._advanced(read, observation)
        if outcome.acts_first:
            read = self.status
            outcome = self._advanced(read, observation)
        steps = [self._act, self._record] if outcome.acts_first else [self._record, self._act]
        for step in steps:
            if fault == step.__name__.removeprefix("_"):
                break
            if not step(read, outcome, observation):
                break
            if fault == "crash":
                break
        return outcome

    def _act(self, read: RolloutStatus, outcome: Advance, observation: Observation) -> bool:
        if outcome.target is not None:
            self.carried = outcome.target
        return True

    def _record(self, read: RolloutStatus, outcome: Advance, observation: Observation) -> bool:
        """Only what was read last may be replaced; and only a change is written."""
        if read is not self.status:
            return False
        if outcome.status != read:
            self._check_record(read, outcome, observation)
            self.statuses.append(RolloutStatus.model_validate_json(outcome.status.model_dump_json(by_alias=True)))
            assert self.status == outcome.status, "a status that is read back is the one that was written"
        return True

    def _advanced(self, read: RolloutStatus, observation: Observation) -> Advance:
        now = T0 + timedelta(seconds=self.seconds)
        kit = tools(self.judge, Calibration(0.7, "equal at 0.7"))
        outcome, again = (advance(self.desired, read, observation, tuple(self.requests), now, kit) for _ in range(2))
        assert outcome == again, "the same facts, the same outcome"
        check_target(outcome.target)
        check_outcome(read, outcome)
        return outcome

    def _check_record(self, before: RolloutStatus, outcome: Advance, observation: Observation) -> None:
        after = outcome.status
        now = T0 + timedelta(seconds=self.seconds)
        for done in set(after.handled) - set(before.handled):
            self.times_handled[done] = self.times_handled.get(done, 0) + 1
            assert self.times_handled[done] == 1, "a verb is handled once"
        check_traffic(before, outcome, facts_at_look(self.desired, before, observation, now).candidate.is_everywhere)
        check_reasons(self, before, outcome)
        check_evidence(before, outcome, self.judge.verdict)
        check_approvals(before, outcome)
        assert len(after.moves) <= 40
        assert len(after.history) <= self.desired.rollout.history_limit

    def load(self, name: str) -> None:
        """A replica follows the target: it loads what is asked, and forgets the rest."""
        if self.carried is not None:
            wanted = {self.carried.stable.digest, *(v.revision.digest for v in self.carried.variants)}
            replica = self.replicas[name]
            replica.failed = {d: why for d, why in replica.failed.items() if d in wanted}
            replica.loaded = wanted - set(replica.failed)

    def settle(self, verdict: Verdict | None = Verdict.NO_WORSE, looks: int = 120) -> None:
        """Nothing goes wrong any more, and people do what they are asked for: it comes to rest."""
        self.judge.verdict = verdict or self.judge.verdict
        self.judge.by_candidate.clear()
        self.desired = Desired(revision=self.desired.revision, rollout=self.desired.rollout, by="grace")
        while len(self.replicas) < max(self.expected, 3):
            self.born += 1
            self.replicas[f"r{self.born}"] = Replica()
        self.expected = len(self.replicas)
        for _ in range(looks):
            self.seconds += 100
            for name in self.replicas:
                self.replicas[name].failed.clear()
                self.load(name)
            self.judge.requests += 200
            self.judge.mirrored += 200
            before = self.status
            self.look()
            self._help()
            if self.status == before and not self.status.is_under_way and self.status.experiment is None and self.is_answered():
                break
        check_rest(self)

    def is_answered(self) -> bool:
        return all(r.id in self.status.handled for r in self.requests)

    def _help(self) -> None:
        waiting = self.status.waiting_for
        if self.status.phase is not Phase.PAUSED or not self.is_answered():
            return
        if waiting.startswith("resume"):
            self.say("resume", "ada")
        elif waiting.startswith("approval"):
            for person in ("ada", "bob", "eve", "zoe"):
                self.say("approve", person)
        elif waiting.startswith("people"):
            self.say("promote", "ada")


def check_target(target: Target | None) -> None:
    """Whole: the data plane takes it as it is."""
    if target is None:
        return
    served = tuple(
        VariantSpec(name=v.name, version=v.revision.version, revision=v.revision.serving(), weight=v.weight, mirror=v.mirror)
        for v in target.variants
    )
    ModelSpec(name="m", version=target.stable.version, revision=target.stable.serving(), variants=served)


def check_outcome(before: RolloutStatus, outcome: Advance) -> None:
    """What every look keeps to, recorded or not."""
    after = outcome.status
    if after.phase in (Phase.HEALTHY, Phase.ABORTED) and outcome.target is not None:
        assert all(v.weight == 0 and v.mirror == 0 for v in outcome.target.variants), "at rest stable serves all"
    if before.candidate is not None and after.candidate != before.candidate and outcome.target is not None:
        met = [v for v in outcome.target.variants if v.revision == before.candidate and v.weight > 0]
        assert not met, "what is no candidate any more has no weight in the same outcome"
    assert (after.candidate is None) or after.phase in (Phase.PROGRESSING, Phase.PAUSED)
    assert (after.experiment is None) == (after.phase is not Phase.EXPERIMENT)


def check_traffic(before: RolloutStatus, outcome: Advance, was_loaded: bool) -> None:
    """Weights rise only on what every replica has loaded, and never fall but to nothing."""
    after = outcome.status
    is_same = before.candidate == after.candidate and not any(isinstance(m, moves.Start) for m in outcome.made)
    if is_same:
        assert after.weight >= before.weight, "weights never fall within a rollout"
        if after.weight > before.weight:
            assert was_loaded, "no weight before every replica has the candidate"
            assert sum(isinstance(m, moves.SetWeight) for m in outcome.made) == 1, "one raise a look"
    elif after.candidate is not None:
        assert after.weight == 0, "a new candidate is dark"
    if after.stable != before.stable:
        assert after.stable in (before.candidate, before.former), "stable was a candidate, or stable before"
        if after.stable == before.candidate and before.stable is not None and after.stable != before.former:
            assert (before.weight, was_loaded) == (100, True), "promotion after all traffic, loaded everywhere"


def check_evidence(before: RolloutStatus, outcome: Advance, verdict: Verdict) -> None:
    """Invalid evidence neither promotes nor blames; worse ends it in the same look."""
    made, is_full = outcome.made, before.full_by is not None or any(isinstance(m, moves.PromoteFull) for m in outcome.made)
    if before.candidate is None or before.stable is None:
        return
    if verdict is Verdict.WORSE:
        assert isinstance(made[0], moves.Abort), "worse aborts at once"
    elif verdict is Verdict.INVALID and not is_full:
        assert not any(isinstance(m, moves.SetWeight | moves.Promote) for m in made), "invalid evidence never promotes"
    if not is_full and any(isinstance(m, moves.Promote) for m in made):
        assert verdict not in (Verdict.INVALID, Verdict.WORSE), "promotion needs valid evidence"
        asked = before.policy is not None and any(s.analysis for s in before.policy.steps)
        passed = [m for m in outcome.status.history[0].moves if m.move == "pass analysis"]
        assert not asked or all(m.by != "operator" or m.assessment is not None for m in passed), "with the evidence kept"


def check_reasons(world: World, before: RolloutStatus, outcome: Advance) -> None:
    """Nothing begins or ends without its cause."""
    asked = world.desired.revision
    for move in outcome.made:
        assert isinstance(move, moves.Hold | moves.Approve) or move.reason, "every move says why"
        if isinstance(move, moves.Start):
            assert move.request or (asked and move.revision == asked and asked.digest != before.seen), (
                "nothing starts by itself"
            )
        if isinstance(move, moves.Abort) and not move.request and world.judge.verdict is not Verdict.WORSE:
            failed = "could not load" in move.reason
            overdue = "no progress" in move.reason and before.policy is not None and before.policy.abort_on_deadline
            assert move.seen or failed or overdue, "only worse, a failure to load, people, the spec or a deadline abort"
        if isinstance(move, moves.StopVariant):
            assert Verdict.WORSE in (world.judge.verdict, *world.judge.by_candidate.values())


def check_approvals(before: RolloutStatus, outcome: Advance) -> None:
    """An approval step passes by enough people of the right group who did not start it."""
    status, policy = before, before.policy
    if policy is None or before.step_index >= len(policy.steps) or policy.steps[before.step_index].approval is None:
        return
    approvals = [*status.approvals, *(m for m in outcome.made if isinstance(m, moves.Approve))]
    people = {a.by for a in approvals}
    assert people <= SRE - {before.started_by}, "only members approve, and not who started it"
    passed = outcome.status.candidate == before.candidate and outcome.status.step_index > before.step_index
    if passed and not any(isinstance(m, moves.Start) for m in outcome.made):
        assert len(people) >= 2, "two people"


def check_rest(world: World) -> None:
    """In the end nothing is under way, everything is answered, and nothing is written any more."""
    status = world.status
    assert status.candidate is None, status.waiting_for
    assert status.experiment is None, status.waiting_for
    assert world.is_answered()
    assert world.look().status == status, "at rest nothing is written"
    assert world.carried == world.look().target
    asked = world.desired.revision
    if asked is not None:
        assert status.is_stable(asked.digest) == (status.phase is Phase.HEALTHY), "healthy is what the spec asks for"
    else:
        assert status.phase in (Phase.HEALTHY, Phase.ABORTED)


def name(revision: Revision | None) -> str:
    """Its letter; a calibrated one counts as what was asked for."""
    return "-" if revision is None else chr(96 + int(revision.version)).upper()


def summary(world: World) -> tuple[Any, ...]:
    """What people would say happened."""
    status = world.status
    return status.phase, name(status.stable), [(f.outcome, name(f.candidate), name(f.stable)) for f in status.history]
