"""One run of a project at a time, whatever became of the one before."""

import json
import os
import subprocess

import pytest

from lifecycle.pipeline.errors import RunInProgress
from lifecycle.pipeline.project import scratch_folder
from lifecycle.pipeline.running.run_lock import run_lock


def left_by(dvc, **note):
    scratch_folder(dvc).mkdir(parents=True, exist_ok=True)
    (scratch_folder(dvc) / "run.json").write_text(json.dumps({"pid": 7, **note}))


def test_a_second_run_is_refused_and_told_who_runs(tmp_path):
    with run_lock(tmp_path) as lock:
        lock.tell("train")
        with pytest.raises(RunInProgress, match=r"process \d+, at stage train, runs this project"), run_lock(tmp_path):
            pass
    with run_lock(tmp_path) as again:
        assert again.left_by is None


def test_the_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):
        raise ZeroDivisionError
    with run_lock(tmp_path) as again:
        assert again.left_by is None


def test_the_lock_of_a_process_that_is_gone_is_taken_over_with_a_word(tmp_path):
    left_by(tmp_path, stage="train", group=None)
    with run_lock(tmp_path) as lock:
        assert lock.left_by == "the run of process 7 did not end; stage train is not taken for done"
    left_by(tmp_path, stage=None, group=None)
    with run_lock(tmp_path) as lock:
        assert lock.left_by == "the run of process 7 did not end"


def test_what_a_killed_run_started_must_end_first(tmp_path):
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as orphan:
        left_by(tmp_path, stage="train", group=orphan.pid)
        with pytest.raises(RunInProgress, match=f"for stage train still runs .*kill -- -{orphan.pid}"), run_lock(tmp_path):
            pass
        orphan.kill()
    with run_lock(tmp_path) as lock:
        assert "did not end" in lock.left_by


def test_a_stage_that_dvc_runs_must_end_first(tmp_path):
    def notes(pid):
        (tmp_path / "tmp").mkdir(exist_ok=True)
        (tmp_path / "tmp/rwlock").write_text(json.dumps({"write": {"/p/out": {"pid": pid, "cmd": "dvc repro"}}, "read": {}}))

    notes(os.getpid())
    with (
        pytest.raises(RunInProgress, match=rf"process {os.getpid()} runs a stage of this project \(dvc repro\)"),
        run_lock(tmp_path),
    ):
        pass
    with subprocess.Popen(["true"]) as ended:
        pass
    notes(ended.pid)
    with run_lock(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "[", "[]", '{"group": "x"}'])
def test_a_note_that_cannot_be_read_stops_nobody(tmp_path, text):
    left_by(tmp_path)
    (scratch_folder(tmp_path) / "run.json").write_text(text)
    with run_lock(tmp_path):
        pass
