"""Plays events against correlations as a worker does: matched, then observed; and what the definition says of the same events, naively."""

import itertools

from serving.rules.correlation.engine import Correlator
from serving.rules.events import fields_of, texts_of
from serving.rules.logsources import declared_source
from serving.rules.matcher import compile_sigma
from serving.rules.predicates import as_number

SECOND = 1_000_000
SOURCE = {"product": "site", "service": "log"}
BASE = """
title: {name}
name: {name}
logsource: {{product: site, service: log}}
detection: {{s: {{kind: {name}}}, condition: s}}
"""


def base(*names):
    """A rule for single events by each name: events whose `kind` it is."""
    return "---".join(BASE.format(name=name) for name in names)


def correlation(body, name="found", **more):
    """A correlation with this section."""
    lines = "\n".join(f"  {line}" for line in body.strip().splitlines())
    extra = "\n".join(f"{key}: {value}" for key, value in more.items())
    return f"---\ntitle: {name}\nname: {name}\n{extra}\ncorrelation:\n{lines}\n"


def compiled(*texts):
    """A matcher of these documents, all of which hold."""
    found = compile_sigma([(f"{number}.yml", text) for number, text in enumerate(texts)])
    assert not found.unsupported, [u.reason for u in found.unsupported]
    return found


def correlator(matcher, **more):
    """Its correlations."""
    return Correlator(matcher.correlations.rules, hidden=matcher.correlations.hidden, **more)


def event(at, kind, **fields):
    """One event: seconds, the rule (or rules) that it matches, and fields."""
    return at, {"kind": kind, "logsource": SOURCE, **fields}


def observe(matcher, engine, number, at, document):
    """Match one event and observe it."""
    fields = fields_of({k: v for k, v in document.items() if k != "logsource"})
    matched = [rule.id for rule in matcher.match(dict(fields), declared_source(document["logsource"]))]
    return engine.observe(round(at * SECOND), matched, fields, f"e{number}")


def play(matcher, events, engine=None, order=None):
    """Hits of these events, in their order or in another."""
    engine = engine or correlator(matcher)
    numbered = list(enumerate(events))
    return [
        hit
        for number, (at, document) in (numbered if order is None else [numbered[n] for n in order])
        for hit in observe(matcher, engine, number, at, document)
    ]


def seen(hits):
    """What does not depend on the order: correlation, group and interval of each hit."""
    return {(hit.rule.name, hit.group, hit.interval_us // SECOND) for hit in hits}


def defined(matcher, events):
    """By the definition: every event of a group ends a window; it is judged over all events, whenever they came."""
    told, by_rule = set(), {}
    for number, (at, document) in enumerate(events):
        fields = fields_of({k: v for k, v in document.items() if k != "logsource"})
        for rule in matcher.match(dict(fields), declared_source(document["logsource"])):
            by_rule.setdefault(rule.id, []).append((round(at * SECOND), f"e{number}", fields))
    for rule in matcher.correlations.rules:
        groups = {}
        for place, referred in enumerate(rule.rules):
            for at, identity, fields in by_rule.get(referred, ()):
                names = [rule.field_of(name, referred) for name in rule.group_by]
                for values in itertools.product(*(texts_of(fields[name]) if name in fields else () for name in names)):
                    groups.setdefault(values, []).append((at, place, identity, fields))
        for values, items in groups.items():
            for at in {item[0] for item in items}:
                window = [item for item in items if at - rule.timespan_us <= item[0] <= at]
                ends = [item for item in window if item[0] == at and _is_met(rule, window, item)]
                if ends:
                    interval = at // rule.timespan_us * rule.timespan_us
                    told.add((rule.id, values, interval))
                    by_rule.setdefault(rule.id, []).append((at, f"{rule.id}/{values}/{interval}", ends[0][3]))
    visible = {rule.id: rule.name for rule in matcher.correlations.rules if rule.id not in matcher.correlations.hidden}
    return {(visible[rule], values, interval // SECOND) for rule, values, interval in told if rule in visible}


def _is_met(rule, window, end):
    measure = _measure(rule, window, end)
    present = sum(1 << place for place in {item[1] for item in window})
    if rule.expression is not None:
        return rule.expression.holds(present) and (rule.type != "temporal_ordered" or measure == present.bit_count())
    return measure is not None and all(criterion.holds(measure) for criterion in rule.criteria)


def _measure(rule, window, end):
    if rule.type == "event_count":
        return len({item[2] for item in window})
    if rule.type == "temporal":
        return len({item[1] for item in window})
    if rule.type == "temporal_ordered":
        return max(
            (
                size
                for size in range(1, len(rule.rules) + 1)
                for chain in itertools.combinations(sorted(window, key=lambda i: (i[0], i[1], i[2])), size)
                if chain[-1][2] == end[2]
                and all(a[0] <= b[0] and a[1] < b[1] and a[2] != b[2] for a, b in itertools.pairwise(chain))
            ),
            default=0,
        )
    texts = [
        "/".join(str(item[3][name]) for name in rule.fields) for item in window if all(name in item[3] for name in rule.fields)
    ]
    if rule.type == "value_count":
        return len(set(texts))
    numbers = [number for number in map(as_number, texts) if number is not None]
    return sum(numbers) if rule.type == "value_sum" and numbers else None
