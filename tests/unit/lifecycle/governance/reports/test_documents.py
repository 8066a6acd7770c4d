"""Model cards and compliance reports: what is in them, and that no text of others breaks their form."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from lifecycle.documents.document import Document, Grid, Section, write
from lifecycle.governance.acts import Act
from lifecycle.governance.lineage.facts import AnswersFact, BundleFact, RolloutFact
from lifecycle.governance.reports.compliance import ComplianceFacts, compliance_report
from lifecycle.governance.reports.model_card import model_card, validation_rates
from lifecycle.governance.verify.findings import Finding, FindingKind, LogFigures, Place, Report
from lifecycle.metrics import Rates
from serving.models.manifest import Expected, FieldSpec, Guarantee, Lineage, Manifest, OperatingPoint, ScoreSpec, TensorSpec
from serving.spec import RevisionSpec

DIGEST = "sha256:" + "a" * 64
EXPECTED = Expected(precision=0.9, recall=0.98, f1=0.94, false_alarm_rate=0.01, attack_share=0.1, rows=1000, is_met=False)
HOLDS = Guarantee(confidence=0.95, what="recall", bound=0.98, unit="entity", units=180, method="a test")
PROVENANCE = {
    "source": "a capture",
    "labels": [{"rows": "all", "by": "a lab", "how": "by script"}],
    "findings": ["one day"],
}


@pytest.fixture
def bundle():
    lineage = Lineage(
        data_digest="sha256:" + "d" * 64,
        data={"rows": 5000, "attacks": 500, "first_us": 0, "last_us": 60_000_000},
        code_commit="c" * 40,
        seed=7,
        detector={"provenance": PROVENANCE},
    )
    tensor = TensorSpec(name="x", datatype="FP32", shape=(-1, 1))
    point = OperatingPoint(threshold=0.5, investigate=0.1, requirement="recall >= 0.98", expected=EXPECTED)
    manifest = Manifest.model_construct(
        name="flows",
        version="1",
        description="Flows | of <hosts>",
        inputs=(tensor,),
        outputs=(tensor,),
        entity_keys=(FieldSpec(name="host", datatype="BYTES"),),
        request_fields=(FieldSpec(name="proto", datatype="BYTES", description="tcp | udp"),),
        score=ScoreSpec(output="x"),
        operating_points={"breach_response": point},
        lineage=lineage,
        files={},
    )
    return BundleFact(DIGEST, manifest)


def rollout(outcome="promoted"):
    return RolloutFact(
        "flows", 1, RevisionSpec(bundle=DIGEST), None, "2026-01-01", "2026-01-02", outcome, "bob", "no worse | fine"
    )


def act(action="rollout.approve", *, outcome="accepted", time_us=5):
    return Act(time_us=time_us, actor="bob", action=action, subject=f"bundle/{DIGEST}", reason="<b>seen</b>", outcome=outcome)


def section(document, title):
    return next(s for s in document.sections if s.title == title)


def alarm(revision, subject="bytes"):
    evidence = {"alarm_id": f"alarm-{subject}", "kind": "data_drift", "subject": subject, "segment": None, "revision": revision}
    return Act(
        time_us=7,
        actor="monitor",
        action="monitor.alarm",
        subject="modelservice/local/flows",
        reason="moved",
        evidence=evidence,
    )


class Tags(HTMLParser):
    """Which tags are open at the end, and which were seen."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_card_has_the_figures_with_their_intervals(bundle):
    row = section(model_card(bundle, [rollout()], [act()]), "Operating points").grid.rows[0]
    assert row[3] == "NO"
    assert row[4].startswith("0.9800 (0.9")


def test_the_counts_behind_the_figures_are_found_again():
    assert validation_rates(EXPECTED) == Rates(98, 2, 9, 891)


def test_a_card_names_data_labels_limits_and_decisions(bundle):
    card = model_card(bundle, [rollout()], [act()])
    assert section(card, "Training data and its provenance").grid.rows == (("all", "a lab", "by script"),)
    limits = section(card, "Limits").text
    assert "Known of the data: one day." in limits
    assert any("breach_response does not meet" in limit for limit in limits)
    assert section(card, "Approvals and other governed acts").grid.rows[0][1] == "bob"
    assert section(card, "Rollouts and experiments").grid.rows[0][5] == "promoted"


@pytest.mark.parametrize(
    "missing",
    [
        "No evaluation on unseen rows",
        "never rolled out here",
        "None are recorded",
        "No major alarm of `vedette monitor` is recorded",
    ],
)
def test_what_nobody_recorded_is_said_to_be_missing(bundle, missing):
    assert missing in write(model_card(bundle, [], []), "md")


def test_an_evaluation_of_another_detector_is_refused(bundle):
    with pytest.raises(ValueError, match="nsl-kdd"):
        model_card(bundle, [], [], {"detector": "nsl-kdd", "seeds": []})


def test_an_evaluation_is_shown_by_seed_and_segment(bundle):
    share = {"value": 0.5, "low": 0.4, "high": 0.6}
    shares = {"recall": share, "precision": share, "false_alarm_rate": share}
    unit = {"unit": "row", "benign": "all", "operating_points": [{"operating_point": "breach_response", **shares}]}
    segment = {"segment": "proto", "value": "tcp", "scenario": "breach_response", "rates": shares}
    card = model_card(bundle, [], [], {"detector": "flows", "seeds": [{"seed": 3, "units": [unit], "segments": [segment]}]})
    assert section(card, "Figures on unseen rows").grid.rows[0][0] == "3"
    assert section(card, "By segment").grid.rows[0][1] == "proto = tcp"


def test_html_is_whole_and_escapes_what_others_wrote(bundle):
    tags = Tags()
    tags.feed(write(model_card(bundle, [rollout()], [act()]), "html"))
    assert tags.open == []
    assert "b" not in tags.seen
    assert "script" not in tags.seen


def test_a_cell_of_a_markdown_table_stays_one_cell():
    document = Document("t", "a", (Section("s", grid=Grid(("one", "two"), (("a|b\nc", "d"),))),), {})
    (row,) = [line for line in write(document, "md").splitlines() if "a\\|b" in line]
    assert row == "| a\\|b c | d |"


@pytest.mark.parametrize(
    ("changes", "cell", "said", "limit"),
    [
        pytest.param({}, "NO", None, "does not meet its requirement on the validation rows", id="not met, and nothing was promised"),
        pytest.param(
            {"shortfall": "too few attacks"}, "NO", "breach_response: too few attacks.", "with no stated confidence",
            id="cannot be had",
        ),
        pytest.param(
            {"expected": EXPECTED.model_copy(update={"is_met": True}), "holds": HOLDS}, "95%, 180 entities",
            "breach_response: recall >= 0.98 with 95% confidence, from 180 attacked entities (a test).", None, id="holds",
        ),
    ],
)  # fmt: skip
def test_what_is_promised_of_an_operating_point(bundle, changes, cell, said, limit):
    point = bundle.manifest.operating_points["breach_response"].model_copy(update=changes)
    manifest = bundle.manifest.model_copy(update={"operating_points": {"breach_response": point}})
    card = model_card(replace(bundle, manifest=manifest), [], [])
    found = section(card, "Operating points")
    assert found.grid.rows[0][found.grid.columns.index("holds")] == cell
    assert said is None or said in found.text
    limits = " ".join(section(card, "Limits").text)
    assert limit is None or limit in limits
    assert limit is not None or "breach_response" not in limits


HOSTILE = "# x\n\n\\<i>a <script>steal()</script> ![p](http://e.example/p.png) [a](javascript:x) a\\|b\n- <b>c"


def test_text_of_others_stays_text_in_markdown(bundle):
    bundle = replace(bundle, manifest=bundle.manifest.model_copy(update={"description": HOSTILE}))
    text = write(model_card(bundle, [replace(rollout(), reason=HOSTILE)], [Act(time_us=1, actor=HOSTILE, action="a.b",
        subject=f"bundle/{DIGEST}", reason=HOSTILE)]), "md")  # fmt: skip
    assert sum(line.startswith("# ") for line in text.splitlines()) == 1, "there is no heading of somebody else"
    for form in ("<script", "<b>", "<i>", "![p](", "](javascript"):
        assert form not in text
    assert "&lt;script>steal()&lt;/script>" in text


@pytest.mark.parametrize(
    ("text", "cell"),
    [("a|b", "a\\|b"), ("a\\|b", "a\\\\\\|b"), ("a\\b", "a\\b"), ("score < 0.5", "score < 0.5"), ("x[3]", "x[3]")],
)
def test_a_cell_holds_its_text(text, cell):
    """A backslash before a bar does not free the bar: each of them is escaped."""
    document = Document("t", "a", (Section("s", grid=Grid(("one", "two"), ((text, "d"),))),), {})
    assert write(document, "md").splitlines()[-1] == f"| {cell} | d |"


@pytest.mark.parametrize("block", ["# h", "> q", "- i", "| a |", "[a]: http://e.example", "---", "```", "==="])
def test_a_paragraph_begins_no_block(block):
    document = Document("t", block, (), {})
    assert write(document, "md").splitlines()[2] == f"\\{block}"


@pytest.mark.parametrize("time_us", [2**63 - 1, -(2**63)])
def test_a_moment_that_no_calendar_has_is_shown_as_recorded(bundle, time_us):
    strange = bundle.manifest.lineage.model_copy(update={"data": {"first_us": time_us, "last_us": 0}})
    manifest = bundle.manifest.model_copy(update={"lineage": strange})
    text = write(model_card(replace(bundle, manifest=manifest), [], [act(time_us=time_us)]), "html")
    assert text.count(f"{time_us} us since 1970") == 2


@pytest.mark.parametrize("data", [{"first_us": 5}, {"last_us": 5}])
def test_a_time_range_with_one_end_is_none(bundle, data):
    half = bundle.manifest.lineage.model_copy(update={"data": data})
    card = model_card(replace(bundle, manifest=bundle.manifest.model_copy(update={"lineage": half})), [], [])
    assert "time range" not in dict(section(card, "Training data and its provenance").facts)


@pytest.mark.parametrize("evaluation", [[], "text", 5])
def test_an_evaluation_that_is_no_object_is_refused(bundle, evaluation):
    with pytest.raises(ValueError, match="expected a JSON object"):
        model_card(bundle, [], [], evaluation)


def test_json_has_the_record(bundle):
    record = json.loads(write(model_card(bundle, [rollout()], [act()]), "json"))
    assert record["bundle"] == DIGEST
    assert record["operating_points"]["breach_response"]["recall"]["value"] == 0.98


def compliance(**changes):
    log = LogFigures("one", 1, 10, 10, 1, 0)
    acts = (
        act(),
        act("rollout.break-glass"),
        act("rollout.approve", outcome="refused"),
        act("bundle.train"),
        act(time_us=1000),
    )
    facts = {
        "first_us": 0,
        "last_us": 100,
        "model": None,
        "answers": (AnswersFact("flows", "1", "sha256:" + "9" * 64, 10, 1, 2),),
        "acts": acts,
        "rollouts": (rollout(),),
        "bundles": (),
        "reports": (Report("audit", (log,), (), ()),),
    }
    return compliance_report(ComplianceFacts(**{**facts, **changes}))


def test_a_compliance_report_sorts_the_acts_of_its_span():
    titles = {s.title: len(s.grid.rows) for s in compliance().sections if s.grid}
    assert titles["Approvals"] == 1
    assert titles["Emergency approvals (break-glass)"] == 1
    assert titles["Refused acts"] == 1
    assert titles["Other governed acts"] == 1


def test_a_log_that_was_changed_comes_first_and_is_named():
    finding = Finding(FindingKind.CHANGED, Place("one", 1, 3), "line 3 is another one")
    report = compliance(reports=(Report("audit", (), (finding,), ()),))
    assert report.sections[0].text[0].startswith("NOT SOUND. changed: ")
    assert report.record["is_sound"] is False


def test_one_model_alone(bundle):
    service = Act(time_us=5, actor="eve", action="rollout.approve", subject="modelservice/local/other", reason="r")
    report = compliance(model="other", acts=(act(), service), bundles=(bundle,))
    assert section(report, "Answers by revision").grid.rows == ()
    assert section(report, "Rollouts and experiments").grid.rows == ()
    assert [row[1] for row in section(report, "Approvals").grid.rows] == ["eve"], "acts of other models are left out"
    assert [a["actor"] for a in compliance(model="flows", acts=(act(), service), bundles=(bundle,)).record["acts"]] == ["bob"]


DAY_US = 86_400_000_000


@pytest.mark.parametrize(
    ("started", "ended", "is_shown"),
    [
        pytest.param("1970-01-02T00:00:00+00:00", "1970-01-03T00:00:00+00:00", True, id="within"),
        pytest.param("1969-01-01T00:00:00+00:00", None, True, id="still under way"),
        pytest.param("1970-01-01T23:00:00-02:00", "1970-01-03T00:00:00+00:00", True, id="began in another time zone"),
        pytest.param("1970-01-04T00:30:00+00:00", None, False, id="began after it"),
        pytest.param("1970-01-04T00:30:00+01:00", None, True, id="began within it, by its time zone"),
        pytest.param("1969-01-01T00:00:00+00:00", "1970-01-01T23:59:59+00:00", False, id="ended before it"),
        pytest.param("", None, True, id="when is not known"),
    ],
)
def test_rollouts_are_of_the_span(started, ended, is_shown):
    one = replace(rollout(), started=started, ended=ended)
    report = compliance(first_us=DAY_US, last_us=3 * DAY_US, rollouts=(one,))
    assert len(section(report, "Rollouts and experiments").grid.rows) == len(report.record["rollouts"]) == is_shown


def test_the_time_of_a_rollout_is_shown_in_utc():
    one = replace(rollout(), started="1970-01-01T02:00:00+02:00", ended=None)
    assert section(compliance(rollouts=(one,)), "Rollouts and experiments").grid.rows[0][2:4] == (
        "1970-01-01 00:00:00 UTC",
        "-",
    )


@pytest.mark.parametrize(("revision", "rollouts", "is_shown"), [
    pytest.param(RevisionSpec(bundle=DIGEST), [], True, id="of the bundle as it is served without a rollout"),
    pytest.param(RevisionSpec(bundle=DIGEST, operating_point="breach_response"), [], True, id="at another of its points"),
    pytest.param(RevisionSpec(bundle=DIGEST, thresholds={"triage": 0.3}), [], False, id="with thresholds that nobody rolled out"),
    pytest.param(RevisionSpec(bundle="sha256:" + "b" * 64), [rollout()], False, id="of another bundle"),
])  # fmt: skip
def test_a_card_shows_the_major_alarms_about_answers_of_its_bundle(bundle, revision, rollouts, is_shown):
    card = model_card(bundle, rollouts, [alarm(revision.digest), act()])
    assert [row[1:3] for row in section(card, "Drift").grid.rows] == [("data drift", "bytes")] * is_shown
    assert [one["subject"] for one in card.record["alarms"]] == ["bytes"] * is_shown
    assert len(section(card, "Approvals and other governed acts").grid.rows) == 1
