"""`python -m loadtests.bench [NAME ...]`: runs the benchmarks and shows what they found. Knows none of them by name."""

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

from rich.console import Console

from loadtests import bench
from loadtests.bench.errors import BenchError
from loadtests.bench.report import Row, as_json, table, write


class Benchmark(Protocol):
    """A module with this function is a benchmark."""

    def run(self, *, quick: bool, rounds: int) -> list[Row]:
        """Measure. rounds: how often each alternative is measured, in turn. quick: short and few, to see that it works."""
        ...


def benchmarks(names: Sequence[str]) -> Iterator[tuple[str, Benchmark]]:
    """The benchmarks of these names, or all. Raises BenchError for a name that is none."""
    there = sorted(m.name for m in pkgutil.iter_modules(bench.__path__) if not m.ispkg and not m.name.startswith("_"))
    for name in names or there:
        module = importlib.import_module(f"{bench.__name__}.{name}") if name in there else None
        if hasattr(module, "run"):
            yield name, module  # type: ignore[misc]  # seen to have `run`
        elif names:
            raise BenchError(f"there is no benchmark {name!r}; without a name all of them run")


def main(argv: Sequence[str] | None = None) -> int:
    """Run and report; 1 if a benchmark could not be run."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description="Benchmarks, side by side in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks; all if none is named")
    parser.add_argument("--quick", action="store_true", help="short and few: shows that it works, not what it takes")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per figure, interleaved (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON list")
    asked = parser.parse_args(argv)
    if asked.rounds < 1:
        parser.error("--rounds is at least 1")
    console, progress = Console(width=None if sys.stdout.isatty() else 140), Console(stderr=True)
    progress.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start: a busy machine widens the ranges")
    found: list[Row] = []
    failed = 0
    try:
        for name, benchmark in benchmarks(asked.names):
            try:
                rows = benchmark.run(quick=asked.quick, rounds=1 if asked.quick else asked.rounds)
            except BenchError as problem:
                progress.print(f"{name}: {problem}", style="red", markup=False)
                failed += 1
                continue
            found += rows
            path = write(rows, name)
            progress.print(f"{name}: {path}", markup=False)
            if not asked.json:
                console.print(table(rows, name))
    except BenchError as problem:
        progress.print(str(problem), style="red", markup=False)
        return 2
    if asked.json:
        sys.stdout.write(as_json(found).decode() + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
