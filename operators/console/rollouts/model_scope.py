"""Services of the models that a person may see, for people whose key or token is narrowed to some models."""

from starlette.responses import Response

from operators.console.page import Handler, PageProblem, Visit
from operators.console.site import Site
from operators.control.port import DamagedState, NoSuchService


def of_their_models(handler: Handler) -> Handler:
    """The handler of one service. What is no name of a service is not found. Services of other models are refused, whether they exist or
    not."""

    def guarded(visit: Visit) -> Response:
        person, name = visit.person, name_of(visit.params["name"])
        if person.is_narrowed:
            model = model_of(visit.site, name)
            if not model or not person.models.match(model):
                raise PageProblem("There is no such service among the models that your credentials are for.", 403)
        return handler(visit)

    return guarded


def model_of(site: Site, name: str) -> str:
    """The model of a service; empty if there is no such service, or if it cannot be read. Raises Unreachable."""
    try:
        return site.control.read(name_of(name)).ref.model
    except (NoSuchService, DamagedState, PageProblem):
        return ""


def name_of(text: str) -> str:
    """A name of a service: it becomes part of a path. Raises PageProblem."""
    if not 0 < len(text) <= 253 or "/" in text or text.startswith(".") or not text.isprintable():
        raise PageProblem("There is no such service.", 404)
    return text
