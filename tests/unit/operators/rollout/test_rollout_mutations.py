"""Every guard of the rollout core is missed by a test: each condition is taken away or turned, one at a time, and the rules of the
neighbouring test files must notice. The few mutants that behave like the original are named here, with the reason."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest

from tests.fakes.operator.mutations import applied, cases, is_missed, mutants, reached

NARROWS = "for the type checker: the other operand, or who calls, rules it out"
ALIKE = {
    "decide._calibrate: `candidate is None or candidate.operating_point is None` without `candidate is None`": NARROWS,
    "decide._pause: `status.step_started or now` without `now`": NARROWS,
    "decide._analysis: `status.step_started or now` without `now`": NARROWS,
    "verbs._undo: `back is None or status.stable is None` without `status.stable is None`": NARROWS,
    "transitions._break_glass: `candidate is None or status.step_index >= len(steps) or steps[status.step_index].approval is None` "
    "without `candidate is None`": NARROWS,
    "experiments.transitions._conclude: `status.started or now` without `now`": NARROWS,
    "history.with_finished: `status.started or now` without `now`": NARROWS,
    "experiments.decide.decide: `spec is None or stable is None` without `stable is None`": NARROWS,
    "experiments.report.report: `spec is None or stable is None` is False": NARROWS,
    "experiments.report.report: `spec is None or stable is None` without `spec is None`": NARROWS,
    "experiments.report.report: `spec is None or stable is None` without `stable is None`": NARROWS,
    "experiments.report.report: `status.split_since or status.started or now` without `status.started`": "nothing counts before the split",
    "experiments.report.report: `status.split_since or status.started or now` without `now`": NARROWS,
    "advance._still_loaded: `aimed is None or not any((isinstance(m, _TAKES_TRAFFIC) for m in made))` without `aimed is None`": NARROWS,
    "advance._not_in_future: `at > now` is `at >= now`": "now for now",
}
RULES = ("decide", "verbs", "facts", "transitions", "spec_changes", "experiment", "advance", "replicas")
FIRST = {
    "decide": ("decide", "spec_changes", "advance", "verbs", "experiment"),
    "verbs": ("verbs", "decide", "experiment", "advance"),
    "facts": ("facts", "decide", "spec_changes", "verbs", "experiment", "advance"),
    "transitions": ("transitions", "advance"),
    "moves": ("transitions",),
    "experiments.transitions": ("transitions", "experiment"),
    "experiments.decide": ("experiment",),
    "experiments.report": ("experiment",),
    "experiments.variants": ("experiment",),
    "advance": ("advance", "experiment"),
    "analysis": ("experiment", "advance"),
    "history": ("transitions",),
    "replicas": ("replicas",),
    "events": ("advance",),
}
"""Which rules are asked, by module; those that miss its mutants soonest come first."""


@cache
def rules(name: str) -> tuple[Callable[[], object], ...]:
    """The cases of one test file."""
    path = Path(__file__).with_name(f"test_rollout_{name}.py")
    return tuple(cases(sys.modules.get(path.stem) or _loaded(path)))


@cache
def reaching(name: str, function: FunctionType) -> list[Callable[[], object]]:
    """The cases that are asked about a module and run this function of it; all of them where none does."""
    asked = [case for first in FIRST[name] for case in zip(rules(first), run_by(first), strict=True)]
    return [case for case, codes in asked if function.__code__ in codes] or [case for case, _ in asked]


@cache
def run_by(name: str) -> tuple[frozenset[CodeType], ...]:
    """What each case of a test file runs."""
    return tuple(reached(case) for case in rules(name))


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", RULES)
def test_the_rules_hold_of_the_code_as_it_is(name: str) -> None:
    assert len(rules(name)) > 5
    assert not is_missed(list(rules(name)))


@pytest.mark.heavy
@pytest.mark.parametrize("name", FIRST)
def test_every_guard_has_a_mutation_that_fails(name: str) -> None:
    found = list(mutants(importlib.import_module(f"operators.rollout.{name}")))
    survivors = []
    for mutant in found:
        asked = reaching(name, mutant.function)
        with applied(mutant):
            if not is_missed(asked):
                survivors.append(mutant.name)
    assert found
    assert [s for s in survivors if s not in ALIKE] == []
    assert {a for a in ALIKE if a.startswith(f"{name}.")} <= set(survivors), (
        "a mutant named here is missed after all: take it out"
    )
