"""The page Detections."""

from typing import Final

from starlette.responses import Response

from operators.console.page import ConsolePage, PageRoute, Visit


def show(visit: Visit) -> Response:
    """The page."""
    return visit.page("detections/page.html.j2")


PAGE: Final = ConsolePage(room="detections", title="Detections", path="/detections", routes=(PageRoute("/detections", show),))
