"""A run that is ended in the middle of a stage: by a signal that it can answer, and by one that it cannot."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lifecycle.pipeline.errors import RunInProgress
from tests.fakes.pipelines import PipelineFolder
from tests.waiting import until

pytestmark = pytest.mark.integration
SLOW = {"slow": {"cmd": "echo half > out; sleep 600 & echo $! > child.pid; wait", "deps": ["in"], "outs": ["out"]}}
QUICK = {"slow": {"cmd": "cp in out", "deps": ["in"], "outs": ["out"]}}


def begun(folder):
    """A process that runs the pipeline, at its stage."""
    command = [sys.executable, "-m", "operators.cli.main", "pipeline", "run", "--json"]
    process = subprocess.Popen(
        command, cwd=folder.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=outside()
    )
    until(lambda: (folder.path / "child.pid").exists() and folder.read("child.pid").strip(), "the stage did not begin")
    return process, int(folder.read("child.pid"))


def outside():
    root = str(Path(__file__).parents[3])
    return {**os.environ, "PYTHONPATH": root}


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_signal_ends_all_that_the_stage_started_and_the_stage_is_not_done(tmp_path):
    folder = PipelineFolder(tmp_path, SLOW)
    folder.write("in", "text")
    process, child = begun(folder)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert json.loads(out)["outcome"] == "stopped"
    until(lambda: not lives(child), "what the stage started still runs")
    assert folder.why() == {"slow": "never run"}
    folder.declare(QUICK)
    assert folder.outcomes() == {"slow": "ran"}
    assert folder.read("out") == "text"


def test_a_killed_run_leaves_a_stage_that_runs_again_once_what_it_started_has_ended(tmp_path):
    folder = PipelineFolder(tmp_path, SLOW)
    folder.write("in", "text")
    process, child = begun(folder)
    second = subprocess.run(
        [sys.executable, "-m", "operators.cli.main", "pipeline", "run"],
        cwd=tmp_path, env=outside(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert f"process {process.pid}, at stage slow, runs this project" in " ".join(second.stderr.split())
    process.kill()
    process.wait()
    with pytest.raises(RunInProgress, match="still runs") as refused:
        folder.runs()
    group = int(str(refused.value).rpartition("kill -- -")[2].strip("`"))
    os.killpg(group, signal.SIGKILL)
    until(lambda: not lives(child), "it still runs")
    folder.declare(QUICK)
    assert folder.outcomes() == {"slow": "ran"}
    assert folder.read("out") == "text"


@pytest.mark.soak
def test_killed_at_any_moment_it_ends_in_the_same_state(tmp_path):
    stages = {
        f"s{n}": {"cmd": f"mkdir d{n}; for i in 1 2 3 4 5 6 7 8; do cat in > d{n}/$i; done", "deps": ["in", *([f"d{n - 1}"] if n else [])],
                  "outs": [f"d{n}"]}
        for n in range(6)
    }  # fmt: skip
    chance = random.Random(1)
    folder = PipelineFolder(tmp_path, stages)
    for moment in range(50):
        folder.write("in", f"text {moment}")
        process = subprocess.Popen(
            [sys.executable, "-m", "operators.cli.main", "pipeline", "run"], cwd=tmp_path, env=outside(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(chance.uniform(0.3, 2.0))
        process.kill()
        process.wait()
        until(lambda: not _refused(folder), "what it started did not end")
        assert folder.why() == {}
        assert {(tmp_path / f"d{n}/{i}").read_text() for n in range(6) for i in range(1, 9)} == {f"text {moment}"}


def _refused(folder):
    try:
        folder.runs()
    except RunInProgress:
        return True
    return False
