"""Decisions and looks of retraining, for people and for programs."""

import dataclasses
from typing import TYPE_CHECKING, Any

from operators.cli.console import errors, plain_line, print_json, print_table

if TYPE_CHECKING:
    from lifecycle.retraining.decide import Decision
    from lifecycle.retraining.run import Look


def decision_record(decision: "Decision") -> dict[str, Any]:
    """For programs."""
    return {"decision": type(decision).__name__.lower(), **dataclasses.asdict(decision)}


def show_decision(model: str, decision: "Decision", *, as_json: bool) -> None:
    """What would be done."""
    from lifecycle.retraining.decide import Wait, moment

    if as_json:
        print_json({"model": model, **decision_record(decision)})
        return
    print(plain_line(f"{model}: {type(decision).__name__.lower()}: {decision.reason}"))
    if isinstance(decision, Wait) and decision.until_us is not None:
        print(f"look again at {moment(decision.until_us)}")
    if isinstance(decision, Wait) and decision.labels_to_ask:
        print(f"labels wanted; ask for them: vedette label queue {model} --budget {decision.labels_to_ask}")


def show_look(model: str, look: "Look", *, as_json: bool) -> None:
    """What was done."""
    if as_json:
        print_json(
            {
                "model": model, **decision_record(look.decision), "words": look.words,
                "ended": None if look.ended is None else dataclasses.asdict(look.ended),
                "challenge": None if look.challenged is None else look.challenged.as_record(),
                "report": None if look.report is None else str(look.report),
            }
        )  # fmt: skip
        return
    if look.challenged is not None:
        from lifecycle.retraining.challenge.page import challenge_page

        gates = challenge_page(look.challenged).sections[1].grid
        if gates is not None:
            print_table(f"{model}: champion against challenger", gates.columns, gates.rows, right=gates.right)
    print(plain_line(f"{model}: {'' if look.ended is None else look.ended.outcome.replace('_', ' ') + ': '}{look.words}"))
    if look.report is not None:
        errors.print(f"report: {look.report}", markup=False)
    if look.ended is not None and look.ended.outcome == "rolled_out":
        errors.print(f"watch it: vedette rollout get {model} -w", markup=False)
