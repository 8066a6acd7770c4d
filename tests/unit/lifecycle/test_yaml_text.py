"""A key that stands twice is refused: the last one would win, and nobody would see that the first one counts for nothing."""

import pytest
import yaml

from lifecycle.yaml_text import read_yaml


@pytest.mark.parametrize("text", ["a: 1\na: 2", "a: {b: 1, b: 2}", "- {a: 1, a: 1}", '"a": 1\na: 2'])
def test_a_key_twice_is_refused_with_its_place(text):
    with pytest.raises(yaml.YAMLError, match=r"(?s)there twice.*line \d"):
        read_yaml(text)


def test_what_is_merged_may_be_overridden_and_other_mappings_have_keys_of_their_own():
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\nlast: {a: 4}"
    assert read_yaml(text) == {"base": {"a": 1, "b": 2}, "more": {"a": 1, "b": 3}, "last": {"a": 4}}


def test_nothing_of_it_is_run():
    with pytest.raises(yaml.YAMLError):
        read_yaml('!!python/object/apply:os.system ["true"]')
