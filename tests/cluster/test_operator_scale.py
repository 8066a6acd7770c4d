"""Many services at rest: what the operator costs the API server, and how soon a change is acted on. With the settings' defaults."""

import statistics
import time

import pytest

from tests.cluster.test_operator_rollouts import is_healthy
from tests.fakes.apiserver import User
from tests.fakes.operator.operator_world import QUICK_SETTINGS, World, digest

DEFAULTS = [name for name in QUICK_SETTINGS if name not in {"HTTP_PORT", "LEADER_ELECTION", "LOG_LEVEL"}]
USER = "the-operator"


def at_rest(world: World, operators, services: int, minutes: float) -> dict[str, float]:
    """Figures of `services` at rest for `minutes`, then ten changes."""
    world.namespace("soc")
    for n in range(services):
        world.ray("soc", f"s{n}", replicas=1)
        world.service("soc", f"s{n}")
    token = world.api.access.issue(User(USER, ("system:masters",)))
    started = time.monotonic()
    operator = operators.start(world.api.kubeconfig(token, USER), **dict.fromkeys(DEFAULTS), LOG_LEVEL="warning")
    for n in range(services):
        world.until("soc", f"s{n}", is_healthy("1"), 600)
    healthy_s = time.monotonic() - started
    time.sleep(5)
    cpu, began, seen = cpu_s(operator.process.pid), time.monotonic(), len(world.api.log)
    time.sleep(minutes * 60)
    passed = (time.monotonic() - began) / 60
    calls = [c for c in list(world.api.log)[seen:] if c.user == USER]
    writes = [c for c in calls if c.is_write and c.plural != "leases"]
    used = cpu_s(operator.process.pid) - cpu
    latencies = [acted_after_s(world, f"s{n * services // 10}") for n in range(10)]
    return {
        "services": services,
        "all_healthy_after_s": round(healthy_s, 1),
        "writes_per_service_minute": len(writes) / passed / services,
        "reads_per_service_minute": (len(calls) - len(writes)) / passed / services,
        "cpu_cores": used / passed / 60,
        "acted_median_s": statistics.median(latencies),
        "acted_worst_s": max(latencies),
    }


def acted_after_s(world: World, name: str) -> float:
    """From a change of the resource until the backend was told of the candidate."""
    where = f"/apis/ray.io/v1/namespaces/soc/rayservices/{name}"
    began = time.monotonic()
    world.want("soc", name, "b")
    while digest("b") not in world.http.get(where).json()["spec"]["serveConfigV2"]:
        assert time.monotonic() - began < 60, "never acted on"
        time.sleep(0.02)
    return time.monotonic() - began


def cpu_s(pid: int) -> float:
    import os

    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def judge(figures: dict[str, float]) -> None:
    print(figures)
    assert figures["writes_per_service_minute"] < 1
    assert figures["acted_worst_s"] < 5


def test_services_at_rest_are_quiet_and_changes_are_acted_on(fake_world, operators):
    judge(at_rest(fake_world, operators, services=20, minutes=0.5))


@pytest.mark.soak
def test_500_services_at_rest_are_quiet_and_changes_are_acted_on(fake_world, operators):
    judge(at_rest(fake_world, operators, services=500, minutes=3))
