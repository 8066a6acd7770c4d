"""risk.yaml: defaults, what a file may say, and what is refused with the way out."""

import pytest

from serving.risk.rules_of_risk import FILE, MOST_BYTES, RiskRules, RiskRulesError, read_rules


def write(folder, text):
    (folder / FILE).write_text(text, encoding="utf-8")
    return folder


def test_without_a_file_there_are_defaults_for_every_kind(tmp_path):
    assert read_rules(tmp_path) == RiskRules()
    assert read_rules(tmp_path).of("analyst").is_latest


def test_a_file_replaces_what_it_names_and_no_more(tmp_path):
    rules = read_rules(write(tmp_path, "version: 3\nprior: 0.002\nkinds: {batch: {weight: 0.2, expected_every_s: 3900}}\n"))
    assert (rules.version, rules.prior, rules.of("batch").expected_every_s) == (3, 0.002, 3900)
    assert rules.of("realtime") == RiskRules().of("realtime")
    assert rules.digest != RiskRules().digest


def test_what_was_measured_is_no_part_of_the_digest(tmp_path):
    assert RiskRules(fitted={"rows": 10}).digest == RiskRules().digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prior: 2", "prior: Input should be less than 1"),
        ("prior: .nan", "prior"),
        ("kinds: {guess: {}}", "the kinds are realtime, batch"),
        ("kinds: {batch: {wieght: 1}}", "wieght"),
        ("levels: [0.5, 0.4, 0.8]", "they must rise"),
        ("[1, 2]", "valid dictionary"),
        ("a: [", "is not YAML"),
        ("a: 2026-99-99", "is not YAML: month must be in 1..12"),
        ("x: " + "y" * MOST_BYTES, "bytes, at most"),
        ("[" * 5000, "is not YAML: it is nested deeper than 100 levels"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, words):
    with pytest.raises(RiskRulesError, match=words):
        read_rules(write(tmp_path, text))
