"""`vedette pipeline`, as it is typed: what is printed, exit codes, and what is put on record."""

import json

import pytest
from typer.testing import CliRunner

from lifecycle.governance.acts import ActsLog
from lifecycle.pipeline.declaration.dvc_yaml import FILE
from lifecycle.pipeline.example_project import FILES
from operators.cli.main import app
from tests.fakes.pipelines import COPIES, PipelineFolder

pytestmark = pytest.mark.heavy


@pytest.fixture
def vedette(tmp_path, monkeypatch):
    monkeypatch.delenv("VEDETTE_STORE_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*words, ends_with=0):
        done = CliRunner().invoke(app, ["pipeline", *map(str, words)])
        assert done.exit_code == ends_with, done.output
        return done.stdout

    return run


@pytest.fixture
def folder(tmp_path):
    made = PipelineFolder(tmp_path / "project")
    made.path.mkdir()
    made.declare(COPIES)
    made.write("in.txt", "one\n")
    return made


def acts(folder):
    return list(ActsLog(folder.path / ".vedette/governance", signer=lambda: None, now_us=lambda: 0).read())


def test_a_run_that_changed_something_is_on_record_once(vedette, folder):
    said = json.loads(vedette("run", "--dir", folder.path, "--json"))
    assert said["outcome"] == "ran"
    assert json.loads(vedette("run", "--dir", folder.path, "--json"))["outcome"] == "up_to_date"
    (act,) = acts(folder)
    assert (act.action, act.subject, act.outcome) == ("pipeline.run", "pipeline/project", "accepted")
    assert act.reason == "first ran; second ran"
    assert act.evidence["run"] == said["run"]
    first, second = act.evidence["stages"]
    assert first["outs"]["first.txt"] == second["deps"]["first.txt"]


def test_a_failed_run_is_on_record_too_and_ends_with_1(vedette, folder):
    folder.declare({**COPIES, "second": {**COPIES["second"], "cmd": "exit 4"}})
    assert "not reached" not in vedette("run", "--dir", folder.path, ends_with=1)
    (act,) = acts(folder)
    assert act.outcome == "refused"
    assert act.reason.startswith("first ran; second failed: stage second: `exit 4` ended with 4")


def test_status_ends_with_3_where_something_has_to_run(vedette, folder):
    assert "never run" in vedette("status", "--dir", folder.path, ends_with=3)
    vedette("run", "--dir", folder.path)
    vedette("status", "--dir", folder.path)
    folder.write("in.txt", "two\n")
    said = json.loads(vedette("status", "--dir", folder.path, "--json", ends_with=3))
    assert said["up_to_date"] is False
    assert said["changed_data"] == {str(folder.path / "in.txt"): "modified"}
    first, second = said["stages"]
    assert first["changes"] == [{"of": "dependency", "how": "modified", "subject": "in.txt"}]
    assert first["deps"] != first["recorded"]["deps"]
    assert (second["state"], second["after"]) == ("may change", ["first"])


def test_looking_leaves_nothing_behind(vedette, folder):
    vedette("status", "--dir", folder.path, ends_with=3)
    vedette("graph", "--dir", folder.path)
    assert "never run" in vedette("run", "--dir", folder.path, "--dry-run")
    assert sorted(path.name for path in folder.path.iterdir()) == ["dvc.yaml", "in.txt"]


def test_new_data_runs_what_depends_on_it_and_new_parameters_alone_run_nothing(vedette, folder):
    stage = {"cmd": "echo ${lr} > third.txt", "deps": ["second.txt"], "params": ["lr"], "outs": ["third.txt"]}
    folder.declare({**COPIES, "third": stage})
    folder.write("params.yaml", "lr: 1\n")
    assert json.loads(vedette("run", "--dir", folder.path, "--if-data-changed", "--json"))["outcome"] == "ran"
    folder.write("params.yaml", "lr: 2\n")
    assert json.loads(vedette("run", "--dir", folder.path, "--if-data-changed", "--json"))["outcome"] == "no_new_data"
    assert folder.read("third.txt") == "1\n"
    folder.write("in.txt", "two\n")
    said = json.loads(vedette("run", "--dir", folder.path, "--if-data-changed", "--json"))
    assert said["changed_data"] == {str(folder.path / "in.txt"): "modified"}
    assert folder.read("third.txt") == "2\n"


def test_one_stage_and_what_it_needs(vedette, folder):
    said = json.loads(vedette("run", "first", "--dir", folder.path, "--json"))
    assert [stage["stage"] for stage in said["stages"]] == ["first"]
    said = json.loads(vedette("run", "first", "--dir", folder.path, "--force", "--json"))
    assert [stage["outcome"] for stage in said["stages"]] == ["ran"]
    vedette("run", "other", "--dir", folder.path, ends_with=1)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        pytest.param((), "second\n  after: first\n  makes: second.txt\n", id="text"),
        pytest.param(("--dot",), '  "first" -> "second";\n', id="dot"),
        pytest.param(("--mermaid",), "  s0 --> s1\n", id="mermaid"),
        pytest.param(("--json",), '"sources": [\n        "in.txt"\n      ]', id="json"),
    ],
)
def test_the_graph(vedette, folder, form, said):
    assert said in vedette("graph", "--dir", folder.path, *form)


def test_init_writes_a_pipeline_that_can_be_read_and_replaces_nothing(vedette, tmp_path):
    vedette("init", "--dir", tmp_path / "new")
    assert "check" in vedette("status", "--dir", tmp_path / "new", ends_with=3)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {*FILES, "data", ".gitignore"}
    assert (tmp_path / "new/.gitignore").read_text() == "/.vedette\n"  # its keys are nothing for Git
    (tmp_path / "new" / FILE).write_text("mine")
    vedette("init", "--dir", tmp_path / "new", ends_with=1)
    assert (tmp_path / "new" / FILE).read_text() == "mine"
