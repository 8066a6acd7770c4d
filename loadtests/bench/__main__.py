"""`python -m loadtests.bench [NAME ...]`: runs the benchmarks and shows their figures. A benchmark is found by its module."""

import argparse
import importlib
import os
import pkgutil
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import ModuleType
from typing import Final, Protocol

from rich.console import Console

from loadtests.bench import benchmarks as package
from loadtests.bench.errors import BenchError
from loadtests.bench.page import write_page
from loadtests.bench.process import end_in_order
from loadtests.bench.record import this_machine, write
from loadtests.bench.report import FOLDER, Row, as_json, table, unmeasured

LONG: Final = frozenset({"faults", "front_doors", "memory", "overload", "ray_scaling"})
"""Benchmarks that run only when they are named: they take minutes, or serve one decision only. A module may also set `IS_LONG = True`."""


class Benchmark(Protocol):
    """A module with this function is a benchmark. Its docstring goes into the report."""

    def run(self, *, quick: bool, rounds: int) -> list[Row]:
        """Measure. rounds: how often each alternative is measured, in turn. quick: few and short rounds, only to see that it works."""
        ...


def benchmarks(names: Sequence[str]) -> Iterator[tuple[str, Benchmark]]:
    """The benchmarks of these names, or all that are not long. Raises BenchError for an unknown name."""
    there = _modules()
    modules = {name: importlib.import_module(there[name]) for name in names or there if name in there}
    for name in names:
        if not hasattr(modules.get(name), "run"):
            raise BenchError(f"there is no benchmark {name!r}; --list names them, without a name all but the long ones run")
    for name, module in modules.items():
        if hasattr(module, "run") and (names or not _is_long(name, module)):
            yield name, module  # type: ignore[misc]  # seen to have `run`


def _modules() -> dict[str, str]:
    """Last name -> module, sorted: the benchmarks of the package and its rooms, and the modules that they share."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = {m.name.rpartition(".")[2]: m.name for m in found if not m.ispkg}
    return {name: path for name, path in sorted(names.items()) if not name.startswith("_")}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks and report. Returns 1 if one could not be run, or with --strict if a target was missed."""
    end_in_order()
    arguments = _arguments(argv)
    console, progress = Console(width=None if sys.stdout.isatty() else 140), Console(stderr=True)
    if arguments.list:
        _list_benchmarks(console)
        return 0
    progress.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start: a busy machine widens the ranges")
    found: list[Row] = []
    failed = 0
    try:
        for name, benchmark in benchmarks(arguments.names):
            rows, is_well = _measure(name, benchmark, quick=arguments.quick, rounds=arguments.rounds, progress=progress)
            failed += not is_well
            found += rows
            if not arguments.json:
                console.print(table(rows, name))
    except BenchError as problem:
        progress.print(str(problem), style="red", markup=False)
        return 2
    progress.print(f"report: {write_page(FOLDER)}", markup=False)
    if arguments.json:
        sys.stdout.write(as_json(found).decode() + "\n")
    missed = [r.name for r in found if r.is_met is False]
    if missed:
        progress.print(f"{len(missed)} of {sum(r.target is not None for r in found)} targets missed: {', '.join(missed)}")
    return 1 if failed or (arguments.strict and missed) else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description="Benchmarks, side by side in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks; all but the long ones if none is named")
    parser.add_argument("--list", action="store_true", help="name the benchmarks, and which are long")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: shows that it works, not the costs")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per figure, interleaved (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the rows as one JSON list")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a target is missed")
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1:
        parser.error("--rounds is at least 1")
    return arguments


def _measure(name: str, benchmark: Benchmark, *, quick: bool, rounds: int, progress: Console) -> tuple[list[Row], bool]:
    """Run one benchmark and record its rows; a failure becomes a row with its reason."""
    machine, at, start = this_machine(), datetime.now(UTC), time.monotonic()
    progress.print(f"{name}: begins", markup=False)
    is_well = True
    try:
        rows = benchmark.run(quick=quick, rounds=1 if quick else rounds)
    except BenchError as problem:
        progress.print(f"{name}: {problem}", style="red", markup=False)
        rows, is_well = [unmeasured(name, str(problem))], False
    except Exception as problem:  # a defect of one benchmark must not cost the figures of the others
        progress.print_exception()
        rows, is_well = [unmeasured(name, f"{type(problem).__name__}: {problem}")], False
    took_s = time.monotonic() - start
    how = benchmark.__doc__ or ""
    path = write(rows, name, machine=machine, at=at, how=how, is_quick=quick, took_s=took_s)
    progress.print(f"{name}: {took_s:.0f} s, {path}", markup=False)
    return rows, is_well


def _list_benchmarks(console: Console) -> None:
    for name, path in _modules().items():
        module = importlib.import_module(path)
        if hasattr(module, "run"):
            first = (module.__doc__ or "").strip().splitlines()[0]
            console.print(f"{name}{' (long)' if _is_long(name, module) else ''}: {first}", markup=False, soft_wrap=True)


def _is_long(name: str, module: ModuleType) -> bool:
    return name in LONG or bool(getattr(module, "IS_LONG", False))


if __name__ == "__main__":
    raise SystemExit(main())
