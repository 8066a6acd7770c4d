"""The page Audit: search of acts, answers and labels; one record; a receipt with its proof; lineage; the state of the logs."""

import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from starlette.responses import Response

from lifecycle.governance.acts import PREDICTIONS
from lifecycle.governance.archive.place import ArchiveError
from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.governance.lineage.facts import AnswersFact, StoreFacts, graph_of
from lifecycle.governance.lineage.resolve import LineageError, resolve
from lifecycle.governance.lineage.store import answer_in, read_facts
from lifecycle.governance.lineage.story import story_of
from lifecycle.governance.lineage.svg import HEIGHT, WIDTH, layout_of
from lifecycle.governance.verify.missing import is_off
from operators.console.audit.list_filter import asked_of
from operators.console.audit.log_state import StoreVerification, newest_checkpoints
from operators.console.audit.proofs import EndedTrees, ShownReceipt, anchored_notes, shown_receipt
from operators.console.log_index.index_file import IndexUnavailable
from operators.console.log_index.moments import moment
from operators.console.log_index.opening import scope_of, settings_of, store_index, with_index
from operators.console.log_index.people import ERASED
from operators.console.log_index.record_lines import line_of
from operators.console.log_index.record_queries import KINDS, RecordRow
from operators.console.log_index.store_index import FOLDER, StoreIndex
from operators.console.page import ConsolePage, PageProblem, PageRoute, Visit
from operators.console.site import Site
from operators.control.folder import ControlFolder
from operators.control.rollout_facts import rollout_facts
from serving.audit.anchors.port import without_secrets
from serving.audit.signed_note import NoteError

FACTS_FOR_S: Final = 15.0
"""How long the facts of lineage are used again: reading them checks every bundle."""
MOST_NODES: Final = 120
"""More are listed, not drawn."""
_MOST_SHOWN: Final = 100_000
_making: Final = threading.Lock()


@dataclass(slots=True)
class AuditRoom:
    """What the page keeps between requests."""

    index: StoreIndex
    verification: StoreVerification
    trees: EndedTrees
    facts: StoreFacts | None = None
    facts_s: float = 0.0
    reading: threading.Lock = field(default_factory=threading.Lock)
    """Of the facts: who comes meanwhile waits for the same ones."""


def room_of(site: Site) -> AuditRoom:
    """The room of a site, made at the first use. Raises PageProblem where no store is shown."""
    index = store_index(site)
    with _making:
        found = site.kept.get("audit")
        if not isinstance(found, AuditRoom) or found.index is not index:
            settings = settings_of(site)
            verification = StoreVerification(index, index.store / FOLDER, is_off=is_off(settings.audit, settings.audit_models))
            found = AuditRoom(index, verification, EndedTrees())
            site.kept["audit"] = found
        return found


def show(visit: Visit) -> Response:
    """The list."""
    if visit.site.store_dir is None:
        return visit.page("audit/list.html.j2", has_store=False)
    room = room_of(visit.site)
    state = room.index.refresh()
    people = room.index.people()
    asked = asked_of(visit.query, visit.site.now, people.texts_of)
    try:
        found = room.index.records.page(asked.filter, scope_of(visit), behind=asked.behind)
        damaged = [one for one in room.index.records.segments() if one.broken or one.problem]
    except IndexUnavailable as problem:
        return visit.page("audit/list.html.j2", has_store=True, problem=str(problem), asked=asked, state=state, http_status=503)
    rows = []
    for row in found.rows:
        name = people.name(row.entity, row.sealed, row.about) if row.kind == "answer" else ""
        rows.append({"row": row, "at": moment(row.key.time_us), "name": name, "is_erased": name == ERASED})
    return visit.page(
        "audit/list.html.j2",
        has_store=True,
        problem="",
        asked=asked,
        state=state,
        rows=rows,
        found=found,
        kinds=KINDS,
        damaged=damaged,
    )


def record(visit: Visit) -> Response:
    """One record, as it stands in its log."""
    room = room_of(visit.site)
    state = room.index.refresh()
    kind = next((one for one in KINDS if one == visit.query.get("kind")), None)
    row = room.index.records.one(kind, visit.number("number", 0, most=10**11), scope_of(visit)) if kind else None
    if row is None:
        raise PageProblem("There is no such record here. Retention may have removed it.", 404)
    body, problem = _body(room, row)
    return visit.page("audit/record.html.j2", state=state, row=row, at=moment(row.key.time_us), body=body, problem=problem)


def _body(room: AuditRoom, row: RecordRow) -> tuple[str, str]:
    if row.kind == "label":
        return "", ""
    try:
        raw = row.body or line_of(room.index.store / PREDICTIONS, room.index.archive(), row.segment, row.line, row.at)
        text = json.dumps(msgspec.json.decode(raw), indent=2, ensure_ascii=False)
    except (IndexUnavailable, ArchiveError, OSError, ValueError, RecursionError) as problem:
        return "", f"The record cannot be read: {problem}"
    return (
        text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}\n… and {len(text) - _MOST_SHOWN:,} characters more"
    ), ""


def receipt(visit: Visit) -> Response:
    """A receipt with its proof; each step of the check is shown."""
    room = room_of(visit.site)
    wanted = visit.query.get("id", "").strip()[:300]
    if not wanted:
        return visit.page(
            "audit/receipt.html.j2", shown=None, wanted="", anchor_problem="", has_anchors=False, with_anchors=False
        )
    state = room.index.refresh()
    anchors = settings_of(visit.site).audit_anchor
    with_anchors = visit.query.get("anchors") == "1" and bool(anchors)
    shown, anchor_problem = _shown(visit, room, wanted, anchors if with_anchors else "")
    return visit.page(
        "audit/receipt.html.j2",
        state=state,
        shown=shown,
        wanted=wanted,
        anchor_problem=anchor_problem,
        has_anchors=bool(anchors),
        with_anchors=with_anchors,
        moment=moment,
        http_status=200 if shown.is_known else 404,
    )


def proof(visit: Visit) -> Response:
    """The proof as a file, which `vedette audit receipt --check` checks anywhere."""
    room = room_of(visit.site)
    wanted = visit.query.get("id", "").strip()[:300]
    anchors = settings_of(visit.site).audit_anchor if visit.query.get("anchors") == "1" else ""
    shown, _ = _shown(visit, room, wanted, anchors)
    if shown.proof is None:
        raise PageProblem(f"There is no proof: {shown.problem}", 503 if shown.is_known else 404)
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in wanted)[:100]
    headers = {"content-disposition": f'attachment; filename="receipt-{name}.json"'}
    return Response(shown.proof.encode(), media_type="application/json", headers=headers)


def _shown(visit: Visit, room: AuditRoom, wanted: str, anchors: str) -> tuple[ShownReceipt, str]:
    rows = room.index.records.of_receipt(wanted, scope_of(visit))
    if not rows:
        problem = "no record that is known here has this receipt; a record is in the log within a second of its answer"
        return ShownReceipt(wanted, problem=problem, is_known=False), ""
    if not room.trees.making.acquire(blocking=False):
        return ShownReceipt(wanted, problem="many proofs are being made at this moment; ask again in a few seconds"), ""
    try:
        notes, anchor_problem = anchored_notes(anchors)
        return shown_receipt(room.index.store, room.index.archive(), wanted, rows, notes, trees=room.trees), anchor_problem
    except ArchiveError as cause:
        return ShownReceipt(wanted, problem=str(cause)), ""
    finally:
        room.trees.making.release()


def lineage(visit: Visit) -> Response:
    """What an answer, bundle, revision or rollout was made of, and what came of it: a drawing and the same as tables."""
    room = room_of(visit.site)
    wanted = visit.query.get("of", "").strip()[:300]
    if not wanted:
        return visit.page("audit/lineage.html.j2", wanted="", problem="", layout=None)
    try:
        facts = _facts(visit.site, room)
        rows = room.index.records.of_receipt(wanted, scope_of(visit))
        line = None
        if rows:
            one = rows[0]
            line = line_of(room.index.store / PREDICTIONS, room.index.archive(), one.segment, one.line, one.at)
        answer = answer_in(line) if line is not None else None
        graph = graph_of(facts, answer)
        focus = f"answer/{answer.receipt}" if answer is not None else resolve(graph, wanted)
        part = graph.around(focus)
    except (LineageError, NoteError, ArchiveError, IndexUnavailable, OSError, KeyError) as cause:
        status = 404 if isinstance(cause, LineageError | KeyError) else 503
        return visit.page("audit/lineage.html.j2", wanted=wanted, problem=str(cause), layout=None, http_status=status)
    nodes = list(part.nodes.values())
    return visit.page(
        "audit/lineage.html.j2",
        wanted=wanted,
        problem="",
        focus=focus,
        layout=layout_of(part) if len(nodes) <= MOST_NODES else None,
        box=(WIDTH, HEIGHT),
        nodes=[(node, _facts_in_words(node.facts)) for node in nodes],
        edges=[(part.nodes[e.source], e.relation, part.nodes[e.target]) for e in part.edges],
        story=story_of(part, facts),
        moment=moment,
    )


def _facts(site: Site, room: AuditRoom) -> StoreFacts:
    with room.reading:
        now_s = time.monotonic()
        if room.facts is None or now_s - room.facts_s > FACTS_FOR_S:
            store = room.index.store
            rollouts = rollout_facts(store) if isinstance(site.control, ControlFolder) else []
            answers = [AnswersFact(*one) for one in room.index.records.answers_of_revisions()]
            room.facts = read_facts(store, RecordLog(store / PREDICTIONS, room.index.archive()), rollouts, answers)
            room.facts_s = time.monotonic()
        return room.facts


def _facts_in_words(facts: Any) -> str:
    shown = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
    text = "; ".join(f"{name}: {json.dumps(value, default=str, ensure_ascii=False)}" for name, value in shown.items())
    return text if len(text) <= 600 else text[:600] + " …"


def log_state(visit: Visit) -> Response:
    """The state of the logs."""
    room = room_of(visit.site)
    state = room.index.refresh()
    last = room.verification.last()
    anchors = [without_secrets(url) for url in settings_of(visit.site).audit_anchor.split()]
    return visit.page(
        "audit/log.html.j2",
        state=state,
        checkpoints=[(one, moment(one.time_us)) for one in newest_checkpoints(room.index.store)],
        segments=room.index.records.segments(),
        archive_problem=room.index.records.state("archive"),
        anchors=anchors,
        last=last,
        last_at=moment(last.at_us) if last is not None else None,
        is_running=room.verification.is_running,
    )


def verify(visit: Visit) -> Response:
    """Begin a verification of the logs."""
    room = room_of(visit.site)
    is_begun = room.verification.start(visit.person.name)
    said = "The logs are being verified. Load this page again in a moment." if is_begun else "A verification goes on already."
    return visit.back_to("/audit/log", said)


PAGE: Final = ConsolePage(
    room="audit",
    title="Audit",
    path="/audit",
    routes=(
        PageRoute("/audit", show, for_tenants=True),
        PageRoute("/audit/record", with_index(record), for_tenants=True),
        PageRoute("/audit/receipt", with_index(receipt), for_tenants=True),
        PageRoute("/audit/receipt/proof", with_index(proof), for_tenants=True),
        PageRoute("/audit/lineage", lineage),
        PageRoute("/audit/log", with_index(log_state)),
        PageRoute("/audit/log", verify, method="POST"),
    ),
)
