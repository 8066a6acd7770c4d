"""Pictures of the console for the documentation, taken in the browser of the tests.

`python -m tests.docs.pictures.screenshots` takes them anew. Beside them stands the structure of each page (headings, column heads, labels)
as it was then; a test compares it with the page as it is now, so no picture goes stale unnoticed."""

import io
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from PIL import Image

from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from tests.e2e.console.chromium import Chromium
    from tests.e2e.console.world import ConsoleWorld
    from tests.fakes.console.served import ServedConsole

FOLDER: Final = ROOT / "docs" / "images" / "console"
STRUCTURE: Final = FOLDER / "structure.json"
MOST_BYTES: Final = 150_000
_COLOURS: Final = 96
DARK: Final = "rollouts"
"""The page that has a picture in dark too."""


def structures(
    chromium: "Chromium", console: "ServedConsole", world: "ConsoleWorld", *, take: bool = False
) -> dict[str, list[str]]:
    """The structure of every page that has a picture, by the picture's name. take: take the pictures too. Within the browser's thread."""
    from tests.e2e.console.shown import SHOWN, settled, structure

    world.prepare_pages()
    session = console.session("ada")
    cookies = [
        {"name": console.cookie, "value": session.id, "url": console.address},
        {"name": "vedette-seen", "value": ".".join(sorted({shown.room for shown in SHOWN})), "url": console.address},
    ]
    page, found = chromium.page(cookies=cookies), {}
    for shown in SHOWN:
        if shown.picture:
            settled(page, console, shown)
            found[shown.picture] = structure(page)
            if take:
                _keep(page.screenshot(), shown.picture)
    if take:
        dark: Literal["dark"] = "dark"
        page = chromium.page(colours=dark, cookies=cookies)
        settled(page, console, next(shown for shown in SHOWN if shown.picture == DARK))
        _keep(page.screenshot(), f"{DARK}-dark")
    return found


def _keep(png: bytes, name: str) -> None:
    """With few colours: a page of flat areas and text looks the same, at a third of the size."""
    with Image.open(io.BytesIO(png)) as whole:
        small = whole.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    FOLDER.mkdir(parents=True, exist_ok=True)
    small.save(FOLDER / f"{name}.png", optimize=True)


def main() -> None:
    """Take every picture, and write down the structure of each page."""
    from tests.e2e.console.chromium import Chromium
    from tests.e2e.console.world import console_world
    from tests.fakes.console.served import served_console

    browser = Chromium()
    with ExitStack() as stack:
        world = stack.enter_context(console_world(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        console = stack.enter_context(served_console(world.store, control=world.folder))
        browser.run(browser.start)
        try:
            found = browser.run(lambda: structures(browser, console, world, take=True))
        finally:
            browser.run(browser.stop)
            browser.end()
    STRUCTURE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    for path in sorted(FOLDER.glob("*.png")):
        sys.stdout.write(f"{path.relative_to(ROOT)} {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
