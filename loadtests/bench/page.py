"""The report for people: one HTML file without scripts or network, drawn here, readable on paper.

Made from every record in build/bench, so that a benchmark that was run alone joins the others. One section a benchmark: how it
measures, then each figure as a strip of medians and ranges with its target, and the same in a table."""

import html
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from loadtests.bench.courses import courses
from loadtests.bench.record import Machine, Record, read_all
from loadtests.bench.report import FOLDER, short, what, who
from loadtests.bench.strips import is_far_apart, strip

Cells = dict[str, Any]

STYLE: Final = """
body { font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1c2733;
  margin: 2em auto; max-width: 68em; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: .2em; } h2 { font-size: 1.25em; margin: 2em 0 .3em; border-bottom: 2px solid #1c2733; }
h3 { font-size: 1em; margin: 1.4em 0 .2em; font-weight: 600; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; overflow-wrap: anywhere;
  font-size: .87em; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: #44525f; border-bottom: 1px solid #9aa7b4; padding: .2em .6em .2em 0; }
td { border-bottom: 1px solid #e3e8ed; padding: .2em .6em .2em 0; vertical-align: middle; }
td.n, th.n { text-align: right; white-space: nowrap; } .who { width: 12%; } .strip { width: 255px; } .r { width: 14%; } .m { width: 9%; }
.t { width: 8%; }
.met { color: #11703a; font-weight: 600; white-space: nowrap; } .missed { color: #b3261e; font-weight: 600; white-space: nowrap; }
.problem { color: #8a5a00; } p.how { color: #44525f; max-width: 60em; } .facts { color: #44525f; font-size: .9em; }
.quick { background: #fff3cd; padding: .3em .6em; } svg { display: block; width: 250px; height: 14px; }
svg.course { width: 100%; height: auto; } p.key { margin: .2em 0; font-size: .9em; }
@media print { body { margin: 0; max-width: none; font-size: 10.5px; } h2 { break-after: avoid; } h3 { break-after: avoid; }
  table { break-inside: avoid; } .met, .missed { color: #000; } .quick { border: 1px solid #000; } }
"""


def write_page(folder: Path = FOLDER) -> Path:
    """Write folder/report.html from the records there."""
    path = folder / "report.html"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(page(read_all(folder)), encoding="utf-8")
    return path


def page(records: Sequence[Record]) -> str:
    """The whole document."""
    body = "".join([*_summary(records), *(part for record in records for part in _section(record))])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Vedette: benchmarks</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _summary(records: Sequence[Record]) -> Iterator[str]:
    yield "<h1>Benchmarks, side by side</h1>"
    yield (
        '<p class="facts">Each figure is the median of its rounds, with the least and the greatest. The alternatives are measured in'
        " turn, round by round; a ratio is the median over the rounds of one figure by the other's in the same round. Load generator"
        " and servers share the machine: ratios say something, absolute figures little.</p>"
    )
    judged = [(record, cells) for record in records for cells in record.rows if cells["target"] is not None]
    if not judged:
        return
    met = sum(cells["is_met"] for _, cells in judged)
    yield f"<h2>Targets: {met} of {len(judged)} met</h2><table><tr><th class=r>benchmark</th><th>figure</th>"
    yield '<th class="n m">median</th><th class="n m">ratio</th><th>to</th><th class=m>target</th><th class=t>met</th></tr>'
    for record, cells in judged:
        yield (
            f'<tr><td><a href="#{_text(record.name)}">{_text(record.name)}</a></td><td>{_text(cells["name"])}</td>'
            f"<td class=n>{_median(cells)}</td><td class=n>{_ratio(cells)}</td><td>{_text(cells['ratio_to'] or '')}</td>"
            f"<td>{_text(cells['target'])}</td>{_met(cells)}</tr>"
        )
    yield "</table>"


def _section(record: Record) -> Iterator[str]:
    yield f'<h2 id="{_text(record.name)}">{_text(record.name)}</h2>'
    if record.is_quick:
        yield '<p class="quick">A quick run: it shows that the benchmark works, not what anything takes.</p>'
    yield from (f'<p class="how">{_text(" ".join(part.split()))}</p>' for part in record.how.strip().split("\n\n"))
    yield f'<p class="facts">{_facts(record)}</p>'
    for title, rows in groupby(sorted(record.rows, key=_order(record.rows)), key=_named):
        yield from _figure(title, list(rows))


def _figure(title: str, rows: Sequence[Cells]) -> Iterator[str]:
    """One figure: its alternatives one below the other, on one scale."""
    unit = next((r["unit"] for r in rows if r["unit"]), "")
    drawn = [r for r in rows if r.get("course")]
    yield f"<h3>{_text(title)}{f', {_text(unit)}' if unit else ''}</h3>"
    if drawn:
        yield courses(drawn, [_whose(r) for r in drawn])
    yield "<table><tr><th class=who></th>"
    yield f'<th class=strip>{"log scale" if is_far_apart(rows) else ""}</th><th class="n m">median</th><th class="n r">range</th>'
    yield '<th class="n t">ratio</th><th>to</th><th class=t>target</th><th class=t></th></tr>'
    for cells in rows:
        if cells["value"] is None:
            yield f"<tr><td class=who>{_text(_whose(cells))}</td><td colspan=7 class=problem>could not be measured: "
            yield f"{_text(cells['problem'])}</td></tr>"
            continue
        low, high = cells["range"]
        yield (
            f"<tr><td class=who>{_text(_whose(cells))}</td><td class=strip>{strip(cells, rows)}</td>"
            f"<td class=n>{_median(cells)}</td><td class=n>{short(low)} … {short(high)}</td><td class=n>{_ratio(cells)}</td>"
            f"<td>{_text(_to(cells))}</td><td>{_text(cells['target'] or '')}</td>{_met(cells)}</tr>"
        )
    yield "</table>"


def _facts(record: Record) -> str:
    machine: Machine = record.machine
    rounds = max((r["rounds"] for r in record.rows), default=0)
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return _text(
        f"{record.at}, {record.took_s:.0f} s, {rounds} rounds. {machine.processor}, {machine.cores} cores, {machine.memory_gb:g} GB, "
        f"load {machine.load:g} before the start. {machine.system}, Python {machine.python}, {packages}. Commit {machine.commit}."
    )


def _order(rows: Sequence[Cells]) -> Any:
    """Figures in the order of their first row; within one, rows as they came."""
    first: dict[str, int] = {}
    for index, cells in enumerate(rows):
        first.setdefault(_named(cells), index)
    return lambda cells: first[_named(cells)]


def _named(cells: Cells) -> str:
    return what(cells["name"])


def _whose(cells: Cells) -> str:
    return who(cells["name"])


def _median(cells: Cells) -> str:
    return "" if cells["value"] is None else _text(f"{short(cells['value'])} {cells['unit']}")


def _ratio(cells: Cells) -> str:
    return "" if cells["ratio"] is None else f"{short(cells['ratio'])}x"


def _to(cells: Cells) -> str:
    """The figure that the ratio compares with: only the alternative's name if it is of the same figure."""
    other = cells["ratio_to"]
    if other is None:
        return ""
    return who(other) if what(other) == what(cells["name"]) else str(other)


def _met(cells: Cells) -> str:
    if cells["is_met"] is None:
        return "<td></td>"
    return "<td class=met>met</td>" if cells["is_met"] else "<td class=missed>missed</td>"


def _text(text: str) -> str:
    return html.escape(text)
