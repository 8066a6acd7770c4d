"""What rules hold and what of them does not, as `rules check` and `bundle` say it: the same words for the same files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.cli.console import page, print_table

if TYPE_CHECKING:
    from serving.rules.ruleset import RuleSet
    from serving.rules.tree import SigmaRule, UnsupportedRule


def rules_record(
    rules: int, thresholds: int, unsupported: "Sequence[UnsupportedRule]", unreached: "Sequence[SigmaRule]"
) -> dict[str, Any]:
    """For programs. rules, thresholds: how many of each hold."""
    return {
        "rules": rules,
        "thresholds": thresholds,
        "unsupported": [{"id": u.id, "file": u.path, "reason": u.reason} for u in unsupported],
        "unreached": [{"id": r.id, "file": r.path, "log_source": str(r.source)} for r in unreached],
    }


def record_of(rules: "RuleSet") -> dict[str, Any]:
    """The same of a bundle's rules."""
    sigma = 0 if rules.sigma is None else len(rules.sigma.rules)
    return rules_record(sigma, rules.thresholds, rules.unsupported, rules.unreached)


def print_rules(record: dict[str, Any]) -> None:
    """For people."""
    page().print(f"{record['rules']} SIGMA rules and {record['thresholds']} threshold rules")
    if record["unsupported"]:
        print_table("not supported", ("rule", "file", "reason"), [tuple(u.values()) for u in record["unsupported"]])
    if record["unreached"]:
        title = "unreached: only events that name this log source themselves can match"
        print_table(title, ("rule", "file", "log source"), [tuple(r.values()) for r in record["unreached"]])
