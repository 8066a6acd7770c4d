"""Which rules a site's sources reach."""

import pytest

from serving.rules.logsources import LogSources
from serving.rules.mappings.catalogue import entries_of, mapping_of
from serving.rules.mappings.reach import reach_of, unnamed_fields
from serving.rules.matcher import compile_sigma

SOURCES = {
    "windows": "product: windows, category: process_creation",
    "linux": "product: linux, category: process_creation",
    "cloud": "product: aws, service: cloudtrail",
    "other": "product: fortigate, service: event",
    "mixed": "product: windows, service: cloudtrail",
}


def rules(field="Image"):
    files = [
        (f"{name}.yml", f"title: {name}\nlogsource: {{{source}}}\ndetection: {{s: {{{field}: x}}, condition: s}}\n")
        for name, source in SOURCES.items()
    ]
    return compile_sigma(files).rules


def reach(*names):
    return reach_of(rules(), names, LogSources(entries_of(names)))


@pytest.mark.heavy
def test_windows_is_always_reached():
    found = reach()
    assert (found.rules, found.reached, [s.name for s in found.sources]) == (5, 1, ["windows"])


def test_each_source_is_counted_for_itself_and_all_together():
    found = reach("ecs", "aws-cloudtrail")
    assert {s.name: s.rules for s in found.sources} == {"windows": 1, "ecs": 3, "aws-cloudtrail": 1}
    assert found.reached == 3


def test_what_none_reaches_says_which_mapping_would():
    reasons = {str(u.source): u.reason for u in reach("aws-cloudtrail").unreached}
    assert "ecs or linux-sysmon or ocsf" in reasons["product linux, category process_creation"]
    assert reasons["product fortigate, service event"] == "no mapping has it"


def test_a_service_of_another_product_reaches_no_rule():
    assert "product windows, service cloudtrail" in {str(u.source) for u in reach("aws-cloudtrail").unreached}


def test_fields_without_a_name_in_the_schema_are_told():
    linux = next(rule for rule in rules("LogonGuid") if rule.title == "linux")
    assert unnamed_fields(linux, mapping_of("ecs")) == {"LogonGuid"}
    assert not unnamed_fields(next(rule for rule in rules() if rule.title == "linux"), mapping_of("ecs"))
