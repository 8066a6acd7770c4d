"""What `vedette up` answered is the same when it is computed again: also from a copy of the store, and for a model made elsewhere."""

import json
import os
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest

from lifecycle.datasets.data import find_file, read_data
from lifecycle.datasets.datatypes import DATATYPES
from lifecycle.datasets.declarations import read_detector
from tests.e2e.running import foreign_models
from tests.e2e.running.vedette import Vedette, up, verb
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.e2e
SOAK = 10_000


def replayed(store: Path, *options: str) -> dict:
    done = verb("audit", "replay", "--store-dir", str(store), "--json", *options, check=False, timeout_s=900)
    assert done.stdout, done.stderr
    return {**json.loads(done.stdout), "exit": done.returncode}


def is_written(store: Path, receipt: str) -> bool:
    return any(receipt.encode() in path.read_bytes() for path in (store / "audit").glob("segment-*.jsonl"))


def answer(client: httpx.Client, url: str, body: dict) -> str:
    reply = client.post(url, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()["parameters"]["receipt"]


def test_what_was_just_answered_is_computed_again_to_the_bit(vedette: Vedette):
    body = json.loads((vedette.store.parent / vedette.curl.rpartition("@")[2]).read_text(encoding="utf-8"))
    with httpx.Client(timeout=HANG_S) as client:
        url = f"{vedette.http}/v2/models/{vedette.model}/infer"
        receipts = [answer(client, url, body) for _ in range(40)]
    until(lambda: is_written(vedette.store, receipts[-1]))
    report = replayed(vedette.store, "--last", "40", "--model", vedette.model)
    assert (report["exit"], report["outcomes"]) == (0, {"identical": 40})
    assert replayed(vedette.store, "--receipt", receipts[7])["records"] == 1


def rows_of(dataset: str, folder: Path, count: int) -> list[dict]:
    """Requests of one row each from real data, and the model's columns."""
    detector = read_detector(dataset)
    data = read_data(detector, find_file(detector, folder))
    fields = [*([detector.entity.key] if detector.entity and detector.features else []), *detector.request_fields]
    picked = np.random.default_rng(3).choice(len(data), count, replace=False)
    frame = data.frame.iloc[picked]
    columns = {name: frame[name].tolist() for name in fields}
    types = {name: DATATYPES[detector.source.columns[name].type] for name in fields}
    return [
        {"inputs": [{"name": n, "datatype": types[n], "shape": [1], "data": [columns[n][row]]} for n in fields]}
        for row in range(count)
    ]


@pytest.mark.soak
@pytest.mark.parametrize("dataset", ["flows", "nsl-kdd"])
def test_ten_thousand_answers_over_real_data(dataset: str, tmp_path: Path):
    folder = Path(os.environ.get("VEDETTE_DATA_DIR", "data"))
    folder = folder / dataset if (folder / dataset).is_dir() else folder
    if not folder.is_dir():
        pytest.skip("VEDETTE_DATA_DIR names no folder with the real data")
    store = tmp_path / "store"
    bodies = rows_of(dataset, folder, SOAK)
    with (
        up(store, "--dataset", dataset, "--data-dir", str(folder)) as vedette,
        httpx.Client(timeout=HANG_S) as client,
    ):
        url = f"{vedette.http}/v2/models/{vedette.model}/infer"
        receipts = [answer(client, url, body) for body in bodies]
        path, inputs = foreign_models.pipeline(tmp_path)
        score = ("--score", "output_probability:1", "--threshold", "siem_alerting=0.5")
        for more in ((), ("--name", "scored", *score)):
            made = verb("bundle", "create", "--onnx", str(path), "--store-dir", str(store), "--json", *more)
            name = json.loads(made.stdout)["manifest"]["name"]
            assert client.post(f"{vedette.http}/v2/repository/models/{name}/load").status_code == 200
            kinds = {"f4": "FP32", "i8": "INT64", "O": "BYTES"}
            for index in range(SOAK):
                row = index % 5
                tensors = [
                    {"name": n, "datatype": kinds[v.dtype.str.lstrip("<|")], "shape": [1, 1], "data": v[row].tolist()}
                    for n, v in inputs.items()
                ]
                tensors[0]["data"] = [float(index)]
                receipts.append(answer(client, f"{vedette.http}/v2/models/{name}/infer", {"inputs": tensors}))
    assert is_written(store, receipts[-1])
    copy = tmp_path / "elsewhere" / "restored"
    shutil.copytree(store, copy)
    shutil.rmtree(store)
    for model in (vedette.model, "pipeline", "scored"):
        report = replayed(copy, "--last", str(SOAK), "--model", model)
        print(dataset, model, report)
        assert (report["exit"], report["outcomes"]) == (0, {"identical": SOAK})
