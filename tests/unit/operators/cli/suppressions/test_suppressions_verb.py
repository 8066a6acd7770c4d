"""`vedette suppressions check`: files of suppressions, and what they would do to the prediction log."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from lifecycle.governance.replay.revisions import RevisionBook
from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from lifecycle.labels.suppressed import SuppressionEffect, opened, try_suppressions
from lifecycle.labels.suppression_drafts import draft_suppressions, end_of_drafts
from operators.cli.documents import read_suppressions
from operators.cli.main import app
from operators.cli.rollout.start import suppressions_of
from operators.rollout.spec import Revision
from serving.audit.encoding import encode_record
from serving.audit.personal.subject_keys import SubjectKeys
from serving.rules.declared.suppressions import SuppressionRules
from serving.spec import SuppressionSpec
from tests.unit.serving.scoring.rules.test_rules_beside import BESIDE
from tests.unit.serving.scoring.variants import World, request, spec, threat

pytestmark = pytest.mark.heavy

ENTRY = {
    "id": "scanner",
    "owner": "ana",
    "reason": "a scan of ours",
    "expires": "2999-01-01T00:00:00Z",
    "when": "host == 'a'",
    "becomes": "benign",
}
KEYS = SubjectKeys(Path("no-such-folder"))
COLUMNS = {"host": "BYTES", "level": "FP32"}


def run(*words):
    return CliRunner().invoke(app, ["suppressions", *map(str, words)], env={"COLUMNS": "200"})


def written(tmp_path, *entries, **fields):
    path = tmp_path / "suppressions.yaml"
    path.write_text(yaml.safe_dump({"suppressions": list(entries), **fields}), encoding="utf-8")
    return path


def test_owners_and_ends_are_listed(tmp_path):
    done = run("check", written(tmp_path, ENTRY), "--json")
    (found,) = json.loads(done.stdout)["suppressions"]
    assert done.exit_code == 0
    assert (found["id"], found["owner"], found["is_expired"]) == ("scanner", "ana", False)


def test_one_that_has_expired_is_told_and_ends_with_1(tmp_path):
    done = run("check", written(tmp_path, {**ENTRY, "expires": "2020-01-01T00:00:00Z"}))
    assert done.exit_code == 1
    assert "expired" in done.stdout


WRONG = [
    pytest.param([{**ENTRY, "expires": "2999-01-01T00:00:00"}], {}, "suppressions[0].expires", id="an end without a time zone"),
    pytest.param([{**ENTRY, "becomes": "alert"}], {}, "suppressions[0].becomes", id="a verdict that is raised"),
    pytest.param([{k: v for k, v in ENTRY.items() if k != "owner"}], {}, "suppressions[0].owner", id="nobody's"),
    pytest.param([ENTRY, ENTRY], {}, "repeat the id scanner", id="an id twice"),
    pytest.param([ENTRY], {"more": 1}, "expected `suppressions`", id="a field that there is not"),
    pytest.param(["scanner"], {}, "suppressions[0]", id="an entry that is none"),
    pytest.param([{**ENTRY, "id": f"s{n}"} for n in range(201)], {}, "at most 200", id="too many"),
    pytest.param([{**ENTRY, "id": f"s{n}", "reason": "r" * 1000} for n in range(70)], {}, "at most 65536", id="too much text"),
]


@pytest.mark.parametrize(("entries", "fields", "why"), WRONG)
def test_a_file_that_cannot_be(tmp_path, entries, fields, why):
    done = run("check", written(tmp_path, *entries, **fields))
    assert why in str(done.exception)


def test_a_revision_has_one_digest_in_both_planes(tmp_path):
    entries = suppressions_of(written(tmp_path, ENTRY))
    revision = Revision.model_validate({"version": "1", "bundle": "sha256:" + "0" * 64, "suppressions": entries})
    assert revision.digest == revision.serving().digest
    assert revision.digest != revision.model_copy(update={"suppressions": ()}).digest


async def test_what_entries_would_have_suppressed_and_how_many_of_it_were_attacks(tmp_path):
    world, bundle = World(tmp_path), threat(tmp_path / "bundle", "1")
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    await world.service.infer(request("a", "b", "a", level=[2.0, 2.0, 0.5]))
    await world.service.infer(request("a", level=2.0))
    await world.service.infer(request("c", level=-3.0))
    lines = [encode_record(record)[:-1] for record in world.audit.records]
    several, alone, _ = (record.receipt for record in world.audit.records)
    labels = {f"{several}#0": "attack", alone: "benign", f"{several}#1": "attack"}
    ended = {**ENTRY, "id": "ended", "when": "level > 0.0", "expires": "2020-01-01T00:00:00Z"}
    entries = [SuppressionSpec.model_validate(entry) for entry in (ENTRY, ended)]
    trial = try_suppressions(
        ["scanner", "ended"],
        SuppressionRules(entries, COLUMNS),
        opened(lines, KEYS),
        RevisionBook(world.store.root),
        labels,
        world.clock.now_us(),
    )
    assert trial.effects["scanner"] == SuppressionEffect(alerts=2, investigated=1, attacks=1, benign=1)
    assert trial.effects["ended"].rows == 0
    assert (trial.records, trial.rows, trial.alerts, trial.investigated, trial.unread) == (3, 5, 3, 1, 0)


def label(event: str, verdict: str, by: str = "ben") -> Label:
    return Label(label_id=event, event=event, model="threat", verdict=verdict, analyst=by, time_us=1_700_000_000_000_000)


async def test_drafts_are_of_entities_and_rules_and_of_no_entity_that_attacked(tmp_path):
    world, bundle = World(tmp_path), threat(tmp_path / "bundle", "1", files={"rules/rules.yaml": BESIDE}, rules={})
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    await world.service.infer(request("a", "a", "b", "b", "c", "d", level=[2.0, 3.0, 2.0, 2.0, -6.0, -1.0]))
    (record,) = world.audit.records
    words = ("benign", "benign", "benign", "attack", "benign", "benign")
    labels = {f"{record.receipt}#{row}": label(f"{record.receipt}#{row}", word) for row, word in enumerate(words)}
    rules = {"very-low": "level < -5.0", "low": "level < -2.0"}
    lines = opened([encode_record(record)[:-1]], KEYS)
    found = draft_suppressions(lines, labels, bundle.manifest.entity_keys, rules, {"very-low": ("T1498.001",)})
    assert [entry["when"] for entry in found.entries] == ['host == "a"', 'host == "c" && (level < -5.0) && (level < -2.0)']
    assert (found.attacked, found.omitted, found.unread) == (1, 0, 0)
    assert "T1498.001" in found.entries[1]["reason"]
    assert {entry["owner"] for entry in found.entries} == {"ben"}
    drafts = [{**entry, "expires": end_of_drafts(datetime(2026, 1, 1, tzinfo=UTC))} for entry in found.entries]
    assert len(read_suppressions(written(tmp_path, *drafts))) == 2
    compiled = SuppressionRules([SuppressionSpec.model_validate(entry) for entry in drafts], COLUMNS)
    assert compiled.columns == {"host", "level"}


async def test_drafts_are_bounded(tmp_path):
    world, bundle = World(tmp_path), threat(tmp_path / "bundle", "1")
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    await world.service.infer(request(*(f"h{n}" for n in range(60)), level=2.0))
    (record,) = world.audit.records
    labels = {f"{record.receipt}#{row}": label(f"{record.receipt}#{row}", "benign") for row in range(60)}
    found = draft_suppressions([(record, frozenset())], labels, bundle.manifest.entity_keys, {}, {})
    assert (len(found.entries), found.omitted) == (50, 10)
    gone = draft_suppressions([(record, frozenset({"host"}))], labels, bundle.manifest.entity_keys, {}, {})
    assert (gone.entries, gone.unread) == ((), 60)


async def answered_store(tmp_path):
    world, bundle = World(tmp_path), threat(tmp_path / "bundle", "1")
    world.store.add(bundle)
    await world.service.apply(spec(bundle))
    await world.service.infer(request("a", "b", level=2.0))
    folder = world.store.root / "audit"
    folder.mkdir()
    (folder / "segment-0000000000000001-r-000001.jsonl").write_bytes(b"".join(map(encode_record, world.audit.records)))
    receipt = world.audit.records[0].receipt
    LabelLog(world.store.root / "labels").give_all([label(f"{receipt}#0", "benign"), label(f"{receipt}#1", "attack")])
    return world


async def test_the_verbs_read_a_store(tmp_path):
    world = await answered_store(tmp_path)
    where = ("--model", "threat", "--store-dir", world.store.root, "--json")
    done = run("draft", "-o", tmp_path / "drafts.yaml", *where)
    assert done.exit_code == 0, done.exception
    (entry,) = read_suppressions(tmp_path / "drafts.yaml")
    assert (entry.when, entry.owner, entry.becomes) == ('host == "a"', "ben", "investigate")
    done = run("check", tmp_path / "drafts.yaml", *where)
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert found["log"]["alerts"] == 2
    assert [(one["alerts"], one["attacks"], one["benign"]) for one in found["suppressions"]] == [(1, 0, 1)]
    wide = written(tmp_path, {**ENTRY, "when": "level > 1.0"})
    assert run("check", wide, *where[:-1]).exit_code == 1, "it would hide an event that is labelled an attack"
