"""The pages of the console that are looked at: by axe-core, and for the pictures of the documentation."""

import re
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import Page

from tests.e2e.console.world import DRIFTING, QUIET, watched_for_minutes
from tests.fakes.console.served import ServedConsole
from tests.waiting import until


@dataclass(frozen=True, slots=True)
class ShownPage:
    """One page. picture: the name of its file in docs/images/console; empty: it has none. waits: what is there when the page is whole."""

    room: str
    path: str
    picture: str = ""
    waits: str = "main h1"


_SAMPLER: Final = "service.sampler"
SHOWN: Final = (
    ShownPage("rollouts", "/rollouts", "rollouts"),
    ShownPage("rollouts", f"/rollouts/{QUIET}", "rollout"),
    ShownPage("detections", "/detections?verdict=any", "detections", "#alerts tbody tr"),
    ShownPage("models", "/models", "models"),
    ShownPage("models", f"/models/{DRIFTING}/1", "model"),
    ShownPage("drift", "/drift", "drift"),
    ShownPage("drift", f"/drift/{DRIFTING}", "drift-of-a-model"),
    ShownPage("service", "/service", "service", "#service-models tbody tr"),
    ShownPage("audit", "/audit", "audit"),
)


def settled(page: Page, console: ServedConsole, shown: ShownPage) -> None:
    """Open a page, and wait until it is whole."""
    kept = console.app.site.kept
    if shown.room == "service" and _SAMPLER not in kept:
        kept[_SAMPLER] = watched_for_minutes(console.app.site.control)

    def is_whole() -> bool:
        answer = page.goto(console.address + shown.path)
        assert answer is not None
        assert answer.status == 200, f"{shown.path}: {answer.status}"
        return page.locator(shown.waits).count() > 0 and page.get_by_text("The log is being read").count() == 0

    until(is_whole, f"{shown.path} does not become whole", every_s=0.2)


def structure(page: Page) -> list[str]:
    """Headings, labels of regions and column heads, in their order: what a picture of the page shows, without its figures."""
    found = page.evaluate(
        """() => [...document.querySelectorAll("main h1, main h2, main h3, main th[scope=col], main section[aria-label], main label")]
        .map((e) => e.tagName.toLowerCase() + ": " + (e.getAttribute("aria-label") ?? e.textContent).trim().replace(/\\s+/g, " "))"""
    )
    return [re.sub(r"\d+", "N", line) for line in dict.fromkeys(found)]
