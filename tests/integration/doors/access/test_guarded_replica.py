"""A whole replica behind a policy: real tokens of an issuer over HTTP, the prediction log, the cache, its siblings, files that change."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.labs.simple_model import build_simple
from serving.app import compose
from serving.doors.http import server
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from tests.fakes.serving.doors import simple_request
from tests.fakes.serving.guarded.token_issuer import ISSUER, KeyServer, open_key_server, token
from tests.waiting import until

pytestmark = pytest.mark.integration
POLICY = """
version: 1
open: [health]
roles:
  scorer: [{verbs: [infer, metadata]}]
  scraper: [{verbs: [metrics]}]
tenants: {blue: {models: []}, red: {models: []}}
shared_models: [simple]
issuers:
  - name: corp
    issuer: ISSUER
    audiences: [vedette]
    keys: KEYS
    callers:
      - {claims: {sub: "blue"}, roles: [scorer], tenant: blue}
      - {claims: {sub: "red"}, roles: [scorer], tenant: red}
      - {claims: {sub: "prometheus"}, roles: [scraper]}
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[KeyServer]:
    with open_key_server() as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, issuer: KeyServer) -> Path:
    folder = tmp_path_factory.mktemp("guarded")
    write(folder, POLICY, issuer)
    BundleStore(folder / "store").add(build_simple(folder / "simple"))
    return folder


def write(folder: Path, text: str, issuer: KeyServer) -> None:
    draft = folder / "draft"
    draft.write_text(text.replace("ISSUER", ISSUER).replace("KEYS", issuer.url))
    draft.chmod(0o600)
    draft.replace(folder / "access.yaml")


def settings(folder: Path) -> ServingSettings:
    return ServingSettings(
        store_dir=folder / "store",
        http_port=0,
        grpc_port=0,
        access=folder / "access.yaml",
        cache="memory",
        cache_from_us=0,
        audit="strict",
        trace_ratio=1.0,
        repository_control=True,
    )


@pytest.fixture(scope="module")
def replicas(folder: Path) -> Iterator[list[int]]:
    """The HTTP ports of two replicas of one store. They give a head three seconds to arrive."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 3.0)
    hosts = [ReplicaHost(settings(folder), compose) for _ in range(2)]
    try:
        yield [host.start().http for host in hosts]
    finally:
        for host in hosts:
            host.stop()
        monkeypatch.undo()


def asked(port: int, method: str, path: str, who: str | bytes | None, body: object = None) -> tuple[int, bytes]:
    text = token(time.time(), sub=who) if isinstance(who, str) else who
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {} if text is None else {"authorization": f"Bearer {text.decode()}"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def scored(port: int, who: str, first: int = 0) -> dict:
    """The parameters of an answer about a row of its own: the one that begins with this number."""
    request = simple_request()
    request["inputs"][0]["data"][0] = first
    status, body = asked(port, "POST", "/v2/models/simple/infer", who, request)
    assert status == 200, body
    return json.loads(body)["parameters"]


def records(folder: Path) -> dict[str, dict]:
    lines = [
        line for path in sorted((folder / "store" / "audit").glob("segment-*.jsonl")) for line in path.read_text().splitlines()
    ]
    return {one["receipt"]: one for one in map(json.loads, lines)}


def test_one_tenant_never_gets_the_cached_answer_of_another(replicas):
    sources = [scored(replicas[0], who, first=7)["source"] for who in ("blue", "red", "blue", "red")]
    assert sources == ["model", "model", "cache", "cache"]


def test_each_record_says_who_asked_and_for_which_tenant_and_holds_no_token(replicas, folder):
    receipt = scored(replicas[0], "red")["receipt"]
    record = records(folder)[receipt]
    assert (record["caller"], record["tenant"]) == ("token:corp:red", "red")
    signature = token(time.time(), sub="red").rpartition(b".")[2]
    assert not [path for path in (folder / "store").rglob("*") if path.is_file() and signature in path.read_bytes()]


def test_metrics_are_for_those_who_may_and_still_those_of_all_replicas(replicas):
    assert asked(replicas[0], "GET", "/metrics", None)[0] == 401
    assert asked(replicas[0], "GET", "/metrics", "blue")[0] == 403
    status, page = asked(replicas[0], "GET", "/metrics", "prometheus")
    assert status == 200
    identities = {
        line.split(b'replica="')[1].split(b'"')[0] for line in page.splitlines() if line.startswith(b"vedette_start_time")
    }
    assert len(identities) == 2
    assert b'vedette_access_requests_total{replica="' in page
    assert b'reason="missing"' in page


def test_the_key_of_a_replica_is_readable_by_its_user_only_and_opens_nothing_but_metrics(replicas, folder):
    (first, *_) = sorted((folder / "store" / "replicas").glob("*.json"))
    assert first.stat().st_mode & 0o077 == 0
    key = json.loads(first.read_text())["key"]
    connection = http.client.HTTPConnection("127.0.0.1", replicas[0], timeout=30)
    connection.request("GET", "/v2/models/simple", headers={"x-api-key": key})
    assert connection.getresponse().status == 401
    connection.close()


def test_a_model_that_strangers_cannot_load_stays_loaded(replicas):
    for who in (None, "blue", "prometheus"):
        assert asked(replicas[0], "POST", "/v2/repository/models/simple/unload", who)[0] in {401, 403}
    assert asked(replicas[0], "GET", "/v2/models/simple", "blue")[0] == 200


def refused(port: int) -> dict[str, float]:
    """Both counters of refusals, over all replicas, by the labels but `replica`."""
    _, page = asked(port, "GET", "/metrics", "prometheus")
    found: dict[str, float] = {}
    for line in page.decode().splitlines():
        if line.startswith(("vedette_access_refused_total{", "vedette_door_refused_total{")):
            labels, _, value = line.rpartition(" ")
            key = re.sub(r'replica="[^"]*",?', "", labels)
            found[key] = found.get(key, 0.0) + float(value)
    return found


def as_header(who: bytes) -> bytes:
    return b"POST /v2/models/simple/infer HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + who + b"\r\n"


HOSTILE = {
    "an empty token": (lambda now: b"", b"content-length: 2\r\n\r\n{}", 401, "malformed"),
    "no rights": (lambda now: token(now, sub="prometheus"), b"content-length: 2\r\n\r\n{}", 403, "forbidden"),
    "an expired token": (lambda now: token(now - 7200, sub="blue"), b"content-length: 2\r\n\r\n{}", 401, "expired"),
    "a forged token": (lambda now: token(now, number=1, sub="blue"), b"content-length: 2\r\n\r\n{}", 401, "signature"),
    "a foreign token": (lambda now: token(now, iss="https://else.test", sub="blue"), b"\r\n", 401, "unknown_issuer"),
    "a body of 100 MB": (
        lambda now: token(now, sub="blue"),
        b"content-length: 104857600\r\n\r\n" + b"x" * 4096,
        413,
        "too_large",
    ),
    "two lengths": (lambda now: token(now, sub="blue"), b"content-length: 0\r\ncontent-length: 40\r\n\r\n", 400, "protocol"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_attack_a_hostile_request_is_refused_in_words_counted_and_without_effect(replicas, folder, name):
    credential, rest, status, reason = HOSTILE[name]
    before, answered = refused(replicas[0]), len(records(folder))
    with socket.create_connection(("127.0.0.1", replicas[0]), timeout=30) as wire:
        wire.sendall(as_header(credential(time.time())) + rest)
        answer = http.client.HTTPResponse(wire)
        answer.begin()
        assert (answer.status, list(json.loads(answer.read()))) == (status, ["error"])
    counted = {key: n - before.get(key, 0.0) for key, n in refused(replicas[0]).items() if n != before.get(key)}
    assert any(f'reason="{reason}"' in key and n == 1 for key, n in counted.items()), counted
    assert len(records(folder)) == answered, "nobody was asked"
    scored(replicas[0], "blue", first=11)


def test_attack_heads_that_never_end_are_dropped_and_counted_and_hold_nobody_up(replicas):
    before = refused(replicas[0])
    held = [socket.create_connection(("127.0.0.1", replicas[0]), timeout=30) for _ in range(20)]
    for wire in held:
        wire.sendall(b"POST /v2/models/simple/infer HTTP/1.1\r\nx-slow: ")
    scored(replicas[0], "blue", first=12)
    for wire in held:
        assert wire.recv(1) == b"", "cut off"
        wire.close()
    slow = [key for key in refused(replicas[0]) if 'reason="slow"' in key]
    assert sum(refused(replicas[0])[key] - before.get(key, 0.0) for key in slow) == len(held)


def test_a_policy_that_changes_counts_within_seconds_and_a_wrong_one_does_not(replicas, folder, issuer):
    """Last: it takes the rights away."""
    write(folder, "version: 1\nrolls: {}", issuer)
    until(lambda: b"access: the file of the policy" in asked(replicas[0], "GET", "/v2/health/ready", None)[1])
    assert asked(replicas[0], "GET", "/v2/models/simple", "blue")[0] == 200
    write(folder, POLICY.replace("scorer: [{verbs: [infer, metadata]}]", "scorer: [{verbs: [infer]}]"), issuer)
    until(lambda: asked(replicas[0], "GET", "/v2/models/simple", "blue")[0] == 403)
