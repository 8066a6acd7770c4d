"""The page Service."""

from typing import Final

from starlette.responses import Response

from operators.console.page import ConsolePage, PageRoute, Visit


def show(visit: Visit) -> Response:
    """The page."""
    return visit.page("service/page.html.j2")


PAGE: Final = ConsolePage(room="service", title="Service", path="/service", routes=(PageRoute("/service", show),))
