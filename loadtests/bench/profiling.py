"""`python -m loadtests.bench.profiling [NAME ...]`, or `make profile`: where a replica spends its time under load.

py-spy samples the process that answers, the Ray actor of the replica, found by what it registers in its store; nothing is built
into it. For each load a flame graph by thread, build/profile/NAME.svg, and the functions that took most of the replica's own
work: stacks that pass through serving/ and do not wait there. The work of Ray's threads is in the picture only. Rates under
a profiler are not those of a benchmark."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Final

import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from loadtests.bench.benchmarks import rows
from loadtests.bench.errors import BenchError
from loadtests.bench.load.grpc_load import load_grpc
from loadtests.bench.load.http_load import load_http
from loadtests.bench.process import end_in_order, running
from loadtests.bench.vedette import vedette
from loadtests.bench.workload import FEATURES, INFER_PATH, build_workload
from loadtests.bench.worlds.featured import featured

FOLDER: Final = Path("build/profile")
CLIENTS: Final = 32
SAMPLES_PER_S: Final = 100
TOP: Final = 15
PATIENCE_S: Final = 60.0
"""Seconds that py-spy may take beyond the time of its samples."""
WAITS: Final = ("Condition.wait ", "Event.wait ", "wait (", "_worker (")
"""py-spy cannot always tell a thread that waits from one that works; these frames do nothing else."""

LoadFor = Callable[[float], None]
"""Sends load for this many seconds."""


@dataclass(frozen=True, slots=True)
class FunctionShare:
    """One function's share of the samples. own: it was running itself; total: it or what it called."""

    function: str
    own: float
    total: float


@dataclass(frozen=True, slots=True)
class Profile:
    """The profile under one load."""

    name: str
    svg: str
    samples: int
    functions: tuple[FunctionShare, ...]


@contextmanager
def http(folder: Path) -> Iterator[tuple[int, LoadFor]]:
    """One row per request as JSON, without features. Gives the pid of the replica, and the load; the server ends with the block."""
    workload, store = build_workload(folder), folder / "store"
    with running(vedette(workload, store)) as up:
        yield (
            replica_of(store),
            lambda s: _ignore(load_http(up.http_port, INFER_PATH, workload.json_bodies, clients=CLIENTS, duration_s=s)),
        )


@contextmanager
def grpc(folder: Path) -> Iterator[tuple[int, LoadFor]]:
    """One row a request as raw contents, without features."""
    workload, store = build_workload(folder), folder / "store"
    with running(vedette(workload, store)) as up:
        yield (
            replica_of(store),
            lambda s: _ignore(load_grpc(up.grpc_port, workload.grpc_body(0), clients=CLIENTS, duration_s=s)),
        )


@contextmanager
def features(folder: Path) -> Iterator[tuple[int, LoadFor]]:
    """One host a request as JSON, 20 features in 3 views from Redis."""
    with featured(folder) as up:
        port, bodies = up.vedette.http_port, up.bodies
        yield (
            replica_of(folder),
            lambda s: _ignore(load_http(port, INFER_PATH, bodies, clients=CLIENTS, duration_s=s)),
        )


@contextmanager
def batch(folder: Path) -> Iterator[tuple[int, LoadFor]]:
    """1,000 rows a request by the binary extension, one client."""
    workload, store = build_workload(folder), folder / "store"
    tensors = np.random.default_rng(11).standard_normal((rows.TENSORS, rows.ROWS, FEATURES), dtype=np.float32)
    with running(vedette(workload, store)) as up, ExitStack() as stack:
        ask = rows.VEDETTE[rows.BINARY](stack, up, tensors)

        def load(duration_s: float) -> None:
            until = time.monotonic() + duration_s
            while time.monotonic() < until:
                for index in range(rows.TENSORS):
                    ask(index)

        yield replica_of(store), load


LOADS: Final = {"http": http, "grpc": grpc, "features": features, "batch": batch}


def replica_of(store: Path) -> int:
    """The pid of the replica that answers: replicas register in their store. Raises BenchError if there is not exactly one."""
    found = [orjson.loads(path.read_bytes()) for path in (store / "replicas").glob("*.json")]
    if len(found) != 1:
        raise BenchError(f"{store / 'replicas'} names {len(found)} replicas, expected one")
    return int(found[0]["pid"])


def profile(name: str, *, seconds: float, is_native: bool, folder: Path = FOLDER) -> Profile:
    """Start a server, put it under load and sample it twice: for the picture, then for the table. Raises BenchError."""
    folder.mkdir(parents=True, exist_ok=True)
    svg, raw = folder / f"{name}.svg", folder / f"{name}.txt"
    with tempfile.TemporaryDirectory(prefix="vedette-profile-") as scratch, LOADS[name](Path(scratch)) as (pid, load):
        load(1.0)  # warm
        with _under_load(load):
            record(pid, svg, seconds=seconds, kind="flamegraph", is_native=is_native)
            record(pid, raw, seconds=seconds, kind="raw", is_native=is_native)
    stacks = own_work(read_stacks(raw.read_text(encoding="utf-8")))
    if not stacks:
        raise BenchError(f"py-spy saw process {pid} do nothing of its own in {seconds:g} s; is it loaded?")
    return Profile(name, str(svg), sum(stacks.values()), shares(stacks))


@contextmanager
def _under_load(load: LoadFor) -> Iterator[None]:
    """Send load until the block ends. If the load fails, the error is raised at the end of the block."""
    ended, problems = Event(), list[BenchError]()

    def keep_on() -> None:
        try:
            while not ended.is_set():
                load(2.0)
        except BenchError as problem:
            problems.append(problem)

    loading = Thread(target=keep_on)
    loading.start()
    try:
        yield
    finally:
        ended.set()
        loading.join()
    if problems:
        raise problems[0]


def record(pid: int, path: Path, *, seconds: float, kind: str, is_native: bool) -> None:
    """Let py-spy sample a process into a file. Raises BenchError, with the remedy where py-spy lacks the permission."""
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if program is None:
        raise BenchError("py-spy is not installed; `make profile` installs it into .venv with everything else")
    command = [program, "record", "--pid", str(pid), "--duration", str(max(1, round(seconds))), "--rate", str(SAMPLES_PER_S)]
    command += ["--format", kind, "--output", str(path), "--function", *(["--native"] if is_native else [])]
    command += ["--threads"] if kind == "flamegraph" else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as problem:
        raise BenchError(f"py-spy did not end within {problem.timeout:g} s for {seconds:g} s of samples") from problem
    output = done.stderr + done.stdout
    if "ermission" in output or "not permitted" in output:
        raise BenchError(
            f"py-spy may not look into process {pid}: run as root, or allow it by `sysctl kernel.yama.ptrace_scope=0`; "
            "a container needs the capability SYS_PTRACE"
        )
    if done.returncode != 0 or not path.is_file():
        raise BenchError(f"py-spy failed with status {done.returncode}: {output[-400:]}")


def read_stacks(text: str) -> Mapping[tuple[str, ...], int]:
    """py-spy's raw format: frames from the outermost, `;` between them, then a space and how often it was seen.

    >>> read_stacks("run (a.py);ask (b.py) 3\\n")
    Counter({('run (a.py)', 'ask (b.py)'): 3})
    """
    found: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if frames:
            found[tuple(frames.split(";"))] += int(count)
    return found


def own_work(stacks: Mapping[tuple[str, ...], int]) -> Mapping[tuple[str, ...], int]:
    """The stacks that pass through serving/ and do not wait."""
    return {
        frames: count
        for frames, count in stacks.items()
        if any("(serving/" in frame for frame in frames) and not frames[-1].startswith(WAITS)
    }


def shares(stacks: Mapping[tuple[str, ...], int]) -> tuple[FunctionShare, ...]:
    """Every function's share, the greatest own share first. A function that calls itself counts once per stack."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for frames, count in stacks.items():
        own[frames[-1]] += count
        total.update(dict.fromkeys(frames, count))
    samples = sum(stacks.values())
    return tuple(
        FunctionShare(f, own[f] / samples, total[f] / samples) for f in sorted(total, key=lambda f: (-own[f], -total[f], f))
    )


def table(found: Profile) -> Table:
    """The functions that took most time, as a table."""
    result = Table(title=f"{found.name}: {found.samples:,} samples, {found.svg}", title_justify="left")
    result.add_column("function")
    result.add_column("own", justify="right")
    result.add_column("with what it calls", justify="right")
    for share in found.functions[:TOP]:
        result.add_row(share.function, f"{share.own:.1%}", f"{share.total:.1%}")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Profile and report. Returns 1 if a load could not be profiled."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.profiling", description="Flame graphs of a replica.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which loads: {', '.join(LOADS)}; all if none is named")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to sample, twice a load (default: %(default)s)")
    parser.add_argument("--native", action="store_true", help="frames of C and C++ too: slower, needs symbols")
    parser.add_argument("--json", action="store_true", help="print the profiles as one JSON list")
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.names if name not in LOADS]:
        parser.error(f"there is no load {unknown[0]!r}; there is {', '.join(LOADS)}")
    end_in_order()
    console, progress = Console(width=None if sys.stdout.isatty() else 140), Console(stderr=True)
    found: list[Profile] = []
    failed = 0
    for name in arguments.names or LOADS:
        progress.print(f"{name}: begins", markup=False)
        try:
            result = profile(name, seconds=arguments.seconds, is_native=arguments.native)
        except BenchError as problem:
            progress.print(f"{name}: {problem}", style="red", markup=False)
            failed += 1
            continue
        found.append(result)
        if not arguments.json:
            console.print(table(result))
    if arguments.json:
        sys.stdout.write(orjson.dumps([asdict(p) for p in found], option=orjson.OPT_INDENT_2).decode() + "\n")
    return 1 if failed else 0


def _ignore(_found: object) -> None:
    """Drop the figures of a load under a profiler: they mean nothing."""


if __name__ == "__main__":
    raise SystemExit(main())
