"""The page Drift."""

from typing import Final

from starlette.responses import Response

from operators.console.page import ConsolePage, PageRoute, Visit


def show(visit: Visit) -> Response:
    """The page."""
    return visit.page("drift/page.html.j2")


PAGE: Final = ConsolePage(room="drift", title="Drift", path="/drift", routes=(PageRoute("/drift", show),))
