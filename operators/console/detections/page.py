"""The page Detections: recent alerts, one alert, the time line of an entity, and labels."""

import re
import secrets
import threading
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import HTMLResponse, JSONResponse, Response

from lifecycle.governance.acts import PREDICTIONS
from lifecycle.governance.archive.place import ArchiveError
from operators.console.detections.labelling import WORDS, AlertLabels, prediction_log
from operators.console.detections.list_filter import ANY, asked_of
from operators.console.detections.reason_prefetch import ReasonPrefetch
from operators.console.detections.reasons import AlertExplainer, AlertReasons, RecordedValue, recorded_values
from operators.console.detections.risks import EntityRisks
from operators.console.detections.timeline import span_of, time_line
from operators.console.log_index.alert_queries import MOST_COUNTED, AlertFilter, AlertRow
from operators.console.log_index.index_file import IndexUnavailable
from operators.console.log_index.indexed_lines import VERDICTS_SHOWN
from operators.console.log_index.moments import moment
from operators.console.log_index.opening import scope_of, settings_of, store_index, with_index
from operators.console.log_index.people import ERASED, People
from operators.console.log_index.record_lines import line_of
from operators.console.log_index.store_index import StoreIndex
from operators.console.page import ConsolePage, LiveTopic, PageProblem, PageRoute, Visit, own_path
from operators.console.roles import ConsoleRole
from operators.console.site import Site
from serving.audit.personal.subject_keys import SubjectKeys

TIME_LINE_ALERTS: Final = 200
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
_making: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class DetectionRoom:
    """What the page keeps between requests."""

    index: StoreIndex
    labels: AlertLabels
    risks: EntityRisks
    explainer: AlertExplainer
    ahead: ReasonPrefetch

    def close(self) -> None:
        """See KeptOpen."""
        self.risks.close()


def room_of(site: Site) -> DetectionRoom:
    """The room of a site, made at the first use. Raises PageProblem where no store is shown."""
    index = store_index(site)
    with _making:
        found = site.kept.get("detections")
        if not isinstance(found, DetectionRoom) or found.index is not index:
            settings = settings_of(site)
            labels = AlertLabels(settings, index, lambda: prediction_log(settings, index))
            explainer = AlertExplainer(settings)
            ahead = ReasonPrefetch(lambda row: _find_codes(index, explainer, row))
            found = DetectionRoom(index, labels, EntityRisks(settings), explainer, ahead)
            site.kept["detections"] = found
        return found


def show(visit: Visit) -> Response:
    """The list."""
    if visit.site.store_dir is None:
        return visit.page("detections/list.html.j2", has_store=False)
    room = room_of(visit.site)
    state = room.index.refresh()
    people = room.index.people()
    asked = asked_of(visit.query, visit.site.now, people.texts_of)
    scope = scope_of(visit)
    try:
        found = room.index.alerts.page(asked.filter, scope, behind=asked.behind, before=asked.before)
        open_count = room.index.alerts.unlabelled(asked.filter, scope)
        models = room.index.alerts.models(scope)
        damaged = [one for one in room.index.records.segments() if one.broken or one.problem]
        archive_problem = room.index.records.state("archive")
    except IndexUnavailable as problem:
        return visit.page(
            "detections/list.html.j2", has_store=True, problem=str(problem), asked=asked, state=state, http_status=503
        )
    room.ahead.ask(found.rows)
    names = [people.name(row.entity, row.sealed, row.receipt) for row in found.rows]
    risks = room.risks.of(name for name in names if name != ERASED and scope.sees_entity(name))
    return visit.page(
        "detections/list.html.j2",
        has_store=True,
        problem="",
        asked=asked,
        state=state,
        found=found,
        rows=[alert_view(row, name) | {"risk": risks.by_entity.get(name)} for row, name in zip(found.rows, names, strict=True)],
        risk_problem=risks.problem,
        models=models,
        verdicts=(*VERDICTS_SHOWN, ANY),
        open_count=open_count,
        most_counted=MOST_COUNTED,
        damaged=damaged,
        archive_problem=archive_problem,
        **_labelling(room, visit),
        nonce=secrets.token_urlsafe(12),
    )


def _labelling(room: DetectionRoom, visit: Visit) -> dict[str, Any]:
    """Whether there are buttons for labels, and why not, where that is not the person's role."""
    is_analyst = visit.person.may(ConsoleRole.ANALYST)
    problem = room.labels.problem if is_analyst else ""
    return {"may_label": is_analyst and not problem, "label_problem": problem}


def alert_view(row: AlertRow, name: str) -> dict[str, Any]:
    """A row as the templates have it."""
    return {
        "row": row,
        "name": name,
        "is_erased": name == ERASED,
        "at": moment(row.time_us),
        "label": WORDS.get(row.label, row.label),
        "label_at": moment(row.label_us) if row.label_us else None,
        "is_degraded": row.is_degraded,
        "has_fallback": row.source.split("+")[0] in ("rules", "triage"),
    }


def new_alerts(visit: Visit) -> Response:
    """How many alerts of a filter came since a page was made, as JSON."""
    room = room_of(visit.site)
    asked = asked_of(visit.query, visit.site.now, room.index.people().texts_of)
    try:
        count = room.index.alerts.new_since(visit.number("from", 0), asked.filter, scope_of(visit))
    except IndexUnavailable:
        count = 0
    words = f"{count}{'+' if count == MOST_COUNTED else ''} new alert{'s' if count != 1 else ''}"
    return JSONResponse({"count": count, "words": words})


def one(visit: Visit) -> Response:
    """One alert."""
    room = room_of(visit.site)
    state = room.index.refresh()
    row = _alert(room, visit, visit.query.get("event", ""))
    line, problem = _line(room.index, row)
    people = room.index.people()
    name = people.name(row.entity, row.sealed, row.receipt)
    values: list[RecordedValue] = []
    record = None
    if line is not None:
        try:
            record, values = recorded_values(line, row.place, _keys(room))
        except (ValueError, KeyError, TypeError, RecursionError) as cause:
            problem = f"The record cannot be read: {cause}"
    is_wanted = visit.query.get("reasons") == "1" and line is not None
    history = room.index.alerts.words(row)
    return visit.page(
        "detections/alert.html.j2",
        state=state,
        alert=alert_view(row, name),
        record=record,
        values=values,
        problem=problem,
        reasons=_reasons(room.index, room.explainer, row, line) if is_wanted and line is not None else None,
        history=[
            {"label": word, "word": WORDS.get(word.verdict, word.verdict), "at": moment(word.time_us)} for word in history
        ],
        risk=room.risks.of([name] if name != ERASED and scope_of(visit).sees_entity(name) else []).by_entity.get(name),
        **_labelling(room, visit),
        nonce=secrets.token_urlsafe(12),
    )


def reasons(visit: Visit) -> Response:
    """The reasons of one alert, as a part of its page."""
    room = room_of(visit.site)
    row = _alert(room, visit, visit.query.get("event", ""))
    line, problem = _line(room.index, row)
    found = _reasons(room.index, room.explainer, row, line) if line is not None else AlertReasons(problem=problem)
    return HTMLResponse(visit.site.fragment("detections/reasons.html.j2", reasons=found))


def entity(visit: Visit) -> Response:
    """The time line of an entity."""
    room = room_of(visit.site)
    state = room.index.refresh()
    name = visit.query.get("name", "").strip()[:600]
    if not name:
        raise PageProblem("Name an entity, for example a host's address.", 400)
    people, scope = room.index.people(), scope_of(visit)
    wanted = AlertFilter(verdict="", entities=people.texts_of(name))
    found = room.index.alerts.page(wanted, scope, most=TIME_LINE_ALERTS)
    rows = [row for row in found.rows if _is_of(people, row, name)]
    risks = room.risks.of([name] if scope.sees_entity(name) else [])
    risk = risks.by_entity.get(name)
    now_us = round(visit.site.now.timestamp() * 1e6)
    since_us, until_us = span_of(
        [*(row.time_us for row in rows), *(part.signal.at_us for part in (risk.parts if risk else ()))], now_us
    )
    curve = room.risks.over_time(risk, since_us, until_us) if risk is not None else []
    return visit.page(
        "detections/entity.html.j2",
        state=state,
        name=name,
        rows=[alert_view(row, name) for row in rows],
        has_more=found.has_older,
        risk=risk,
        risk_problem=risks.problem,
        picture=time_line(rows, curve, since_us, until_us),
        kinds=list(dict.fromkeys(kind for point in curve for kind in point.parts)),
        curve=[(point, moment(point.at_us)) for point in curve[:: max(1, len(curve) // 12)]],
        widest=max([abs(part.log_odds) for part in risk.parts] + [1e-9]) if risk else 1.0,
        moment=moment,
    )


def label(visit: Visit) -> Response:
    """A label, of the form or of a key."""
    room = room_of(visit.site)
    verdict, _, event = visit.text("say").partition(" ")
    row = _alert(room, visit, event)
    nonce = visit.text("nonce")
    if not _NONCE.fullmatch(nonce):
        raise PageProblem("The form is incomplete, so no label was kept. Load the page again.")
    if verdict == "undo":
        said = f"Undone: the label is {WORDS[room.labels.undo(row, visit.person.name, _label_id(nonce, verdict, row))]} now."
    else:
        room.labels.give(row, verdict, visit.person.name, _label_id(nonce, verdict, row), visit.text("note", most=4000))
        said = f"Labelled: {WORDS[verdict]}."
    if visit.form.get("part") == "1":
        now = room.index.alerts.one(row.event, scope_of(visit)) or row
        part = visit.site.fragment("detections/label.html.j2", one=alert_view(now, ""), may_label=True)
        return JSONResponse({"html": part, "said": said})
    back = own_path(visit.text("back", most=2048))
    return visit.back_to(back if back.startswith("/detections") else "/detections", said)


def watched(site: Site, key: str) -> dict[str, str]:
    """The number of the newest alert; each page asks what that means for its filter."""
    del key
    room = room_of(site)
    state = room.index.refresh(5.0, fresh_s=1.0)
    problem = "The logs cannot be followed now; newer alerts may be missing. Load the page again to see why."
    return {"detections-newest": str(room.index.alerts.newest())} | ({"live-problem": problem} if state.problem else {})


def _label_id(nonce: str, verdict: str, row: AlertRow) -> str:
    return f"{nonce}:{verdict}:{row.event}"[:300]


def _alert(room: DetectionRoom, visit: Visit, event: str) -> AlertRow:
    found = room.index.alerts.one(event, scope_of(visit)) if event else None
    if found is None:
        raise PageProblem("There is no such alert here. It may have been removed by retention, or is not read yet.", 404)
    return found


def _find_codes(index: StoreIndex, explainer: AlertExplainer, row: AlertRow) -> None:
    line, _ = _line(index, row)
    if line is not None:
        _reasons(index, explainer, row, line)


def _line(index: StoreIndex, row: AlertRow) -> tuple[bytes | None, str]:
    try:
        return line_of(index.store / PREDICTIONS, index.archive(), row.segment, row.line, row.at), ""
    except (IndexUnavailable, ArchiveError, OSError, ValueError) as problem:
        return None, f"The record cannot be read: {problem}"


def _reasons(index: StoreIndex, explainer: AlertExplainer, row: AlertRow, line: bytes) -> AlertReasons:
    found = explainer.reasons(row, line)
    if found.codes and found.codes != row.codes:
        index.keep_codes(row.event, found.codes)
    return found


def _is_of(people: People, row: AlertRow, name: str) -> bool:
    """Whether a row is of the person whose key there is now: an erased one's rows are not."""
    return row.sealed is None or people.name(row.entity, row.sealed, row.receipt) == name


def _keys(room: DetectionRoom) -> SubjectKeys:
    return SubjectKeys(room.index.store / "keys" / "subjects")


PAGE: Final = ConsolePage(
    room="detections",
    title="Detections",
    path="/detections",
    routes=(
        PageRoute("/detections", show, for_tenants=True),
        PageRoute("/detections/new", with_index(new_alerts), for_tenants=True, prolongs=False),
        PageRoute("/detections/alert", with_index(one), for_tenants=True),
        PageRoute("/detections/reasons", with_index(reasons), for_tenants=True),
        PageRoute("/detections/entity", with_index(entity), for_tenants=True),
        PageRoute("/detections/label", with_index(label), method="POST", role=ConsoleRole.ANALYST, for_tenants=True),
    ),
    topics=(LiveTopic("detections", watched, every_s=3.0),),
    scripts=("detections.js",),
)
