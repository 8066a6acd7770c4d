"""A recorded answer is explained again: what it was, why, and what is known of its entity; live, archived, redacted, erased."""

import json

import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.governance.replay.explained import explain_receipt
from lifecycle.governance.replay.recompute import NotReplayable
from lifecycle.governance.replay.revisions import RevisionBook
from operators.cli.main import app
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.writer import SegmentWriter
from tests.unit.lifecycle.governance.archive.logs import LogWorld
from tests.unit.lifecycle.governance.archive.test_archive import archive_all
from tests.unit.serving.scoring.variants import World, request, spec, threat

pytestmark = pytest.mark.heavy


class Asked:
    """A store that answered: ann three times, bob once, then both in one request that was explained."""

    def __init__(self, folder):
        self.folder, self.store = folder, folder / "store"
        self.log_world, self.world = LogWorld(self.store), World(folder)
        self.keys = SubjectKeys(self.store / "keys" / "subjects")
        self.receipts: list[str] = []

    async def answer(self, *names, **fields):
        bundle = threat(self.folder / "bundle", "1", **fields)
        self.world.store.add(bundle)
        writer = SegmentWriter(
            self.log_world.folder,
            segment_bytes=1 << 20,
            segments=0,
            queue=100,
            signer=lambda: self.log_world.signer,
            now_us=self.log_world.now,
            subject_keys=self.keys,
        )
        self.world.scorer._audit = writer
        await self.world.service.apply(spec(bundle))
        asked = [request("ann", level=level) for level in (-2.0, 0.5, 2.0)] + [request("bob", level=1.0)]
        for one in (*asked, request("ann", "bob", level=[3.0, -3.0], explain="shap"), *map(_named, names)):
            self.world.clock.advance(1.0)
            self.receipts.append((await self.world.service.infer(one)).parameters["receipt"])
        writer.close()
        return self

    def explain(self, receipt=None, method="shap", keys=True, **more):
        log = RecordLog(self.log_world.folder, self.log_world.place)
        held = self.keys if keys else SubjectKeys(self.folder / "none")
        return explain_receipt(log, RevisionBook(self.store), receipt or self.receipts[-1], method, keys=held, **more)


def _named(name):
    """One row of an entity whose key is these bytes, explained."""
    asked = request("", explain="shap")
    return replace(asked, inputs=(replace(asked.inputs[0], data=np.array([name], dtype=object)), *asked.inputs[1:]))


async def test_rows_are_explained_from_their_record_with_the_past_of_their_entity(tmp_path):
    asked = await Asked(tmp_path).answer()
    (answer,) = asked.explain()
    assert (answer.is_same, answer.record.explained) == (True, "shap")
    ann, bob = answer.rows
    assert [(row.row, row.explanation["verdict"]) for row in answer.rows] == [(0, "alert"), (1, "benign")]
    (reason,) = ann.explanation["reasons"]
    assert (reason["column"], reason["value"], reason["direction"]) == ("level", 3.0, "raises")
    assert (ann.past.answers, dict(ann.past.verdicts)) == (3, {"benign": 1, "investigate": 1, "alert": 1})
    assert ann.past.columns["level"] == [-2.0, 0.5, 2.0]
    assert ann.past.last_alert_us < answer.record.time_us
    assert (bob.past.answers, ann.past.looked_at) == (1, 4)


@pytest.mark.parametrize("method", ["rules", "counterfactual"])
async def test_other_methods(tmp_path, method):
    asked = await Asked(tmp_path).answer()
    if method == "rules":
        with pytest.raises(NotReplayable, match="at least 30 rows"):
            asked.explain(method=method)
        return
    ((answer),) = asked.explain(method=method, row=0)
    assert [row.explanation["wanted"] for row in answer.rows] == ["benign"]


async def test_the_first_answer_of_an_entity_has_no_past(tmp_path):
    asked = await Asked(tmp_path).answer()
    (answer,) = asked.explain(asked.receipts[0])
    assert (answer.rows[0].past.answers, answer.rows[0].past.looked_at) == (0, 0)


async def test_an_archived_record_is_explained_as_a_live_one(tmp_path):
    asked = await Asked(tmp_path).answer()
    before = [row.explanation for row in asked.explain()[0].rows]
    archive_all(asked.log_world)
    assert not list(asked.log_world.folder.glob("segment-*.jsonl"))
    assert [row.explanation for row in asked.explain()[0].rows] == before


async def test_a_hidden_name_has_no_past_and_its_row_is_explained(tmp_path):
    asked = await Asked(tmp_path).answer(personal={"host": "encrypt"})
    assert asked.explain()[0].rows[0].past.answers == 3
    (answer,) = asked.explain(keys=False)
    assert [row.past for row in answer.rows] == [None, None]
    assert answer.rows[0].explanation["verdict"] == "alert"


async def test_what_the_model_needs_and_is_redacted_is_named(tmp_path):
    asked = await Asked(tmp_path).answer(personal={"host": "encrypt", "level": "encrypt"})
    assert asked.explain()[0].is_same
    with pytest.raises(NotReplayable, match=r"host, level of the record is redacted, or its person was erased"):
        asked.explain(keys=False)


@pytest.mark.parametrize(
    ("receipt", "row", "says"),
    [
        pytest.param("nobody-1", None, "is not in a record", id="an unknown receipt"),
        pytest.param(None, 2, "has no row 2; rows are counted from 0", id="a row that the request did not have"),
    ],
)
async def test_what_is_not_there(tmp_path, receipt, row, says):
    asked = await Asked(tmp_path).answer()
    with pytest.raises(NotReplayable, match=says):
        asked.explain(receipt, row=row)


async def test_the_verb_prints_reasons_and_json(tmp_path):
    asked = await Asked(tmp_path).answer()
    told = [asked.receipts[-1], "--store-dir", str(asked.store)]
    done = CliRunner().invoke(app, ["explain", *told])
    assert done.exit_code == 0, done.output
    assert "row 0: alert, score 0.95" in done.output
    assert "Level is 3" in done.output
    assert "median 0.5, most 2" in done.output
    assert "ann: 3 answers since" in done.output
    assert "the client was given 'shap'" in done.output
    printed = CliRunner().invoke(app, ["explain", *told, "--row", "1", "--method", "counterfactual", "--json"])
    (answer,) = json.loads(printed.stdout)
    assert [row["explanation"]["wanted"] for row in answer["rows"]] == ["alert"]
    assert answer["rows"][0]["past"]["columns"]["level"] == {"median": 1.0, "most": 1.0, "values": 1}
    assert CliRunner().invoke(app, ["explain", *told, "--method", "guess"]).exit_code == 1


async def test_a_time_that_no_calendar_has_is_shown_as_its_number(tmp_path):
    asked = await Asked(tmp_path).answer()
    late = 10**18
    for segment in asked.log_world.folder.glob("segment-*.jsonl"):
        lines = [json.loads(line) | {"time_us": late} for line in segment.read_text().splitlines()]
        segment.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = CliRunner().invoke(app, ["explain", asked.receipts[-1], "--store-dir", str(asked.store)])
    assert done.exit_code == 0, done.output
    assert f"(stable) at time_us {late}, operating point" in done.output


async def test_a_score_that_is_no_number_is_said_to_be_none(tmp_path):
    asked = await Asked(tmp_path).answer(allow_nonfinite=True, request_fields=[{"name": "level", "datatype": "FP32"}])
    nothing = float("nan")
    again = SegmentWriter(
        asked.log_world.folder,
        segment_bytes=1 << 20,
        segments=0,
        queue=100,
        signer=lambda: asked.log_world.signer,
        now_us=asked.log_world.now,
    )
    asked.world.scorer._audit = again
    answer = await asked.world.service.infer(request("ann", level=nothing, explain="shap"))
    again.close()
    done = CliRunner().invoke(app, ["explain", answer.parameters["receipt"], "--store-dir", str(asked.store)])
    assert done.exit_code == 0, done.output
    assert "row 0: investigate, score not a number" in done.output


async def test_an_answer_of_one_row_says_in_the_log_that_it_was_explained(tmp_path):
    asked = await Asked(tmp_path).answer(b"mallory")
    (answer,) = asked.explain()
    assert (answer.record.rows, answer.record.explained) == (1, "shap")


async def test_the_past_of_an_entity_holds_nothing_of_one_whose_name_only_reads_alike(tmp_path):
    asked = await Asked(tmp_path).answer(b"\xff", b"\xfe", b"\\xfe", b"\xfe")
    (answer,) = asked.explain()
    assert answer.rows[0].past.answers == 1, "neither the other bytes that are no text, nor the text that spells them"


@pytest.mark.parametrize("rule", ["hash", "truncate", "drop"])
async def test_a_redacted_value_that_the_model_needs_is_named_by_its_column_alone(tmp_path, rule):
    asked = await Asked(tmp_path).answer(b"mallory", personal={"host": rule, "level": rule})
    with pytest.raises(NotReplayable, match="host, level of the record is redacted") as raised:
        asked.explain()
    assert "mallory" not in str(raised.value)


@pytest.mark.parametrize("is_erased", [False, True])
async def test_after_an_erasure_an_answer_is_explained_and_names_nobody(tmp_path, is_erased):
    asked = await Asked(tmp_path).answer(b"mallory", b"mallory", personal={"host": "encrypt"})
    if is_erased:
        assert asked.keys.destroy(asked.keys.subject(b"mallory"))
    done = CliRunner().invoke(app, ["explain", asked.receipts[-1], "--store-dir", str(asked.store), "--json"])
    ((row,),) = [answer["rows"] for answer in json.loads(done.stdout)]
    assert row["explanation"]["reasons"][0]["value"] == 2.0
    assert ("mallory" in done.output, row["past"] is None) == (not is_erased, is_erased)


async def test_a_name_that_would_steer_the_terminal_is_spelt_out(tmp_path):
    asked = await Asked(tmp_path).answer(b"\x1b[2J[/x]", b"\x1b[2J[/x]")
    done = CliRunner().invoke(app, ["explain", asked.receipts[-1], "--store-dir", str(asked.store)])
    assert done.exit_code == 0, done.output
    assert "\\x1b[2J[/x]: 1 answers since" in done.output
    assert "\x1b" not in done.output


async def test_an_erasure_takes_nothing_from_the_past_of_another_in_the_same_request(tmp_path):
    asked = await Asked(tmp_path).answer(b"ann", personal={"host": "encrypt"})
    assert asked.keys.destroy(asked.keys.subject(b"bob"))
    both, last = asked.receipts[-2:]
    ((ann, bob),) = [answer.rows for answer in asked.explain(both)]
    assert (ann.past.answers, bob.past) == (3, None)
    (answer,) = asked.explain(last)
    assert answer.rows[0].past.answers == 4, "the one beside the erased person counts"
