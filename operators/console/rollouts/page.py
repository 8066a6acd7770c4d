"""The page Rollouts: the list of services, one service with its evidence, and what people do to it."""

import secrets
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from operators.console.page import ConsolePage, LiveTopic, PageProblem, PageRoute, Visit
from operators.console.roles import ConsoleRole
from operators.console.rollouts.acts import act, decide, text_to_sign
from operators.console.rollouts.chart import evidence_chart
from operators.console.rollouts.model_scope import model_of, name_of, of_their_models
from operators.console.rollouts.overview import READS_WITHIN_S, index_of, is_phase, list_page
from operators.console.rollouts.view import acts_now, approval_step, seen_now, service_values, standing_words
from operators.console.site import Site
from operators.control.port import ControlError, Record
from operators.control.words import thresholds
from serving.access.policy import Globs

_MOST_QUERY: Final = 100
_READS_FOR_NARROWED_S: Final = 1.0
"""A service whose model is not read yet is not theirs, so they wait a little longer for the first list."""


def show_list(visit: Visit) -> Response:
    """Every service, those that need people first. People who are narrowed to models see the services of these."""
    values = _list_values(visit.site, _list_query(visit.query), visit.person.models if visit.person.is_narrowed else None)
    return visit.page("rollouts/list.html.j2", **values, caution=visit.site.control.caution())


def show_service(visit: Visit) -> Response:
    """One service."""
    control = visit.site.control
    record = control.read(name_of(visit.params["name"]))
    return visit.page(
        "rollouts/service.html.j2",
        **service_values(record),
        **_chart_values(visit.site, record),
        acts=acts_now(record),
        approval=approval_step(record),
        is_starter=record.status.started_by == _acting_name(visit),
        standing=standing_words(record),
        expected=seen_now(record),
        nonce=secrets.token_urlsafe(12),
        may_move=visit.person.may(ConsoleRole.SRE),
        may_approve=visit.person.may(ConsoleRole.APPROVER),
        caution=control.caution(),
    )


def _acting_name(visit: Visit) -> str:
    try:
        return visit.acting()[1]
    except (PageProblem, ControlError):  # they cannot act, and looking goes on
        return visit.person.name


def _list_query(query: Mapping[str, str]) -> dict[str, str]:
    """The parts of a list's query that count, in one order: they are the key of its live topic."""
    phase, page = query.get("phase", ""), query.get("page", "")
    found = {
        "q": query.get("q", "").strip()[:_MOST_QUERY],
        "phase": phase if is_phase(phase) else "",
        "page": page if page.isascii() and page.isdigit() and len(page) < 6 else "",
    }
    return {name: value for name, value in found.items() if value}


def _list_values(site: Site, query: Mapping[str, str], models: Globs | None = None) -> dict[str, Any]:
    text, phase, number = query.get("q", ""), query.get("phase", ""), int(query.get("page", "1"))
    lines = index_of(site).lines(within_s=READS_WITHIN_S if models is None else _READS_FOR_NARROWED_S)
    if models is not None:
        lines = [line for line in lines if line.model and models.match(line.model)]
    shown = list_page(lines, text=text, phase=phase, page=number)

    def query_of(**changed: object) -> str:
        return urlencode({name: value for name, value in {**query, **changed}.items() if value})

    return {"shown": shown, "q": text, "phase": phase, "key": urlencode(query), "query_of": query_of}


def _watch_list(site: Site, key: str) -> Mapping[str, str]:
    values = _list_values(site, _list_query(dict(parse_qsl(key))))
    return {"rollouts-rows": site.fragment("rollouts/rows.html.j2", **values)}


def _list_state(site: Site, key: str) -> object:
    del key
    return tuple(index_of(site).lines())


def _service_state(site: Site, key: str) -> object:
    return site.control.read(name_of(key))


def _watch_service(site: Site, key: str) -> Mapping[str, str]:
    record = site.control.read(name_of(key))
    values = service_values(record)
    parts = {part: site.fragment(f"rollouts/{part}.html.j2", **values) for part in ("standing", "evidence", "moves")}
    said = f"{record.ref.name}: {values['phase']}. {values['waits'] or record.status.message}"
    texts = {"announce": said, "rollout-step": standing_words(record)}
    return {**parts, **{place: site.fragment("rollouts/said.html.j2", said=text) for place, text in texts.items()}}


def _watch_chart(site: Site, key: str) -> Mapping[str, str]:
    record = site.control.read(name_of(key))
    return {"chart": site.fragment("rollouts/chart.html.j2", **_chart_values(site, record))}


def _chart_values(site: Site, record: Record) -> dict[str, Any]:
    worse_at, fine_at = thresholds((record.status.policy or record.rollout).analysis)
    return {"chart": evidence_chart(site.control.looks(record.ref.name), worse_at, fine_at)}


PAGE: Final = ConsolePage(
    room="rollouts",
    title="Rollouts",
    path="/rollouts",
    routes=(
        PageRoute("/rollouts", show_list, for_narrowed=True),
        PageRoute("/rollouts/{name}", of_their_models(show_service), for_narrowed=True),
        PageRoute("/rollouts/{name}/act", of_their_models(act), method="POST", role=ConsoleRole.SRE, for_narrowed=True),
        PageRoute(
            "/rollouts/{name}/decide", of_their_models(decide), method="POST", role=ConsoleRole.APPROVER, for_narrowed=True
        ),
        PageRoute(
            "/rollouts/{name}/text-to-sign",
            of_their_models(text_to_sign),
            method="POST",
            role=ConsoleRole.APPROVER,
            for_narrowed=True,
        ),
    ),
    topics=(
        LiveTopic("rollouts", _watch_list, state=_list_state),
        LiveTopic("rollout", _watch_service, state=_service_state, model_of=model_of),
        LiveTopic("rollout-chart", _watch_chart, every_s=10.0, model_of=model_of),
    ),
    scripts=("approve.js",),
)
