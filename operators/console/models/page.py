"""The page Models."""

from typing import Final

from starlette.responses import Response

from operators.console.page import ConsolePage, PageRoute, Visit


def show(visit: Visit) -> Response:
    """The page."""
    return visit.page("models/page.html.j2")


PAGE: Final = ConsolePage(room="models", title="Models", path="/models", routes=(PageRoute("/models", show),))
