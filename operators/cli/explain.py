"""`vedette explain RECEIPT`: why an answer of the prediction log was as it was, in words."""

import statistics
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.audit.archive_options import Archive, record_log
from operators.cli.audit.options import store_folder
from operators.cli.console import CommandError, Json, errors, page, plain, print_json, print_table
from operators.cli.store.store_option import StoreDir
from operators.cli.times import iso_time

if TYPE_CHECKING:
    from lifecycle.governance.replay.explained import EntityPast, ExplainedAnswer, ExplainedRow

Method = Annotated[
    str, typer.Option(help="shap (reasons), rules (the rule that the row meets) or counterfactual (what would change it).")
]


def explain(
    receipt: Annotated[str, typer.Argument(metavar="RECEIPT", help="The answer's parameter `receipt`.")],
    method: Method = "shap",
    row: Annotated[int | None, typer.Option(min=0, help="Only this row of the request, counted from 0.")] = None,
    budget_s: Annotated[float, typer.Option("--within", min=0.01, help="Time limit of the search, in seconds.")] = 60.0,
    store_dir: StoreDir = None,
    archive: Archive = None,
    as_json: Json = False,
) -> None:
    """Explain a recorded answer, live or archived, from its record and its bundle.

    What is personal is shown as far as the keys of its people are in the store."""
    from lifecycle.governance.replay.explained import explain_receipt
    from lifecycle.governance.replay.revisions import RevisionBook
    from serving.audit.personal.subject_keys import SubjectKeys
    from serving.scoring.explained import METHODS
    from serving.settings import ServingSettings

    if method not in METHODS:
        raise CommandError(f"--method {method}: expected one of {', '.join(METHODS)}")
    store = store_folder(store_dir)
    with errors.status("explaining"):
        found = explain_receipt(
            record_log(store_dir, archive),
            RevisionBook(store, ServingSettings().model_threads),
            receipt,
            method,
            keys=SubjectKeys(store / "keys" / "subjects"),
            row=row,
            budget_s=budget_s,
        )
    if as_json:
        print_json([_as_json(answer) for answer in found])
        return
    for answer in found:
        _print(answer)


def _print(answer: "ExplainedAnswer") -> None:
    record = answer.record
    given = f"; the client was given {record.explained!r}" if record.explained is not None else ""
    at = iso_time(record.time_us)
    page().print(
        f"{record.model}/{record.version} ({record.variant}) at {at}, operating point {record.operating_point}{given}",
        markup=False,
        soft_wrap=True,
    )
    if not answer.is_same:
        errors.print(
            "the model gives other scores here than were recorded; `vedette audit replay --receipt` says how far apart"
        )
    for row in answer.rows:
        _print_row(row)


def _print_row(row: "ExplainedRow") -> None:
    body = row.explanation
    head = f"row {row.row}: {body['verdict']}"
    if "score" in body:
        score = "not a number" if body["score"] is None else f"{body['score']:.4g}"
        head += f", score {score} (investigate from {body['investigate']:.4g}, alert from {body['threshold']:.4g})"
    page().print(head, markup=False, soft_wrap=True)
    if body["method"] == "rules_answered":
        page().print(f"rules answered in the model's place: {', '.join(body['rules']) or 'none holds'}", markup=False)
    elif body["method"] == "rules":
        _print_rule(body)
    elif body["method"] == "counterfactual":
        _print_counterfactuals(body)
    else:
        _print_reasons(body, row.past)
    if row.past is not None:
        page().print(_past_words(row.past), markup=False, soft_wrap=True)


def _print_reasons(body: dict[str, Any] | Any, past: "EntityPast | None") -> None:
    rows = [
        [reason["code"], f"{reason['share']:.0%}", reason["sentence"], _windows(reason), _before(reason["column"], past)]
        for reason in body["reasons"]
    ]
    print_table("reasons", ["code", "share", "what", "other windows", "before"], rows, right=["share"])
    known = "error unknown: a score is no number" if body["error"] is None else f"error {body['error']:.2g}"
    exact = "exact" if body["is_exact"] else known
    page().print(f"{body['method']} in {body['unit']}, {exact}, against {body['background']}", markup=False, soft_wrap=True)


def _print_rule(body: Any) -> None:
    page().print(f"if {body['rule']}: {body['says']}", markup=False, soft_wrap=True)
    agrees = "the model agrees" if body["agrees"] else "the model says otherwise"
    page().print(
        f"{agrees} here; {body['precision']:.0%} of {body['support']} reference rows under the rule get this verdict; the rules agree with "
        f"the model on {body['fidelity']:.0%} of {body['fidelity_rows']} held-out rows",
        markup=False,
        soft_wrap=True,
    )


def _print_counterfactuals(body: Any) -> None:
    for one in body["counterfactuals"]:
        page().print(f"{one['sentence']} (score {one['score']:.4g})", markup=False, soft_wrap=True)
    if body["is_met"]:
        page().print(
            f"its score alone is one of {body['wanted']!r}; the verdict {body['verdict']!r} has another cause", markup=False
        )
    elif not body["counterfactuals"]:
        nearest = (
            f"the nearest score was {body['nearest_score']:.4g}" if body["nearest_score"] is not None else "nothing was tried"
        )
        page().print(f"nothing plausible gives {body['wanted']!r}: {nearest}", markup=False, soft_wrap=True)
    if not body["is_whole"]:
        page().print("the time ended before all was tried; --within allows more", markup=False)


def _windows(reason: Any) -> str:
    return "; ".join(f"{one['window_s']} s: {_number(one['value'])}" for one in reason["history"])


def _before(column: str, past: "EntityPast | None") -> str:
    values = past.columns.get(column, []) if past is not None else []
    if not values:
        return ""
    return f"median {_number(statistics.median(values))}, most {_number(max(values))}"


def _past_words(past: "EntityPast") -> str:
    entity = plain(past.entity)
    if not past.answers:
        return f"{entity}: no answer before, in the {past.looked_at:,} records of the model before this one"
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(past.verdicts.items()))
    alert = f", the last alert at {iso_time(past.last_alert_us)}" if past.last_alert_us is not None else ""
    since = iso_time(past.first_us or 0)
    return f"{entity}: {past.answers} answers since {since}: {verdicts}{alert}"


def _as_json(answer: "ExplainedAnswer") -> dict[str, Any]:
    record = answer.record
    names = ("receipt", "time_us", "model", "version", "revision", "variant", "source", "operating_point", "explained")
    rows = [{"row": one.row, "explanation": one.explanation, "past": _past_json(one.past)} for one in answer.rows]
    return {**{name: getattr(record, name) for name in names}, "is_same": answer.is_same, "rows": rows}


def _past_json(past: "EntityPast | None") -> dict[str, Any] | None:
    if past is None:
        return None
    columns = {name: {"median": statistics.median(v), "most": max(v), "values": len(v)} for name, v in past.columns.items()}
    return {
        "entity": past.entity,
        "records_looked_at": past.looked_at,
        "answers": past.answers,
        "verdicts": dict(past.verdicts),
        "first_us": past.first_us,
        "last_us": past.last_us,
        "last_alert_us": past.last_alert_us,
        "columns": columns,
    }


def _number(value: Any) -> str:
    if not isinstance(value, int | float):
        return "-" if value is None else str(value)
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"
