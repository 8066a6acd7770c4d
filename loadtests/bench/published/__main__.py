"""`python -m loadtests.bench.published [NAME ...]`: takes the figures of build/bench into docs/reference/benchmarks.json."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtests.bench.errors import BenchError
from loadtests.bench.published.ledger import LEDGER, merged, read, write
from loadtests.bench.record import read_all
from loadtests.bench.report import FOLDER


def main(argv: Sequence[str] | None = None) -> int:
    """Take the runs of these benchmarks, or of all in the folder, into the ledger. Returns 2 if a run is missing or was quick."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.published", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="which benchmarks; all that are in the folder if none is named"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the runs are (default: %(default)s)")
    parser.add_argument("--ledger", type=Path, default=LEDGER, help="the file that is written (default: %(default)s)")
    arguments = parser.parse_args(argv)
    records = read_all(arguments.folder)
    try:
        if missing := sorted(set(arguments.names) - {record.name for record in records}):
            raise BenchError(
                f"{arguments.folder} has no run of {', '.join(missing)}: run `make bench ARGS='{' '.join(missing)}'`"
            )
        if not records:
            raise BenchError(f"{arguments.folder} has no runs: run `make bench`")
        chosen = [record for record in records if not arguments.names or record.name in arguments.names]
        figures = merged(read(arguments.ledger), chosen)
        write(figures, arguments.ledger)
    except BenchError as problem:
        print(problem, file=sys.stderr)
        return 2
    missed = [figure.name for figure in figures if not figure.is_met]
    print(f"{arguments.ledger}: {len(figures)} targets, {len(missed)} missed; now run `python -m tests.docs.tables`")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
