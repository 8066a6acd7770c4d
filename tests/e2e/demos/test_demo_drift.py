"""`vedette demo drift`, shortened: a real server, monitor, training and rollout; every promise is kept, and nothing runs on."""

import json
import subprocess
import sys
import uuid

import pytest

from tests.e2e.running.vedette import environment, processes_of
from tests.waiting import HANG_S, until

MARK = "DRIFT_DEMO_MARK"
"""Not one of VEDETTE_*, which the demonstration does not hand on."""
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("demonstration of drift")]


def test_a_detector_that_drifts_is_trained_again_and_promoted(tmp_path):
    page, mark = tmp_path / "drift.html", uuid.uuid4().hex
    command = [sys.executable, "-m", "operators.cli.main", "demo", "drift", "--answers", "600", "--json", "--report", str(page)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=12 * HANG_S, env=environment(**{MARK: mark}), check=False
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    told = json.loads(done.stdout)
    assert told["is_as_promised"]
    assert told["failed"] == 0
    assert "data_drift" in {alarm["kind"] for alarm in told["alarms"] if alarm["severity"] == "major"}
    before, drifted, after = (phase["recall"]["value"] for phase in told["phases"])
    assert drifted < after
    assert drifted < before
    assert [line["what"] for line in told["story"] if line["what"] not in ("alarm", "act")][:5] == [
        "labels", "trigger", "training", "gate", "challenge",
    ]  # fmt: skip
    assert "what happened" in page.read_text(encoding="utf-8")
    until(lambda: not processes_of(mark, MARK), "nothing runs on")
