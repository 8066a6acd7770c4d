"""Replicas that share a port: one page for all, and who is asked for it."""

import asyncio
import json
import os
import subprocess
import sys
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from serving.replica.siblings import Siblings, merged
from serving.telemetry.metrics import ServingMetrics
from tests.waiting import until_so


def page(replica: str, requests: int) -> bytes:
    metrics = ServingMetrics(replica, now=lambda: 1.0)
    for _ in range(requests):
        metrics.for_model("m", "1", "stable", "http").answered(0.001, 1)
    return metrics.render()


def samples(text: bytes):
    return {
        (s.name, s.labels.get("replica"), s.labels.get("outcome")): s.value
        for f in text_string_to_metric_families(text.decode())
        for s in f.samples
    }


def test_a_union_holds_each_family_once_and_every_replicas_samples():
    union = merged([page("a", 3), page("b", 5)])
    found = samples(union)
    assert found["vedette_requests_total", "a", "ok"] == 3
    assert found["vedette_requests_total", "b", "ok"] == 5
    assert found["process_resident_memory_bytes", "a", None] > 0
    families = [line.split()[2] for line in union.splitlines() if line.startswith(b"# TYPE")]
    assert len(families) == len(set(families))
    one, both = samples(page("a", 3)), {key for key in found if key[1] == "a"}
    assert both == set(one)


def test_a_sibling_is_seen_until_it_leaves(tmp_path):
    one, two = Siblings(tmp_path, "one"), Siblings(tmp_path, "two")
    one.register(1)
    two.register(2)
    assert [(s.identity, s.port) for s in one.others()] == [("two", 2)]
    two.leave()
    assert one.others() == ()
    two.leave()


@pytest.mark.parametrize(
    ("change", "is_kept"),
    [
        pytest.param({}, True, id="another machine's on a shared folder is not ours to judge"),
        pytest.param({"host": os.uname().nodename, "started": "1"}, False, id="its process id is another's now"),
        pytest.param({"host": os.uname().nodename, "pid": 2**22 + 1}, False, id="its process is gone"),
    ],
)
def test_who_is_no_sibling(tmp_path, change, is_kept):
    entry = {"identity": "x", "host": "elsewhere", "pid": os.getpid(), "started": "5", "port": 1, **change}
    (tmp_path / "replicas").mkdir()
    path = tmp_path / "replicas" / "x.json"
    path.write_text(json.dumps(entry))
    assert Siblings(tmp_path, "me").others() == ()
    assert path.exists() is is_kept


def test_a_killed_replica_is_forgotten(tmp_path):
    code = f"from pathlib import Path; from serving.replica.siblings import Siblings; Siblings(Path({str(tmp_path)!r}), 'x').register(9)"
    process = subprocess.Popen([sys.executable, "-c", code + "; print(1, flush=True); input()"], stdin=-1, stdout=-1)
    assert process.stdout is not None
    process.stdout.readline()
    me = Siblings(tmp_path, "me")
    assert [s.identity for s in me.others()] == ["x"]
    process.kill()
    process.communicate()
    assert me.others() == ()


def test_a_damaged_registration_is_passed_over(tmp_path):
    me = Siblings(tmp_path, "me")
    me.register(1)
    (tmp_path / "replicas" / "broken.json").write_text("{")
    assert me.others() == ()


async def test_a_sibling_that_does_not_answer_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.replica.siblings.TIMEOUT_S", 0.2)
    server = await asyncio.start_server(lambda r, w: asyncio.sleep(5), "127.0.0.1", 0)
    me, silent = Siblings(tmp_path, "me"), Siblings(tmp_path, "silent")
    silent.register(server.sockets[0].getsockname()[1])
    Siblings(tmp_path, "refusing").register(1)
    assert samples(await me.merge(page("me", 2)))["vedette_requests_total", "me", "ok"] == 2
    server.close()


async def test_a_replica_that_left_keeps_no_thread(tmp_path):
    before = set(threading.enumerate())
    siblings = Siblings(tmp_path, "a")
    siblings.register(1)
    assert await siblings.merge(b"page") == b"page"
    assert set(threading.enumerate()) - before
    siblings.leave()
    await until_so(lambda: not set(threading.enumerate()) - before)


async def test_a_page_without_end_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("serving.replica.siblings._LARGEST", 10_000)

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"vedette_requests_total 1\n" * 1000)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    me, large = Siblings(tmp_path, "me"), Siblings(tmp_path, "large")
    large.register(server.sockets[0].getsockname()[1])
    assert await me.merge(b"own 1\n") == b"own 1\n"
    server.close()


def test_the_union_of_pages_in_openmetrics_ends_once_and_keeps_exemplars():
    one, two = ServingMetrics("a"), ServingMetrics("b")
    one.for_model("flows", "1", "stable", "http").answered(0.002, 1, trace_id="c" * 32)
    text = merged([one.render_open(), two.render_open()]).decode()
    families = list(open_families(text))
    assert {s.labels["replica"] for family in families for s in family.samples} == {"a", "b"}
    assert [s.exemplar.labels for family in families for s in family.samples if s.exemplar] == [{"trace_id": "c" * 32}]
