"""The valid and the unsupported rules of a folder, as `rules check` and `bundle` print them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.cli.console import page, print_table

if TYPE_CHECKING:
    from serving.rules.correlation.values import CorrelationRule
    from serving.rules.mappings.reach import ReachReport
    from serving.rules.ruleset import RuleSet
    from serving.rules.tree import SigmaRule, UnsupportedRule


def rules_record(
    rules: int,
    thresholds: int,
    unsupported: "Sequence[UnsupportedRule]",
    unreached: "Sequence[SigmaRule]",
    correlations: "Sequence[CorrelationRule]" = (),
) -> dict[str, Any]:
    """For programs. rules, thresholds: how many of each hold."""
    return {
        "rules": rules,
        "thresholds": thresholds,
        "correlations": len(correlations),
        "passing_correlations": [{"id": c.id, "file": c.path, "title": c.title} for c in correlations if not c.is_lasting],
        "unsupported": [{"id": u.id, "file": u.path, "reason": u.reason} for u in unsupported],
        "unreached": [{"id": r.id, "file": r.path, "log_source": str(r.source)} for r in unreached],
    }


def record_of(rules: "RuleSet") -> dict[str, Any]:
    """The same of a bundle's rules."""
    sigma = 0 if rules.sigma is None else len(rules.sigma.rules)
    correlations = () if rules.sigma is None else rules.sigma.correlations.rules
    return rules_record(sigma, rules.thresholds, rules.unsupported, rules.unreached, correlations)


def print_rules(record: dict[str, Any]) -> None:
    """For people."""
    counted = f", {record['correlations']} correlations" if record["correlations"] else ""
    page().print(f"{record['rules']} SIGMA rules{counted} and {record['thresholds']} threshold rules")
    if record["unsupported"]:
        print_table("not supported", ("rule", "file", "reason"), [tuple(u.values()) for u in record["unsupported"]])
    if record["unreached"]:
        title = "unreached: only events that name this log source themselves can match"
        print_table(title, ("rule", "file", "log source"), [tuple(r.values()) for r in record["unreached"]])
    if record["passing_correlations"]:
        rows = [tuple(c.values()) for c in record["passing_correlations"]]
        print_table("conditions that pass", ("correlation", "file", "title"), rows)
        page().print("These are judged on what is known when an event comes: a late event may add a hit, and takes none back.")


def print_correlated(records: list[dict[str, Any]], without_time: int) -> None:
    """For people: what several events say together."""
    rows = [
        (f"{r['level']}: {r['title']}", ", ".join(f"{k}={v}" for k, v in r["group"].items()), r["at"], f"{r['measure']:g}",
         "\n".join(r["events"][-5:]))
        for r in records
    ]  # fmt: skip
    print_table(f"{len(records)} correlations", ("correlation", "group", "completed at", "measure", "last events"), rows)
    if without_time:
        page().print(
            f"{without_time} events that match a rule have no time and were not correlated; name its field with --time"
        )


def reach_record(report: "ReachReport", unsupported: int) -> dict[str, Any]:
    """For programs. unsupported: rules that were not counted."""
    return {
        "rules": report.rules,
        "reached": report.reached,
        "unsupported": unsupported,
        "sources": [{"name": s.name, "title": s.title, "rules": s.rules, "unnamed_fields": s.unnamed} for s in report.sources],
        "unreached": [
            {"log_source": str(u.source), "rules": u.rules, "reached_by": list(u.reached_by), "reason": u.reason}
            for u in report.unreached
        ],
    }


def print_reach(record: dict[str, Any]) -> None:
    """For people."""
    columns = ("source", "what it is", "rules", "of these with a field it does not have")
    rows = [(s["name"], s["title"], str(s["rules"]), str(s["unnamed_fields"] or "")) for s in record["sources"]]
    print_table(f"{record['reached']} of {record['rules']} rules are reached", columns, rows)
    if record["unreached"]:
        missed = [(u["log_source"], str(u["rules"]), u["reason"]) for u in record["unreached"]]
        print_table("reached by none", ("log source", "rules", "why"), missed)
        page().print(
            "Name a mapping under `sources` in rules.yaml, add an entry under `logsources`, or let events name their `logsource`."
        )
