"""`vedette batch` over generated flows of a day, in one process, killed half-way and resumed; beside bare onnxruntime on the same columns.

Rates are rows per second of processor time (user and system, of the whole process from its start), because other work on the machine
widens seconds. `onnxruntime` reads the model's 35 inputs from Parquet, runs the graph with one thread and writes the scores.
`onnxruntime-from-flows` reads the flows, encodes them (feature_repo.transforms) and runs the graph without windows. `vedette` does what
the command does: windows as of each event, the Scorer, verdicts with audit fields, files committed. `vedette-with-records` also writes
the prediction log, on a tenth of the rows. Memory is that of the process, looked at five times a second, over both parts of the run."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lifecycle.datasets.synthetic_flows import SPAN_S, generate_flows
from loadtests.bench.errors import BenchError
from loadtests.bench.process import python
from loadtests.bench.report import Course, Row, row
from loadtests.bench.targets import ratio, value

IS_LONG: Final = True
ROWS: Final = 10_000_000
QUICK_ROWS: Final = 500_000
SPANS: Final = 72
"""How many stretches of 20 minutes a day has."""
FLAT: Final = 1.15
"""How many times the memory of the first half the second half may use."""
_LOOK_S: Final = 0.2
_WAIT_S: Final = 3600.0


def run(*, quick: bool, rounds: int) -> list[Row]:
    """Generate, score, kill, resume, count. Raises BenchError if a row is missing or there twice."""
    wanted = QUICK_ROWS if quick else ROWS
    with tempfile.TemporaryDirectory(prefix="vedette-bench-") as scratch:
        folder = Path(scratch)
        store = folder / "store"
        _vedette("train", "flows", "--store-dir", str(store), "--json")
        rows = generate(folder / "flows", wanted)
        tenth = folder / "tenth"
        tenth.mkdir()
        for file in sorted((folder / "flows").iterdir())[: max(SPANS // 10, 1)]:
            os.link(file, tenth / file.name)
        inputs(store, folder / "inputs.parquet", min(rows, 500_000))
        run_, memory = killed_and_resumed(folder, store, rows)
        found = {"vedette": [rows / run_]}
        some = sum(pq.ParquetFile(f).metadata.num_rows for f in tenth.iterdir())
        found["vedette-with-records"] = [some / _cpu_of(_words(tenth, folder / "tenth-out", store))]
        bare: dict[str, list[float]] = {"onnxruntime": [], "onnxruntime-from-flows": []}
        for _ in range(min(rounds, 3)):
            for name, source in (("onnxruntime", folder / "inputs.parquet"), ("onnxruntime-from-flows", folder / "flows")):
                words = python(
                    "loadtests.bench.servers.bare_batch", name, str(store), str(source), str(folder / "bare.parquet")
                )
                done = pq.ParquetFile(source).metadata.num_rows if source.is_file() else rows
                bare[name].append(done / _cpu_of(list(words)))
        return list(_rows(found, bare, memory))


def generate(folder: Path, rows: int) -> int:
    """Write flows of a day, one file for each 20 minutes; returns how many flows."""
    folder.mkdir()
    hosts = max(60, rows // SPANS // 15)
    done = 0
    for span in range(SPANS):
        flows = generate_flows(span, hosts=hosts, flows_per_host=8).drop(columns=["Label"])
        flows["StartTime"] += np.timedelta64(int(SPAN_S * span), "s")
        table = pa.Table.from_pandas(flows, preserve_index=False)
        pq.write_table(table, folder / f"flows-{span:03d}.parquet", compression="zstd", row_group_size=1 << 17)
        done += table.num_rows
        if done >= rows:
            break
    sys.stderr.write(f"batch: {done:,} rows generated\n")
    return done


def inputs(store: Path, path: Path, rows: int) -> None:
    """Write the model's inputs as Parquet: rows of the bundle's reference, drawn again and again."""
    (sample,) = store.glob("bundles/*/reference/sample.json")
    columns = json.loads(sample.read_text(encoding="utf-8"))["columns"]
    picked = np.random.default_rng(0).integers(0, len(next(iter(columns.values()))), rows)
    pq.write_table(pa.table({n: np.asarray(v, dtype=np.float32)[picked] for n, v in columns.items()}), path, compression="zstd")


def killed_and_resumed(folder: Path, store: Path, rows: int) -> tuple[float, list[tuple[float, float]]]:
    """Processor seconds of both parts, and memory (MiB) over time (s). Raises BenchError."""
    out = folder / "out"
    words = [*_words(folder / "flows", out, store), "--records", "files"]
    looks: list[tuple[float, float]] = []
    start = time.monotonic()
    spent = _watched(words, start, looks, lambda: _rows_done(out) >= rows / 2)
    half = _rows_done(out)
    if half >= rows:
        raise BenchError("the job was done before it could be killed; take more rows")
    sys.stderr.write(f"batch: killed after {half:,} rows in {time.monotonic() - start:.0f} s\n")
    spent += _watched(words, start, looks, lambda: False)
    files = [f for f in out.rglob("*.parquet") if "_vedette" not in f.parts]
    seen = np.concatenate([_identities(f) for f in files])
    if len(seen) != rows or len(np.unique(seen)) != rows:
        raise BenchError(f"{len(seen):,} rows in the output, {len(np.unique(seen)):,} different ones, {rows:,} in the input")
    sys.stderr.write(f"batch: resumed, {rows:,} rows once each, {time.monotonic() - start:.0f} s\n")
    return spent, looks


def _identities(file: Path) -> Any:
    """A number for the place of each row in the input."""
    table = pq.ParquetFile(file).read(columns=["source_file", "source_row"])
    names = table["source_file"].cast(pa.string()).to_pylist()
    number = {name: int(name[len("flows-") : -len(".parquet")]) for name in set(names)}
    return np.array([number[n] for n in names], dtype=np.int64) * 10**9 + table["source_row"].to_numpy()


def _watched(words: Sequence[str], start: float, looks: list[tuple[float, float]], is_enough: Any) -> float:
    """Processor seconds of a process, which is killed when `is_enough` says so, unless it ends before. Raises BenchError."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment()) as process:
        spent, killed = 0.0, False
        while process.poll() is None:
            spent = max(spent, _cpu_seconds(process.pid))
            looks.append((time.monotonic() - start, _memory_mib(process.pid)))
            if is_enough():
                process.send_signal(signal.SIGKILL)
                killed = True
                break
            if time.monotonic() - start > _WAIT_S:
                process.kill()
                raise BenchError(f"the job did not end within {_WAIT_S:.0f} s")
            time.sleep(_LOOK_S)
        if process.wait() != 0 and not killed:
            raise BenchError(f"{' '.join(words)} ended with {process.returncode}")
    return spent


def _rows(found: dict[str, list[float]], bare: dict[str, list[float]], memory: list[tuple[float, float]]) -> Any:
    for name, rates in bare.items():
        yield row(f"batch/{name}/rows per cpu second", rates, "rows/s")
    reference = ("batch/onnxruntime/rows per cpu second", [float(np.median(bare["onnxruntime"]))])
    for name, rates in found.items():
        target = ratio(">=", 0.5) if name == "vedette" else None
        yield row(f"batch/{name}/rows per cpu second", rates, "rows/s", against=reference, target=target)
    flows = ("batch/onnxruntime-from-flows/rows per cpu second", [float(np.median(bare["onnxruntime-from-flows"]))])
    yield row(
        "batch/vedette/against onnxruntime from flows", found["vedette"], "rows/s", against=flows, target=ratio(">=", 0.5)
    )
    values = np.array([mib for _, mib in memory])
    middle = len(values) // 2
    first, second = float(values[:middle].max()), float(values[middle:].max())
    step = max(1, len(memory) // 300)
    course = Course("seconds", tuple((t, mib, mib, mib) for t, mib in memory[::step]))
    yield row("batch/vedette/memory/first half", [first], "MiB", course=course)
    before = ("batch/vedette/memory/first half", [first])
    yield row("batch/vedette/memory/second half", [second], "MiB", against=before, target=ratio("<=", FLAT))
    yield row("batch/vedette/rows twice or missing after a kill", [0.0], "rows", target=value("<=", 0))


def _words(source: Path, out: Path, store: Path) -> list[str]:
    options = ["--workers", "0", "--store-dir", str(store), "--json"]
    return [sys.executable, "-m", "operators.cli.main", "batch", str(source), str(out), *options]


def _vedette(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "operators.cli.main", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"vedette {' '.join(words)}: {done.stderr[-500:]}")


def _cpu_of(words: Sequence[str]) -> float:
    """Processor seconds of a command, from its start to its end. Raises BenchError."""
    before = os.times()
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=_environment())
    after = os.times()
    if done.returncode != 0:
        raise BenchError(f"{' '.join(words)}: {done.stderr[-500:]}")
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[4])}


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(fields[at]) for at in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")


def _memory_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


def _rows_done(out: Path) -> int:
    """Rows of the committed units."""
    entries = (out / "_vedette" / "units").rglob("*.json")
    return sum(json.loads(e.read_bytes())["rows"] for e in entries if not e.name.startswith("."))
