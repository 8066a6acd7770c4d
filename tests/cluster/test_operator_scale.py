"""Many services at rest: what the operator costs the API server, and that a change is acted on without waiting for the next look."""

import os
import statistics
import time

import pytest

from tests.cluster.test_operator_rollouts import is_healthy
from tests.fakes.apiserver import User
from tests.fakes.operator.operator_world import QUICK_SETTINGS, World, digest
from tests.waiting import until

DEFAULTS = dict.fromkeys(name for name in QUICK_SETTINGS if name not in {"HTTP_PORT", "LEADER_ELECTION", "LOG_LEVEL"})
"""The settings' own."""
USER = "the-operator"
SERVICES = 20
LOOKS = 5


def start(world: World, operators, services: int, **settings: str | None):
    """An operator, once all services are healthy."""
    token = world.api.access.issue(User(USER, ("system:masters",)))
    operator = operators.start(world.api.kubeconfig(token, USER), LOG_LEVEL="warning", **settings)
    for n in range(services):
        world.until("soc", f"s{n}", is_healthy("1"), 600)
    return operator


def make(world: World, services: int) -> None:
    world.namespace("soc")
    for n in range(services):
        world.ray("soc", f"s{n}", replicas=1)
        world.service("soc", f"s{n}")


def writes(world: World, since: int) -> list[tuple[str, str]]:
    """What the operator wrote, but for its Lease."""
    calls = [c for c in list(world.api.log)[since:] if c.user == USER]
    return [(c.verb, c.plural) for c in calls if c.is_write and c.plural != "leases"]


def change(world: World, name: str) -> None:
    """Want another revision, and wait until the backend was told of the candidate."""
    where = f"/apis/ray.io/v1/namespaces/soc/rayservices/{name}"
    world.want("soc", name, "b")
    until(lambda: digest("b") in world.http.get(where).json()["spec"]["serveConfigV2"], "never acted on", every_s=0.02)


def test_services_at_rest_are_looked_at_and_not_written(fake_world, operators):
    world = fake_world
    make(world, SERVICES)
    start(world, operators, SERVICES, QUIET_INTERVAL_S=None)  # looks of every half second
    seen = world.pods.scrapes
    until(lambda: world.pods.scrapes >= seen + SERVICES)  # each look under way when the last became healthy has ended
    seen, began = world.pods.scrapes, len(world.api.log)
    until(lambda: world.pods.scrapes >= seen + LOOKS * SERVICES)
    assert writes(world, began) == []


def test_a_change_is_acted_on_before_the_next_look_is_due(fake_world, operators):
    world = fake_world
    make(world, 1)
    start(world, operators, 1).kill()  # a day between two looks would be too long to become healthy
    seen = world.pods.scrapes
    start(
        world, operators, 1, **{**DEFAULTS, "REST_INTERVAL_S": "86400", "ACTIVE_INTERVAL_S": "86400", "STARTUP_SPREAD_S": "0"}
    )
    until(lambda: world.pods.scrapes > seen, "it looks once when it starts")
    change(world, "s0")


@pytest.mark.soak
def test_500_services_at_rest_for_three_minutes(fake_world, operators):
    """Prints what they cost; judges what no busy machine changes."""
    world, services, minutes = fake_world, 500, 3.0
    make(world, services)
    began = time.monotonic()
    operator = start(world, operators, services, **DEFAULTS)
    healthy_s, seen, cpu = time.monotonic() - began, len(world.api.log), cpu_s(operator.process.pid)
    began = time.monotonic()
    time.sleep(minutes * 60)  # what is measured is what happens meanwhile
    passed = (time.monotonic() - began) / 60
    calls = sum(c.user == USER for c in list(world.api.log)[seen:])
    written, used = len(writes(world, seen)), cpu_s(operator.process.pid) - cpu
    acted_s = []
    for n in range(10):
        began = time.monotonic()
        change(world, f"s{n * services // 10}")
        acted_s.append(time.monotonic() - began)
    print(
        {
            "all_healthy_after_s": round(healthy_s, 1),
            "writes_per_service_minute": written / passed / services,
            "reads_per_service_minute": (calls - written) / passed / services,
            "cpu_cores": used / passed / 60,
            "acted_median_s": statistics.median(acted_s),
            "acted_worst_s": max(acted_s),
        }
    )
    assert written / passed / services < 1


def cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
