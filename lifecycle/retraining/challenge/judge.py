"""Champion against challenger on rows that neither was trained on: may the challenger be rolled out? Pure.

newest     the newest labelled rows, each weighing the inverse of its inclusion probability
kept       the test part of the base rows
family     each attack family, on both together: what the champion finds may not be lost
left_out   families that neither recipe has seen (left_out.py)"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lifecycle.documents.document import percent
from lifecycle.retraining.challenge.paired_harm import Harm, PairedAlerts, paired_harm, units_needed, verdict_of
from lifecycle.retraining.challenge.result import ChallengeFigure, GateKind, GateResult
from lifecycle.retraining.policy import ChallengeRules, WhenUndecided

NOUNS = {"recall": "recall", "false_alarm_rate": "share of benign rows that alert"}
PLACES = {"newest": "on the newest labelled rows", "kept": "on the kept test rows", "family": "", "left_out": ""}


@dataclass(frozen=True, slots=True)
class LeftOutFamily:
    """Alerts of both recipes, fitted without this family, on all its rows."""

    family: str
    alerts: PairedAlerts


def judge(
    rules: ChallengeRules, newest: PairedAlerts, kept: PairedAlerts, left_out: Sequence[LeftOutFamily], seed: int
) -> tuple[GateResult, ...]:
    """Every gate."""
    return (
        *_whole("newest", newest, rules, seed),
        *_whole("kept", kept, rules, seed),
        *_families(newest.beside(kept), rules, seed),
        *(_left_out(one, rules, seed) for one in left_out),
    )


def _whole(kind: GateKind, rows: PairedAlerts, rules: ChallengeRules, seed: int) -> Iterator[GateResult]:
    """Recall and false alarms on one set of rows."""
    spec = rules.newest if kind == "newest" else rules.kept
    least = rules.newest.least_attacks if kind == "newest" else 1
    figures: tuple[tuple[ChallengeFigure, bool, float], ...] = (
        ("recall", True, spec.recall_margin),
        ("false_alarm_rate", False, spec.false_alarm_margin),
    )
    for figure, is_attack, margin in figures:
        of_class = rows.take(rows.attack == is_attack)
        harm = paired_harm(of_class, alerts_are_good=is_attack, draws=rules.draws, seed=seed)
        if harm.rows < least:
            yield _not_judged(kind, "", figure, harm, margin, f"{PLACES[kind]} there are {harm.rows} "
                              f"{'attacks' if is_attack else 'benign rows'}, too few to judge by ({least})")  # fmt: skip
            continue
        yield _gate(kind, "", figure, harm, margin, undecided=spec.undecided)


def _families(rows: PairedAlerts, rules: ChallengeRules, seed: int) -> Iterator[GateResult]:
    spec = rules.families
    named = rows.take(rows.attack & (rows.family != ""))
    if len(named) == 0:
        nothing = paired_harm(named, alerts_are_good=True, draws=rules.draws, seed=seed)
        yield _not_judged(
            "family", "", "recall", nothing, spec.margin, "no attack says its family, so nothing shows whether one is lost"
        )
        return
    names, counts = np.unique(named.family.astype(str), return_counts=True)
    for name in names[np.argsort(-counts, kind="stable")].tolist():
        harm = paired_harm(named.take(named.family == name), alerts_are_good=True, draws=rules.draws, seed=seed)
        if harm.champion is None or harm.champion < spec.found_from:
            yield _not_judged(
                "family", name, "recall", harm, spec.margin,
                f"the champion finds {percent(harm.champion)} of {name}, so there is nothing to lose (found_from {spec.found_from:g})",
            )  # fmt: skip
            continue
        yield _gate("family", name, "recall", harm, spec.margin, undecided=spec.undecided)


def _left_out(one: LeftOutFamily, rules: ChallengeRules, seed: int) -> GateResult:
    harm = paired_harm(one.alerts, alerts_are_good=True, draws=rules.draws, seed=seed)
    return _gate("left_out", one.family, "recall", harm, rules.left_out.margin, undecided="as_seen")


def _gate(
    kind: GateKind, subject: str, figure: ChallengeFigure, harm: Harm, margin: float, *, undecided: WhenUndecided
) -> GateResult:
    """undecided: what becomes of a gate that is."""
    verdict = verdict_of(harm.harm, margin)
    value = harm.harm.value or 0.0
    lets_pass = undecided == "pass" or (undecided == "as_seen" and value <= margin)
    passes = verdict != "worse" and (verdict != "undecided" or lets_pass)
    more = units_needed(harm.harm, margin) if verdict == "undecided" else None
    return GateResult(
        kind, subject, figure, harm.champion, harm.challenger, harm.harm, margin, harm.rows, harm.units, verdict, passes,
        _words(kind, subject, figure, harm, margin, verdict, passes=passes, more=more), more,
    )  # fmt: skip


def _not_judged(kind: GateKind, subject: str, figure: ChallengeFigure, harm: Harm, margin: float, words: str) -> GateResult:
    return GateResult(
        kind,
        subject,
        figure,
        harm.champion,
        harm.challenger,
        harm.harm,
        margin,
        harm.rows,
        harm.units,
        "not_judged",
        True,
        words,
    )


def _counted(harm: Harm) -> str:
    return f"{harm.rows:,} rows" + (f" of {harm.units:,} entities" if harm.units != harm.rows else "")


def _words(
    kind: GateKind,
    subject: str,
    figure: ChallengeFigure,
    harm: Harm,
    margin: float,
    verdict: str,
    *,
    passes: bool,
    more: int | None,
) -> str:
    where = {"family": f"of family {subject}", "left_out": f"of {subject}, which neither has seen,"}.get(kind, PLACES[kind])
    change = -(harm.harm.value or 0.0) if figure == "recall" else harm.harm.value or 0.0
    bounds = sorted((-b if figure == "recall" else b) for b in (harm.harm.low or 0.0, harm.harm.high or 0.0))
    seen = (
        f"{NOUNS[figure]} {where} is {percent(harm.challenger)} instead of {percent(harm.champion)} "
        f"({change:+z.3f}, {bounds[0]:+z.3f} to {bounds[1]:+z.3f}; {_counted(harm)})"
    )
    match verdict:
        case "better":
            return f"{seen}: better"
        case "no_worse":
            return f"{seen}: not worse by more than {margin:g}"
        case "worse":
            return f"{seen}: worse by more than {margin:g}"
        case _:
            need = (
                "" if more is None else f", about {more} more {'rows' if harm.units == harm.rows else 'entities'} would decide"
            )
            seen_worse = (harm.harm.value or 0.0) > margin
            how = (
                "does not pass"
                if not passes
                else "passes, as it is not certain"
                if seen_worse
                else "passes, as no such loss was seen"
            )
            return f"{seen}: undecided whether it is worse by more than {margin:g}{need}; {how}"
