"""`vedette bundle explain`: which columns a model uses as a whole, on the rows in its bundle."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import Json, page, print_json, print_table
from operators.cli.models.bundle import BundleArgument, find_bundle
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from lifecycle.explanations.permutation_importance import PermutationImportance
    from lifecycle.explanations.surrogate_rules import ModelRules
    from serving.explanations.surrogate import Condition


def explain(
    which: BundleArgument,
    point: Annotated[
        str | None, typer.Option(help="Operating point whose verdicts the rules give (default: the bundle's).")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="How often each column is shuffled.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the shuffles.")] = 0,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Explain a model as a whole: which columns its ranking needs, and the rules that come close to it."""
    from lifecycle.explanations.whole_model import explain_model

    found = explain_model(find_bundle(which, store_dir), point=point, repeats=repeats, seed=seed)
    if as_json:
        print_json(asdict(found))
        return
    shown = page()
    shown.print(f"{found.model}/{found.version}, on {found.rows}", markup=False)
    how = "exactly, by its trees" if found.is_exact else f"by sampling: {found.why_not_exact}"
    shown.print(f"single answers are explained {how}", markup=False)
    _show_importance(found.importance)
    if found.rules is None:
        shown.print(f"no rules: {found.why_no_rules}", markup=False)
    else:
        _show_rules(found.rules, found.operating_point)


def _show_importance(importance: "PermutationImportance") -> None:
    rows, has_losses = [], importance.whole is not None
    for one in importance.columns:
        shown = [one.loss, one.change] if has_losses else [one.change]
        rows.append((one.column, *(f"{i.value:.4f} ({i.low:.4f} to {i.high:.4f})" for i in shown if i is not None)))
    losses = [f"loss of ROC-AUC, of {importance.whole:.4f}"] if has_losses else []
    titles = ["column", *losses, "change of the score"]
    print_table(f"when a column is shuffled, mean of {importance.repeats}, with 95 % bounds", titles, rows, right=titles[1:])


def _show_rules(rules: "ModelRules", point: str | None) -> None:
    told = [
        (r.says, " and ".join(_words(c) for c in r.conditions) or "every row", r.rows, f"{r.agreed}/{r.rows}")
        for r in rules.rules
    ]
    print_table(
        f"rules at {point}, on {rules.held_out} held-out rows",
        ["verdict", "if", "rows", "agrees"],
        told,
        right=["rows", "agrees"],
    )
    fidelity = rules.fidelity
    bounds = f"{fidelity.low:.1%} to {fidelity.high:.1%}"
    text = f"rules and model agree on {fidelity.value:.1%} ({bounds}); saying one verdict always would on {rules.baseline:.1%}"
    page().print(text, markup=False)
    if rules.found is not None:
        page().print(f"of the rows that the model does not call benign the rules find {rules.found:.1%}", markup=False)


def _words(condition: "Condition") -> str:
    """A condition of a rule, by the column's name."""
    if condition.low is None and condition.high is None:
        return f"{condition.column} {'is' if condition.is_word else 'is not'} {condition.word!r}"
    low = "" if condition.low is None else f"{condition.low:g} < "
    return f"{low}{condition.column}{'' if condition.high is None else f' <= {condition.high:g}'}"
