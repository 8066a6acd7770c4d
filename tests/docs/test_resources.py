"""The resource pages: complete, and what they show is taken."""

import pytest
import yaml

from operators.api.lint import lint
from tests.docs.pages import ROOT, blocks
from tests.docs.resources import EXAMPLES, LINKED, annotated, document, schema_of

PAGE = {"ModelService": "modelservice.md", "RolloutPolicy": "rolloutpolicy.md"}


def leaves(schema, path):
    if path in LINKED:
        return
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from leaves(field.get("items", field), f"{path}.{name}")


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_field_and_its_words_are_in_the_example(kind):
    lines = annotated(kind, "x").splitlines()
    shown = {line.strip("# -").partition(":")[0] for line in lines}
    text = " ".join(line.strip("# ") for line in lines)
    for path, field in leaves(schema_of(kind)["properties"]["spec"], "spec"):
        assert path.rpartition(".")[2] in shown, path
        assert field["description"] in text, path


def descriptions(node, path=""):
    """Every description of a schema, with its path."""
    if isinstance(node, dict):
        if isinstance(node.get("description"), str):
            yield path, node["description"].partition(" [default:")[0]
        for name, inner in node.items():
            yield from descriptions(inner, f"{path}.{name}")


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_description_says_what_the_field_is(kind):
    assert not [(path, said) for path, said in descriptions(schema_of(kind)) if len(said.split()) < 3]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_what_the_page_shows_is_the_example_and_is_taken_without_a_hint(kind):
    (shown,) = [b for b in blocks(ROOT / "docs" / "reference" / PAGE[kind]) if b.language == "yaml"]
    found = yaml.safe_load(shown.text)
    assert found == document(kind, found["metadata"]["name"])
    assert lint([(PAGE[kind], shown.text)]).notes == ()
