from pathlib import Path

import pytest
import yaml

from serving.access.policy_file import AccessPolicyError, parse_policy
from serving.features.plan.feast import CONFIGURATION, signature
from serving.risk.rules_of_risk import FILE, RiskRulesError, read_rules
from serving.sinks.config import read_config
from serving.sinks.errors import SinkConfigError
from serving.yaml_depth import MOST_DEPTH, read_yaml

_CHAIN = ", ".join(["&m0 {a: 1}", *(f"&m{number} {{<<: *m{number - 1}}}" for number in range(1, 1500))])
NO_VALUES = [
    pytest.param("a: 2026-99-99", id="a date that there is not"),
    pytest.param("a: !!timestamp soon", id="text as a date"),
    pytest.param("a: !!bool maybe", id="text as yes or no"),
    pytest.param("a: !!int ''", id="nothing as a number"),
    pytest.param("a: 1" + ":59" * 200 + ".5", id="a number beyond all floats"),
    pytest.param("a: " + "9" * 5000, id="a number of too many digits"),
    pytest.param(f"first: [[{_CHAIN}]]\nsecond: *m1499\n", id="merges that lead to one another a thousand times"),
    pytest.param("[" * (MOST_DEPTH + 1), id="nested too deep"),
    pytest.param("a: [", id="half YAML"),
]


@pytest.mark.parametrize("text", NO_VALUES)
def test_whatever_is_wrong_with_a_text_is_one_kind_of_error(text):
    with pytest.raises(yaml.YAMLError) as refused:
        read_yaml(text)
    assert str(refused.value)


@pytest.mark.parametrize("text", NO_VALUES)
def test_each_file_that_holds_it_is_named(tmp_path, text):
    for name in (FILE, "sinks.yaml", CONFIGURATION):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RiskRulesError, match=FILE):
        read_rules(tmp_path)
    with pytest.raises(SinkConfigError, match=r"sinks\.yaml"):
        read_config(tmp_path / "sinks.yaml")
    with pytest.raises(AccessPolicyError, match=r"access\.yaml: is not YAML"):
        parse_policy(text, Path("access.yaml"))
    assert signature(tmp_path) == (text.encode(), "unreadable")


def test_a_text_is_read_as_it_is():
    assert read_yaml("a: &b [1, 2026-01-02]\nc: *b\n") == read_yaml(b"{a: [1, 2026-01-02], c: [1, 2026-01-02]}")
