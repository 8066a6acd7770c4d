"""The page Drift: which models drift, how surely and how far, and the distributions side by side."""

from typing import Any, Final

from starlette.responses import Response

from operators.console.page import ConsolePage, PageProblem, PageRoute, Visit

_KEPT: Final = "drift.references"
_MOST_KEPT: Final = 16


def show(visit: Visit) -> Response:
    """Every model that is watched, the worst first, and the latest alarms."""
    from lifecycle.monitoring.alarm import AlarmError
    from operators.console.drift.findings import latest_alarms, moment, watched_models

    store = visit.site.store_dir
    if store is None:
        return visit.page("drift/page.html.j2", models=None, alarms=(), alarm_problem="", moment=moment)
    try:
        alarms, problem = latest_alarms(store), ""
    except (AlarmError, OSError) as unread:
        alarms, problem = (), str(unread)
    return visit.page("drift/page.html.j2", models=watched_models(store), alarms=alarms, alarm_problem=problem, moment=moment)


def show_model(visit: Visit) -> Response:
    """One model: its columns by severity, with their distributions."""
    from lifecycle.monitoring.watch.model_state import StateError
    from lifecycle.monitoring.watch.state_files import StateFiles
    from operators.console.drift.findings import model_drift, moment

    store, model = visit.site.store_dir, visit.params["model"]
    if store is None:
        raise PageProblem("This console has no store, so it does not see what a monitor found.", 404)
    files = StateFiles(store / "monitoring")
    try:
        if model not in files.models():
            raise PageProblem(f"No monitor has looked at a model {model} yet. Run: vedette monitor --once", 404)
        state = files.read(model)
        found = model_drift(store, model, _reference(visit, state), (visit.query.get("subject", ""),))
    except (StateError, OSError) as problem:
        raise PageProblem(str(problem), 500) from problem
    return visit.page("drift/model.html.j2", found=found, moment=moment)


def _reference(visit: Visit, state: Any) -> Any:
    """The reference of a version, read once: reading one verifies its whole bundle."""
    from operators.console.drift.findings import reference_in

    kept = visit.site.kept.setdefault(_KEPT, {})
    if state.current is None or visit.site.store_dir is None:
        return None
    key = (state.model, state.current.version, state.current.revision)
    if key not in kept:
        found = reference_in(visit.site.store_dir, state)
        if isinstance(found, str):
            return found
        while len(kept) >= _MOST_KEPT:
            kept.pop(next(iter(kept)), None)
        kept[key] = found
    return kept[key]


PAGE: Final = ConsolePage(
    room="drift",
    title="Drift",
    path="/drift",
    routes=(PageRoute("/drift", show), PageRoute("/drift/{model}", show_model)),
)
