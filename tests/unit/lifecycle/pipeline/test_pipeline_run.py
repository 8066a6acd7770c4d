"""What runs, what is brought back, and what a failed or ended run leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle.pipeline.content.digests import Hasher
from lifecycle.pipeline.errors import StageError, StageStopped
from tests.fakes.pipelines import COPIES, PipelineFolder, copies

pytestmark = pytest.mark.heavy


def test_what_is_up_to_date_is_not_run_again(tmp_path):
    folder = copies(tmp_path)
    assert folder.why() == {"first": "never run", "second": "never run; after first"}
    assert folder.outcomes() == {"first": "ran", "second": "ran"}
    assert folder.read("second.txt") == "one\n"
    assert folder.why() == {}
    assert folder.outcomes() == {}


def test_a_change_runs_what_depends_on_it_and_nothing_else(tmp_path):
    stages = {**COPIES, "other": {"cmd": "cp other.in other.txt", "deps": ["other.in"], "outs": ["other.txt"]}}
    folder = PipelineFolder(tmp_path, stages)
    folder.write("in.txt", "one\n")
    folder.write("other.in", "x")
    folder.runs()
    folder.write("in.txt", "two\n")
    assert folder.why() == {"first": "dependency in.txt modified", "second": "after first"}
    assert folder.outcomes() == {"first": "ran", "second": "ran"}


def test_an_output_that_comes_out_the_same_runs_nothing_after_it(tmp_path):
    stages = {**COPIES, "first": {"cmd": "head -c1 in.txt > first.txt", "deps": ["in.txt"], "outs": ["first.txt"]}}
    folder = PipelineFolder(tmp_path, stages)
    folder.write("in.txt", "one\n")
    folder.runs()
    folder.write("in.txt", "on\n")
    assert folder.outcomes() == {"first": "ran"}


def test_going_back_to_an_earlier_input_brings_its_outputs_back(tmp_path):
    folder = PipelineFolder(
        tmp_path, {"only": {"cmd": "cat in.txt > out.txt; echo run >> runs.log", "deps": ["in.txt"], "outs": ["out.txt"]}}
    )
    for text in ("one", "two", "one"):
        folder.write("in.txt", text)
        folder.runs()
    assert folder.read("out.txt") == "one"
    assert folder.read("runs.log") == "run\nrun\n"


@pytest.mark.parametrize("harm", ["removed", "edited", "replaced by a folder"])
def test_an_output_that_was_harmed_is_brought_back_from_the_cache(tmp_path, harm):
    folder = PipelineFolder(tmp_path, {"only": {"cmd": "cat in > out; echo run >> log", "deps": ["in"], "outs": ["out"]}})
    folder.write("in", "text")
    folder.runs()
    (tmp_path / "out").unlink()
    if harm == "edited":
        folder.write("out", "other")
    elif harm == "replaced by a folder":
        folder.write("out/file", "other")
    assert folder.outcomes() == {"only": "restored"}
    assert folder.read("out") == "text"
    assert folder.read("log") == "run\n"


def test_an_output_that_is_nowhere_else_is_made_again(tmp_path):
    folder = PipelineFolder(tmp_path, {"only": {"cmd": "cat in > out", "deps": ["in"], "outs": [{"out": {"cache": False}}]}})
    folder.write("in", "text")
    folder.runs()
    (tmp_path / "out").unlink()
    assert folder.why() == {"only": "output out missing"}
    assert folder.outcomes() == {"only": "ran"}


def test_metrics_without_a_cache_are_brought_back_too(tmp_path):
    stage = {"cmd": "cat in > out; cat in > m.json", "deps": ["in"], "outs": ["out"], "metrics": [{"m.json": {"cache": False}}]}
    folder = PipelineFolder(tmp_path, {"only": stage})
    for text in ("1", "2", "1"):
        folder.write("in", text)
        last = folder.outcomes()
    assert last == {"only": "restored"}
    assert folder.read("m.json") == "1"


def test_a_changed_command_or_parameter_runs_the_stage(tmp_path):
    stage = {"cmd": "echo ${lr} > out", "params": ["lr", "sub.seed"], "outs": ["out"]}
    folder = PipelineFolder(tmp_path, {"only": stage})
    folder.write("params.yaml", "lr: 1e-3\nsub: {seed: 1}\nunused: 1\n")
    folder.runs()
    folder.write("params.yaml", "lr: 1e-3\nsub: {seed: 1}\nunused: 2\n")
    assert folder.why() == {}
    folder.write("params.yaml", "lr: 0.001\nsub: {seed: 2}\n")
    assert folder.why() == {"only": "parameter params.yaml:sub.seed modified"}
    folder.write("params.yaml", "lr: 2\nsub: {seed: 1}\n")
    assert folder.why() == {"only": "command modified; parameter params.yaml:lr modified"}


def test_stages_that_are_frozen_run_always_or_keep_their_outputs(tmp_path):
    stages = {
        "frozen": {"cmd": "exit 1", "deps": ["in"], "outs": ["kept"], "frozen": True},
        "always": {"cmd": "echo x >> always", "outs": ["always"], "always_changed": True},
        "grows": {"cmd": "cat in >> all", "deps": ["in"], "outs": [{"all": {"persist": True}}]},
    }
    folder = PipelineFolder(tmp_path, stages)
    folder.write("kept", "k")
    folder.write("in", "a")
    assert folder.outcomes() == {"frozen": "frozen", "always": "ran", "grows": "ran"}
    folder.write("in", "b")
    assert folder.why() == {"always": "runs always", "grows": "dependency in modified"}
    assert folder.outcomes() == {"always": "ran", "grows": "ran"}
    assert folder.read("all") == "ab"
    assert folder.read("always") == "x\n"


def test_only_what_is_asked_for_and_what_it_needs_is_run(tmp_path):
    folder = copies(tmp_path)
    assert folder.outcomes("first") == {"first": "ran"}
    assert folder.outcomes("second") == {"second": "ran"}
    assert folder.outcomes("first", is_forced=True) == {"first": "ran"}


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        pytest.param({"cmd": "exit 3"}, "`exit 3` ended with 3", id="a command that fails"),
        pytest.param({"cmd": ["true", "kill -9 $$"]}, "was ended by SIGKILL", id="a command that is killed"),
        pytest.param({"cmd": "true"}, "did not make its output out; mend", id="a stage that does not make its output"),
        pytest.param(
            {"cmd": "touch out; echo x >> in"}, "dependency in changed while the stage ran", id="it changes what it reads"
        ),
        pytest.param({"cmd": "touch out; rm in"}, "dependency in changed while the stage ran", id="it removes what it reads"),
        pytest.param(
            {"cmd": "touch out; echo 'a: 2' > params.yaml", "params": ["a"]}, "parameters changed", id="it sets parameters"
        ),
        pytest.param({"cmd": "touch out", "params": ["b"]}, "params.yaml has no b; add it", id="a parameter that is not there"),
        pytest.param({"cmd": "touch out", "deps": ["gone"]}, "dependency gone is not there; put it", id="a missing dependency"),
        pytest.param({"cmd": "touch out", "deps": ["d"]}, "`dvc pull d`", id="a missing dependency that DVC tracks"),
        pytest.param({"cmd": "mkfifo out"}, "neither a file nor a folder", id="an output that is a pipe"),
        pytest.param({"cmd": "mkdir out; ln -s /tmp out/x"}, "link to a folder", id="an output with a link to a folder"),
        pytest.param({"cmd": "ln -s nowhere out"}, "link to nothing", id="an output that is a link to nothing"),
        pytest.param({"cmd": "touch out", "wdir": "file", "deps": ["../in"]}, "is no folder; wdir", id="a folder that is none"),
    ],
)
def test_a_stage_that_goes_wrong_is_not_taken_for_done(tmp_path, stage, said):
    folder = PipelineFolder(tmp_path, {"bad": {"deps": ["in"], "outs": ["out"], **stage}})
    folder.write("file", "text")
    folder.write("in", "text")
    folder.write("d.dvc", "outs: []")
    folder.write("params.yaml", "a: 1\n")
    assert said in folder.fails()
    assert folder.why()["bad"].startswith("never run")
    assert not (tmp_path / "dvc.lock").exists()
    folder.declare({"bad": {"cmd": "cat in > out", "deps": ["in"], "outs": ["out"]}})
    folder.write("in", "text")
    assert folder.outcomes() == {"bad": "ran"}  # whatever it left behind


def test_a_name_that_is_not_utf8_is_refused_before_it_gets_into_the_lock(tmp_path):
    folder = PipelineFolder(tmp_path, {"bad": {"cmd": "mkdir out; touch out/$(printf 'caf\\351')", "outs": ["out"]}})
    assert "the name is not UTF-8" in folder.fails()


def test_stages_after_a_failed_one_are_not_reached(tmp_path):
    folder = copies(tmp_path)
    folder.runs()
    folder.declare({**COPIES, "first": {**COPIES["first"], "cmd": "echo half > first.txt; exit 1"}})
    done = folder.runs()
    assert [r.outcome.value for r in done.results] == ["failed"]
    assert done.not_reached == ("second",)
    assert isinstance(done.problem, StageError)
    folder.declare(COPIES)
    assert folder.outcomes() == {"first": "restored"}
    assert folder.read("first.txt") == "one\n"


def test_outputs_that_are_nowhere_else_outlive_a_failed_run(tmp_path):
    stage = {"cmd": "cat in > report", "deps": ["in"], "outs": [{"report": {"cache": False}}]}
    folder = PipelineFolder(tmp_path, {"only": stage})
    folder.write("in", "good")
    folder.runs()
    folder.declare({"only": {**stage, "cmd": "echo half > report; exit 1"}})
    for _ in range(2):
        said = folder.fails()
    aside = Path(said.rpartition(" are in ")[2])
    assert [path.read_text() for path in aside.rglob("report")] == ["good"]
    folder.declare({"only": {**stage, "cmd": "cat in in > report"}})
    assert folder.outcomes() == {"only": "ran"}
    assert not aside.exists()


def test_a_folder_keeps_its_files_names_and_a_file_its_right_to_be_run(tmp_path):
    make = "mkdir -p out/sub/empty && cat in > 'out/sub/a x' && cp in tool && chmod +x tool"
    folder = PipelineFolder(tmp_path, {"only": {"cmd": make, "deps": ["in"], "outs": ["out", "tool"]}})
    for text in ("a", "b", "a"):
        folder.write("in", text)
        last = folder.outcomes()
    assert last == {"only": "restored"}
    assert folder.read("out/sub/a x") == "a"
    assert os.access(tmp_path / "tool", os.X_OK)
    assert folder.why() == {}


def test_names_in_utf_8_are_kept_and_a_python_that_reads_others_says_what_to_set(tmp_path):
    folder = PipelineFolder(tmp_path, {"only": {"cmd": "mkdir -p out && cat in > out/é", "deps": ["in"], "outs": ["out"]}})
    folder.write("in", "a")
    if sys.getfilesystemencoding() == "utf-8":
        folder.runs()
        assert folder.read("out/é") == "a"
        assert folder.why() == {}
    else:
        assert "PYTHONUTF8=1" in folder.fails()


@pytest.mark.parametrize("harm", ["emptied", "changed", "removed"])
def test_a_damaged_cache_costs_a_run_and_no_more(tmp_path, harm):
    folder = copies(tmp_path)
    folder.runs()
    for kept in (tmp_path / ".dvc/cache/files").rglob("*"):
        if kept.is_file():
            kept.chmod(0o644)
            size = kept.stat().st_size
            kept.unlink() if harm == "removed" else kept.write_bytes(b"x" * (size if harm == "changed" else 0))
    (tmp_path / "first.txt").unlink()
    assert folder.outcomes()["first"] == "ran"
    assert folder.read("first.txt") == "one\n"
    assert folder.why() == {}


def test_what_the_cache_lost_is_put_into_it_again_without_a_run(tmp_path):
    folder = copies(tmp_path)
    folder.runs()
    for kept in (tmp_path / ".dvc/cache/files").rglob("*"):
        if kept.is_file():
            kept.unlink()
    assert folder.why()["first"] == "output first.txt not in the cache"
    assert folder.outcomes() == {"first": "kept"}  # the second one has the same content
    assert folder.why() == {}


def test_commands_know_the_stage_and_find_vedette(tmp_path):
    folder = PipelineFolder(tmp_path, {"only": {"cmd": "echo $DVC_STAGE $DVC_ROOT > out; command -v vedette", "outs": ["out"]}})
    assert folder.outcomes() == {"only": "ran"}
    assert folder.read("out") == f"only {tmp_path}\n"


def test_cached_outputs_are_kept_out_of_git(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    stage = {"cmd": "touch 'a*' b c; mkdir d", "outs": ["a*", {"b": {"cache": False}}, "c", "d"]}
    folder = PipelineFolder(tmp_path, {"only": stage})
    folder.write(".gitignore", "/c")
    folder.runs()
    folder.runs(is_forced=True)
    assert folder.read(".gitignore") == "/c\n/a\\*\n/d\n"
    assert folder.read(".dvc/.gitignore") == "/config.local\n/tmp\n/cache\n"


def test_a_signal_between_commands_stops_the_run_and_leaves_what_was_done(tmp_path):
    folder = copies(tmp_path)
    real, asked = Hasher.content, []

    def signalled(hasher, path):
        if path.name == "second.txt" and not asked and (tmp_path / "first.txt").exists():
            asked.append(path)
            signal.raise_signal(signal.SIGTERM)
        return real(hasher, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hasher, "content", signalled)
        done = folder.runs()
    assert [(r.name, r.outcome.value) for r in done.results] == [("first", "ran"), ("second", "stopped")]
    assert isinstance(done.problem, StageStopped)
    assert folder.outcomes() == {"second": "ran"}
