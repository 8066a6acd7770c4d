"""The page Audit."""

from typing import Final

from starlette.responses import Response

from operators.console.page import ConsolePage, PageRoute, Visit


def show(visit: Visit) -> Response:
    """The page."""
    return visit.page("audit/page.html.j2")


PAGE: Final = ConsolePage(room="audit", title="Audit", path="/audit", routes=(PageRoute("/audit", show),))
