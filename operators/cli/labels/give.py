"""`vedette label give | show`: one label of an analyst on one event, and every label on it."""

from typing import Annotated
from uuid import uuid4

import typer

from operators.cli.audit.archive_options import Archive
from operators.cli.console import CommandError, Json, finite_option, page, plain, print_json, print_table
from operators.cli.labels.options import (
    ModelOption,
    Unseen,
    event_finder,
    label_desk,
    label_record,
    labels_there,
    shown_time,
    whoever_asks,
)
from operators.cli.store.store_option import StoreDir

EventArgument = Annotated[
    str, typer.Argument(metavar="EVENT", help="The answer's `receipt`, RECEIPT#ROW, or the client's own request id.")
]


def give(
    event: EventArgument,
    verdict: Annotated[str, typer.Option(help="What it was: attack, benign or unsure.")],
    family: Annotated[str | None, typer.Option(help="Attack family, of an attack.")] = None,
    sure: Annotated[float, typer.Option(help="How sure you are, 0 to 1.", callback=finite_option)] = 1.0,
    note: Annotated[str, typer.Option(help="What you saw.")] = "",
    by: Annotated[str | None, typer.Option(help="Name of the analyst (default: the user of this machine).")] = None,
    label_id: Annotated[
        str | None, typer.Option("--id", help="Id of the label; an id is stored once (default: a new one).")
    ] = None,
    model: ModelOption = None,
    is_unseen_taken: Unseen = False,
    archive: Archive = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Give a label: what an answered event was. A later label of the same event corrects it; both stay in the log."""
    from lifecycle.labels.errors import WrongLabel
    from lifecycle.labels.requests import request_of_row

    desk = label_desk(store_dir, archive, "cli", analyst=whoever_asks(by), is_unseen_taken=is_unseen_taken)
    row: dict[str | None, str | None] = {
        "event": event,
        "verdict": verdict,
        "family": family,
        "sureness": str(sure),
        "note": note,
        "model": model,
    }
    try:
        request = request_of_row(row)
    except WrongLabel as problem:
        raise CommandError(f"label of {event}: {problem}") from problem
    (taken,) = desk.take([request], [label_id or str(uuid4())])
    if taken.problem is not None or taken.label is None:
        raise taken.problem or CommandError(f"label of {event}: it was not accepted")
    if as_json:
        print_json({"outcome": taken.outcome, **label_record(taken.label)})
        return
    label = taken.label
    page().print(
        f"{taken.outcome}: {label.event} of {label.model} is {label.verdict}, says {label.analyst} ({label.label_id})",
        soft_wrap=True,
        markup=False,
    )


def show(event: EventArgument, archive: Archive = None, store_dir: StoreDir = None, as_json: Json = False) -> None:
    """Show every label of one event; the last one counts."""
    from lifecycle.labels.errors import UnknownEvent

    log = labels_there(store_dir)
    words = log.history(event)
    if not words:
        found = event_finder(store_dir, archive).find_all([event])[event]
        words = [] if isinstance(found, UnknownEvent) else log.history(found.event)
    if not words:
        raise CommandError(f"{event}: has no label; `vedette label give {event} --verdict attack|benign|unsure` gives it one")
    if as_json:
        print_json(
            {"event": words[-1].event, "current": label_record(words[-1]), "history": [label_record(one) for one in words]}
        )
        return
    rows = [
        (
            shown_time(one.time_us),
            one.verdict,
            one.family or "",
            f"{one.sureness:g}",
            one.analyst,
            one.source,
            one.selection,
            one.note,
        )
        for one in words
    ]
    columns = ("when", "verdict", "family", "sure", "by", "came by", "selected as", "note")
    print_table(f"labels of {plain(words[-1].event)}, the last counts", columns, rows, right=("sure",))
