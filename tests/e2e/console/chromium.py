"""One Chromium of the system, driven by Playwright in a thread of its own.

Playwright's plain API keeps an event loop running in its thread. In the tests' own thread no other test could run one any more."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.waiting import HANG_S

PROGRAM: Final = Path("/usr/bin/chromium")
ARGUMENTS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDE: Final = 1280
NARROW: Final = 400
_T = TypeVar("_T")


def launched(playwright: Playwright) -> Browser:
    """The system's Chromium. Expectations wait for as long as a busy machine may need."""
    expect.set_options(timeout=HANG_S * 1000)
    return playwright.chromium.launch(executable_path=PROGRAM, args=ARGUMENTS, timeout=HANG_S * 1000)


def patient(context: BrowserContext) -> BrowserContext:
    """The same for its pages: what they load, and what is done on them."""
    context.set_default_timeout(HANG_S * 1000)
    return context


class Chromium:
    """Use it within `run` only. pages: what scripts and the browser complained of, by nobody expected."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chromium")
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def run(self, work: Callable[[], _T]) -> _T:
        """Do this in the browser's thread."""
        return self._thread.submit(work).result()

    def start(self) -> None:
        """Start it; once."""
        self._playwright = sync_playwright().start()
        self._browser = launched(self._playwright)

    def stop(self) -> None:
        """End it."""
        self.close_pages()
        if self._browser is not None:
            self._browser.close()
        if self._playwright is not None:
            self._playwright.stop()

    def end(self) -> None:
        """After `stop`, from outside: end the thread."""
        self._thread.shutdown()

    def page(self, *, width: int = WIDE, colours: Literal["light", "dark"] = "light", cookies: Any = ()) -> Page:
        """A page of a person of their own: no cookie is shared with another."""
        assert threading.current_thread().name.startswith("chromium"), "use the browser within a test of this folder"
        assert self._browser is not None
        context = patient(
            self._browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme=colours,
                reduced_motion="reduce",
                locale="en-GB",
                timezone_id="UTC",
            )
        )
        self._contexts.append(context)
        context.add_cookies(list(cookies))
        page = context.new_page()
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        return page

    def close_pages(self) -> None:
        """Close every page, and forget what was complained of."""
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        self.complaints.clear()
