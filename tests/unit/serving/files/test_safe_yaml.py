from pathlib import Path

import pytest
import yaml

from serving.access.policy_file import AccessPolicyError, parse_policy
from serving.features.plan.feast import CONFIGURATION, signature
from serving.files.safe_yaml import MOST_REPEATED, check_bounds, read_documents, read_yaml
from serving.risk.rules_of_risk import FILE, RiskRulesError, read_rules
from serving.rules.declared.rules_yaml import parse_rules_file
from serving.rules.errors import RuleError
from serving.rules.parse import parse_sigma
from serving.segments.mapping import SegmentMapError, parse_segment_map
from serving.sinks.config import read_config
from serving.sinks.errors import SinkConfigError
from tests.wrong_yaml import TEXTS, WRONG


@pytest.mark.parametrize("text", WRONG)
def test_whatever_is_wrong_with_a_text_is_one_kind_of_error(text):
    for read in (read_yaml, read_documents):
        with pytest.raises(yaml.YAMLError) as refused:
            read(text)
        assert str(refused.value)


@pytest.mark.parametrize("text", WRONG)
def test_each_file_that_holds_it_is_named(tmp_path, text):
    for name in (FILE, "sinks.yaml", CONFIGURATION):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RiskRulesError, match=FILE):
        read_rules(tmp_path)
    with pytest.raises(SinkConfigError, match=r"sinks\.yaml"):
        read_config(tmp_path / "sinks.yaml")
    with pytest.raises(AccessPolicyError, match=r"access\.yaml: is not YAML"):
        parse_policy(text, Path("access.yaml"))
    with pytest.raises(RuleError, match=r"rules\.yaml: is not YAML"):
        parse_rules_file(text.encode())
    assert signature(tmp_path) == (text.encode(), "unreadable")


@pytest.mark.parametrize("text", WRONG)
def test_a_sigma_file_that_holds_it_is_not_supported_and_ends_no_other(text):
    assert [rule.path for rule in parse_sigma([("a.yml", text)]).unsupported] == ["a.yml"]


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in TEXTS.items()])
def test_a_segment_mapping_that_holds_it_is_named(text):
    with pytest.raises(SegmentMapError, match=r"segments\.yaml: is not YAML"):
        parse_segment_map(text, "segments.yaml", is_yaml=True)


@pytest.mark.parametrize("value", ["2026-99-99", "!!bool maybe", "!!int ''", "!!timestamp soon"])
def test_a_value_that_is_none_is_told_with_its_line_and_the_way_out(value):
    with pytest.raises(yaml.YAMLError, match=r"(?s)quote it to make it text.*line 2, column 4"):
        read_yaml(f"a: 1\nb: {value}\n")


def test_aliases_may_stand_for_much_but_not_without_end():
    of_ten = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\nb: [{}]\n"
    check_bounds(of_ten.format(", ".join(["*a"] * (MOST_REPEATED // 10))))
    with pytest.raises(yaml.YAMLError, match="write fewer"):
        check_bounds(of_ten.format(", ".join(["*a"] * (MOST_REPEATED // 10 + 1))))


def test_a_text_is_read_as_it_is():
    assert read_yaml("a: &b [1, 2026-01-02]\nc: *b\n") == read_yaml(b"{a: [1, 2026-01-02], c: [1, 2026-01-02]}")
    assert read_documents("a: &b 1\n---\na: &b 2\nc: *b") == [{"a": 1}, {"a": 2, "c": 2}]
    assert read_yaml("base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}")["more"] == {"a": 1, "b": 3}
