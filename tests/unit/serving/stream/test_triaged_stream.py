"""A stream whose revision has triage on: the verdict of an event that was ended says so, has no score, and raises no alert."""

import msgspec
import pytest

from serving.spec import RevisionSpec, TriageSwitch
from serving.stream.contract import AlertMessage
from tests.unit.serving.scoring.triage.test_triage import with_triage


def test_an_event_that_triage_ended_has_a_benign_verdict_without_a_score(make, tmp_path):
    world, bundle = make(None), with_triage(tmp_path / "bundle")
    world.serve(bundle, revision=RevisionSpec(bundle=bundle.digest, triage=TriageSwitch(audit_share=0.0)))
    for number, (host, level) in enumerate((("a", -3.0), ("b", 3.0), ("c", -0.3))):
        world.produce({"host": host, "level": level, "event_id": str(number)})
    world.worker().steps(2)
    found = {v.event_id: (v.verdict, v.source, v.score) for v in world.verdicts()}
    assert found["0"] == ("benign", "triage", None)
    assert found["1"] == ("alert", "model", pytest.approx(0.9526, abs=1e-4))
    assert found["2"] == ("benign", "model", pytest.approx(0.4256, abs=1e-4))
    for record in world.broker.read(world.settings.verdicts):
        assert b"NaN" not in (record.value or b"")
    (alert,) = world.broker.read(world.settings.alerts)
    assert msgspec.json.decode(alert.value or b"", type=AlertMessage).verdict.event_id == "1"
    words = {
        (record.receipt, row): word
        for record in world.service_world.audit.records
        for row, word in zip(
            record.row_numbers if record.row_numbers is not None else range(record.rows), record.triage, strict=True
        )
    }
    assert [words[v.receipt, v.row] for v in sorted(world.verdicts(), key=lambda v: v.event_id)] == [
        "ended",
        "passed",
        "passed",
    ]
    assert world.service_world.series()["vedette_triage_rows_total"] == {
        ("threat", "ended", "stable", "1"): 1.0,
        ("threat", "passed", "stable", "1"): 2.0,
    }
