"""What goes into an audit package: by time and model, whatever stands beside the records."""

import msgspec
import pytest

from lifecycle.governance.acts import Act
from lifecycle.governance.export.choice import ExportChoice
from serving.audit.encoding import encode_record
from tests.fakes.serving.records import record

DIGEST = "sha256:" + "a" * 64
ACT = b'{"time_us":5,"actor":"ada","action":"a.b","subject":"s","reason":"r"}'


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"no JSON", id="no JSON"),
        pytest.param(b"[" * 100_000, id="nested without end"),
        pytest.param(ACT.replace(b"5", b'"noon"'), id="a time that is none"),
        pytest.param(ACT.replace(b"}", b',"model":"\xff"}'), id="a model that is no UTF-8"),
    ],
)
def test_a_line_that_is_no_record_is_not_chosen(junk):
    assert ExportChoice().wants_record(ACT)
    assert not ExportChoice().wants_record(junk)


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"no JSON", id="no JSON"),
        pytest.param(b"[" * 100_000, id="nested without end"),
        pytest.param(ACT.replace(b"5", b'"noon"'), id="a time that is none"),
        pytest.param(ACT.replace(b"ada", b"\xff"), id="a name that is no UTF-8"),
    ],
)
def test_a_line_that_is_no_act_is_not_chosen(junk):
    assert ExportChoice().wants_act(ACT, ())
    assert not ExportChoice().wants_act(junk, ())


@pytest.mark.parametrize(
    ("time_us", "model", "is_chosen"),
    [(10, "m", True), (19, "m", True), (9, "m", False), (20, "m", False), (15, "other", False)],
)
def test_records_are_chosen_by_time_and_model(time_us, model, is_chosen):
    choice = ExportChoice(10, 20, frozenset({"m"}))
    assert choice.wants_record(encode_record(record(time_us=time_us, model=model))) is is_chosen


@pytest.mark.parametrize(("tenant", "is_chosen"), [("blue", True), ("red", False), ("", False)])
def test_records_are_chosen_by_the_tenant_of_their_caller_and_acts_of_nobody_go_along(tenant, is_chosen):
    choice = ExportChoice(tenants=frozenset({"blue"}), is_whole=False)
    assert choice.wants_record(encode_record(record(tenant=tenant))) is is_chosen
    assert not choice.wants_act(ACT, ())


@pytest.mark.parametrize(
    ("subject", "is_chosen"),
    [
        ("modelservice/local/m", True),
        ("modelservice/local/other", False),
        (f"bundle/{DIGEST}", True),
        ("bundle/sha256:" + "b" * 64, False),
        ("record/m", False),
    ],
)
def test_acts_are_chosen_by_what_they_are_about(subject, is_chosen):
    entry = msgspec.json.encode(Act(time_us=15, actor="ada", action="a.b", subject=subject, reason="r"))
    assert ExportChoice(10, 20, frozenset({"m"})).wants_act(entry, [DIGEST]) is is_chosen
    assert ExportChoice(10, 20).wants_act(entry, ())
    assert not ExportChoice(0, 15).wants_act(entry, ())
