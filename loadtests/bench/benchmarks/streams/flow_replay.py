"""Flows replayed through Kafka and `vedette stream`, with the disorder that they really had: windows against training's join, the first
alert of the flood, precision and recall by flow and by host and minute.

Real flows where VEDETTE_DATA_DIR has them, else generated ones. `rows that differ` counts rows whose recorded features are not training's,
with events held for 101 s (`held`) and not held at all (`at once`). Precision and recall are those of hosts that training did not see. At
1x the capture takes 16 minutes; with --quick it is replayed at full speed only."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lifecycle.datasets.declarations import read_detector
from lifecycle.datasets.detector import Detector
from lifecycle.datasets.synthetic_flows import generate_flows
from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, row
from loadtests.bench.targets import value
from loadtests.bench.worlds.flow_stream import FlowReplay, FlowStream
from loadtests.bench.worlds.flow_windows import replayed

IS_LONG: Final = True
HELD_S: Final = "101"
FLOOD: Final = np.datetime64("2011-08-18T13:52:30", "us")
"""Of the capture, UTC: 15:52:30 in Prague."""
TESTED: Final = ("147.32.84.191", "147.32.84.192", "147.32.84.164")
"""Hosts that the split keeps for the test, by name: two infected, one normal."""
_FILE: Final = "flows/ctu13_s11_capture20110818-2.parquet"


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Replay and compare. Raises BenchError if there is no Kafka, or verdicts do not come."""
    from operators.control.local_kafka import LocalKafka, LocalKafkaError

    detector = read_detector("flows")
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as name:
        folder = Path(name)
        file, frame, data_dir = _rows(folder)
        store = folder / "store"
        _train(store, data_dir)
        truth = replayed(detector, frame, partitions=4)
        names = [f"{view.name}__{aggregate.name}" for view in truth.spec.views for aggregate in truth.spec.aggregates]
        try:
            broker = LocalKafka()
        except LocalKafkaError as problem:
            raise BenchError(str(problem)) from problem
        rows: list[Row] = []
        with broker:
            for speed, label, disorder in _runs(quick=quick):
                stream = FlowStream(broker.address, store, f"{label}-{speed:g}".replace(" ", "-"), {"DISORDER_S": disorder})
                found = stream.replay(detector, frame, file, names, speed=speed)
                rows += _parity(found, truth.expected, label, speed)
                rows += _detection(found, frame, detector, label, speed, is_real=data_dir is not None)
        return rows


def _runs(*, quick: bool) -> list[tuple[float, str, str]]:
    full = [(0.0, "held", HELD_S), (0.0, "at once", "0")]
    return full if quick else [*full, (1.0, "at once", "0")]


def _rows(folder: Path) -> tuple[Path, Any, Path | None]:
    data_dir = os.environ.get("VEDETTE_DATA_DIR")
    if data_dir and (Path(data_dir) / _FILE).is_file():
        file = Path(data_dir) / _FILE
        return file, pd.read_parquet(file).reset_index(drop=True), Path(data_dir)
    frame = generate_flows(3)
    file = folder / "generated.parquet"
    frame.to_parquet(file, index=False)
    return file, frame, None


def _train(store: Path, data_dir: Path | None) -> None:
    source = [] if data_dir is None else ["--data-dir", str(data_dir)]
    command = [sys.executable, "-m", "operators.cli.main", "train", "flows", "--store-dir", str(store), *source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"vedette train flows failed: {done.stderr.strip()[-400:]}")


def _parity(found: FlowReplay, expected: NDArray[np.float64], label: str, speed: float) -> list[Row]:
    differ = found.features != expected  # NaN, where there is no record, differs too
    target = value("<=", 0) if label == "held" else None
    where, wrong = f"{_pace(speed)} {label}", len(expected) - len(found.verdicts) + found.repeated
    return [
        row(f"replay/vedette/{where}/rows that differ", [int(differ.any(axis=1).sum())], "rows", target=target),
        row(f"replay/vedette/{where}/values that differ", [int(differ.sum())], "values", target=target),
        row(f"replay/vedette/{where}/verdicts missing or repeated", [wrong], "verdicts", target=value("<=", 0)),
        row(f"replay/vedette/{where}/events", [len(expected) / found.seconds], "/s"),
    ]  # fmt: skip


def _detection(found: FlowReplay, frame: Any, detector: Detector, label: str, speed: float, *, is_real: bool) -> list[Row]:
    """Precision and recall on rows that the labels call an attack or benign. Rows that nobody verified are left out of precision by
    flow."""
    where = f"{_pace(speed)} {label}"
    labels = frame["Label"].astype(str)
    attack = labels.str.contains("Botnet").to_numpy()
    known = (labels.str.contains("Botnet") | labels.str.contains("Normal")).to_numpy()
    hosts = frame["SrcAddr"].astype(str).to_numpy()
    tested = np.isin(hosts, TESTED) if is_real else np.ones(len(frame), bool)
    alerts = np.zeros(len(frame), bool)
    for at, one in found.verdicts.items():
        alerts[at] = one.verdict.verdict == "alert"
    rows = _precision_recall(f"replay/vedette/{where}/flow", alerts[tested & known], attack[tested & known])
    ends = frame["StartTime"].to_numpy().astype("datetime64[us]") + (frame["Dur"].to_numpy() * 1e6).astype("timedelta64[us]")
    windows = pd.DataFrame({"host": hosts, "minute": ends.astype("datetime64[m]"), "attack": attack, "alert": alerts})[tested]
    by_window = windows.groupby(["host", "minute"])[["attack", "alert"]].any()
    rows += _precision_recall(
        f"replay/vedette/{where}/host and minute", by_window["alert"].to_numpy(), by_window["attack"].to_numpy()
    )
    if is_real:
        flood = attack & tested & (frame["Proto"].astype(str).to_numpy() == "icmp")
        rows += _first_alert(found, flood, alerts, where)
    return rows


def _precision_recall(name: str, alerts: NDArray[np.bool_], attack: NDArray[np.bool_]) -> list[Row]:
    both = int((alerts & attack).sum())
    found = []
    if alerts.any():
        found.append(row(f"{name}/precision", [both / int(alerts.sum())], ""))
    if attack.any():
        found.append(row(f"{name}/recall", [both / int(attack.sum())], ""))
    return found


def _first_alert(found: FlowReplay, flood: NDArray[np.bool_], alerts: NDArray[np.bool_], where: str) -> list[Row]:
    """Event time from the beginning of the flood to its first alert, and wall time from when the first flow of the flood was answered."""
    of_flood = [found.verdicts[at] for at in np.flatnonzero(flood).tolist() if at in found.verdicts]
    alerting = [found.verdicts[at] for at in np.flatnonzero(flood & alerts).tolist()]
    if not alerting:
        raise BenchError("the flood was never alerted on")
    first = min(np.datetime64(str(one.verdict.event_time).rstrip("Z"), "us") for one in alerting)
    after_s = float((first - FLOOD) / np.timedelta64(1, "s"))
    wait_s = min(one.seen_s for one in alerting) - min(one.seen_s for one in of_flood)
    return [
        row(f"replay/vedette/{where}/first alert after the flood began, event time", [after_s], "s"),
        row(f"replay/vedette/{where}/first alert after the first verdict on the flood", [wait_s], "s"),
    ]  # fmt: skip


def _pace(speed: float) -> str:
    return "full speed" if not speed else f"{speed:g}x"
