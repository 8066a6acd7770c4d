"""axe-core finds nothing on any page, light and dark, wide and narrow; and nothing sticks out at 400 px."""

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from operators.console.catalogue import PAGES
from tests.e2e.console.chromium import NARROW, WIDE, Chromium
from tests.e2e.console.shown import SHOWN, settled
from tests.e2e.console.world import ConsoleWorld
from tests.fakes.console.served import ServedConsole

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("the console in a browser")]
Colours = Literal["light", "dark"]


def violations(page: Page, where: str) -> list[str]:
    """What axe-core finds, a line each."""
    found = Axe().run(page).response["violations"]
    return [f"{where}: {one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"][:3]]


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_no_page_has_a_violation(chromium: Chromium, console: ServedConsole, world: ConsoleWorld, colours: Colours):
    world.prepare_pages()
    session = console.session("ada")
    cookie = {"name": console.cookie, "value": session.id, "url": console.address}
    problems = []
    for width in (WIDE, NARROW):
        page = chromium.page(width=width, colours=colours, cookies=[cookie])
        for shown in SHOWN:
            settled(page, console, shown)
            problems += violations(page, f"{shown.path} at {width} px, {colours}")
            too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if too_wide > 0:
                problems.append(f"{shown.path} at {width} px sticks out by {too_wide} px")
    assert problems == []


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_pages_for_nobody_in_particular_have_none(chromium: Chromium, console: ServedConsole, colours: Colours):
    """Sign-in, and the page that says what went wrong."""
    page = chromium.page(width=NARROW, colours=colours)
    page.goto(f"{console.address}/sign-in")
    problems = violations(page, "/sign-in")
    page.goto(f"{console.address}/sign-in/{console.links.make()}")
    problems += violations(page, "/sign-in/LINK")
    page.get_by_role("button", name="Sign in").click()
    assert page.goto(f"{console.address}/models/nobody/7").status == 404
    problems += violations(page, "404")
    chromium.complaints.clear()  # the browser logs the 404 that was asked for
    assert problems == []


def test_every_page_of_the_navigation_is_looked_at():
    assert {page.room for page in PAGES} <= {shown.room for shown in SHOWN}


def test_the_content_is_reached_by_keyboard(chromium: Chromium, console: ServedConsole):
    session = console.session("ada")
    page = chromium.page(cookies=[{"name": console.cookie, "value": session.id, "url": console.address}])
    page.goto(f"{console.address}/models")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
