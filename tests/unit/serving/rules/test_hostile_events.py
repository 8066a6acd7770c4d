"""Events made to cost much: what an event takes stays in proportion to its size, and it cannot choose to be overlooked."""

import gc
import sys

import numpy as np
import orjson
import pytest

from serving.rules.events import MultiValue, fields_of, fields_of_json
from serving.rules.logsources import EventSource
from serving.rules.matcher import compile_sigma
from serving.rules.ruleset import EventPlace, read_rules
from serving.rules.tree import LogSource

RULE = b"""
title: whoami
id: 5b2e2a1c-0000-4000-8000-000000000001
logsource: {product: windows, category: process_creation}
detection: {s: {Image|endswith: whoami.exe}, condition: s}
level: high
"""
WHOAMI = {"Image": "c:\\whoami.exe"}


def calls_of(function, work):
    """What `work` returns, and how often it calls this function of ours."""
    count = 0

    def profile(frame, kind, _):
        nonlocal count
        count += kind == "call" and frame.f_code is function.__code__

    sys.setprofile(profile)
    try:
        return work(), count
    finally:
        sys.setprofile(None)


def test_the_values_of_a_field_are_put_together_once():
    """Once a value would be quadratic: 100,000 values in 200 kB of JSON would hold the loop for a minute."""
    fields, made = calls_of(MultiValue.__init__, lambda: fields_of({"A": ["x"] * 1000, "B": ["y"]}))
    assert fields["A"].values == ("x",) * 1000
    assert fields["B"] == "y"
    assert made == 1


@pytest.fixture
def matcher():
    return compile_sigma([("whoami.yml", RULE)])


def claim(names, number=0):
    """An event that says it is of many log sources."""
    of = [f"{number}-{n}" for n in range(names)]
    said = {"product": ["windows", *of], "category": ["process_creation", *of], "service": of}
    fields, document = fields_of_json(orjson.dumps({**WHOAMI, "logsource": said}))
    return fields, document["logsource"]


def test_an_event_of_many_log_sources_is_put_to_the_rules_and_not_to_every_combination(matcher):
    """Of 1,000 products, categories and services there are a milliard combinations."""
    fields, said = claim(50)
    found, made = calls_of(LogSource.__init__, lambda: matcher.match(fields, matcher.sources.of(fields, said)))
    assert [rule.title for rule in found] == ["whoami"]
    assert made == 0


@pytest.mark.heavy
def test_log_sources_that_an_event_makes_up_are_not_kept(matcher):
    for number in range(5):
        fields, said = claim(200, number)
        assert len(matcher.match(fields, matcher.sources.of(fields, said))) == 1
    gc.collect()
    # `type`, as others' objects may raise when they are asked for their class
    assert [o for o in gc.get_objects() if type(o) is EventSource and len(o.products) > 100] == []


@pytest.mark.parametrize("said", ["syslog", 7, ["windows"]])
def test_a_field_that_happens_to_be_called_logsource_does_not_undo_the_bundles_own_source(said):
    place = EventPlace(column="event", source={"product": "windows", "category": "process_creation"})
    rules = read_rules({"rules/whoami.yml": RULE}, {}, place)
    body = orjson.dumps({**WHOAMI, "logsource": said})
    judged = rules.judge({"event": np.array([body], dtype=object)}, 1)
    assert [len(ids) for ids in judged.matched] == [1]
