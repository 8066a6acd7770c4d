"""`vedette suppressions check`: files of suppressions, and what they would do to the prediction log."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from lifecycle.governance.replay.revisions import RevisionBook
from lifecycle.labels.suppressed import SuppressionEffect, try_suppressions
from operators.cli.main import app
from operators.cli.rollout.start import suppressions_of
from operators.rollout.spec import Revision
from serving.audit.encoding import encode_record
from serving.rules.declared.suppressions import SuppressionRules
from serving.spec import SuppressionSpec
from tests.unit.serving.scoring.variants import World, request, spec, threat

ENTRY = {
    "id": "scanner",
    "owner": "ana",
    "reason": "a scan of ours",
    "expires": "2999-01-01T00:00:00Z",
    "when": "host == 'a'",
    "becomes": "benign",
}
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
        lines,
        RevisionBook(world.store.root),
        labels,
        world.clock.now_us(),
    )
    assert trial.effects["scanner"] == SuppressionEffect(alerts=2, investigated=1, attacks=1, benign=1)
    assert trial.effects["ended"].rows == 0
    assert (trial.records, trial.rows, trial.alerts, trial.investigated, trial.unread) == (3, 5, 3, 1, 0)
