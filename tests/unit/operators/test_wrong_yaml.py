"""A file that is no YAML of a value is one message with its name, whatever is wrong with it."""

import pytest

from loadtests.objectives import ObjectivesError, parse_objectives
from operators.api.documents import NotYaml, documents
from operators.backends.kube import KubeError
from operators.backends.kube_access import access
from operators.capacity.assumptions import parse_assumptions
from operators.capacity.errors import CapacityError
from operators.cli.console import CommandError
from operators.cli.documents import read_document
from tests.wrong_yaml import NUMBERS, TEXTS, WRONG


@pytest.mark.parametrize("text", WRONG)
def test_each_file_that_holds_it_is_named(tmp_path, text):
    path = tmp_path / "given.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CommandError, match=r"given\.yaml: cannot be read as YAML"):
        read_document(path, "a policy")
    with pytest.raises(CapacityError, match=r"given\.yaml: "):
        parse_assumptions(text, "given.yaml")
    with pytest.raises(ObjectivesError, match=r"given\.yaml: is not YAML"):
        parse_objectives(text, "given.yaml")


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in TEXTS.items()])
def test_a_resource_that_holds_it_is_refused_with_its_line(text):
    with pytest.raises(NotYaml, match=r"is not YAML|has more than \d+ fields") as refused:
        list(documents(text))
    assert refused.value.line >= 1


@pytest.mark.parametrize(
    "name", ["a number beyond all floats", "merges that lead to one another a thousand times", "half YAML"]
)
def test_a_kubeconfig_that_holds_it_is_named(tmp_path, name):
    path = tmp_path / "kubeconfig"
    path.write_text({**TEXTS, **NUMBERS}[name], encoding="utf-8")
    with pytest.raises(KubeError, match="kubeconfig"):
        access(path)
