"""The tutorials, followed to the letter; each shows what its commands print, and they must print that."""

import pytest

from tests.e2e.running.how_to import Reader
from tests.e2e.running.vedette import Vedette
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def reader(vedette: Vedette) -> Reader:
    """In the folder in which the shared `vedette up` was started."""
    return Reader(vedette.store.parent, vedette)


def test_first_verdict(reader: Reader):
    assert len(reader.follows("first-verdict.md")) == 3


def test_first_drift(reader: Reader):
    reader.makes_files("first-drift.md")
    assert len(reader.follows("first-drift.md")) == 1
    assert "<html" in (reader.folder / "drift.html").read_text(encoding="utf-8")


def test_first_alert(reader: Reader):
    from tests.e2e.console.chromium import PROGRAM

    page = "first-alert.md"
    if not PROGRAM.exists():
        pytest.skip("chromium is not installed; `make services` installs it")
    assert len(reader.follows(page, then={"vedette console --link": labels_in_the_console})) == 3


def labels_in_the_console(said: str) -> None:
    """Sections 3 to 5 of the page: sign in, choose Detections, read the newest alert, say that it is an attack."""
    from playwright.sync_api import expect, sync_playwright

    from tests.e2e.console.chromium import launched, patient

    with sync_playwright() as playwright:
        browser = launched(playwright)
        page = patient(browser.new_context()).new_page()
        page.goto(said.rsplit(maxsplit=1)[-1])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Detections").first.click()
        page.wait_for_url("**/detections")
        first = page.locator("#alerts tbody tr").first
        until(lambda: first.count() or (page.reload() and first.count()), "the console lists no alert", every_s=0.5)
        page.keyboard.press("j")
        page.keyboard.press("o")
        expect(page.locator("#receipt-link")).to_be_visible()
        page.get_by_role("link", name="All detections").click()
        page.wait_for_url("**/detections")
        page.keyboard.press("j")
        page.keyboard.press("t")
        expect(first.locator(".label-state")).to_contain_text("attack")
        browser.close()
