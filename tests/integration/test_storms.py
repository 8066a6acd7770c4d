"""A replica that is asked by some as it should be while others send poison, and one whose prediction log finds no room.

The same in short, over real listeners: who asks rightly gets the right answer, nothing is answered as a defect, nothing is torn."""

import contextlib
import http.client
import json
import random
import shutil
import socket
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.labs.simple_model import build_simple
from serving.app import compose
from serving.audit.reader import read_records
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.integration

INFER = "/v2/models/simple/infer"
ROW = list(range(16))
GOOD = json.dumps({"inputs": [{"name": n, "shape": [1, 16], "datatype": "INT32", "data": ROW} for n in ("INPUT0", "INPUT1")]})
ANSWERED, REFUSED = 100, 20
"""Of the storm, before it is over."""
DECLARED = {501, 503, 504}


@contextlib.contextmanager
def replica(folder: Path, **settings) -> Iterator[int]:
    """A replica without Ray that serves `simple`; its port."""
    BundleStore(folder).add(build_simple(folder.parent / f"{folder.name}-simple"))
    host = ReplicaHost(ServingSettings(http_port=0, grpc_port=0, store_dir=folder, **settings), compose)
    try:
        yield host.start().http
    finally:
        host.stop()


def ask(connection: http.client.HTTPConnection) -> dict:
    connection.request("POST", INFER, GOOD)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return json.loads(body)


def dropped(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S) as page:
        lines = page.read().decode().splitlines()
    counted = [line for line in lines if line.startswith("vedette_audit_records_total{") and 'outcome="dropped"' in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counted)


def poison(rng: random.Random) -> bytes:
    """One request that should not have been sent."""
    body = rng.choice(
        [
            rng.randbytes(rng.randrange(2000)),
            b"[" * 50_000,
            b'{"inputs": [' * 2_000,
            GOOD.encode()[: rng.randrange(len(GOOD))],
            GOOD.replace("INT32", rng.choice(["FP64", "BYTES", "INT128", ""])).encode(),
            GOOD.replace("[1, 16]", rng.choice(["[-1, 16]", "[1e9, 16]", "[4294967296, 4294967296]", "[]", "null"])).encode(),
            GOOD.replace(
                "0, 1, 2", rng.choice(["NaN, 1, 2", "1e400, 1, 2", '"x", 1, 2', "null, 1, 2", "[[0]], 1, 2"])
            ).encode(),
            json.dumps({"inputs": [{"name": "\ud800" * 99}] * 99, "parameters": {"x": ["\0"] * 999}}).encode(),
        ]
    )
    length = rng.choice([len(body)] * 6 + [len(body) + 7, 0, -1, 10**18])
    extra = rng.choice(
        ["", "", "", "Inference-Header-Content-Length: 99999999\r\n", "Content-Encoding: gzip\r\n", "Transfer-Encoding: chunked\r\n",
         "x-request-timeout-ms: 1\r\n", "x-request-timeout-ms: soon\r\n", f"x-{'y' * 70_000}: z\r\n"]
    )  # fmt: skip
    path = rng.choice([INFER, INFER, INFER, "/v2/models/%00/infer", "/v1/models/simple:predict", "/" + "a" * 3000])
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{extra}Content-Length: {length}\r\n\r\n".encode() + body


def storm(port: int, seed: int, is_over: threading.Event, statuses: Counter[int]) -> None:
    rng = random.Random(seed)
    while not is_over.is_set():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5) as sock:
            sock.sendall(poison(rng))
            head = sock.recv(4096)
            if head.startswith(b"HTTP/1.1 "):
                statuses[int(head[9:12])] += 1


def test_poison_harms_nobody_who_asks_rightly(tmp_path):
    statuses, is_over = Counter[int](), threading.Event()
    with replica(tmp_path / "store") as port:
        storms = [threading.Thread(target=storm, args=(port, seed, is_over, statuses)) for seed in range(4)]
        for thread in storms:
            thread.start()
        try:
            connection, answered = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S), 0

            def is_stormy():
                nonlocal answered
                assert ask(connection)["outputs"][0]["data"] == [2 * i for i in ROW]
                answered += 1
                return statuses.total() > ANSWERED and statuses[400] > REFUSED

            until(is_stormy, lambda: f"no storm: {statuses}", every_s=0)
        finally:
            is_over.set()
            for thread in storms:
                thread.join(HANG_S)
    print(f"\n{answered} right answers amid {dict(sorted(statuses.items()))}")
    assert not [status for status in statuses if status >= 500 and status not in DECLARED], statuses


def test_a_prediction_log_whose_folder_is_taken_away_costs_records_that_are_counted_and_no_answer(tmp_path):
    with replica(tmp_path / "store", audit_segment_bytes=20_000) as port:
        audit = tmp_path / "store" / "audit"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
        ask(connection)
        while audit.is_dir():  # the writer makes it anew, if it is faster
            shutil.rmtree(audit, ignore_errors=True)
            with contextlib.suppress(IsADirectoryError):
                audit.write_text("no folder")

        def is_dropped():
            assert ask(connection)["outputs"][0]["data"] == [2 * i for i in ROW]
            return dropped(port)

        def is_kept():
            ask(connection)
            return list(read_records(audit) if audit.is_dir() else ())

        until(is_dropped, "no record was counted as dropped")
        audit.unlink()
        until(is_kept, "the log did not go on once there was a place for it again")


def test_a_full_disk_under_the_prediction_log_costs_records_that_are_counted_and_no_answer(tmp_path, small_disk):
    store = tmp_path / "store"
    store.mkdir()
    (store / "audit").symlink_to(small_disk)
    with replica(store) as port:
        connection, receipts = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S), []

        def is_full():
            for _ in range(50):
                answer = ask(connection)
                assert answer["outputs"][0]["data"] == [2 * i for i in ROW]
                receipts.append(answer["parameters"]["receipt"])
            return dropped(port)

        until(is_full, "the disk was never full", every_s=0)
    kept = [record.receipt for record in read_records(small_disk)]
    assert 0 < len(kept) < len(receipts)
    assert set(kept) <= set(receipts), "no line is torn, no record made up"
