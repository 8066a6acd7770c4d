"""The CI files that a how-to page shows, against the published schemas that check-jsonschema carries."""

import re
from pathlib import Path

import pytest
from check_jsonschema import main
from click.testing import CliRunner

pytestmark = pytest.mark.heavy

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "check-models-in-ci.md"
SCHEMAS = {
    ".github/workflows/model.yaml": "vendor.github-workflows",
    ".gitlab-ci.yml": "vendor.gitlab-ci",
    ".github/workflows/new-data.yaml": "vendor.github-workflows",
    ".gitlab/new-data.yml": "vendor.gitlab-ci",
}


def shown(name):
    """The block of the page that begins with this file's name."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [b for b in blocks if b.startswith(f"# {name}\n")]
    return block


def lint(path, schema):
    return CliRunner().invoke(main, ["--builtin-schema", schema, str(path)])


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_it_is_valid(tmp_path, name, schema):
    (tmp_path / "ci.yaml").write_text(shown(name), encoding="utf-8")
    done = lint(tmp_path / "ci.yaml", schema)
    assert done.exit_code == 0, done.output


def test_a_broken_one_is_found(tmp_path):
    name, schema = next(iter(SCHEMAS.items()))
    (tmp_path / "ci.yaml").write_text(shown(name).replace("runs-on:", "run-on:"), encoding="utf-8")
    assert lint(tmp_path / "ci.yaml", schema).exit_code == 1


@pytest.mark.parametrize("name", SCHEMAS)
def test_its_commands_have_the_options_they_use(name):
    from typer.main import get_command

    from operators.cli.main import app

    verbs = get_command(app).commands
    said = re.findall(r"vedette (gate|train|pipeline run) (.*)", shown(name))
    assert said
    for words, options in said:
        verb = verbs[words] if words in verbs else verbs["pipeline"].commands["run"]
        known = {option for parameter in verb.params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", options)) <= known
