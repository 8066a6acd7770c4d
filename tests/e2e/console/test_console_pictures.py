"""Every page of the navigation has its picture in the documentation, and no picture is of a page that has changed since."""

import json

import pytest

from operators.console.catalogue import PAGES
from tests.docs.pages import ROOT
from tests.docs.pictures.screenshots import DARK, FOLDER, MOST_BYTES, STRUCTURE, structures
from tests.e2e.console.chromium import Chromium
from tests.e2e.console.shown import SHOWN
from tests.e2e.console.world import ConsoleWorld
from tests.fakes.console.served import ServedConsole

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("the console in a browser")]
NAMES = [shown.picture for shown in SHOWN if shown.picture]


def test_each_page_of_the_navigation_has_a_picture_in_the_documentation():
    assert {page.room for page in PAGES} == {shown.room for shown in SHOWN if shown.picture}
    prose = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))
    for name in (*NAMES, f"{DARK}-dark"):
        path = FOLDER / f"{name}.png"
        assert path.exists(), f"no {path}: run `python -m tests.docs.pictures.screenshots`"
        assert path.stat().st_size <= MOST_BYTES
        assert f"images/console/{name}.png" in prose, f"no page of docs shows {name}.png"
    assert {path.stem for path in FOLDER.glob("*.png")} == {*NAMES, f"{DARK}-dark"}, "a picture of no page"


def test_no_page_has_changed_since_its_picture(chromium: Chromium, console: ServedConsole, world: ConsoleWorld):
    kept = json.loads(STRUCTURE.read_text(encoding="utf-8"))
    assert structures(chromium, console, world) == kept, (
        "run `python -m tests.docs.pictures.screenshots`, and look at the pictures"
    )
