"""What a benchmark found: rows, a table for people and a JSON file for programs. Measures nothing itself."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. value: the median over `rounds`; range: the least and the greatest round.

    ratio: the median over the rounds of (this figure / the figure named by ratio_to), taken round by round, so that a machine
    that was slow for a moment was slow for both."""

    name: str
    value: float
    unit: str
    ratio_to: str | None
    ratio: float | None
    rounds: int
    range: tuple[float, float]


def row(name: str, values: Sequence[float], unit: str, *, against: tuple[str, Sequence[float]] | None = None) -> Row:
    """Sum up one figure's rounds. against: name and rounds of the figure it is compared with, measured in the same rounds.

    >>> row("http/ours/p50", [2.0, 2.2, 9.0], "ms", against=("http/bare/p50", [1.0, 1.0, 3.0]))
    Row(name='http/ours/p50', value=2.2, unit='ms', ratio_to='http/bare/p50', ratio=2.2, rounds=3, range=(2.0, 9.0))
    """
    if not values:
        raise ValueError(f"{name}: no rounds were measured")
    ratio_to, ratio = None, None
    if against is not None:
        ratio_to, others = against
        ratio = statistics.median(v / o for v, o in zip(values, others, strict=True))
    return Row(name, statistics.median(values), unit, ratio_to, ratio, len(values), (min(values), max(values)))


def as_json(rows: Sequence[Row]) -> bytes:
    """The rows as a JSON list."""
    return orjson.dumps([asdict(r) for r in rows], option=orjson.OPT_INDENT_2)


def write(rows: Sequence[Row], name: str, folder: Path = Path("build/bench")) -> Path:
    """Write build/bench/NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_bytes(as_json(rows) + b"\n")
    return path


def table(rows: Sequence[Row], title: str) -> Table:
    """The rows for people."""
    result = Table(title=title, title_justify="left")
    for heading, side in (("figure", "left"), ("median", "right"), ("range", "right"), ("ratio", "right"), ("to", "left")):
        result.add_column(heading, justify="right" if side == "right" else "left", overflow="fold")
    for r in rows:
        low, high = r.range
        ratio = "" if r.ratio is None else f"{r.ratio:.2f}x"
        result.add_row(r.name, f"{_short(r.value)} {r.unit}", f"{_short(low)} .. {_short(high)}", ratio, r.ratio_to or "")
    return result


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
