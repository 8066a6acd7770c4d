"""Which rules apply to a site's sources: a source reaches a rule if its events have the log source that the rule names. Pure.

A reached rule may still name a field that the events of a source do not have. That is known only of schemas with names of their own (ECS,
OCSF), and is counted apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from serving.rules import tree
from serving.rules.logsources import LogSources
from serving.rules.mappings.catalogue import SourceMapping, mapping_names, mapping_of

WINDOWS: Final = "windows"


@dataclass(frozen=True, slots=True)
class SourceReach:
    """What one source reaches. unnamed: of the rules, those that name a field that its events do not have."""

    name: str
    title: str
    rules: int
    unnamed: int


@dataclass(frozen=True, slots=True)
class UnreachedSource:
    """A log source that rules name and none of the site's sources has. reached_by: mappings that would reach it."""

    source: tree.LogSource
    rules: int
    reached_by: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Why none reaches it, and what would."""
        return f"not among the sources; {' or '.join(self.reached_by)} has it" if self.reached_by else "no mapping has it"


@dataclass(frozen=True, slots=True)
class ReachReport:
    """rules: how many there are; reached: by any source of the site."""

    rules: int
    reached: int
    sources: tuple[SourceReach, ...]
    unreached: tuple[UnreachedSource, ...]


def reach_of(rules: Sequence[tree.SigmaRule], sources: Sequence[str], site: LogSources) -> ReachReport:
    """What these sources reach. sources: names of mappings; Windows is always known. site: all entries of the site, its own included.

    Raises RuleError for a mapping that there is not."""
    windows = LogSources()
    found = [SourceReach(WINDOWS, "Windows event log and Sysmon", sum(windows.reaches(r.source) for r in rules), 0)]
    for name in dict.fromkeys(sources):
        mapping = mapping_of(name)
        only = LogSources(mapping.entries, with_windows=False)
        theirs = [rule for rule in rules if only.reaches(rule.source)]
        unnamed = sum(bool(unnamed_fields(rule, mapping)) for rule in theirs) if mapping.is_translated else 0
        found.append(SourceReach(name, mapping.title, len(theirs), unnamed))
    missed: dict[tree.LogSource, int] = {}
    for rule in rules:
        if not site.reaches(rule.source):
            missed[rule.source] = missed.get(rule.source, 0) + 1
    unreached = [UnreachedSource(source, count, _mappings_for(source)) for source, count in missed.items()]
    unreached.sort(key=lambda u: (-u.rules, str(u.source)))
    return ReachReport(len(rules), len(rules) - sum(missed.values()), tuple(found), tuple(unreached))


def unnamed_fields(rule: tree.SigmaRule, mapping: SourceMapping) -> frozenset[str]:
    """Fields of the rule that a translated mapping has no name for, in any entry about the rule's log source."""
    known = {
        name
        for entry in mapping.entries
        if rule.source.product in (None, *entry.products)
        and rule.source.category in (None, *entry.source.categories)
        and rule.source.service in (None, *entry.source.services)
        for name in entry.fields
    }
    return frozenset(field for field in fields_named(rule.when) if field not in known)


def fields_named(node: tree.Node) -> Iterator[str]:
    """Every field a condition names; keywords name none."""
    if isinstance(node, (tree.AllOf, tree.AnyOf)):
        for part in node.parts:
            yield from fields_named(part)
    elif isinstance(node, tree.Not):
        yield from fields_named(node.part)
    elif node.field is not None:
        yield node.field


def _mappings_for(source: tree.LogSource) -> tuple[str, ...]:
    return tuple(n for n in mapping_names() if LogSources(mapping_of(n).entries, with_windows=False).reaches(source))
