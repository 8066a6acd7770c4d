"""Laws of the sticky split: monotone, in order, in proportion, independent of the mirror."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from serving.scoring.entity import BUCKETS, bucket, entity_hashes, mirror_bucket, salt_of
from serving.scoring.split import Split
from tests.unit.serving.scoring.rows import columns

weights = st.lists(st.integers(0, 10_000), max_size=5).map(lambda ws: [w * 100 / max(10_000, sum(ws)) for w in ws])
place = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


def hosts(count):
    return entity_hashes(
        salt_of("flows"), columns(host=[f"10.0.{i // 256}.{i % 256}" for i in range(count)]), None, by_row=True
    )


@given(place, st.floats(0, 100), st.floats(0, 100))
def test_raising_a_weight_never_moves_an_entity_back(where, one, other):
    low, high = sorted((one, other))
    if Split.of([low]).choose(where) == 0:
        assert Split.of([high]).choose(where) == 0


@given(weights, st.lists(place, max_size=20))
def test_many_are_split_as_each_alone(shares, several):
    split = Split.of(shares)
    assert split.choose_all(several).tolist() == [split.choose(p) for p in several]


@given(weights)
def test_ranges_follow_the_declared_order_and_stable_has_the_rest(shares):
    split = Split.of(shares)
    met = [split.choose((b, 0)) for b in range(0, BUCKETS, 7)]
    assert met == sorted(met)
    assert list(split.ends) == sorted(split.ends)
    assert split.gives_away is (round(sum(shares) * 100) > 0)


@given(weights, place)
def test_a_variant_of_no_weight_is_met_by_nobody(shares, where):
    zeroed = [0.0, *shares, 0.0]
    assert Split.of(zeroed).choose(where) not in {0, len(zeroed) - 1}


def test_a_hundred_percent_is_everybody():
    split = Split.of([100.0])
    assert {split.choose(p) for p in hosts(5000)} == {0}
    assert {Split.of([33.3, 33.3, 33.4]).choose((b, 0)) for b in range(BUCKETS)} == {0, 1, 2}


def test_the_split_is_in_proportion_for_any_weights():
    found = Split.of([1.0, 5.0, 25.0]).choose_all(hosts(40_000))
    counts = np.bincount(found, minlength=4)
    assert chisquare(counts, [400, 2000, 10_000, 27_600]).pvalue > 0.001


def test_the_mirror_does_not_follow_the_split():
    table = np.zeros((2, 2))
    for p in hosts(20_000):
        table[int(bucket(p) < 2000), int(mirror_bucket(p) < 5000)] += 1
    assert chi2_contingency(table).pvalue > 0.001


def test_models_split_independently():
    table = np.zeros((2, 2))
    names = [f"10.0.{i // 256}.{i % 256}" for i in range(20_000)]
    one, two = (entity_hashes(salt_of(m), columns(host=names), None, by_row=True) for m in ("flows", "logins"))
    for a, b in zip(one, two, strict=True):
        table[int(bucket(a) < 2000), int(bucket(b) < 2000)] += 1
    assert chi2_contingency(table).pvalue > 0.001
