"""A key that stands twice is refused: the last one would win, and nobody would see that the first one counts for nothing.
Whatever else is wrong with a file is one message with its name."""

import pytest
import yaml

from lifecycle.datasets.declarations import read_detector
from lifecycle.errors import DetectorError, EvaluationError
from lifecycle.gate.policy import read_policy as read_gate_policy
from lifecycle.governance.approvals.people import PeopleFileError, read_people
from lifecycle.pipeline.declaration.yaml12 import load_yaml
from lifecycle.pipeline.errors import PipelineFileError
from lifecycle.retraining.policy import PolicyError
from lifecycle.retraining.policy import read_policy as read_retraining_policy
from lifecycle.training.behaviour.declaration import read_behaviour
from lifecycle.yaml_text import read_yaml
from tests.wrong_yaml import TEXTS, WRONG


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


@pytest.mark.parametrize("text", WRONG)
def test_each_file_that_holds_it_is_named(tmp_path, text):
    path = tmp_path / "given.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"given\.yaml: is not YAML"):
        read_gate_policy(path)
    with pytest.raises(PolicyError, match=r"given\.yaml: is not YAML"):
        read_retraining_policy(path)
    with pytest.raises(DetectorError, match=r"given\.yaml: is not YAML"):
        read_detector(str(path))
    with pytest.raises(PeopleFileError, match=r"given\.yaml: is not YAML"):
        read_people(text, "given.yaml")
    assert read_behaviour(str(path)) is None  # read_detector says what is wrong


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in TEXTS.items()])
def test_a_file_of_the_pipeline_that_holds_it_is_named(text):
    with pytest.raises(PipelineFileError, match=r"dvc\.yaml: is not YAML"):
        load_yaml(text, "dvc.yaml")
