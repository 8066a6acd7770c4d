"""Pages of replicas become what was observed of the variants."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from operators.backends.evidence import SERIES, Scrape, read_samples
from operators.backends.exposition import ExpositionError, samples, series
from operators.backends.load import LoadMeter, quantile_s
from operators.rollout.spec import GateName
from tests.fakes.operator.metrics_page import CANDIDATE, STABLE, page, refused

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def scrape(*pages: str, model: str = "ids", at: datetime = NOW) -> Scrape:
    return read_samples(model, [[(series(t), v) for t, v in samples(p)] for p in pages], at)


def test_every_counter_reaches_its_place():
    (replica,) = scrape(page("r1")).replicas
    stable, candidate = replica.tallies[f"stable@{STABLE}"], replica.tallies[f"candidate@{CANDIDATE}"]
    assert (stable.requests, stable.rows, stable.entities) == (900, 950, 80)
    assert stable.bad == {GateName.ERRORS: 3, GateName.LATENCY: 5, GateName.ALERT_RATE: 40}
    assert stable.entities_bad == {GateName.ERRORS: 1}
    assert (candidate.requests, candidate.mirrored, candidate.mirrored_rows) == (100, 700, 720)
    assert candidate.mirrored_bad == {GateName.LATENCY: 7}
    assert candidate.pairs == {"benign>benign": 690, "benign>alert": 30}
    assert candidate.scores == {"0.5": 700, "0.9": 20}
    assert (stable.segment_rows, stable.segment_alerts) == ({"unit=hr": 40}, {"unit=hr": 4})
    assert (stable.segment_entities, stable.segment_entity_alerts) == ({"unit=hr": 9}, {"unit=hr": 1})
    assert (candidate.mirrored_segment_rows, candidate.mirrored_segment_alerts) == ({"unit=hr": 30}, {"unit=hr": 3})
    assert candidate.segment_rows == {}, "a unit of a newer data plane is not an error"
    assert replica.loaded == (STABLE, CANDIDATE)
    assert replica.failed == {}


def test_a_revision_met_under_two_names_keeps_two_tallies_of_pairs():
    named = f'replica="r1",model="ids",variant="former",revision="{CANDIDATE}",against="{STABLE}"'
    text = page("r1") + f'vedette_evidence_pairs_total{{{named},reference="alert",candidate="benign"}} 5\n'
    tallies = scrape(text).replicas[0].tallies
    assert tallies[f"candidate@{CANDIDATE}"].pairs == {"benign>benign": 690, "benign>alert": 30}
    assert tallies[f"former@{CANDIDATE}"].pairs == {"alert>benign": 5}


def test_pairs_that_a_replica_counts_together_between_two_of_its_pages_count_once():
    """The pairs with stable's revisions that are long gone become one series (`_other`) while the replica is read under two addresses."""

    def told(**against: int) -> str:
        named = f'replica="r1",model="ids",variant="candidate",revision="{CANDIDATE}",reference="benign",candidate="alert"'
        lines = [f'vedette_evidence_pairs_total{{{named},against="{a}"}} {n}' for a, n in against.items()]
        return "\n".join([*lines, ""])

    before, after = told(_other=2, gone=5, there=3), told(_other=7, there=4)
    for pages in ((before, after), (after, before), (after, after), (after,)):
        assert scrape(*pages).replicas[0].tallies[f"candidate@{CANDIDATE}"].pairs == {"benign>alert": 11}
    assert scrape(before).replicas[0].tallies[f"candidate@{CANDIDATE}"].pairs == {"benign>alert": 10}


@pytest.mark.parametrize(
    ("pages", "replicas", "requests"),
    [
        pytest.param((page("r1"), page("r2")), ["r1", "r2"], 900, id="each replica keeps its own counters"),
        pytest.param((page("r1"), page("r1")), ["r1"], 900, id="a replica told of by two pages counts once"),
        pytest.param((page("r1", 10), page("r1", 900)), ["r1"], 900, id="of two tellings the later one counts"),
        pytest.param((page("r1") + page("r2"),), ["r1", "r2"], 900, id="one page may speak for its siblings"),
        pytest.param((page("r1") + page("r1", 5, model="other"),), ["r1"], 900, id="another model's counters are not ours"),
    ],
)
def test_pages_together(pages, replicas, requests):
    seen = scrape(*pages).replicas
    assert [r.replica for r in seen] == replicas
    assert {r.tallies[f"stable@{STABLE}"].requests for r in seen} == {requests}


def test_a_revision_that_could_not_be_loaded_says_why():
    labels = f'replica="r1",model="ids",version="2",variant="candidate",revision="{CANDIDATE}"'
    line = f'vedette_model_failed{{{labels},reason="golden \\"0\\""}} 1\n'
    text = "\n".join(x for x in page("r1").splitlines() if "model_info" not in x or STABLE in x) + "\n" + line
    (replica,) = scrape(text).replicas
    assert replica.failed == {CANDIDATE: 'golden "0"'}
    assert replica.loaded == (STABLE,)


def test_a_gate_of_a_newer_data_plane_is_not_an_error():
    text = (
        page("r1")
        + f'vedette_evidence_bad_total{{replica="r1",model="ids",variant="stable",revision="{STABLE}",route="live",gate="novel"}} 9\n'
    )
    assert set(scrape(text).replicas[0].tallies[f"stable@{STABLE}"].bad) == {"errors", "latency", "alertRate"}


def test_the_parser_reads_what_prometheus_client_reads():
    text = page("r1") + 'vedette_model_failed{replica="a,b=\\"}\\" 7 \\\\",reason="two\\nlines"} 1e3 1700000000000\n'
    reference = {
        (s.name, tuple(sorted(s.labels.items()))): s.value for f in text_string_to_metric_families(text) for s in f.samples
    }
    ours = {(series(t)[0], tuple(sorted(series(t)[1].items()))): v for t, v in samples(text)}
    assert ours == {place: value for place, value in reference.items() if place[0].startswith("vedette_")}


@pytest.mark.parametrize("line", ['vedette_a{b="c"} many', "vedette_a", 'vedette_a{b="c"}', "vedette_a{b=c} 1"])
def test_a_damaged_page_is_refused_with_its_line(line):
    with pytest.raises(ExpositionError, match="vedette_a"):
        [series(t) for t, _ in samples(line + "\n")]


def test_load_is_what_counters_grew_by_between_two_looks():
    meter = LoadMeter()
    first = meter.measure("s", scrape(page("r1", 900)), ready_replicas=1, wanted_replicas=2)
    assert first.problem is not None
    assert first.ongoing == 4
    later = scrape(page("r1", 1500), at=NOW + timedelta(seconds=10))
    second = meter.measure("s", later, ready_replicas=1, wanted_replicas=2)
    assert second.problem is None
    assert second.rate_per_s == pytest.approx(60)
    assert second.p99_ms == pytest.approx(9.9)
    assert (second.ready_replicas, second.wanted_replicas) == (1, 2)


def test_a_restarted_replica_adds_no_negative_rate():
    meter = LoadMeter()
    meter.measure("s", scrape(page("r1", 900)), ready_replicas=1, wanted_replicas=1)
    load = meter.measure("s", scrape(page("r1", 100), at=NOW + timedelta(seconds=10)), ready_replicas=1, wanted_replicas=1)
    assert load.rate_per_s == 0


@pytest.mark.parametrize(
    ("buckets", "q", "expected"),
    [
        pytest.param({0.1: 100, float("inf"): 100}, 0.5, 0.05, id="linear within a bucket"),
        pytest.param({0.1: 50, float("inf"): 100}, 0.99, 0.1, id="beyond the last bound counts as the bound"),
        pytest.param({0.1: 0, float("inf"): 0}, 0.99, None, id="nothing answered, nothing known"),
        pytest.param({}, 0.99, None, id="no histogram"),
    ],
)
def test_quantile(buckets, q, expected):
    assert quantile_s(buckets, q) == (None if expected is None else pytest.approx(expected))


def test_the_page_of_these_tests_has_every_series_that_is_read():
    present = {series(t)[0] for t, _ in samples(page("r1") + refused("r1"))}
    assert present == set(SERIES)
