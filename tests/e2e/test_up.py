"""`vedette up` as a newcomer meets it: the curl it prints, a quick second start, two copies at once, two replicas, nothing left behind."""

import ipaddress
import json
import os
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.running.vedette import Vedette, command_of, environment, listening, processes_of, replica_pids, up

pytestmark = pytest.mark.e2e


def curl(server: Vedette) -> dict:
    """The answer to the command that `vedette up` printed."""
    done = subprocess.run(
        shlex.split(server.curl),
        capture_output=True,
        text=True,
        cwd=server.store.parent,
        timeout=30,
        env=environment(),
        check=True,
    )
    return json.loads(done.stdout)


def verdicts(answer: dict) -> list[str]:
    (found,) = [output["data"] for output in answer["outputs"] if output["name"] == "verdict"]
    return found


def test_the_curl_that_is_printed_gives_a_verdict(vedette: Vedette):
    answer = curl(vedette)
    assert answer["model_name"] == vedette.model
    assert set(verdicts(answer)) <= {"benign", "investigate", "alert"}
    assert {"revision", "variant", "operating_point"} <= answer["parameters"].keys()


def test_replicas_get_as_much_of_a_busy_machine_as_what_started_them(vedette: Vedette):
    found = {os.getpriority(os.PRIO_PROCESS, pid) for pid in replica_pids(vedette.mark)}
    assert found == {os.getpriority(os.PRIO_PROCESS, vedette.pid)}


def test_ray_starts_no_server_of_a_dashboard_and_no_autoscaler_of_a_cluster(vedette: Vedette):
    commands = [command_of(pid) for pid in processes_of(vedette.mark)]
    assert any("raylet" in command for command in commands)
    assert [c for c in commands if "dashboard.py" in c or "/monitor.py" in c] == []


def test_metrics_count_what_was_answered(vedette: Vedette):
    curl(vedette)
    with urllib.request.urlopen(f"{vedette.http}/metrics", timeout=10) as reply:
        text = reply.read().decode()
    assert f'"{vedette.model}"' in text


def test_nothing_listens_beyond_loopback(vedette: Vedette):
    """The doors, and every process that Ray starts for them: agents, metrics pages, Serve's own listeners."""
    found = listening(vedette.mark)
    assert vedette.http.removeprefix("http://") in found
    assert len(found) > 5, "Ray's processes are among them"
    beyond = {address: process for address, process in found.items() if not _is_loopback(address)}
    assert beyond == {}


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.rsplit(":", 1)[0]).is_loopback


def test_two_copies_run_side_by_side_and_the_second_start_is_quick(vedette: Vedette, tmp_path: Path):
    store = tmp_path / "copy" / "store"
    shutil.copytree(vedette.store, store, ignore=shutil.ignore_patterns("replicas", "audit"))
    with up(store, "--replicas", "2") as second:
        print(f"\nvedette up, second time, beside the first: ready after {second.waited_s:.1f} s")
        assert "training" not in second.log.read_text(), "the second start trains nothing"
        assert second.http != vedette.http
        assert len(replica_pids(second.mark)) == 2
        assert [verdicts(curl(second)) for _ in range(6)] == [verdicts(curl(vedette))] * 6, "whichever replica answers"
    assert processes_of(second.mark) == []
    assert curl(vedette)["model_name"] == vedette.model, "stopping one copy must not touch the other"
