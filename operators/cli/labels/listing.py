"""`vedette label list | export`: the last label of each event; for people, or as a file."""

import csv
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import CommandError, Json, page, print_json, print_table
from operators.cli.labels.options import ModelOption, label_record, labels_there, moment_us, now_us, shown_time
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from lifecycle.labels.label import Label

Since = Annotated[str | None, typer.Option("--since", help="Only labels given since then: an age such as 7d, or a time.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Only labels of this analyst.")]


def list_labels(
    model: ModelOption = None,
    since: Since = None,
    by: ByOption = None,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="Show only the N newest.")] = 50,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """List the last label of each event, the newest last, and the count of each verdict."""
    found = _current(model, since, by, store_dir)
    if as_json:
        print_json([label_record(one) for one in found[-last:]])
        return
    rows = [
        (
            one.event,
            one.model,
            one.verdict,
            one.family or "",
            f"{one.sureness:g}",
            one.analyst,
            shown_time(one.time_us),
            one.selection,
        )
        for one in found[-last:]
    ]
    print_table("labels", ("event", "model", "verdict", "family", "sure", "by", "when", "selected as"), rows, right=("sure",))
    counted = Counter(one.verdict for one in found)
    words = ", ".join(f"{counted[verdict]:,} {verdict}" for verdict in ("attack", "benign", "unsure"))
    page().print(f"{len(found):,} events are labelled: {words}; {len(found[-last:]):,} shown")


def export(
    path: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="*.csv or *.jsonl (default: JSON lines on stdout).")
    ] = None,
    model: ModelOption = None,
    since: Since = None,
    by: ByOption = None,
    store_dir: StoreDir = None,
) -> None:
    """Write the last label of each event to a file that `vedette label import` reads, CSV or JSON lines."""
    import msgspec

    found = _current(model, since, by, store_dir)
    if path is None:
        for one in found:
            sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
        return
    if path.suffix not in (".csv", ".jsonl"):
        raise CommandError(f"{path}: name a file *.csv or *.jsonl")
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            names = list(found[0].__struct_fields__) if found else ["event"]
            writer = csv.DictWriter(file, [name for name in names if name != "source"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(label_record(one) for one in found)
        else:
            for one in found:
                record = {name: value for name, value in label_record(one).items() if name != "source" and value is not None}
                file.write(msgspec.json.encode(record).decode() + "\n")
    new.replace(path)
    page().print(f"{len(found):,} labels in {path}", markup=False, soft_wrap=True)


def _current(model: str | None, since: str | None, by: str | None, store_dir: Path | None) -> "list[Label]":
    log = labels_there(store_dir)
    since_us = moment_us(since, now_us()) or 0
    found = [one for name in ([model] if model else log.models()) for one in log.current(name).values()]
    kept = [one for one in found if one.time_us >= since_us and by in (None, one.analyst)]
    return sorted(kept, key=lambda one: (one.time_us, one.event))
