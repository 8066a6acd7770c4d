"""What would have changed the verdict: true, plausible, and the fewest changes."""

import numpy as np
import pytest

from serving.explanations.columns import InputColumns
from serving.explanations.counterfactual import ColumnChange, CounterfactualFinder, CounterfactualSearch, WantedScores
from serving.models.manifest import Manifest, TensorAssembly, TensorSpec

SPECS = (TensorSpec(name="word", datatype="BYTES", shape=(-1, 1)), TensorSpec(name="x", datatype="FP32", shape=(-1, 3)))
ASSEMBLY = (TensorAssembly(tensor="word", columns=("proto",)), TensorAssembly(tensor="x", columns=("peers", "bytes", "age")))
FIELDS = [{"name": n, "datatype": "BYTES" if n == "proto" else "FP32"} for n in ("proto", "peers", "bytes", "age")]
MANIFEST = Manifest(name="m", version="1", inputs=SPECS, outputs=(), files={}, assembly=ASSEMBLY, request_fields=FIELDS)


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    numbers = np.column_stack([rng.integers(0, 12, 500), rng.gamma(2, 900, 500), rng.normal(size=500)]).astype(np.float32)
    return {"word": rng.choice(np.array(["tcp", "udp", "icmp"], dtype=object), (500, 1), p=[0.6, 0.3, 0.1]), "x": numbers}


def row(proto: str, *numbers: float) -> dict[str, np.ndarray]:
    return {"word": np.array([[proto]], dtype=object), "x": np.array([numbers], np.float32)}


def search(scores, asked, reference, target: WantedScores, **options) -> CounterfactualSearch:
    def run(tensors: dict[str, np.ndarray], rows: int) -> np.ndarray:
        return scores(tensors["word"][:, 0], tensors["x"].astype(np.float64))

    return CounterfactualFinder(InputColumns.of(MANIFEST, reference), asked, reference, run, target, **options).search()


BENIGN = WantedScores(high=0.5)


def test_a_whole_number_gets_its_exact_edge(reference):
    found = search(lambda w, x: np.where(x[:, 0] > 4, 0.9, 0.1), row("tcp", 9, 100, 0), reference, BENIGN)
    assert found.found[0].changes == (ColumnChange("peers", 9.0, None, 4.0),)
    assert (found.found[0].score, found.is_met) == (0.1, False)


def test_a_measured_number_gets_a_round_edge_that_holds(reference):
    def scores(words, x):
        return np.where(x[:, 1] > 1234.567, 0.9, 0.1)

    change = search(scores, row("tcp", 3, 4000, 0), reference, BENIGN).found[0].changes[0]
    assert (change.column, change.low) == ("bytes", None)
    assert change.high is not None
    assert 1100 <= change.high <= 1234.567
    assert change.high == round(change.high, -1)


def test_a_range_between_two_bounds_is_told_as_one(reference):
    found = search(lambda w, x: np.where((x[:, 0] >= 2) & (x[:, 0] <= 5), 0.1, 0.9), row("tcp", 9, 100, 0), reference, BENIGN)
    assert found.found[0].changes == (ColumnChange("peers", 9.0, 2.0, 5.0),)


def test_upwards_and_towards_an_alert_as_well(reference):
    found = search(lambda w, x: x[:, 0] / 10, row("udp", 2, 100, 0), reference, WantedScores(low=0.8))
    assert found.found[0].changes == (ColumnChange("peers", 2.0, 8.0, None),)


def test_words_that_would_do_are_named(reference):
    found = search(lambda w, x: np.where(w == "tcp", 0.9, 0.1), row("tcp", 9, 100, 0), reference, BENIGN)
    assert found.found[0].changes == (ColumnChange("proto", "tcp", words=("udp", "icmp")),)


def test_two_columns_only_where_one_does_not_do(reference):
    def scores(words, x):
        return 0.3 * (x[:, 0] > 4) + 0.3 * (x[:, 1] > 1000) + 0.1

    found = search(scores, row("tcp", 9, 4000, 0), reference, WantedScores(high=0.2))
    assert [len(one.changes) for one in found.found] == [2]
    peers, size = found.found[0].changes
    assert (peers.column, size.column, peers.low, size.low) == ("peers", "bytes", None, None)
    assert peers.high is not None
    assert size.high is not None
    assert peers.high <= 4
    assert size.high <= 1000
    asked = row("tcp", peers.high, size.high, 0)
    assert scores(asked["word"][:, 0], asked["x"].astype(float))[0] == pytest.approx(0.1)


def test_three_columns_only_where_two_do_not_do(reference):
    def scores(words, x):
        return 0.3 * (x[:, 0] > 4) + 0.3 * (x[:, 1] > 1000) + 0.3 * (words == "tcp")

    found = search(scores, row("tcp", 9, 4000, 0), reference, WantedScores(high=0.2))
    assert {change.column for change in found.found[0].changes} == {"peers", "bytes", "proto"}


def test_three_columns_of_which_only_few_values_do_are_found_step_by_step(reference):
    """Narrow ranges lie between the values of the coarse grids; what is found is true all the same."""

    def scores(words, x):
        away = [np.abs(x[:, 0] - 7) > 0.5, np.abs(x[:, 1] - 2000) > 150, np.abs(x[:, 2] - 0.4) > 0.1]
        return np.sum(away, axis=0) / 3

    found = search(scores, row("tcp", 2, 100, -1), reference, WantedScores(high=0.1))
    assert [len(one.changes) for one in found.found] == [3]
    asked = row(
        "tcp",
        *(change.low for change in sorted(found.found[0].changes, key=lambda c: ("peers", "bytes", "age").index(c.column))),
    )
    assert scores(asked["word"][:, 0], asked["x"].astype(float))[0] == 0


def test_values_are_written_as_people_write_them():
    reference = {
        "word": np.array([["tcp"]] * 3, dtype=object),
        "x": np.array([[0, 0, 0.1], [0, 0, 0.01], [0, 0, 0.3]], np.float32),
    }
    found = search(
        lambda w, x: np.where(x[:, 2] > 0.25, 0.9, np.where(x[:, 2] < 0.05, 0.9, 0.1)), row("tcp", 0, 0, 0.3), reference, BENIGN
    )
    (change,) = found.found[0].changes
    assert (change.value, change.low) == (0.3, 0.1)


def test_only_plausible_values_are_offered(reference):
    """Only 1,000 peers would be benign: no row of the reference has nearly as many, so nothing is offered, and the search says so."""
    found = search(lambda w, x: np.where(x[:, 0] > 500, 0.1, 0.9), row("tcp", 9, 100, 0), reference, BENIGN)
    assert (found.found, found.is_met, found.nearest, found.is_whole) == ((), False, 0.9, True)


def test_what_may_not_change_is_left(reference):
    found = search(lambda w, x: np.where(x[:, 0] > 4, 0.9, 0.1), row("tcp", 9, 100, 0), reference, BENIGN, fixed=("peers",))
    assert found.found == ()


def test_a_row_that_is_benign_as_it_is(reference):
    found = search(lambda w, x: np.full(len(x), 0.2), row("tcp", 9, 100, 0), reference, BENIGN)
    assert (found.found, found.is_met, found.runs) == ((), True, 1)


def test_without_time_the_search_says_that_it_is_not_whole(reference):
    found = search(lambda w, x: np.full(len(x), 0.9), row("tcp", 9, 100, 0), reference, BENIGN, has_time=lambda: False)
    assert (found.found, found.is_whole) == ((), False)


def test_a_row_whose_score_is_no_number_has_counterfactuals_too(reference):
    """A root of a negative number: the score is NaN until the column is positive."""

    def scores(_, numbers):
        with np.errstate(invalid="ignore"):
            return np.sqrt(numbers[:, 1] - 1000.0)

    asked = row("tcp", 0.0, 0.0, 0.0)
    (found,) = search(scores, asked, reference, WantedScores(low=5.0)).found
    (change,) = found.changes
    assert (change.column, change.low) == ("bytes", 1030.0)
    nothing = search(scores, asked, reference, WantedScores(high=-1.0))
    assert (nothing.found, nothing.is_whole) == ((), True)


def test_columns_are_not_looked_at_when_the_time_is_over(reference):
    """With very many columns that alone would take many times the budget."""
    looks = iter([True, False])
    finder = CounterfactualFinder(
        InputColumns.of(MANIFEST, reference), row("tcp", 0.0, 0.0, 0.0), reference,
        lambda tensors, rows: np.ones(rows), BENIGN, lambda: next(looks),
    )  # fmt: skip
    assert not finder.search().is_whole, "the clock is read once more than there was time, and nothing is asked after that"
