"""The status of a rollout has a bound in bytes, whatever it has to say; what goes first, and what stays."""

import json
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.api.types import Metadata, ModelService, ModelServiceStatus
from operators.handlers.looking.status_view import LookFindings, as_json, service_status
from operators.rollout.evidence import Observation, ReplicaEvidence, Tally
from operators.rollout.judging import judge
from operators.rollout.judging.ledger import MOST_BYTES as MOST_LEDGER_BYTES
from operators.rollout.judging.ledger import PACKED, Ledger, absorb
from operators.rollout.spec import Analysis, Gate, GateName
from operators.rollout.status import Assessment, FinishedRollout, GateView, HistoryEntry, RolloutStatus, TargetVariant, Verdict
from operators.rollout.status_bounds import MOST_BYTES, bounded, clip, size
from tests import laws
from tests.fakes.operator.rollouts import at, revision, under_way

LONG = "ä🚨" * 900
STABLE, CANDIDATE = "stable@sha256:" + "a" * 64, "candidate@sha256:" + "b" * 64


def assessment(reason: str = "errors: 12 of 10,000 against 11 of 10,000", gates: int = 5) -> Assessment:
    views = tuple(GateView(name=f"gate-{i}", stable=(10_000, 11), candidate=(10_000, 12), reason=reason) for i in range(gates))
    return Assessment(verdict=Verdict.NO_WORSE, reason=reason, gates=views, requests=10_000, at=at(5))


def moves(count: int, reason: str = "step 2 passed", gates: int = 5) -> tuple[HistoryEntry, ...]:
    found = assessment(reason, gates)
    return tuple(
        HistoryEntry(at=at(i), move="setWeight", step=1, weight=5, reason=reason, assessment=found) for i in range(count)
    )


def finished(number: int, count: int, reason: str = "all 8 steps passed") -> FinishedRollout:
    return FinishedRollout(
        candidate=revision("b"),
        stable=revision("a"),
        started=at(number),
        ended=at(number + 1),
        outcome="promoted",
        reason=reason,
        moves=moves(count, reason),
    )


def status(rollouts: int, count: int, reason: str = "all 8 steps passed", own: int = 10) -> RolloutStatus:
    history = tuple(finished(i, count, reason) for i in reversed(range(rollouts)))
    return under_way("mirror", history=history, moves=moves(own, reason), message=reason[:2048], assessment=assessment(reason))


def test_what_is_small_enough_is_left_as_it_is():
    small = status(2, 3)
    assert bounded(small) is small


@pytest.mark.heavy
@laws.examples(20)
@given(st.integers(0, 20), st.integers(0, 40), st.integers(0, 40), st.text(max_size=2048))
def test_however_much_there_is_to_say_it_fits_and_fitting_it_twice_changes_nothing(rollouts, count, own, words):
    fitted = bounded(status(rollouts, count, words, own))
    assert size(fitted) <= MOST_BYTES
    assert bounded(fitted) is fitted


@pytest.mark.heavy
def test_with_its_conditions_and_columns_a_resources_status_stays_below_64_kb():
    metadata = Metadata(name="ids", namespace="soc", generation=3)
    service = ModelService.model_construct(
        metadata=metadata, status=ModelService.model_fields["status"].get_default(call_default_factory=True)
    )
    seen = LookFindings(Observation(at=at(1), problem=LONG), 2, "app=vedette", problem=LONG)
    whole = as_json(service_status(service.status, service.metadata.generation, bounded(status(20, 40, LONG, 40)), seen, at(9)))
    assert len(json.dumps(whole, ensure_ascii=False).encode()) <= 64_000


def test_the_evidence_of_old_rollouts_goes_first_and_the_newest_keeps_its_own_for_longest():
    fitted = bounded(status(10, 6))
    assert len(fitted.history) == 10
    assert all(len(old.moves) == 6 for old in fitted.history)
    kept = [bool(old.moves[0].assessment.gates) for old in fitted.history]
    assert kept == sorted(kept, reverse=True)
    assert kept[0]
    assert not kept[-1]
    assert fitted.history[-1].moves[0].assessment.verdict is Verdict.NO_WORSE, "the verdict stays"


@pytest.mark.heavy
def test_what_the_rollout_under_way_stands_on_is_never_touched():
    before = status(20, 40, LONG, 40)
    fitted = bounded(before)
    for name in (
        "phase",
        "stable",
        "candidate",
        "policy",
        "step_index",
        "weight",
        "mirror",
        "ledger",
        "totals",
        "seen",
        "handled",
    ):
        assert getattr(fitted, name) == getattr(before, name), name
    assert fitted.assessment.verdict is before.assessment.verdict
    assert [g.stable for g in fitted.assessment.gates] == [g.stable for g in before.assessment.gates]
    assert fitted.moves[-1].assessment.verdict is Verdict.NO_WORSE


@pytest.mark.parametrize(
    ("text", "most", "said"), [("abc", 3, "abc"), ("abcdef", 5, "ab…"), ("ääää", 7, "ää…"), ("🚨🚨", 7, "🚨…")]
)
def test_a_text_is_cut_between_characters(text, most, said):
    assert clip(text, most) == said
    assert len(clip(text, most).encode()) <= most


def observed(look: int, replicas: int, bins: int = 0, names: str = "r") -> Observation:
    """Counters that no two replicas share, growing from look to look."""
    found = []
    for i in range(replicas):
        n = 100_000 + 7919 * i + look * (1000 + i)
        counts = {"requests": n, "rows": n, "bad": {GateName.ERRORS: n // 97, GateName.LATENCY: n // 89}, "entities": n // 3}
        scores = {f"{b / 260:.6f}": 101 * i + (7 * b + i) % 997 + look for b in range(bins)}
        tallies = {
            STABLE: Tally(**counts),
            CANDIDATE: Tally(**counts, mirrored_rows=n, pairs={"benign>alert": n // 7}, scores=scores),
        }
        found.append(ReplicaEvidence(replica=f"{names}-{i:08x}-1234", tallies=tallies))
    return Observation(at=at(5 * look), replicas=tuple(found), expected_replicas=replicas)


def follow(*looks: Observation) -> tuple[Ledger, dict]:
    """The ledger after these looks, kept and read again after each, and as it was kept last."""
    book, kept = Ledger(), {}
    for one in looks:
        kept = json.loads(json.dumps(absorb(book, one)[0].write()))
        book = Ledger.read(kept)
    return book, kept


@pytest.mark.heavy
def test_the_counters_of_200_replicas_fit_and_lose_nothing():
    book, kept = follow(observed(0, 200), observed(1, 200))
    assert list(kept) == [PACKED]
    assert len(json.dumps(kept)) <= MOST_LEDGER_BYTES
    plain = absorb(absorb(Ledger(), observed(0, 200))[0], observed(1, 200))[0]
    assert book == plain


def test_a_small_ledger_can_be_read_by_people():
    _, kept = follow(observed(0, 2), observed(1, 2))
    assert PACKED not in kept
    assert kept["totals"][STABLE]["requests"] == 2001


@pytest.mark.heavy
def test_where_scores_of_many_replicas_do_not_fit_none_are_counted_and_the_rest_is():
    book, kept = follow(*(observed(look, 200, bins=260) for look in range(3)))
    assert len(json.dumps(kept)) <= MOST_LEDGER_BYTES
    assert book.is_without_scores
    assert not book.totals[CANDIDATE].scores
    plain, _ = follow(*(observed(look, 200) for look in range(3)))
    assert book.totals == plain.totals


def test_scores_of_some_replicas_are_kept():
    book, kept = follow(*(observed(look, 10, bins=260) for look in range(3)))
    assert not book.is_without_scores
    assert sum(book.totals[CANDIDATE].scores.values()) == 10 * 260 * 2
    assert len(json.dumps(kept)) <= MOST_LEDGER_BYTES


@pytest.mark.heavy
def test_replicas_that_come_and_go_leave_the_newest_marks():
    looks = [observed(look, 100, names=f"generation{look}") for look in range(6)]
    book, kept = follow(*looks)
    assert len(json.dumps(kept)) <= MOST_LEDGER_BYTES
    assert {r.replica for r in looks[-1].replicas} <= book.marks.keys()
    assert book.totals[STABLE].requests == sum(r.tallies[STABLE].requests for look in looks[1:] for r in look.replicas)
    assert all(m.at >= at(0) and m.at <= at(25) + timedelta() for m in book.marks.values())


GATES = (GateName.ERRORS, GateName.LATENCY, GateName.DEGRADED, GateName.ALERT_RATE, GateName.FLIPS)


def busy(look: int, replicas: int, variants: tuple[str, ...] = (STABLE, CANDIDATE)) -> Observation:
    """Counters of five gates, live and mirrored, of replicas as a cluster names them."""
    found = []
    for i in range(replicas):
        rng = random.Random(i)
        name = f"10.{i // 256}.{i % 256}.7:8080/{rng.getrandbits(128):032x}"
        tallies = {}
        for variant in variants:
            n = rng.randrange(10**5, 10**7) + look * rng.randrange(900, 2000)
            bad = {gate: n // rng.randrange(50, 100) for gate in GATES[:4]}
            pairs = {"benign>alert": n // rng.randrange(500, 900), "benign>benign": n // 8, "alert>alert": n // 999}
            tallies[variant] = Tally(
                requests=n, rows=n, bad=bad, entities=n // 3, mirrored=n // 7, mirrored_rows=n // 7, pairs=pairs
            )
        found.append(ReplicaEvidence(replica=name, tallies=tallies))
    return Observation(at=at(60 * look), replicas=tuple(found), expected_replicas=replicas)


def whole_bytes(found: RolloutStatus) -> int:
    """Of the resource's status as it is written."""
    seen = LookFindings(Observation(at=at(1), problem=LONG), 1000, "ray.io/cluster=vedette", problem=LONG, invalid=LONG)
    whole = as_json(service_status(ModelServiceStatus(), 3, bounded(found), seen, at(9)))
    return len(json.dumps(whole, ensure_ascii=False).encode())


@pytest.mark.heavy
@pytest.mark.parametrize("replicas", [100, 300, 1000])
def test_the_whole_status_keeps_its_bound_whatever_the_number_of_replicas(replicas):
    analysis = Analysis(gates=tuple(Gate(name=name, margin=0.01) for name in GATES), min_requests=0)
    found, ledger = None, {}
    for look in range(3):
        found = judge.look(ledger, analysis, {"candidate": 25.0}, STABLE, CANDIDATE, busy(look, replicas), at(60 * look))
        ledger = json.loads(json.dumps(found.ledger))
        assert len(json.dumps(ledger, separators=(",", ":"))) <= MOST_LEDGER_BYTES
    full = status(20, 40, LONG, 40).model_copy(
        update={"ledger": ledger, "totals": found.totals, "assessment": found.assessment, "handled": ("x" * 64,) * 64}
    )
    assert whole_bytes(full) <= 64_000
    assert len(Ledger.read(ledger).marks) > 60, "there is evidence all the same"
    assert found.totals[CANDIDATE].requests > 0


@pytest.mark.heavy
def test_an_experiment_of_eight_variants_on_many_replicas_keeps_the_bound_and_has_evidence():
    names = [f"v{i}@sha256:{i:064x}" for i in range(8)]
    analysis = Analysis(gates=tuple(Gate(name=name, margin=0.01) for name in GATES), min_requests=0)
    split, ledger, found = {f"v{i}": 12.5 for i in range(8)}, {}, None
    for look in range(2):
        for candidate in names[1:]:
            found = judge.look(ledger, analysis, split, names[0], candidate, busy(look, 80, tuple(names)), at(60 * look))
            ledger = json.loads(json.dumps(found.ledger))
    assert len(json.dumps(ledger, separators=(",", ":"))) <= MOST_LEDGER_BYTES
    assert found.totals[names[1]].requests > 0
    full = status(20, 40, LONG, 40).model_copy(
        update={
            "ledger": ledger,
            "totals": found.totals,
            "variant_assessments": {f"v{i}": assessment(LONG[:2048]) for i in range(1, 8)},
            "variants": tuple(TargetVariant(name=f"v{i}", revision=revision("b"), weight=12.5) for i in range(8)),
        }
    )
    assert whole_bytes(full) <= 64_000


def test_half_a_surrogate_pair_is_left_out_of_what_is_written():
    assert clip("gone \ud83d", 100) == "gone ?"
