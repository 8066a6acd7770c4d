"""The page Models: versions, where they are served, who signed them, their operating points, and their cards."""

from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from operators.console.page import ConsolePage, PageProblem, PageRoute, Visit

if TYPE_CHECKING:
    from operators.console.models.inventory import ModelInventory

MOST_MODELS: Final = 50
_KEPT: Final = "models.inventory"


def show(visit: Visit) -> Response:
    """The models of the store, by name."""
    query, start = visit.query.get("q", "")[:128].strip(), visit.number("from", 0)
    inventory = _inventory(visit)
    if inventory is None:
        names = [name for name in visit.site.control.names() if query.casefold() in name.casefold()]
        return visit.page("models/page.html.j2", query=query, start=start, most=MOST_MODELS, listing=None, names=names)
    listing = inventory.page(query, start, MOST_MODELS)
    return visit.page("models/page.html.j2", query=query, start=start, most=MOST_MODELS, listing=listing, names=())


def show_service(visit: Visit) -> Response:
    """Where there is no store: what one service serves, as the control plane says. Else the newest version of the model."""
    name, inventory = visit.params["name"], _inventory(visit)
    if inventory is None:
        return visit.page("models/service.html.j2", record=visit.site.control.read(name))
    listing = inventory.page(name, 0, 10**6)
    versions = next((found for model, found in listing.models if model == name), ())
    if not versions:
        raise PageProblem(f"The store has no model {name}.", 404)
    return visit.page("models/model.html.j2", name=name, versions=versions, problems=listing.problems)


def show_version(visit: Visit) -> Response:
    """One version in full."""
    inventory, name, version = _inventory(visit), visit.params["name"], visit.params["version"]
    found = None if inventory is None else inventory.detail(name, version)
    if found is None:
        raise PageProblem(f"The store has no version {version} of a model {name}.", 404)
    return visit.page("models/version.html.j2", found=found)


def _inventory(visit: Visit) -> "ModelInventory | None":
    from operators.console.models.inventory import ModelInventory

    store = visit.site.store_dir
    if store is None:
        return None
    kept = visit.site.kept.get(_KEPT)
    return kept if isinstance(kept, ModelInventory) else visit.site.kept.setdefault(_KEPT, ModelInventory(store))


PAGE: Final = ConsolePage(
    room="models",
    title="Models",
    path="/models",
    routes=(
        PageRoute("/models", show),
        PageRoute("/models/{name}", show_service),
        PageRoute("/models/{name}/{version}", show_version),
    ),
)
