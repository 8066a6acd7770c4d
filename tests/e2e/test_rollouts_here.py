"""Rollouts on this machine, with real replicas: `vedette up` killed in the middle, and the demonstration itself, shortened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from operators.cli.demo import candidates
from operators.control.folder import ControlFolder
from operators.rollout.status import Phase
from serving.models.store import BundleStore
from tests import waiting
from tests.e2e.running.vedette import Vedette, environment, processes_of, replica_pids, up, verb
from tests.waiting import HANG_S

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

POLICY = {
    "apiVersion": "vedette.dev/v1alpha1",
    "kind": "RolloutPolicy",
    "metadata": {"name": "quick"},
    "spec": {
        "steps": [
            {"mirror": {"percent": 100}},
            {"pause": {"duration": "2s"}},
            {"setWeight": 50},
            {"pause": {"duration": "2s"}},
            {"setWeight": 100},
        ],
        "analysis": {"gates": [{"name": "errors", "margin": 0.2}], "minRequests": 5, "latencyObjective": "2s"},
    },
}


OF_THE_SERVER = shutil.ignore_patterns("replicas", "control", "audit")
"""What a running server keeps in its store about itself: a copy's server would take the other's replicas for its own."""


@pytest.fixture
def twice(vedette: Vedette, tmp_path: Path) -> Path:
    """A copy of the shared server's store, a second version in it that answers the same, and a service that wants the first."""
    copy = tmp_path / "copy" / "store"
    shutil.copytree(vedette.store, copy, ignore=OF_THE_SERVER)
    bundles = BundleStore(copy)
    first = bundles.resolve("flows")
    candidates._rebuilt(first, bundles, lambda graph: None, candidates._golden(first), "the same again")
    policy = copy.parent / "policy.yaml"
    policy.write_text(json.dumps(POLICY))
    verb("rollout", "start", "flows", "--version", "1", "--policy", str(policy), "--store-dir", str(copy))
    return copy


def states(running: Vedette) -> dict[str, str]:
    """Of the versions of `flows`."""
    index = urllib.request.Request(f"{running.http}/v2/repository/index", b"{}")
    with urllib.request.urlopen(index, timeout=30) as reply:
        return {m["version"]: m["state"] for m in json.loads(reply.read()) if m["name"] == "flows"}


def is_ready(running: Vedette) -> bool:
    try:
        with urllib.request.urlopen(f"{running.http}/v2/health/ready", timeout=30) as reply:
            return reply.status == 200
    except OSError:
        return False


def test_a_new_version_waits_for_its_rollout_which_killed_in_the_middle_ends_where_it_would_have(twice: Path):
    folder = ControlFolder(twice)
    body = (BundleStore(twice).resolve("flows", "1").folder / "example.json").read_bytes()

    def under_load(running: Vedette, until) -> None:
        url = f"{running.http}/v2/models/flows/infer"

        def is_so() -> bool:
            with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as reply:
                assert reply.status == 200
            return until()

        waiting.until(
            is_so, lambda: folder.status("flows"), every_s=0.05
        )  # twenty requests a second at most: who waits burns no core

    def weight() -> float:
        status = folder.status("flows")
        return status.weight if status is not None else 0.0

    def kill_in_the_middle() -> None:
        with up(twice, "--no-train") as running:
            under_load(running, lambda: folder.is_observed("flows"))
            assert folder.names() == ("flows",)
            assert states(running) == {"1": "READY", "2": "UNAVAILABLE"}, "a new version in the store reaches nobody"
            verb("rollout", "start", "flows", "--version", "2", "--store-dir", str(twice))
            under_load(running, lambda: weight() > 0)
            os.kill(running.pid, signal.SIGKILL)
            waiting.until(lambda: not [pid for pid in processes_of(running.mark) if pid != running.pid], every_s=0.2)

    with pytest.raises(AssertionError, match="ended with -9"):
        kill_in_the_middle()
    before = folder.status("flows")
    assert before is not None
    assert before.phase is not Phase.HEALTHY
    with up(twice, "--no-train") as running:
        under_load(running, lambda: (s := folder.status("flows")) is not None and s.phase is Phase.HEALTHY)
        done = verb("rollout", "status", "flows", "--store-dir", str(twice), check=False)
        assert done.returncode == 0, done.stdout
        (replica,) = replica_pids(running.mark)
        os.kill(replica, signal.SIGKILL)
        waiting.until(lambda: is_ready(running), "no replica listens where the one did that died", every_s=0.2)
    ended = folder.status("flows").history[0]
    assert ended.outcome == "promoted"
    assert [m.weight for m in ended.moves if m.move == "setWeight"] == [50, 100], "no step lost, none doubled"
    assert [m.move for m in ended.moves].count("start") == 1


@pytest.mark.xdist_group("demonstration")
@pytest.mark.parametrize(
    "scenes",
    [
        pytest.param("broken,errs", id="what does not load, and what fails on copies"),
        pytest.param("broken,errs,floods", id="and what floods the analysts", marks=pytest.mark.soak),
    ],
)
def test_the_demonstration_shortened_keeps_its_promises(scenes: str):
    """tests/unit/operators/control/test_control_loop.py has each kind of bad candidate in the loop alone."""
    command = [sys.executable, "-m", "operators.cli.main", "demo", "--scenes", scenes, "--rate", "75"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=12 * HANG_S, env=environment(), check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert " 0 failed" in done.stdout
