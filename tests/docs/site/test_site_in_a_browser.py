"""The built site in Chromium: it can be searched, asks nobody but its own server, and axe finds nothing to complain of."""

import functools
import http.server
import importlib.resources
import threading
from collections.abc import Iterator

import pytest

from tests.docs.site import build

pytestmark = pytest.mark.slow
PAGES = ("index.html", "tutorials/first-canary.html", "architecture/serving.html", "how-to/index.html")
"""One of each kind: prose, code with colours, pictures, lists."""

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
"""Axe's rules beyond WCAG are advice; the theme's script makes landmarks without names, one for each button that copies a command."""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The site as somebody serves it on loopback."""
    assert build.built_once() == []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(build.SITE))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    from tests.e2e.console.chromium import PROGRAM, launched

    if not PROGRAM.exists():
        pytest.skip("chromium is not installed; `make services` installs it")
    with sync_playwright() as playwright:
        running = launched(playwright)
        yield running
        running.close()


def page_of(browser, **options):
    from tests.e2e.console.chromium import patient

    return patient(browser.new_context(**options)).new_page()


def axe() -> str:
    """The script of axe-core. The package itself reads it in the encoding of the surroundings, which is not always UTF-8."""
    return importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_ask_nobody_else_and_can_be_read_by_everybody(address: str, browser, scheme: str):
    page, asked = page_of(browser, color_scheme=scheme), []
    page.on("request", lambda request: asked.append(request.url))
    found = {}
    for path in PAGES:
        page.goto(f"{address}/{path}")
        page.evaluate(axe())
        result = page.evaluate("rules => axe.run(document, {runOnly: rules})", WCAG)
        found |= {f"{path}: {one['id']}": one["nodes"][0]["html"] for one in result["violations"]}
    assert found == {}
    assert [url for url in asked if not url.startswith(address)] == []
    page.context.close()


def test_the_search_finds_a_page_without_another_host(address: str, browser):
    page, asked = page_of(browser), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/index.html")
    page.get_by_role("textbox", name="Search").first.click()
    page.keyboard.type("canary bad change stopped")
    page.wait_for_selector(".md-search-result__link")
    first = page.locator(".md-search-result__link").first
    assert "tutorials/first-canary.html" in (first.get_attribute("href") or "")
    assert [url for url in asked if not url.startswith(address)] == []
    page.context.close()
