"""A drill: faults and recorded series on one side, on the other somebody who is told, through a real Prometheus and a real Alertmanager.

Cheap faults are real: a replica that is ended, a disk that is full, a door that refuses. The others play, from promtool's cases."""

import json
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from operators.handlers.metrics import OperatorMetrics, ServiceView
from operators.labs.simple_model import build_simple
from operators.observability.alerts.alert import RUNBOOKS
from operators.observability.alerts.catalogue import GROUPS
from operators.observability.alerts.slo import GROUP as OBJECTIVES
from operators.observability.manifests import DASHBOARDS
from operators.rollout.spec import Revision
from operators.rollout.status import Phase, RolloutStatus
from operators.telemetry.page import serve_page
from serving.app import compose
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from serving.stream.counts import StreamCounts
from serving.stream.ports import Partition
from tests.fakes.alerting.player import Player, values
from tests.fakes.alerting.watchtower import ALERTMANAGER, PROMETHEUS, watchtower
from tests.manifests.observability.cases import LATENCY, RUNS, times
from tests.waiting import HANG_S, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        PROMETHEUS is None or ALERTMANAGER is None,
        reason="Prometheus or Alertmanager is not installed; `make services` installs both",
    ),
]
NOT_PLAYED = {
    "VedetteNoReplica": "the drill ends a real replica",
    "VedetteReplicaAway": "the same",
    "VedetteTargetAway": "a target of the drill has nobody behind it",
    "VedetteMonitorGone": "a monitor plays here; promtool judges its absence",
    "VedetteAlertFlood": "compares with a week ago; promtool judges it",
    "VedetteRecordsLost": "the drill fills a real disk",
    "VedetteRecordsFail": "the same",
    "VedetteRubbishRefused": "the drill sends rubbish to a real door",
    "VedetteStreamBehind": "a real worker's counts",
    "VedetteRolloutAborted": "the real page of an operator",
    "VedetteLabelsLate": "its times are promtool's, which begins at 0",
    "VedetteJudgementLate": "the same",
}
HERE = "drill"
ASK = {"inputs": [{"name": n, "shape": [1, 16], "datatype": "INT32", "data": list(range(16))} for n in ("INPUT0", "INPUT1")]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("1", [1], id="one value"),
        pytest.param("0x2 5", [0, 0, 0, 5], id="repeated"),
        pytest.param("0+5x2", [0, 5, 10], id="growing"),
        pytest.param("200-5x1", [200, 195], id="falling"),
        pytest.param("_x2 -3", [None, None, -3], id="absent, then below 0"),
    ],
)
def test_the_notation_of_series(text, expected):
    assert list(values(text)) == expected


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    """A replica whose prediction log lies on a file system of 256 KiB, with the counts of a stream worker that is behind."""
    store = BundleStore(tmp_path_factory.mktemp("drill") / "store")
    store.add(build_simple(store.root.parent / "simple"))
    disk = store.root / "audit"
    disk.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (it takes root)")
    stream = StreamCounts()
    stream.behind_s = {Partition("events", 0): 90.0}

    async def composed(settings):
        return await compose(settings, watched=[stream.metrics])

    try:
        host = ReplicaHost(ServingSettings(http_port=0, grpc_port=0, store_dir=store.root, audit="async"), composed)
        ports, is_up = host.start(), [True]

        def end():
            if is_up:
                is_up.clear()
                host.stop()

        yield ports, end
        end()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture(scope="module")
def operator():
    """The page of an operator that leads and has aborted a rollout."""
    metrics = OperatorMetrics()
    metrics.is_watching = lambda: True
    metrics.leads(is_leader=True)
    aborted = RolloutStatus(phase=Phase.ABORTED, stable=Revision(version="1", bundle="sha256:" + "a" * 64))
    metrics.saw((HERE, "flows"), ServiceView(aborted, 2, 0.0, frozenset()))
    server, port = serve_page("127.0.0.1", 0, metrics.render, {})
    yield port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def player():
    """Plays the cases of all other alerts, and late answers in the namespace of the replica that is ended."""
    series = {}
    for page, every_min, cases in RUNS:
        own = "slow" if (page, every_min) == ("objectives", 30) else "soc"  # else the slow burns would play over the fast ones
        for name, case in cases.items():
            if name not in NOT_PLAYED:
                series |= {name.replace('"soc"', f'"{own}"'): text for name, text in case.fires.items()}
    late = times(LATENCY[0], LATENCY[1].replace('"soc"', f'"{HERE}"'), LATENCY[2], 1000, 200)
    server, port = serve_page("127.0.0.1", 0, Player(series | late).render, {})
    yield port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def tower(tmp_path_factory, replica, operator, player):
    ports, _ = replica
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        targets = {
            f"127.0.0.1:{ports.http}": ("vedette-replica", {"namespace": HERE, "pod": "r1"}),
            f"127.0.0.1:{operator}": ("vedette-operator", {}),
            f"127.0.0.1:{player}": ("player", {}),
            f"127.0.0.1:{nobody.getsockname()[1]}": ("vedette-monitor", {"namespace": HERE, "pod": "m1"}),
        }
        with watchtower(tmp_path_factory.mktemp("tower"), targets) as opened:
            yield opened


def ask(port, body: bytes) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v2/models/simple/infer", body)
    try:
        with urllib.request.urlopen(request, timeout=HANG_S) as answer:
            return answer.status
    except urllib.error.HTTPError as problem:
        return problem.code


@pytest.mark.slow
def test_the_drill(tower, replica):
    ports, end = replica
    told = tower.told

    def is_told(names: set[str], namespace: str, meanwhile=lambda: None) -> None:
        def holds() -> bool:
            meanwhile()
            return names <= told.names(namespace)

        until(holds, lambda: f"nobody was told of {sorted(names - told.names(namespace))} in {namespace!r}", every_s=0.05)

    # What the doors refuse, and a disk that fills up while answers go on.
    def load() -> None:
        for _ in range(20):
            assert ask(ports.http, json.dumps(ASK).encode()) == 200
            assert ask(ports.http, b"{rubbish") == 400

    is_told(
        {"VedetteRubbishRefused", "VedetteRecordsLost", "VedetteRecordsFail", "VedetteStreamBehind", "VedetteRolloutAborted"},
        HERE,
        load,
    )
    is_told({"VedetteTargetAway"}, HERE)

    # Everything that plays, with whatever labels it has.
    played = {name for _, _, cases in RUNS for name in cases if name not in NOT_PLAYED}

    def everywhere() -> set[str]:
        return {name for _, name, _ in list(told.alerts)}

    until(
        lambda: played - INHIBITED <= everywhere(),
        lambda: f"nobody was told of {sorted(played - INHIBITED - everywhere())}",
        every_s=0.2,
    )

    # A replica is ended: somebody hears of it, and its late answers are no news.
    end()
    is_told({"VedetteNoReplica"}, HERE)
    until(lambda: ("VedetteLatencyBurnsFast", HERE) in tower.inhibited(), lambda: f"{tower.inhibited()}", every_s=0.2)

    # What was written is whole, and went to whom it should.
    severities = {a.name: (a.severity, a.team) for g in GROUPS for a in g.alerts}
    receivers = {
        ("critical", "audit"): "audit-page", ("warning", "detection"): "detection", ("warning", "audit"): "audit",
        ("warning", "platform"): "platform", ("critical", "platform"): "on-call", ("critical", "detection"): "on-call",
    }  # fmt: skip
    for (receiver, name, _), alert in list(told.alerts.items()):
        assert receiver == receivers.get(severities[name], "shown"), name
        words = alert["annotations"]
        assert words["runbook_url"].startswith(RUNBOOKS)
        assert "<no value>" not in words["summary"] + words["description"], name
        assert "error" not in words["summary"].lower().replace("error budget", ""), words["summary"]


INHIBITED = {
    "VedetteFeaturesDefaulted", "VedetteFeaturesStale", "VedetteRulesAnswer", "VedetteOperatorFails", "VedetteOperatorBlind",
    "VedetteOperatorNoLeader", "VedetteReplicaLate", "VedetteOverloaded",
}  # fmt: skip
"""Others of the drill hold them back, or the operator that leads here."""


@pytest.mark.slow  # of the series that the drill made
@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.uid)
def test_prometheus_answers_every_panel(tower, dashboard):
    """No query is refused, and many have something to show: the model here gives no verdicts, and is alone."""
    silent = []
    for panel in dashboard.panels:
        found = []
        for query in panel.queries:
            expr = query.expr.replace("$namespace", ".*").replace("$model", ".*").replace("$__range", "5m")
            answer = tower.query(expr)
            assert answer["status"] == "success", f"{panel.title}: {query.expr}: {answer}"
            found += answer["data"]["result"]
        if not found:
            silent.append(panel.title)
    assert len(silent) < 0.6 * len(list(dashboard.panels)), silent


def test_prometheus_judges_every_rule(tower):
    groups = json.loads(urllib.request.urlopen(f"{tower.prometheus}/api/v1/rules", timeout=HANG_S).read())["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == sum(len(g.alerts) for g in GROUPS) + len(OBJECTIVES.recorded)
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] == "err"} == {}
