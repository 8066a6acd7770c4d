"""The page Rollouts: the list of services."""

from typing import Final

from starlette.responses import Response

from operators.console.page import ConsolePage, PageRoute, Visit


def show(visit: Visit) -> Response:
    """The list."""
    return visit.page("rollouts/list.html.j2", names=visit.site.control.names())


PAGE: Final = ConsolePage(room="rollouts", title="Rollouts", path="/rollouts", routes=(PageRoute("/rollouts", show),))
