"""A stale detector of flows, its answers in a real log, labels, an alarm: `vedette retrain run` trains, challenges, asks for a rollout."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from lifecycle.datasets.data import check_data
from lifecycle.datasets.declarations import BUILT_IN, parse_detector
from lifecycle.datasets.synthetic_flows import generate_flows
from lifecycle.governance.acts import ActsLog
from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from lifecycle.monitoring.alarm import Alarm, AlarmLog
from lifecycle.monitoring.windows.answered import read_answers
from lifecycle.training.feast_store import FeastStore
from lifecycle.training.features import with_features
from lifecycle.training.train import add_to_store, prepare, train
from operators.api.types import ModelServiceStatus
from operators.cli.main import app
from operators.cli.models.train import materialize
from operators.cli.rollout.start import started
from operators.control.folder import ControlFolder
from operators.rollout.spec import Revision
from operators.rollout.status import RolloutStatus
from serving.models.store import BundleStore

pytestmark = pytest.mark.slow
POLICY = """
strategies: {on_demand: {}}
challenge: {draws: 400, newest: {recall_margin: 0.2, undecided: as_seen}, kept: {recall_margin: 0.2, false_alarm_margin: 0.1}}
"""
SECOND_US = 1_000_000


def declared():
    """The detector of flows, small and split like generated rows."""
    body = yaml.safe_load((BUILT_IN / "flows.yaml").read_text(encoding="utf-8"))
    body["split"] = body["source"].pop("generated_split")
    body["model"]["trees"] = 40
    return parse_detector(body, where="test")


def tunnels(flows):
    """The same traffic, its attacks few and hidden in what looks like answers of a name server."""
    is_attack = flows["Label"].str.contains("Botnet").to_numpy()
    flows = flows[~is_attack | (np.cumsum(is_attack) % 6 == 0)].reset_index(drop=True)
    bad = flows["Label"].str.contains("Botnet").to_numpy()
    rng, n = np.random.default_rng(1), int(bad.sum())
    words = ["Proto", "Dport", "State", "Dir", "DstAddr", "Label"]
    flows.loc[bad, words] = [
        "udp",
        "53",
        "CON",
        "  <->",
        "203.0.113.7",
        "flow=From-Botnet-T",
    ]
    flows.loc[bad, "SrcBytes"] = 75
    flows.loc[bad, "TotBytes"] = 75 + rng.integers(150, 178, n)
    flows.loc[bad, "TotPkts"], flows.loc[bad, "Dur"] = 2, rng.exponential(0.02, n)
    return flows


def says(store, *words):
    done = CliRunner().invoke(app, [*words, "--store-dir", str(store)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def stale(tmp_path, monkeypatch):
    """The store, and the bundle that serves: what it answered of other attacks is labelled, and an alarm stands."""
    monkeypatch.setenv("VEDETTE_FEATURE_TIMEOUT_S", "30")
    store, detector = tmp_path / "store", declared()
    generate_flows(1, hosts=700).to_parquet(tmp_path / "base.parquet")
    base = check_data(detector, generate_flows(1, hosts=700), where="base")
    feast = FeastStore(store / "feast")
    champion = add_to_store(train(prepare(detector, base, feast, with_test=True)), BundleStore(store))
    wanted = {"version": champion.manifest.version, "bundle": champion.digest}
    revision, control = Revision.model_validate(wanted), ControlFolder(store)
    control.change("flows", lambda before: started(before, "flows", wanted, None, "ada", "the first"))
    control.record("flows", ModelServiceStatus(rollout=RolloutStatus(stable=revision, seen=revision.digest)))

    new = check_data(detector, tunnels(generate_flows(77, hosts=700)), where="new")
    _, service = with_features(detector, new, feast)
    materialize(feast, new.at_us, service.name, lambda what, share: None)
    hosts = new.frame["host"].to_numpy()
    last = np.sort(len(hosts) - 1 - np.unique(hosts[::-1], return_index=True)[1])
    names = ["host", *detector.request_fields]
    rows = json.loads(new.frame.iloc[last][names].to_json(orient="records"))
    times = [datetime.fromtimestamp(int(new.at_us[i]) // SECOND_US + 1, tz=UTC).isoformat() for i in last.tolist()]
    lines = [json.dumps({**row, "event_time": time}) for row, time in zip(rows, times, strict=True)]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    says(store, "score", str(tmp_path / "events.jsonl"), "--out", str(tmp_path / "verdicts.jsonl"))

    answers, truth = (
        read_answers(store / "audit", "flows"),
        dict(zip(hosts[last].tolist(), new.attack[last].tolist(), strict=True)),
    )
    now = int(answers.times_us.max())
    LabelLog(store / "labels").give_all(
        [
            Label(
                label_id=f"l-{event}", event=event, model="flows", verdict="attack" if truth[host] else "benign", analyst="ada",
                time_us=now, selection="audit", inclusion=0.9,
            )
            for event, host in zip(answers.events.tolist(), answers.columns["host"].tolist(), strict=True)
        ]
    )  # fmt: skip
    acts = ActsLog(store / "governance", signer=lambda: None, now_us=lambda: now)
    AlarmLog(store / "monitoring", acts).add(
        Alarm(
            alarm_id="alarm-1", model="flows", revision=revision.digest, kind="performance", subject="recall", severity="major",
            statistic="recall", value=0.3, threshold=0.9, began_us=now - 3600 * SECOND_US, time_us=now, words="recall fell",
            advice="retrain",
        )
    )  # fmt: skip
    (tmp_path / "retraining.yaml").write_text(POLICY, encoding="utf-8")
    return store, champion, acts


def test_an_alarm_becomes_a_challenger_that_is_rolled_out_and_the_lineage_tells_it(stale, tmp_path):
    store, champion, acts = stale
    policy = ("--policy", str(tmp_path / "retraining.yaml"))
    data = ("--data", str(tmp_path / "base.parquet"))
    before = sorted(path for path in store.rglob("*") if path.is_file())
    assert "train: the major alarm performance of recall" in says(store, "retrain", "check", "flows", *policy)
    assert sorted(path for path in store.rglob("*") if path.is_file()) == before, "a check changes nothing"

    told = json.loads(says(store, "retrain", "run", "flows", *policy, *data, "--json"))
    assert told["ended"]["outcome"] == "rolled_out", told["words"]
    challenger = told["ended"]["bundle"]
    newest = next(g for g in told["challenge"]["gates"] if (g["kind"], g["figure"]) == ("newest", "recall"))
    assert newest["challenger"] > newest["champion"], "it learnt what the labels say"

    control = ControlFolder(store).read("flows")
    assert control.service.spec.revision.bundle == challenger
    assert control.status.stable.bundle == champion.digest, "nothing but a rollout changes what serves"
    assert control.rollout.steps[0].kind == "mirror"
    again = json.loads(says(store, "retrain", "run", "flows", *policy, *data, "--json"))
    assert again["decision"] == "wait"
    assert [a.action for a in acts.read() if a.action.startswith(("retraining.", "gate."))] == [
        "retraining.trigger", "retraining.train", "gate.judge", "retraining.challenge", "retraining.rollout",
    ]  # fmt: skip

    graph = json.loads(says(store, "lineage", "show", "flows", "--json"))
    kinds = {node["id"]: node["kind"] for node in graph["nodes"]}
    ways = {(kinds[e["from"]], kinds[e["to"]]) for e in graph["edges"]}
    assert {
        ("alarm", "trigger"), ("trigger", "training"), ("data", "training"), ("training", "bundle"), ("bundle", "gate"),
        ("gate", "challenge"), ("challenge", "revision"),
    } <= ways  # fmt: skip
    told_of = [line["what"] for line in graph["story"]]
    assert {"labels", "alarm"} <= set(told_of[:-5])
    assert told_of[-5:] == ["trigger", "training", "gate", "challenge", "rollout"]
    assert "passed: schema, golden, budget, lineage" in says(store, "lineage", "show", "flows")
    assert "rolled out" in says(store, "retrain", "status", "flows", *policy)
