"""Each how-to and tutorial is played by the end-to-end tests, or says why not: no command stands on a page that nobody has typed."""

import re

import pytest

from tests.docs.pages import PAGES, commands, files, name
from tests.e2e.running import how_to

HOW_TOS = [
    page for page in PAGES if page.parent in {how_to.HOW_TO, how_to.TUTORIALS} and page != how_to.TUTORIALS / "README.md"
]
PLAYS = "".join(path.read_text(encoding="utf-8") for path in sorted((how_to.ROOT / "tests" / "e2e").rglob("test_*.py")))


@pytest.mark.parametrize("page", HOW_TOS, ids=name)
def test_what_is_not_played_is_named_as_the_page_says_it(page):
    said = {" ".join(command.split()) for command in commands(page)}
    named = how_to.NOT_PLAYED.get(page.name, {}).keys() - {how_to.ALL}
    assert named <= said, f"{page.name} no longer says {sorted(named - said)}"


@pytest.mark.parametrize("page", HOW_TOS, ids=name)
def test_every_page_with_commands_is_played(page):
    if how_to.played(page.name):
        assert f'"{page.name}"' in PLAYS, f"no test in tests/e2e follows {page.name}; or name it in NOT_PLAYED"


@pytest.mark.parametrize("page", HOW_TOS, ids=name)
def test_a_request_that_is_sent_from_a_file_is_a_file_that_is_made(page):
    """By the page itself, or by `vedette up`, which puts an example of its detector into the store."""
    made = {
        *files(page),
        ".vedette/examples/flows.json",
        *re.findall(r'open\("([\w.]+)", "w', page.read_text(encoding="utf-8")),
    }
    sent = {file for command in commands(page) for file in re.findall(r"-d @(\S+)", command)}
    assert sent <= made, f"{page.name} sends {sorted(sent - made)}, which nobody has made"


def test_no_two_pages_make_the_same_model_or_file():
    """They are followed in one folder, one after the other."""
    owners: dict[str, list[str]] = {}
    for page in (page for page in HOW_TOS if how_to.played(page.name)):
        asked = {command for command in commands(page) if command.startswith(("vedette bundle create", "vedette train"))}
        models = {model for c in asked for model in re.findall(r"(?:--onnx|vedette train) (\w+)\.(?:onnx|yaml)", c)}
        for made in {*files(page), *models}:
            owners.setdefault(made, []).append(page.name)
    assert {made: pages for made, pages in owners.items() if len(pages) > 1} == {}
