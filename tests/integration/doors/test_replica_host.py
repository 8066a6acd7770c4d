"""A replica without Ray: real listeners, real bundles, real probes."""

import json
import threading
import urllib.error
import urllib.request
from collections import Counter

import pytest

from operators.labs.simple_model import build_simple
from serving.app import compose
from serving.loading import loader
from serving.loading.served_file import ServedFile, newest_of_each
from serving.models.build import build_bundle
from serving.models.probe import probe
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from tests.fakes.probes import cold_probes
from tests.waiting import HANG_S, until

ASK = {"inputs": [{"name": n, "shape": [1, 16], "datatype": "INT32", "data": list(range(16))} for n in ("INPUT0", "INPUT1")]}


@pytest.fixture(autouse=True)
def _real_probes(monkeypatch):
    """Each loading starts a new Python, as in the product."""
    monkeypatch.setattr(loader, "probe", probe)
    with cold_probes():
        yield


@pytest.fixture
def store(tmp_path):
    store = BundleStore(tmp_path / "store")
    store.add(build_simple(tmp_path / "simple"))
    return store


def open_host(store, **settings):
    settings = {"http_port": 0, "grpc_port": 0, "store_dir": store.root, **settings}
    return ReplicaHost(ServingSettings(**settings), compose)


@pytest.fixture
def host(store):
    host = open_host(store)
    ports = host.start()
    yield host, f"http://127.0.0.1:{ports.http}"
    host.stop()


def get(url):
    with urllib.request.urlopen(url, timeout=HANG_S) as answer:
        return json.loads(answer.read())


def ask(base, model="simple"):
    request = urllib.request.Request(f"{base}/v2/models/{model}/infer", json.dumps(ASK).encode())
    with urllib.request.urlopen(request, timeout=HANG_S) as answer:
        return json.loads(answer.read())


def test_it_is_ready_with_every_model_of_the_store_once_start_returns(host):
    _, base = host
    assert get(f"{base}/v2/health/ready")["ready"] is True
    answer = ask(base)
    assert answer["outputs"][0]["data"] == [2 * i for i in range(16)]


def test_each_answer_is_in_the_prediction_log_when_it_has_stopped(store):
    from serving.audit.reader import read_records

    host = open_host(store)
    base = f"http://127.0.0.1:{host.start().http}"
    receipts = [ask(base)["parameters"]["receipt"] for _ in range(20)]
    host.stop()
    assert [r.receipt for r in read_records(store.root / "audit")] == receipts


def test_it_follows_the_served_file(host, store, tmp_path):
    _, base = host
    model = (store.resolve("simple").folder / "model.onnx").read_bytes()
    store.add(build_bundle(tmp_path / "2", model=model, name="simple", version="2"))
    ServedFile(store.root).write(newest_of_each(store))
    until(lambda: get(f"{base}/v2/models/simple")["versions"] == ["2"])
    assert ask(base)["model_version"] == "2"


def test_a_damaged_served_file_leaves_it_serving(host, store, caplog):
    _, base = host
    (store.root / "served.json").write_text("{")
    until(lambda: "serving goes on as before" in caplog.text or "what was served last goes on" in caplog.text)
    assert ask(base)["model_version"] == "1"
    assert get(f"{base}/v2/health/ready")["ready"] is True


def test_user_config_wins_over_the_served_file(host, store, tmp_path):
    replica, base = host
    replica.reconfigure({"models": []})
    model = (store.resolve("simple").folder / "model.onnx").read_bytes()
    store.add(build_bundle(tmp_path / "2", model=model, name="simple", version="2"))
    config = newest_of_each(store).model_dump(mode="json")
    replica.reconfigure(config)
    assert ask(base)["model_version"] == "2"


def test_a_replica_that_leaves_is_not_ready_and_still_answers_new_connections(host):
    """Ray Serve ends a replica whose pod stays: a Service goes on choosing it until the readiness probe has failed."""
    replica, base = host
    replica.leave()
    with pytest.raises(urllib.error.HTTPError, match="503"):
        get(f"{base}/v2/health/ready")
    assert get(f"{base}/v2/health/live")["live"] is True
    request = urllib.request.Request(f"{base}/v2/models/simple/infer", json.dumps(ASK).encode())
    with urllib.request.urlopen(request, timeout=HANG_S) as answer:
        assert answer.headers["connection"] == "close", "the client's next connection may go elsewhere"
        assert json.loads(answer.read())["outputs"]


def test_a_replica_leaves_before_its_doors_close(store, monkeypatch):
    host = open_host(store, leave_s=7)
    base = f"http://127.0.0.1:{host.start().http}"
    left = []
    monkeypatch.setattr("serving.replica.host.time.sleep", lambda seconds: left.append((seconds, ask(base)["model_name"])))
    host.stop()
    assert left == [(7, "simple")]
    host.stop()
    assert len(left) == 1, "what has stopped does not leave again"


def test_two_replicas_share_a_port(store):
    first = open_host(store, replicas=2)
    port = first.start().http
    second = open_host(store, replicas=2, http_port=port)
    try:
        assert second.start().http == port
        receipts = {ask(f"http://127.0.0.1:{port}")["parameters"]["receipt"].split("-")[0] for _ in range(60)}
        assert len(receipts) == 2
    finally:
        second.stop()
        first.stop()


def test_a_replica_that_joins_under_load_is_met_by_nobody_before_its_models_are_there(store):
    first = open_host(store, max_replicas=2)
    port = first.start().http
    second = open_host(store, max_replicas=2, http_port=port)
    met, failed, is_over = Counter(), [], threading.Event()

    def client():
        while not is_over.is_set():
            try:
                met[ask(f"http://127.0.0.1:{port}")["parameters"]["receipt"].split("-")[0]] += 1
            except OSError as problem:
                failed.append(repr(problem))

    clients = [threading.Thread(target=client) for _ in range(3)]
    for thread in clients:
        thread.start()
    try:
        second.start()
        until(lambda: len(met) == 2)
        first.stop()
        seen = met.total()
        until(lambda: met.total() > seen + 50)
    finally:
        is_over.set()
        for thread in clients:
            thread.join()
        second.stop()
    assert not failed
    assert len(met) == 2


def test_a_taken_port_is_an_error_that_names_it(host, store):
    _, base = host
    port = int(base.rsplit(":", 1)[1])
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
        open_host(store, http_port=port)


def test_a_broken_bundle_leaves_the_others_served_and_the_replica_ready(store, tmp_path):
    model = (store.resolve("simple").folder / "model.onnx").read_bytes()
    store.add(build_bundle(tmp_path / "b", model=model, name="broken", version="1"))
    (store.resolve("broken").folder / "model.onnx").write_bytes(b"x")
    host = open_host(store)
    base = f"http://127.0.0.1:{host.start().http}"
    try:
        assert ask(base)["model_version"] == "1"
        assert get(f"{base}/v2/health/ready")["ready"] is True
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{base}/v2/models/broken/ready")
        assert refused.value.code == 503
        index = urllib.request.Request(f"{base}/v2/repository/index", b"{}")
        with urllib.request.urlopen(index, timeout=HANG_S) as answer:
            entries = {e["name"]: e for e in json.loads(answer.read())}
        assert "the file was changed" in entries["broken"]["reason"]
    finally:
        host.stop()


def test_it_tells_its_load(host):
    host, _ = host
    assert host.load()["ongoing_requests"] == 0.0
    host.backend.service._metrics.ongoing += 3  # as three requests would that wait for features
    assert host.load()["ongoing_requests"] == 3.0
    until(lambda: host.load()["loop_late_s"] < 1.0)
