"""Counters to differences: restarts, vanished replicas, partial and repeated looks, counters that fall."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.rollout.evidence import Observation, ReplicaEvidence, Tally
from operators.rollout.judging.ledger import LABELS, MOST_FALLEN, REMEMBER, REMEMBER_AT_MOST, Ledger, absorb, minus, plus
from operators.rollout.spec import GateName
from tests import laws

START = datetime(2026, 3, 1, tzinfo=UTC)
KEY = "stable@sha256:aa"


def seen(at_s: float, counts: dict[str, int], expected: int = 0) -> Observation:
    replicas = tuple(ReplicaEvidence(replica=name, tallies={KEY: Tally(requests=n, rows=2 * n)}) for name, n in counts.items())
    return Observation(at=START + timedelta(seconds=at_s), replicas=replicas, expected_replicas=expected)


def after(*observations: Observation) -> Ledger:
    book = Ledger()
    for observation in observations:
        book = Ledger.read(absorb(book, observation)[0].write())
    return book


def counted(*observations: Observation) -> int:
    return after(*observations).totals.get(KEY, Tally()).requests


@pytest.mark.parametrize(
    ("looks", "requests"),
    [
        pytest.param([seen(0, {"a": 500})], 0, id="what was there before the first look is no evidence"),
        pytest.param([seen(0, {"a": 500}), seen(5, {"a": 510})], 10, id="growth counts"),
        pytest.param([seen(0, {"a": 500}), seen(5, {"a": 510, "b": 7})], 17, id="a new identity started from zero"),
        pytest.param([seen(0, {"a": 5}), seen(5, {"a": 9}), seen(9, {"b": 3})], 7, id="a replica that vanished keeps its counts"),
        pytest.param([seen(0, {"a": 5}), seen(5, {"a": 9}), seen(6, {}), seen(9, {"a": 11})], 6, id="one that comes back goes on"),
        pytest.param([seen(0, {"a": 5}), seen(5, {"a": 9}), seen(5, {"a": 9})], 4, id="the same look twice counts once"),
        pytest.param([seen(0, {"a": 5}), seen(5, {"a": 9}), seen(3, {"a": 7})], 4, id="an older look than the last adds nothing"),
        pytest.param([seen(0, {"a": 5}, 2), seen(5, {"a": 9, "b": 800}, 2), seen(9, {"a": 9, "b": 803}, 2)], 7,
                     id="one that was away from the first, partial look may be old: it only gives its mark"),
        pytest.param([seen(0, {"a": 5}), seen(5, {"a": 3}), seen(9, {"a": 4})], 0, id="below its mark a replica counts nothing"),
        pytest.param([seen(0, {"a": 5}), seen(5, {"a": 3}), seen(9, {"a": 8})], 3, id="above its mark again it counts the rest"),
    ],
)  # fmt: skip
def test_counts(looks: list[Observation], requests: int) -> None:
    assert counted(*looks) == requests


def test_a_counter_that_falls_is_named_until_it_is_back() -> None:
    fallen = after(seen(0, {"a": 5}), seen(5, {"a": 3})).fallen
    assert fallen == (f"replica a: requests of {KEY} fell from 5 to 3 without a restart",)
    assert after(seen(0, {"a": 5}), seen(5, {"a": 3}), seen(9, {"a": 4})).fallen
    assert not after(seen(0, {"a": 5}), seen(5, {"a": 3}), seen(9, {"a": 6})).fallen


def test_the_ledger_stays_bounded() -> None:
    book = after(seen(0, {"first": 1}))
    for i in range(REMEMBER_AT_MOST + 50):
        book, _ = absorb(book, seen(i + 1, {f"r{i}": 3}))
    assert len(book.marks) <= REMEMBER_AT_MOST + 1
    assert book.totals[KEY].requests == 3 * (REMEMBER_AT_MOST + 50)
    late = REMEMBER.total_seconds() + 1000
    assert set(absorb(book, seen(late, {"new": 1}))[0].marks) == {"new"}


TALLIES = st.builds(
    Tally,
    requests=st.integers(0, 9),
    rows=st.integers(0, 9),
    bad=st.dictionaries(st.sampled_from([GateName.ERRORS, GateName.LATENCY]), st.integers(1, 9)),
    pairs=st.dictionaries(st.sampled_from(["benign>alert", "alert>benign"]), st.integers(1, 9)),
    labels=st.dictionaries(st.just(GateName.PRECISION), st.tuples(st.integers(1, 9), st.integers(0, 1))),
)


@given(a=TALLIES, b=TALLIES)
def test_a_difference_undoes_a_sum(a: Tally, b: Tally) -> None:
    assert minus(plus(a, b), b) == a


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.booleans(), st.booleans()), min_size=1, max_size=25))
@laws.examples(60)
def test_nothing_is_lost_or_counted_twice(steps) -> None:
    """Replicas serve, restart, and are missed by looks; in the end everything they counted by the last look at them is there."""
    lives = {name: [f"{name}0", 0] for name in "abc"}
    reported: dict[str, int] = {}
    book = after(seen(0, {name: 0 for name, _ in lives.values()}))
    for at, (name, requests, is_restart, is_seen) in enumerate(steps, 1):
        if is_restart:
            lives[name] = [f"{lives[name][0]}'", 0]
        lives[name][1] += requests
        if is_seen:
            counts = {identity: n for key, (identity, n) in lives.items() if key <= name}
            reported |= counts
            book, _ = absorb(book, seen(at, counts))
    assert book.totals.get(KEY, Tally()).requests == sum(reported.values())


def identities(count: int, seed: int = 7) -> dict[str, int]:
    """Replicas as a cluster names them, and what each has counted before the rollout."""
    rng = random.Random(seed)
    return {f"10.0.0.1:8080/{rng.getrandbits(128):032x}": rng.randrange(10**6, 10**7) for _ in range(count)}


@pytest.mark.heavy
def test_a_replica_whose_mark_had_no_room_is_not_counted_twice_when_it_is_back() -> None:
    counts, others = identities(300), identities(300, seed=8)
    looks = [seen(0, counts, 300), seen(5, others, 300)]
    book = after(*looks)
    without = [name for name in counts if book.counts(name) and name not in book.marks]
    assert without, "there was room for every mark: the test shows nothing"

    looks.append(seen(10, {without[0]: counts[without[0]], **others}, 301))
    back = after(*looks)
    more = after(*looks, seen(15, {without[0]: counts[without[0]] + 3, **others}, 301))

    assert back.totals == book.totals
    assert more.totals[KEY].requests == book.totals[KEY].requests + 3


@pytest.mark.parametrize("away_s", [5, REMEMBER.total_seconds() + 5], ids=["for a look", "for longer than it is remembered"])
def test_however_many_replicas_are_silent_none_is_counted_anew_when_it_is_back(away_s: float) -> None:
    counts = {f"r{i}": 1000 + i for i in range(REMEMBER_AT_MOST + 100)}
    present = {"here": 5}
    book, _ = absorb(Ledger(), seen(0, {**counts, **present}))
    book, _ = absorb(book, seen(1, present))
    book, _ = absorb(book, seen(away_s, present))
    book, grown = absorb(book, seen(away_s + 1, {**counts, **present}))
    assert not grown
    book, _ = absorb(book, seen(away_s + 2, {name: n + 1 for name, n in counts.items()} | present))
    assert book.totals[KEY].requests == len(counts), "from then on they count"


@pytest.mark.heavy
def test_of_too_many_replicas_a_part_is_counted_that_stays_the_same() -> None:
    counts = identities(1500)
    first = after(seen(0, counts, 1500))
    grown = after(seen(0, counts, 1500), seen(5, {name: n + 2 for name, n in counts.items()}, 1500))
    assert 0 < len(first.marks) < 1500
    assert grown.marks.keys() == first.marks.keys()
    assert grown.totals[KEY].requests == 2 * len(first.marks)
    assert len(first.marks) == pytest.approx(1500 * first.share, rel=0.2)


@pytest.mark.heavy
def test_when_there_is_room_again_all_are_counted_but_nothing_from_before() -> None:
    counts = identities(1500)
    few = dict(list(counts.items())[:100])
    book = after(seen(0, counts, 1500), *(seen(300 * i, few, 100) for i in range(1, 12)))
    assert book.share == 1.0
    assert book.marks.keys() >= few.keys()
    assert not book.totals
    grown, _ = absorb(book, seen(9999, {name: n + 1 for name, n in few.items()}))
    assert grown.totals[KEY].requests == 100


def test_what_fell_is_counted_and_few_of_it_are_kept_in_words() -> None:
    counts = {f"r{i}": 50 for i in range(400)}
    book, _ = absorb(absorb(Ledger(), seen(0, counts))[0], seen(5, dict.fromkeys(counts, 3)))
    assert book.fallen_count == 400
    assert len(book.fallen) == MOST_FALLEN


def labelled(at_s: float, counts: tuple[int, int] | None) -> Observation:
    labels = None if counts is None else {KEY: {GateName.PRECISION: counts}}
    return seen(at_s, {"a": 1}, 1).model_copy(update={"labels": labels})


@pytest.mark.parametrize(
    ("looks", "labels"),
    [
        pytest.param([(0, 0), (5, 2), (9, 3)], (9, 3), id="growth counts"),
        pytest.param([(7, 2), (9, 3)], (2, 1), id="what the first look has is no evidence"),
        pytest.param([None, (7, 2), (9, 3)], (2, 1), id="nor what comes first after a silence, though the ledger is open"),
        pytest.param([(0, 0), (5, 2), None, None, (6, 2)], (6, 2), id="a silence loses nothing"),
        pytest.param([(0, 0), (5, 2), (4, 2)], (5, 2), id="what fell counts nothing"),
    ],
)
def test_labels_are_counted_like_one_replica(looks, labels) -> None:
    book = after(*(labelled(n, counts) for n, counts in enumerate(looks)))
    assert book.totals.get(KEY, Tally()).labels.get(GateName.PRECISION) == labels


def test_labels_that_fell_are_named_as_such() -> None:
    (fallen,) = after(labelled(0, (5, 2)), labelled(1, (4, 2))).fallen
    assert fallen == f"labels[precision].n of {KEY} fell from 5 to 4 without a restart"


def test_labels_are_kept_where_only_some_replicas_have_room() -> None:
    book = after(labelled(0, (0, 0)), labelled(1, (4, 1))).model_copy(update={"share": 0.0001})
    assert book.counts(LABELS)
    book, _ = absorb(book, labelled(2, (9, 2)))
    assert book.totals[KEY].labels == {GateName.PRECISION: (9, 2)}
    assert LABELS in book.marks
