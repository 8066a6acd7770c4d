"""The figures that have a target, as they were last measured, and since when each is met or missed. Pure, but for `read` and `write`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtests.bench.errors import BenchError
from loadtests.bench.record import Record
from loadtests.bench.report import short

LEDGER: Final = Path("docs/reference/benchmarks.json")


class PublishedFigure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with a target. value and range are in `unit`, the median and the least and greatest of the rounds; ratio: to the figure
    `ratio_to` of the same rounds. problem: why there is no figure. at: the day it was measured, at this commit, with this load average
    before the start. since: the first day of the runs, without a break, in which this same target was met (or missed)."""

    benchmark: str
    name: str
    target: str
    is_met: bool
    value: float | None
    unit: str
    range: tuple[float, float] | None
    ratio: float | None
    ratio_to: str | None
    rounds: int
    problem: str | None
    at: str
    commit: str
    load: float
    since: str


def merged(before: Iterable[PublishedFigure], records: Iterable[Record]) -> list[PublishedFigure]:
    """The ledger after these runs, by benchmark and then as the benchmark names them. A benchmark that ran replaces all its figures; the
    others stay as they are.

    Raises BenchError for a quick run, whose figures mean nothing, and for one that failed: its targets would be gone and not missed."""
    known: dict[str, list[PublishedFigure]] = {}
    for figure in before:
        known.setdefault(figure.benchmark, []).append(figure)
    for record in records:
        if record.is_quick:
            raise BenchError(
                f"{record.name} was a --quick run, whose figures mean nothing: run it without --quick, then publish"
            )
        earlier = {figure.name: figure for figure in known.get(record.name, ())}
        figures = [_figure(record, row, earlier.get(row["name"])) for row in record.rows if row["target"] is not None]
        if not figures and earlier and (why := next((row["problem"] for row in record.rows if row["problem"]), None)):
            raise BenchError(f"{record.name} could not be measured ({why}): run it again, then publish; or name the others")
        if figures or record.name in known:
            known[record.name] = figures
    return [figure for name in sorted(known) for figure in known[name]]


def _figure(record: Record, row: Mapping[str, Any], earlier: PublishedFigure | None) -> PublishedFigure:
    day, is_met = record.at[:10], bool(row["is_met"])
    is_as_before = earlier is not None and (earlier.target, earlier.is_met) == (row["target"], is_met)
    return PublishedFigure(
        benchmark=record.name,
        name=row["name"],
        target=row["target"],
        is_met=is_met,
        value=row["value"],
        unit=row["unit"],
        range=None if row["range"] is None else (row["range"][0], row["range"][1]),
        ratio=row["ratio"],
        ratio_to=row["ratio_to"],
        rounds=row["rounds"],
        problem=row["problem"],
        at=day,
        commit=record.machine.commit,
        load=record.machine.load,
        since=earlier.since if earlier is not None and is_as_before else day,
    )


def cells(figures: Sequence[PublishedFigure]) -> list[list[str]]:
    """A row of the reference's table a figure: what, target, measured, met, since, and when and where it was measured."""
    return [
        [
            f"`{figure.name}`",
            figure.target,
            _measured(figure),
            "yes" if figure.is_met else "**no**",
            figure.since,
            f"{figure.at}, `{figure.commit}`, {_rounds(figure.rounds)}, load {figure.load:g}",
        ]
        for figure in figures
    ]


def _rounds(count: int) -> str:
    return f"{count} round{'' if count == 1 else 's'}"


def _measured(figure: PublishedFigure) -> str:
    if figure.value is None:
        return f"could not be measured: {figure.problem}"
    span = "" if figure.range is None or figure.rounds < 2 else f" ({short(figure.range[0])} to {short(figure.range[1])})"
    ratio = "" if figure.ratio is None else f", {short(figure.ratio)}x of `{figure.ratio_to}`"
    return f"{short(figure.value)} {figure.unit}{span}{ratio}"


def read(path: Path = LEDGER) -> list[PublishedFigure]:
    """The ledger on disk; a missing file is an empty ledger. Raises BenchError for an invalid file."""
    if not path.exists():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[PublishedFigure])
    except (msgspec.DecodeError, msgspec.ValidationError) as problem:
        raise BenchError(
            f"{path} is no list of published figures ({problem}): restore it with `git checkout {path}`"
        ) from problem


def write(figures: Sequence[PublishedFigure], path: Path = LEDGER) -> None:
    """Write the ledger, one field a line, so that a change can be read in a diff."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(list(figures)), indent=1) + b"\n")
