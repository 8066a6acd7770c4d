"""`vedette up` as a newcomer meets it: the curl it prints, its processes, its metrics, its listeners.

A second copy beside it: tests/e2e/servers/test_up_stream.py."""

import ipaddress
import os
import urllib.request

import pytest

from tests.e2e.running.vedette import Vedette, command_of, curl, listening, processes_of, replica_pids, verdicts
from tests.waiting import HANG_S

pytestmark = pytest.mark.e2e


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
    with urllib.request.urlopen(f"{vedette.http}/metrics", timeout=HANG_S) as reply:
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
