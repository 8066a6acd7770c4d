"""A state machine explores decide and the shell around it: lost writes, crashes, stale reads, replicas that come and go, edits of the
spec, verbs said twice, clocks that jump. What must hold is in tests.fakes.operator.rollout_world."""

import importlib
from contextlib import ExitStack
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from operators.rollout.facts import Desired
from operators.rollout.moves import IllegalMove
from operators.rollout.status import Phase, Verdict
from tests import laws
from tests.fakes.operator.mutations import Mutant, applied, mutants
from tests.fakes.operator.rollout_world import EXPERIMENT, POLICIES, Replica, World, name, summary
from tests.fakes.operator.rollouts import A, B, C, key

VERBS = ["promote", "promote-full", "pause", "resume", "abort", "retry", "undo", "approve", "restart", "conclude"]
FAULTS = st.sampled_from(["none", "none", "none", "act", "record", "crash"])
PEOPLE = st.sampled_from(["ada", "bob", "tim", "grace"])


class Rollouts(RuleBasedStateMachine):
    """Everything that may happen to a rollout, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize(policy=st.sampled_from(sorted(POLICIES)), is_fresh=st.booleans())
    def begin(self, policy: str, is_fresh: bool) -> None:
        self.world.desired = Desired(revision=A, rollout=POLICIES[policy], by="grace")
        if not is_fresh:
            self.world.settle()
            self.world.desired = replace(self.world.desired, revision=B)
            self.all_looks(2)

    @rule(fault=FAULTS, back=st.sampled_from([0, 0, 0, 1, 3]), age=st.sampled_from([0, 0, 0, 61]))
    def look(self, fault: str, back: int, age: float) -> None:
        self.world.seconds += 2
        self.world.look(fault, back, age)

    @rule(count=st.integers(1, 6))
    def all_looks(self, count: int) -> None:
        """Things go well for a while."""
        for _ in range(count):
            self.world.seconds += 30
            self.world.judge.requests += 60
            self.world.judge.mirrored += 60
            for replica in self.world.replicas:
                self.world.load(replica)
            self.world.look()

    @rule(verdict=st.sampled_from(list(Verdict)))
    def evidence(self, verdict: Verdict) -> None:
        self.world.judge.verdict = verdict

    @rule()
    def good_evidence(self) -> None:
        self.world.judge.verdict = Verdict.NO_WORSE

    @rule(which=st.sampled_from([key("b", B.digest), key("c", C.digest)]), verdict=st.sampled_from(list(Verdict)))
    def evidence_of_a_variant(self, which: str, verdict: Verdict) -> None:
        self.world.judge.by_candidate[which] = verdict

    @rule(count=st.integers(0, 300))
    def traffic(self, count: int) -> None:
        self.world.judge.requests += count
        self.world.judge.mirrored += count

    @rule(verb=st.sampled_from(VERBS), by=PEOPLE)
    def say(self, verb: str, by: str) -> None:
        self.world.say(verb, by)

    @rule(place=st.integers(0, 30))
    @precondition(lambda self: self.world.requests)
    def say_again(self, place: int) -> None:
        """The same verb, with the same id, in the list once more."""
        said = self.world.requests[place % len(self.world.requests)]
        self.world.requests.append(said)

    @rule()
    def forget_what_was_handled(self) -> None:
        """The shell prunes the verbs that are recorded as handled."""
        self.world.requests = [r for r in self.world.requests if r.id not in self.world.status.handled]

    @rule(revision=st.sampled_from([A, B, C, None]))
    def edit_revision(self, revision: object) -> None:
        self.world.desired = replace(self.world.desired, revision=revision)

    @rule(policy=st.sampled_from(sorted(POLICIES)))
    def edit_policy(self, policy: str) -> None:
        self.world.desired = replace(self.world.desired, rollout=POLICIES[policy])

    @rule(is_paused=st.booleans())
    def edit_paused(self, is_paused: bool) -> None:
        self.world.desired = replace(self.world.desired, is_paused=is_paused)

    @rule(is_asked=st.booleans())
    def edit_experiment(self, is_asked: bool) -> None:
        self.world.desired = replace(self.world.desired, experiment=EXPERIMENT if is_asked else None)

    @rule(seconds=st.sampled_from([1, 61, 700, 3700, 90_000, -50, -90_000]))
    def clock(self, seconds: float) -> None:
        self.world.seconds += seconds

    @rule()
    def replica_comes(self) -> None:
        self.world.born += 1
        self.world.replicas[f"r{self.world.born}"] = Replica()

    @rule(place=st.integers(0, 9), is_expected=st.booleans())
    @precondition(lambda self: len(self.world.replicas) > 1)
    def replica_vanishes(self, place: int, is_expected: bool) -> None:
        del self.world.replicas[sorted(self.world.replicas)[place % len(self.world.replicas)]]
        self.world.expected = len(self.world.replicas) if is_expected else self.world.expected

    @rule(place=st.integers(0, 9))
    def replica_loads(self, place: int) -> None:
        self.world.load(sorted(self.world.replicas)[place % len(self.world.replicas)])

    @rule(place=st.integers(0, 9), revision=st.sampled_from([B, C]))
    def replica_fails_to_load(self, place: int, revision: object) -> None:
        replica = self.world.replicas[sorted(self.world.replicas)[place % len(self.world.replicas)]]
        replica.loaded.discard(revision.digest)  # type: ignore[attr-defined]
        replica.failed[revision.digest] = "no memory"  # type: ignore[attr-defined]

    def teardown(self) -> None:
        self.world.settle()


TestRollouts = pytest.mark.heavy(Rollouts.TestCase)
TestRollouts.settings = laws.examples(40, stateful_step_count=40)

GUARDS = {
    "no weight before every replica has the candidate": (
        "decide._set: `not facts.candidate.is_everywhere` is False",
        "decide._finish: `not facts.candidate.is_everywhere` is False",
        "transitions._weight: `_require_loaded(status, facts, f'weight {move.weight:g}')` is left out",
        "transitions._mirror: `_require_loaded(status, facts, 'mirroring to the candidate')` is left out",
        "transitions._promote: `_require_loaded(status, facts, 'promotion')` is left out",
    ),
    "invalid evidence never promotes": (
        "decide._raise: `assessment.verdict is Verdict.INVALID` is False",
        "decide._finish: `assessment.verdict is Verdict.INVALID` is False",
    ),
    "worse aborts": ("decide._harm: `assessment.verdict is Verdict.WORSE` is False",),
    "only worse blames": ("decide._harm: `assessment.verdict is Verdict.WORSE` is True",),
    "nobody approves what they started": ("lifecycle.governance.approvals.judge.accept: `claim.by in involved` is False",),
    "only members approve": (
        "lifecycle.governance.approvals.judge.accept: `rule.groups and (not claim.groups & set(rule.groups))` is False",
    ),
    "a verb is handled once": ("history.with_handled: `request is None or request in status.handled` is True",),
    "what was aborted is not tried again": ("decide._spec_changed: `asked == status.seen` is False",),
}


def dark() -> World:
    """A rollout of B that begins, nothing loaded yet."""
    world = World(desired=Desired(revision=A, rollout=POLICIES["every kind of step"], by="grace"))
    world.settle()
    world.desired = replace(world.desired, revision=B)
    world.look()
    return world


def on(world: World, looks: int = 1, verdict: Verdict = Verdict.NO_WORSE) -> None:
    """Things go on, with this evidence."""
    world.judge.verdict = verdict
    for _ in range(looks):
        world.seconds += 61
        world.judge.requests += 200
        world.judge.mirrored += 200
        for replica in world.replicas:
            world.load(replica)
        world.look()


def unloaded() -> None:
    world = dark()
    for _ in range(9):
        world.judge.verdict = Verdict.NO_WORSE
        world.judge.requests += 200
        world.judge.mirrored += 200
        world.seconds += 61
        world.look()


def unmeasured() -> None:
    world = dark()
    on(world)
    for _ in range(8):
        world.say("promote", "ada")
        on(world, 2, Verdict.INVALID)
        on(world, 1)


def harmful() -> None:
    world = dark()
    on(world, 5)
    on(world, 1, Verdict.WORSE)


def unsure() -> None:
    world = dark()
    on(world, 5, Verdict.UNDECIDED)


def approved(*people: str) -> None:
    world = dark()
    while not world.status.waiting_for.startswith("approval"):
        on(world)
    for person in people:
        world.say("approve", person)
        on(world)


def repeated() -> None:
    world = dark()
    on(world)
    world.say("pause", "ada")
    world.look()
    world.say("resume", "ada")
    world.requests += world.requests
    on(world, 2)
    assert world.status.paused_by is None


def aborted() -> None:
    world = dark()
    on(world, 5)
    on(world, 1, Verdict.WORSE)
    on(world, 3)
    assert world.status.phase is Phase.ABORTED


def crashed() -> None:
    world = dark()
    on(world, 4)
    assert world.status.weight > 0
    world.judge.verdict = Verdict.WORSE
    world.look("record")
    on(world, 1, Verdict.UNDECIDED)


STORIES = {
    "no weight before every replica has the candidate": unloaded,
    "invalid evidence never promotes": unmeasured,
    "worse aborts": harmful,
    "only worse blames": unsure,
    "nobody approves what they started": lambda: approved("grace", "ada", "bob"),
    "only members approve": lambda: approved("tim", "ada", "bob"),
    "a verb is handled once": repeated,
    "what was aborted is not tried again": aborted,
    "one raise a look, of what is loaded still": crashed,
}


@pytest.mark.parametrize("guard", STORIES)
def test_what_must_hold_holds(guard: str) -> None:
    STORIES[guard]()


@cache
def known() -> dict[str, Mutant]:
    """Every mutant, by name."""
    own = (f"operators.rollout.{m}" for m in ("decide", "transitions", "verbs", "history"))
    modules = map(importlib.import_module, (*own, "lifecycle.governance.approvals.judge"))
    return {m.name: m for module in modules for m in mutants(module)}


@pytest.mark.parametrize("guard", GUARDS)
def test_without_its_guard_it_is_noticed(guard: str) -> None:
    with ExitStack() as taken_away:
        for name_of in GUARDS[guard]:
            taken_away.enter_context(applied(known()[name_of]))
        with pytest.raises((AssertionError, IllegalMove, RuntimeError)):
            STORIES[guard]()


@pytest.mark.heavy
@given(
    faults=st.lists(st.sampled_from(["none", "act", "record", "crash", "again"]), max_size=60),
    verdict=st.sampled_from([Verdict.NO_WORSE, Verdict.BETTER, Verdict.WORSE]),
    policy=st.sampled_from(sorted(POLICIES)),
)
@laws.examples(25)
def test_restarts_and_lost_writes_do_not_change_how_it_ends(faults: list[str], verdict: Verdict, policy: str) -> None:
    ends = []
    for given_faults in ([], faults):
        world = World(desired=Desired(revision=A, rollout=POLICIES[policy], by="grace"))
        world.settle(verdict)
        world.desired = replace(world.desired, revision=B)
        for fault in given_faults:
            world.seconds += 5
            for replica in world.replicas:
                world.load(replica)
            world.judge.requests += 20
            world.judge.mirrored += 20
            world.look("none" if fault == "again" else fault)
            if fault == "again":
                world.look()
        world.settle(verdict)
        ends.append(summary(world))
    assert ends[0] == ends[1]
    assert (ends[0][0] is Phase.ABORTED) == (verdict is Verdict.WORSE)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_good_candidate_comes_through_under_every_policy(policy: str) -> None:
    world = World(desired=Desired(revision=A, rollout=POLICIES[policy], by="grace"))
    world.settle()
    world.desired = replace(world.desired, revision=B)
    world.settle()
    assert (world.status.phase, name(world.status.stable)) == (Phase.HEALTHY, "B")
