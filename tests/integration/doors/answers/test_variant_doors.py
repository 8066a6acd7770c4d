"""Variants over real sockets: every door and encoding sends an entity to the same variant; changes lose no request."""

import http.client
import json
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import chisquare

from serving.app import compose
from serving.doors.grpc import stubs
from serving.doors.oip.tensors import objects, to_raw
from serving.loading import loader
from serving.loading.served_file import ServedFile
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from tests.unit.serving.scoring.variants import host, spec, threat, variant
from tests.waiting import HANG_S, until

ENTITIES = 10_000
BATCH = 250
ALONE = 1_000
"""Of them, how many are also sent one by one: that takes milliseconds each beside a busy replica."""
PATH = "/v2/models/threat/infer"
ASK_VARIANT = [{"name": "variant"}]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    numbered = {"entity_keys": [{"name": "host", "datatype": "INT64"}]}
    return {
        "stable": threat(folder / "1", "1", 1.0),
        "candidate": threat(folder / "2", "2", 0.5),
        "third": threat(folder / "3", "3", 2.0),
        "numbered": threat(folder / "4", "4", 1.0, **numbered),
        "numbered candidate": threat(folder / "5", "5", 0.5, **numbered),
    }


def open_host(root, bundles, **settings):
    store = BundleStore(root)
    for bundle in bundles.values():
        store.add(bundle)
    given = {"http_port": 0, "grpc_port": 0, "store_dir": root, "audit": False, **settings}
    return ReplicaHost(ServingSettings(**given), compose)


class Client:
    """The same rows by every door and encoding; each answers the variants of the rows."""

    def __init__(self, ports, datatype="BYTES"):
        self.http = http.client.HTTPConnection("127.0.0.1", ports.http, timeout=HANG_S)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{ports.grpc}")
        self.infer = self.channel.unary_unary(
            f"/{stubs.SERVICE}/ModelInfer", stubs.ModelInferRequest.SerializeToString, stubs.ModelInferResponse.FromString
        )
        self.datatype = datatype

    def close(self):
        self.http.close()
        self.channel.close()

    def post(self, body, headers=None):
        self.http.request("POST", PATH, body, headers or {})
        answer = self.http.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return json.loads(text)["outputs"][0]["data"]

    def inputs(self, keys):
        shape = [len(keys)]
        return [
            {"name": "host", "datatype": self.datatype, "shape": shape, "data": keys},
            {"name": "level", "datatype": "FP32", "shape": shape, "data": [1.0] * len(keys)},
        ]

    def arrays(self, keys):
        is_text = self.datatype == "BYTES"
        column = objects([k.encode() for k in keys]) if is_text else np.array(keys, np.int64)
        return [("host", self.datatype, column), ("level", "FP32", np.ones(len(keys), np.float32))]

    def http_json(self, keys):
        return self.post(json.dumps({"inputs": self.inputs(keys), "outputs": ASK_VARIANT}))

    def http_binary(self, keys):
        raws = [(name, datatype, to_raw(array, datatype)) for name, datatype, array in self.arrays(keys)]
        inputs = [
            {"name": n, "datatype": d, "shape": [len(keys)], "parameters": {"binary_data_size": len(r)}} for n, d, r in raws
        ]
        head = json.dumps({"inputs": inputs, "outputs": ASK_VARIANT}).encode()
        body = head + b"".join(r for _, _, r in raws)
        return self.post(body, {"Inference-Header-Content-Length": str(len(head))})

    def v1_rows(self, keys):
        rows = [{"host": k, "level": 1.0} for k in keys]
        self.http.request("POST", "/v1/models/threat:predict", json.dumps({"instances": rows}))
        answer = json.loads(self.http.getresponse().read())
        assert len(keys) == 1
        return [answer["parameters"]["variant"]]

    def _message(self, keys):
        message = stubs.ModelInferRequest(model_name="threat")
        message.outputs.add(name="variant")
        for name, datatype, array in self.arrays(keys):
            message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        return message

    def grpc_typed(self, keys):
        message = self._message(keys)
        field = "bytes_contents" if self.datatype == "BYTES" else "int64_contents"
        getattr(message.inputs[0].contents, field).extend([k.encode() for k in keys] if self.datatype == "BYTES" else keys)
        message.inputs[1].contents.fp32_contents.extend([1.0] * len(keys))
        return [v.decode() for v in self.infer(message, timeout=HANG_S).outputs[0].contents.bytes_contents]

    def grpc_raw(self, keys):
        message = self._message(keys)
        message.raw_input_contents.extend(to_raw(array, datatype) for _, datatype, array in self.arrays(keys))
        raw, found = self.infer(message, timeout=HANG_S).raw_output_contents[0], []
        while raw:
            size = int.from_bytes(raw[:4], "little")
            found.append(raw[4 : 4 + size].decode())
            raw = raw[4 + size :]
        return found


def test_ten_thousand_entities_meet_one_variant_on_every_door_and_never_go_back(tmp_path, bundles):
    replica = open_host(tmp_path / "store", bundles)
    client = Client(replica.start())
    keys = [host(i) for i in range(ENTITIES)]
    before: set[str] = set()
    try:
        for weight in (1, 5, 25, 100):
            change = spec(bundles["stable"], variant(bundles["candidate"], weight=weight))
            replica.reconfigure(change.model_dump(mode="json"))
            doors = [
                [v for at in range(0, ENTITIES, BATCH) for v in send(keys[at : at + BATCH])]
                for send in (client.http_json, client.http_binary, client.grpc_typed, client.grpc_raw)
            ]
            singles = [(client.http_json, client.grpc_typed)[i % 2]([k])[0] for i, k in enumerate(keys[:ALONE])]
            conflicts = sum(len(set(answers)) > 1 for answers in zip(*doors, strict=True))
            assert conflicts == 0
            assert singles == doors[0][:ALONE]
            met = {k for k, v in zip(keys, doors[0], strict=True) if v == "candidate"}
            assert before <= met, "an entity went back"
            if weight < 100:
                expected = [ENTITIES * weight / 100, ENTITIES * (100 - weight) / 100]
                assert chisquare([len(met), ENTITIES - len(met)], expected).pvalue > 0.001
            else:
                assert len(met) == ENTITIES
            before = met
        assert {client.v1_rows([k])[0] for k in keys[:50]} == {"candidate"}
    finally:
        client.close()
        replica.stop()


def test_whole_numbers_are_the_same_entity_on_every_door(tmp_path, bundles):
    replica = open_host(tmp_path / "store", bundles)
    client = Client(replica.start(), "INT64")
    keys = [int(k) for k in np.random.default_rng(0).integers(-(2**62), 2**62, 500)]
    try:
        change = spec(bundles["numbered"], variant(bundles["numbered candidate"], weight=50))
        replica.reconfigure(change.model_dump(mode="json"))
        doors = [send(keys) for send in (client.http_json, client.http_binary, client.grpc_typed, client.grpc_raw)]
        assert all(answers == doors[0] for answers in doors)
        assert 180 < doors[0].count("candidate") < 320
        assert [client.v1_rows([k])[0] for k in keys[:20]] == doors[0][:20]
    finally:
        client.close()
        replica.stop()


def test_a_variant_is_asked_for_by_header_and_metadata(tmp_path, bundles):
    replica = open_host(tmp_path / "store", bundles)
    client = Client(replica.start())
    try:
        replica.reconfigure(spec(bundles["stable"], variant(bundles["candidate"])).model_dump(mode="json"))
        body = json.dumps({"inputs": client.inputs(["a"]), "outputs": ASK_VARIANT})
        assert client.post(body) == ["stable"]
        assert client.post(body, {"X-Vedette-Variant": "candidate"}) == ["candidate"]
        answer = client.infer(client_message(client), metadata=(("x-vedette-variant", "candidate"),))
        assert answer.parameters["variant"].string_param == "candidate"
        with pytest.raises(grpc.RpcError, match=r"'gold' is not loaded; model 'threat' has \['stable', 'candidate'\]"):
            client.infer(client_message(client), metadata=(("x-vedette-variant", "gold"),))
    finally:
        client.close()
        replica.stop()


def client_message(client):
    message = client._message(["a"])
    message.inputs[0].contents.bytes_contents.append(b"a")
    message.inputs[1].contents.fp32_contents.append(1.0)
    return message


class Load:
    """Constant requests by several clients; every failure is kept."""

    def __init__(self, ports, clients=4):
        self.failures, self.answers, self.is_over = [], 0, threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._done = [self._pool.submit(self._run, ports, n) for n in range(clients)]

    def _run(self, ports, number):
        client, at = Client(ports), number * 1000
        while not self.is_over.is_set():
            at += 1
            send = (client.http_json, client.grpc_raw)[number % 2]
            try:
                send([host(at % 500)] if at % 5 else [host(at % 500), host((at + 7) % 500)])
                self.answers += 1
            except Exception as problem:
                self.failures.append(repr(problem))
                client.close()
                client = Client(ports)
        client.close()

    def stop(self):
        self.is_over.set()
        for done in self._done:
            done.result(HANG_S)
        self._pool.shutdown()


def loaded(base):
    """(replica, variant, version) of everything loaded, from one page of the shared port."""
    with urllib.request.urlopen(f"{base}/metrics", timeout=HANG_S) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    labels = [s.labels for f in families if f.name == "vedette_model_info" for s in f.samples]
    return {(found["replica"], found["variant"], found["version"]) for found in labels}


@pytest.fixture
def loads(monkeypatch):
    """The digests of the bundles that replicas of this process load from now on."""
    digests, load = [], loader.load_bundle

    def counted(bundle, **how):
        digests.append(bundle.digest)
        return load(bundle, **how)

    monkeypatch.setattr(loader, "load_bundle", counted)
    return digests


def test_a_whole_rollout_on_two_replicas_loses_no_request(tmp_path, bundles, loads):
    root = tmp_path / "store"
    first = open_host(root, bundles, replicas=2)
    stable, candidate, third = bundles["stable"], bundles["candidate"], bundles["third"]
    file = ServedFile(root)
    file.write(spec(stable))
    ports = first.start()
    second = open_host(root, bundles, replicas=2, http_port=ports.http, grpc_port=ports.grpc)
    second.start()
    base = f"http://127.0.0.1:{ports.http}"
    load = Load(ports)
    loaded_by = []
    try:
        until(lambda: len(loaded(base)) == 2)
        for change, expected in (
            (spec(stable, variant(candidate, mirror=100)), {("stable", "1"), ("candidate", "2")}),
            (spec(stable, variant(candidate, weight=5)), {("stable", "1"), ("candidate", "2")}),
            (spec(stable, variant(candidate, weight=60)), {("stable", "1"), ("candidate", "2")}),
            (spec(candidate, variant(stable, name="former")), {("stable", "2"), ("former", "1")}),
            (spec(candidate, variant(third, weight=30)), {("stable", "2"), ("candidate", "3")}),
            (spec(candidate), {("stable", "2")}),
        ):
            file.write(change)
            before, answers = len(loads), load.answers
            until(lambda expected=expected: sorted(pair[1:] for pair in loaded(base)) == sorted([*expected, *expected]))
            loaded_by.append(loads[before:])
            until(lambda answers=answers: load.answers > answers + 200)
    finally:
        load.stop()
        second.stop()
        first.stop()
    assert load.failures == []
    assert load.answers > 1200
    nothing = []
    assert loaded_by[:4] == [[candidate.digest] * 2, nothing, nothing, nothing], "a weight and a promotion load nothing"
    assert loaded_by[4:] == [[third.digest] * 2, nothing]
