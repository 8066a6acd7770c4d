"""Correlations of a bundle on a stream: a hit is in the verdict of the event that completes it, whatever happens to the worker."""

import logging
import random
from collections import Counter

import msgspec
import pytest

from lifecycle.governance.replay.replay import Replayer
from lifecycle.governance.replay.revisions import RevisionBook
from lifecycle.monitoring.windows.answered import AnsweredRows
from serving.audit.encoding import decode_array, decode_record, encode_record
from serving.stream.contract import AlertMessage
from serving.stream.correlations.kind import ServedCorrelations
from serving.stream.ports import Partition
from tests.unit.serving.scoring.variants import threat
from tests.unit.serving.stream.stream_world import StreamWorld, Worker

pytestmark = pytest.mark.heavy

RULES = """
title: Failed logon
name: failed
level: low
logsource: {product: site}
detection: {s: {outcome: failure}, condition: s}
"""
MANY = """
title: Many failed logons
id: 0e95725d-7320-415d-80f7-004da920fc11
name: many
tags: [attack.t1110.001]
level: high
correlation:
  type: event_count
  rules: [failed]
  group-by: [host]
  timespan: 1m
  condition: {gte: 3}
"""
USERS = MANY.replace("many", "users").replace("fc11", "fc12").replace("[host]", "[user]").replace("Many", "Users with many")
HIT = "0e95725d-7320-415d-80f7-004da920fc11"
KEY = {"logsource": {"product": "site"}}


class CorrelatingWorker(Worker):
    """A worker that evaluates the correlations of the stable bundle."""

    def _kinds_of(self, manifest):
        if not hasattr(self, "served"):
            own = self.world.settings
            self.served = ServedCorrelations(
                self.world.service_world.service.stable_rules, choice=own.correlations, lateness_s=own.lateness_s
            )
        return (self.kind, *self.served(manifest))


class CorrelatedStream(StreamWorld):
    def worker(self):
        self.workers.append(CorrelatingWorker(self, f"w{len(self.workers)}"))
        return self.workers[-1]


def bundle(folder, version="1", files=(RULES, MANY), use="verdict", **fields):
    named = {f"rules/{number}.yml": text.encode() for number, text in enumerate(files)}
    named["rules/rules.yaml"] = f"use: {use}".encode()
    return threat(folder, version, files=named, rules=KEY, **{"techniques": ("T1071",), **fields})


def failed(second, host="a", **more):
    return {"host": host, "level": -3.0, "outcome": "failure", "time": second, **more}


@pytest.fixture
def make(tmp_path):
    made = []

    def new(*, how=None, **fields):
        made.append(CorrelatedStream(tmp_path / str(len(made)), **(how or {})))
        made[-1].serve(bundle(tmp_path / f"b{len(made)}", **fields))
        return made[-1]

    yield new
    for world in made:
        world.close()


def send(world, *events):
    for event in events:
        world.produce(event, time_us=1_000_000 * event["time"])


def hits(world):
    return {verdict.id: verdict.rules for verdict in world.verdicts() if HIT in verdict.rules}


def test_the_event_that_completes_a_correlation_alerts(make):
    world = make()
    send(world, failed(1), failed(2), failed(3, "b"), failed(4))
    world.worker().steps(3)
    by_time = {verdict.event_time[:19]: verdict for verdict in world.verdicts()}
    verdict = by_time["1970-01-01T00:00:04"]
    assert (verdict.verdict, verdict.source, verdict.rules, verdict.techniques) == (
        "alert", "model+rules", (HIT,), ("T1110.001",),
    )  # fmt: skip
    assert not verdict.degraded
    assert verdict.score is not None
    assert {v.verdict for t, v in by_time.items() if t != "1970-01-01T00:00:04"} == {"benign"}
    (record,) = world.broker.read(world.settings.alerts)
    alert = msgspec.json.decode(record.value, type=AlertMessage)
    assert (alert.title, alert.severity, alert.group) == ("Many failed logons", "high", "a|T1110.001")


def test_a_hit_has_a_record_of_its_own_beside_that_of_the_verdict(make):
    world = make()
    send(world, failed(1), failed(2), failed(3, "b"), failed(4))
    world.worker().steps(3)
    (verdict,) = [v for v in world.verdicts() if v.verdict == "alert"]
    records = world.service_world.audit.records
    answers, (record,) = [r for r in records if r.correlation is None], [r for r in records if r.correlation is not None]
    assert sum(answer.rows for answer in answers) == 4
    line = encode_record(record)
    kept = decode_record(line)
    assert (kept.source, kept.verdicts, kept.rules, kept.rows) == ("correlation", ["alert"], [[HIT]], 1)
    assert (kept.model, kept.version, kept.revision, kept.door) == ("threat", "1", verdict.revision, "kafka")
    assert decode_array(kept.inputs["host"]).tolist() == [b"a"]
    hit = kept.correlation
    assert (hit.rule, hit.title, hit.severity, hit.raises) == (HIT, "Many failed logons", "high", "alert")
    assert (hit.event, len(hit.events), hit.techniques) == (verdict.id, 3, ("T1110.001",))
    assert (hit.receipt, hit.row) == (verdict.receipt, verdict.row)
    assert kept.receipt not in {answer.receipt for answer in answers}
    assert len(AnsweredRows.of("threat", list(map(decode_record, map(encode_record, answers))))) == 4
    report = Replayer(RevisionBook(world.service_world.store.root)).replay([line[:-1]])
    assert dict(report.outcomes) == {"not replayable": 1}


def test_an_alert_of_the_model_alone_names_the_detectors_techniques(make):
    world = make()
    send(world, {"host": "a", "level": 3.0, "time": 1})
    world.worker().steps(2)
    (verdict,) = world.verdicts()
    assert (verdict.verdict, verdict.source, verdict.techniques) == ("alert", "model", ("T1071",))


def test_rules_that_are_a_fallback_are_only_named(make):
    world = make(use="fallback")
    send(world, *(failed(n) for n in range(1, 4)))
    world.worker().steps(3)
    (verdict,) = [v for v in world.verdicts() if v.rules]
    assert (verdict.verdict, verdict.source, verdict.techniques) == ("benign", "model", ("T1110.001",))
    assert not world.broker.read(world.settings.alerts)


def test_a_killed_workers_correlations_go_on_in_the_next(make):
    world = make()
    send(world, failed(1), failed(2))
    first = world.worker()
    first.steps(3)
    first.kill()
    send(world, failed(3))
    world.worker().steps(4)
    assert list(hits(world).values()) == [(HIT,)]


def test_hits_are_the_same_whenever_workers_are_killed(make):
    rng = random.Random(11)
    events = [failed(n, f"h{rng.randrange(4)}") for n in range(1, 90)]
    quiet = make()
    send(quiet, *events)
    quiet.worker().steps(12)
    expected = set(hits(quiet))
    assert len(expected) > 4
    disturbed = make(how={"batch_events": 7})
    worker = disturbed.worker()
    for start in range(0, len(events), 9):
        send(disturbed, *events[start : start + 9])
        worker.steps(rng.randrange(1, 4))
        if rng.random() < 0.6:
            worker.kill()
            worker = disturbed.worker()
    worker.steps(12)
    assert Counter(verdict.id for verdict in disturbed.verdicts()).most_common(1)[0][1] == 1, "one verdict each"
    assert set(hits(disturbed)) == expected


def test_a_bundle_with_changed_rules_keeps_the_state_of_those_that_stay(make, tmp_path):
    world = make()
    send(world, failed(1), failed(2))
    worker = world.worker()
    worker.steps(3)
    other = MANY.replace("fc11", "fc13").replace("name: many", "name: more").replace("gte: 3", "gte: 4")
    world.serve(bundle(tmp_path / "next", "2", files=(RULES, MANY, other)))
    send(world, failed(3), failed(4))
    worker.steps(4)
    assert list(hits(world).values()) == [(HIT,)]
    worker.kill()
    send(world, failed(5), failed(6))
    world.worker().steps(4)
    assert HIT.replace("fc11", "fc13") in {rule for verdict in world.verdicts() for rule in verdict.rules}


def test_groups_that_lie_in_several_partitions_are_told(make, caplog):
    world = make(files=(RULES, MANY, USERS))
    with caplog.at_level(logging.WARNING):
        worker = world.worker()
        worker.steps(2)
    assert "'Users with many failed logons'" in caplog.text
    assert "counted within each partition only" in caplog.text
    state = worker.served._kind.open(Partition("x", 0))
    assert {rule.name for rule in state.engine.rules} == {"many", "users"}


def test_groups_that_lie_in_several_partitions_are_left_out_by_setting(make, caplog):
    world = make(files=(RULES, MANY, USERS), how={"correlations": "whole"})
    worker = world.worker()
    worker.steps(2)
    assert "left out" in caplog.text
    state = worker.served._kind.open(Partition("x", 0))
    assert {rule.name for rule in state.engine.rules} == {"many"}


def test_without_correlations_there_is_no_state(make):
    for fields in ({"files": (RULES,)}, {"how": {"correlations": "off"}}):
        world = make(**fields)
        worker = world.worker()
        worker.steps(2)
        assert worker.served._kind is None


def test_the_state_is_told_in_figures(make):
    world = make()
    send(world, *(failed(n) for n in range(1, 5)))
    worker = world.worker()
    worker.steps(3)
    assert worker.served._kind.metrics() == {"groups": 1.0, "items": 4.0, "forgotten": 0.0, "hits": 1.0, "partial_hits": 0.0}


def test_an_event_that_no_rule_can_read_is_scored_all_the_same(make):
    world = make(
        request_fields=[{"name": "level", "datatype": "FP32"}, {"name": "event", "datatype": "BYTES"}],
        use="verdict",
    )
    send(world, failed(1, event="{"), failed(2, event="[]"))
    world.worker().steps(2)
    assert [verdict.verdict for verdict in world.verdicts()] == ["benign", "benign"]
