"""A strict prediction log on a disk that is full, read-only or limited: refusals that say so, and no answer without a record."""

import http.client
import json
import subprocess
import urllib.request
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.main import app
from serving.app import compose
from serving.audit.reader import read_records
from serving.doors.grpc import stubs
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from tests.integration.audit.killed_replica import BODY, INFER, ROW, fill, replica
from tests.unit.serving.scoring.variants import threat
from tests.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture
def open_replica(tmp_path):
    """A replica whose prediction log lies in a folder of its own."""
    hosts = []

    def start(log: Path, **settings):
        store = tmp_path / "store"
        fill(store)
        (store / "audit").symlink_to(log)
        hosts.append(ReplicaHost(ServingSettings(http_port=0, grpc_port=0, store_dir=store, **settings), compose))
        return hosts[-1].start()

    yield start
    for host in hosts:
        host.stop()


class Client:
    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.receipts: list[str] = []

    def ask(self) -> http.client.HTTPResponse:
        """One request; the receipt of an answer is kept."""
        self._connection.request("POST", INFER, BODY)
        answer = self._connection.getresponse()
        document = json.loads(answer.read())
        if answer.status == 200:
            assert document["outputs"][0]["data"] == [2 * i for i in ROW]
            self.receipts.append(document["parameters"]["receipt"])
        else:
            self.error = document["error"]
        return answer

    def until_status(self, status: int) -> http.client.HTTPResponse:
        return until(lambda: (answer := self.ask()).status == status and answer, f"no answer was {status}", every_s=0)

    def degraded(self) -> list[str]:
        return self._get("/v2/health/ready").get("degraded", [])

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=60) as page:
            lines = page.read().decode().splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(name.split("{", maxsplit=1)[0]) and _has(line, name)
        )

    def _get(self, path: str):
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=60) as page:
            assert page.status == 200, "a replica without a log stays ready"
            return json.loads(page.read())


def _has(line: str, name: str) -> bool:
    label = name.partition("{")[2].rstrip("}")
    return label in line


def test_a_full_disk_refuses_answers_at_both_doors_and_is_got_over(small_disk, open_replica):
    ports = open_replica(small_disk, audit="strict")
    client = Client(ports.http)
    refused = client.until_status(503)
    assert int(refused.headers["retry-after"]) >= 1
    assert "No space left on device" in client.error
    assert str(small_disk) not in client.error
    assert any(line.startswith("audit: the prediction log cannot be written: No space left") for line in client.degraded())
    assert client.metric("vedette_audit_failing{") == 1
    assert client.metric('vedette_audit_records_total{outcome="dropped"}') == 0
    assert client.metric('vedette_audit_records_total{outcome="refused"}') >= 1
    assert client.metric('vedette_refusals_total{reason="record"}') >= 1

    message = stubs.ModelInferRequest(model_name="simple")
    for name in ("INPUT0", "INPUT1"):
        tensor = message.inputs.add(name=name, datatype="INT32", shape=[1, 16])
        tensor.contents.int_contents.extend(ROW)
    with grpc.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel, pytest.raises(grpc.RpcError) as unavailable:
        channel.unary_unary(f"/{stubs.SERVICE}/ModelInfer", stubs.ModelInferRequest.SerializeToString)(message, timeout=60)
    assert unavailable.value.code() is grpc.StatusCode.UNAVAILABLE
    (details,) = [value for key, value in unavailable.value.trailing_metadata() if key == "grpc-status-details-bin"]
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status_pb2.Status.FromString(details).details)

    assert [r.receipt for r in read_records(small_disk)] == client.receipts, "refused answers left no record"
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    client.until_status(200)
    until(lambda: client.degraded() == [])
    assert client.metric("vedette_audit_failing{") == 0
    assert [r.receipt for r in read_records(small_disk)] == client.receipts


def test_a_full_disk_under_async_loses_records_that_are_counted_and_said_until_there_is_room(small_disk, open_replica):
    client = Client(open_replica(small_disk, audit="async").http)

    def is_failing():
        assert client.ask().status == 200
        return client.metric("vedette_audit_failing{")

    until(is_failing, "the disk was never full", every_s=0)
    assert any("async answers continue" in line for line in client.degraded())
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    until(lambda: client.ask().status == 200 and client.degraded() == [], "the log did not go on when there was room")
    assert client.metric('vedette_audit_records_total{outcome="dropped"}') > 0


def test_a_read_only_folder_is_said_before_the_first_answer_and_got_over(small_disk, open_replica):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    client = Client(open_replica(small_disk, audit="strict").http)
    assert any(line.startswith("audit: the prediction log cannot be written") for line in client.degraded())
    assert client.ask().status == 503
    assert "Read-only file system" in client.error
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    client.until_status(200)
    assert [r.receipt for r in read_records(small_disk)] == client.receipts


def test_strict_for_one_model_leaves_the_others_as_they_were(small_disk, open_replica):
    client = Client(open_replica(small_disk, audit="async", audit_models={"other": "strict"}).http)

    def is_failing():
        assert client.ask().status == 200
        return client.metric("vedette_audit_failing{")

    until(is_failing, "the disk was never full", every_s=0)


def test_a_file_that_may_not_grow_refuses_answers_whose_records_it_cannot_hold(tmp_path):
    """The same without a file system of our own: the limit is the process's."""
    store = tmp_path / "store"
    fill(store)
    with replica(store, "30000", audit="strict") as process:
        client = Client(process.port)
        client.until_status(503)
        assert "File too large" in client.error
        process.free()
        client.until_status(200)
    assert [r.receipt for r in read_records(store / "audit")] == client.receipts


def test_a_file_is_scored_with_a_record_for_each_row_or_not_at_all(tmp_path, small_disk):
    store = tmp_path / "store"
    BundleStore(store).add(threat(tmp_path / "threat", "1"))
    (store / "audit").symlink_to(small_disk)
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows.write_text("".join(json.dumps({"host": f"10.0.0.{i}", "level": 1.0}) + "\n" for i in range(4000)))
    run = CliRunner().invoke(
        app,
        ["score", str(rows), "--model", "threat", "--store-dir", str(store), "--out", str(out)],
        env={"VEDETTE_AUDIT": "strict", "VEDETTE_MAX_ROWS": "5"},
    )
    assert isinstance(run.exception, CommandError)
    assert "the answer's record cannot be stored (No space left on device)" in str(run.exception)
    given = [json.loads(line)["receipt"] for line in out.read_text().splitlines()]
    assert 0 < len(given) < 4000
    assert set(given) <= {r.receipt for r in read_records(small_disk)}
