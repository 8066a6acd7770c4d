"""`vedette label queue`: what an analyst should label next."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.audit.archive_options import Archive, archive_if_there, settings_of
from operators.cli.console import CommandError, Json, errors, page, print_json, print_table
from operators.cli.labels.options import label_log, moment_us, now_us, shown_time, whoever_asks
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from lifecycle.labels.queue.plan import LabelQueue


def queue(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model whose answers are to be labelled.")],
    budget: Annotated[int, typer.Option(min=1, max=100_000, help="Number of events to label.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples: the same one gives the same queue.")] = 0,
    since: Annotated[str, typer.Option(help="Answers since then: an age such as 7d, or a time.")] = "7d",
    audit_share: Annotated[float, typer.Option(min=0, max=1, help="Share of the budget for the random audit sample.")] = 0.3,
    audit_rate: Annotated[
        float, typer.Option(min=0, max=1, help="The audit sample has no more than this share of all answers.")
    ] = 1.0,
    alert_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the budget for a random sample of the alerts.")
    ] = 0.3,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Show the queue and record no draw.")] = False,
    archive: Archive = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """List what to label next: a random sample of everything, alerts, and the rows whose labels would improve the model most.

    The draw is recorded with the probability of each event, so that labels given to these events count as evidence. A span of time is
    drawn once; what is open of earlier draws comes first."""
    found = planned(
        model, budget=budget, seed=seed, since=since, shares=(audit_share, alert_share, audit_rate), archive=archive,
        store_dir=store_dir, is_dry=is_dry,
    )  # fmt: skip
    if as_json:
        print_json(as_record(found))
        return
    rows = [
        (
            one.event,
            shown_time(one.time_us) if one.time_us else "",
            one.verdict,
            "" if math.isnan(one.score) else f"{one.score:.4g}",
            {"audit": "random sample", "alert": "alert", "queue": "teaches most"}.get(one.selection, one.selection),
            "" if one.inclusion is None else f"{one.inclusion:.4g}",
        )
        for one in found.events
    ]
    columns = ("event", "answered", "verdict", "score", "why", "probability")
    print_table(f"{len(rows)} events of {model} to label", columns, rows, right=("score", "probability"))
    draw = found.draw
    if draw.is_of_a_slice:
        page().print(
            f"drawn: {len(draw.audit):,} of {draw.rows:,} answers (probability {draw.audit_inclusion:.4g}), "
            f"{len(draw.alert):,} of {draw.alerts:,} alerts ({draw.alert_inclusion:.4g}); {found.open_before:,} were open from before",
            soft_wrap=True,
        )
    elif found.open_before:
        page().print(f"nothing new was drawn: {found.open_before:,} events of earlier draws wait for a label", soft_wrap=True)
    if not rows:
        errors.print(f"no answer of {model} since {since} is without a label; --since reaches further back", soft_wrap=True)


def planned(
    model: str, *, budget: int, seed: int, since: str, shares: tuple[float, float, float], archive: str | None, store_dir: Path | None,
    is_dry: bool,
) -> "LabelQueue":  # fmt: skip
    """The queue of a model, its draw recorded. Raises CommandError, LabelConflict, LabelsLost."""
    from lifecycle.labels.queue.plan import QueueBudget, plan_queue
    from lifecycle.monitoring.windows.answered import read_answers

    audit_share, alert_share, audit_rate = shares
    if audit_share + alert_share > 1:
        raise CommandError(
            f"--audit-share {audit_share:g} and --alert-share {alert_share:g} add up to more than 1, the whole budget"
        )
    log, until_us = label_log(store_dir), now_us()
    since_us = moment_us(since, until_us) or 0
    draws = log.draws(model) if log.folder.is_dir() else []
    predictions = settings_of(store_dir).store_dir / "audit"
    rows = read_answers(predictions, model, since_us=since_us, until_us=until_us, archive=archive_if_there(store_dir, archive))
    labelled = log.current(model) if log.folder.is_dir() else {}
    found = plan_queue(
        rows,
        labelled,
        draws,
        QueueBudget(budget, audit_share, alert_share, audit_rate),
        seed=seed,
        since_us=since_us,
        until_us=until_us,
        by=whoever_asks(None),
    )
    if not is_dry and (found.draw.is_of_a_slice or found.draw.queued):
        log.record_draw(found.draw)
    return found


def as_record(found: "LabelQueue") -> dict[str, object]:
    """A queue for JSON."""
    events = [
        {
            "event": one.event,
            "time_us": one.time_us or None,
            "version": one.version or None,
            "variant": one.variant or None,
            "verdict": one.verdict or None,
            "score": None if math.isnan(one.score) else one.score,
            "selection": one.selection,
            "inclusion": one.inclusion,
        }
        for one in found.events
    ]
    draw = found.draw
    return {
        "model": draw.model,
        "events": events,
        "open_before": found.open_before,
        "drawn": {
            "since_us": draw.since_us,
            "until_us": draw.until_us,
            "rows": draw.rows,
            "alerts": draw.alerts,
            "audit": len(draw.audit),
            "audit_inclusion": draw.audit_inclusion,
            "alert": len(draw.alert),
            "alert_inclusion": draw.alert_inclusion,
        }
        if draw.is_of_a_slice
        else None,
    }
