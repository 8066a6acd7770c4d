"""What counts as loaded, and what is kept for a way back."""

from datetime import timedelta

import pytest

from operators.rollout.evidence import Observation, ReplicaEvidence, Tally
from operators.rollout.facts import Desired, facts_at_look, loading, within_rollback_window
from operators.rollout.spec import ExperimentSpec, ExperimentVariant
from operators.rollout.status import Phase, RolloutStatus, TargetVariant
from tests.fakes.operator.rollouts import POLICY, A, B, C, at, key, observed, under_way

MINUTE = timedelta(minutes=1)


def replica(name: str, *loaded: str, holds: tuple[str, ...] | None = None) -> ReplicaEvidence:
    return ReplicaEvidence(replica=name, loaded=loaded, holds=holds)


LOADS = [
    pytest.param(observed(0, A, B), True, id="every replica has it"),
    pytest.param(observed(0, A), False, id="no replica has it"),
    pytest.param(observed(0, A, B, replicas=1, expected=2), False, id="a replica did not answer"),
    pytest.param(observed(0, A, B, replicas=0), False, id="there are no replicas"),
    pytest.param(
        Observation(at=at(0), replicas=(replica("x", B.digest), replica("y", A.digest)), expected_replicas=1),
        False,
        id="one more than expected lacks it",
    ),
    pytest.param(
        Observation(
            at=at(0),
            replicas=(replica("x", B.digest, holds=("candidate",)), replica("y", A.digest, holds=("stable",))),
            expected_replicas=2,
            expected_by_variant={"candidate": 1, "stable": 1},
        ),
        True,
        id="with replicas of its own, those count",
    ),
    pytest.param(
        Observation(
            at=at(0),
            replicas=(replica("x", B.digest, holds=("candidate",)),),
            expected_replicas=2,
            expected_by_variant={"candidate": 2, "stable": 1},
        ),
        False,
        id="with replicas of its own, all of those",
    ),
    pytest.param(observed(-60, A, B), True, id="a look as old as evidence may be"),
    pytest.param(observed(-61, A, B), False, id="an older look"),
    pytest.param(observed(0, A, B, failed={B.digest: "no memory"}), False, id="loaded and failed is not loaded"),
    pytest.param(observed(0, A, B, failed={C.digest: "no memory"}), True, id="another revision's failure is not its own"),
]


@pytest.mark.parametrize(("observation", "expected"), LOADS)
def test_loaded_everywhere(observation: Observation, expected: bool) -> None:
    assert loading(observation, "candidate", B, at(0), MINUTE).is_everywhere is expected


def test_nothing_is_not_loaded() -> None:
    assert not loading(observed(0, A, B), "candidate", None, at(0), MINUTE).is_everywhere


def test_a_failure_says_which_replica_and_why() -> None:
    found = loading(observed(0, A, failed={B.digest: "no memory"}), "candidate", B, at(0), MINUTE)
    assert found.failure == "replica r0 could not load it: no memory"


@pytest.mark.parametrize(("seconds", "is_seen"), [(-1, False), (0, False), (1, True)])
def test_a_failure_from_before_the_start_is_of_an_earlier_attempt(seconds: int, is_seen: bool) -> None:
    status = under_way(started=at(0))
    found = facts_at_look(Desired(revision=B), status, observed(seconds, A, failed={B.digest: "no memory"}), at(1))
    assert (found.candidate.failure is not None) is is_seen


def test_the_tally_is_that_of_the_candidate_s_revision() -> None:
    status = under_way(totals={key("candidate", B.digest): Tally(requests=7), key("candidate", C.digest): Tally(requests=9)})
    assert facts_at_look(Desired(revision=B), status, observed(0, A, B), at(0)).tally.requests == 7


def test_of_an_experiment_every_variant_must_be_loaded() -> None:
    spec = ExperimentSpec(
        variants=(
            ExperimentVariant(name="stable", weight=50),
            ExperimentVariant(name="b", weight=25),
            ExperimentVariant(name="c", weight=25),
        )
    )
    status = RolloutStatus(
        phase=Phase.EXPERIMENT,
        stable=A,
        experiment=spec,
        variants=(TargetVariant(name="b", revision=B), TargetVariant(name="c", revision=C)),
        started=at(-10),
    )
    assert not facts_at_look(Desired(revision=A), status, observed(0, A, B), at(0)).candidate.is_everywhere
    assert facts_at_look(Desired(revision=A), status, observed(0, A, B, C), at(0)).candidate.is_everywhere
    assert facts_at_look(Desired(revision=A), status, observed(0, A, B, failed={C.digest: "x"}), at(0)).candidate.failure


@pytest.mark.parametrize(("seconds", "expected"), [(0, True), (59, True), (60, False)])
def test_the_rollback_window_ends(seconds: int, expected: bool) -> None:
    status = RolloutStatus(stable=B, former=A, promoted_at=at(0))
    assert within_rollback_window(status, MINUTE, at(seconds)) is expected


def test_without_a_promotion_there_is_no_window() -> None:
    assert not within_rollback_window(RolloutStatus(stable=B), MINUTE, at(0))


def test_how_old_a_look_may_be_is_the_rollout_s_own_policy_s_to_say() -> None:
    patient = POLICY.model_copy(update={"analysis": POLICY.analysis.model_copy(update={"stale_after": 10 * MINUTE})})
    old = observed(-300, A, B)
    assert facts_at_look(Desired(revision=B), under_way(policy=patient), old, at(0)).candidate.is_everywhere
    assert not facts_at_look(Desired(revision=B, rollout=patient), under_way(), old, at(0)).candidate.is_everywhere
