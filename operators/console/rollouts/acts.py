"""What people do to rollouts from the console: the same requests as the command line leaves, under the person's name, with a reason.

Approvals may be signed in the browser: the key stays there. The server gives the exact text, and passes on the note only if a key of the
file of people signed it, where that file can be read; the loop or the operator judges it again."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final
from urllib.parse import quote
from weakref import WeakValueDictionary

from starlette.responses import JSONResponse, Response

from lifecycle.governance.approvals.note import APPROVE, ApprovalNote
from lifecycle.governance.approvals.people import PeopleFileError, Person
from operators.console.page import PageProblem, Visit
from operators.console.rollouts.view import approval_step
from operators.control.port import Control, ControlError
from operators.control.verb_requests import (
    missing_role,
    note_of,
    refusal_of,
    request_of,
    seen_evidence,
    subject_of,
    wait_until_handled,
)
from operators.rollout.status import VerbRequest
from serving.audit.signed_note import NoteError, VerifierKey, signers_of, text_of

MOVES: Final = frozenset({"promote", "pause", "resume", "abort", "retry", "undo", "conclude"})
"""Verbs of SREs. promote-full and restart are left to the command line: both set evidence aside."""
DECISIONS: Final = frozenset({"approve", "reject"})
"""Verbs of approvers. break-glass and review are left to the command line."""
HANDLED_WITHIN_S: Final = 5.0
MOST_NOTE: Final = 8192
_turns: Final[WeakValueDictionary[tuple[str, str, str], threading.Lock]] = WeakValueDictionary()
_making: Final = threading.Lock()
_log = logging.getLogger("vedette.console")


def act(visit: Visit) -> Response:
    """POST: a verb of an SRE."""
    verb, why = visit.text("verb"), visit.text("why")
    if verb not in MOVES:
        raise PageProblem("There is no such act.")
    if not why:
        return visit.back_to(_path(visit), "Say why: the reason is recorded with your name.", is_problem=True)
    return _send(visit, verb, why, _seen(visit))


def decide(visit: Visit) -> Response:
    """POST: a verb of an approver, signed or not."""
    verb, why, note = visit.text("verb"), visit.text("why"), visit.form.get("note", "").replace("\r\n", "\n")
    if verb not in DECISIONS:
        raise PageProblem("There is no such act.")
    if not why:
        return visit.back_to(_path(visit), "Say why: the reason is recorded with your name.", is_problem=True)
    args = _seen(visit)
    if verb == "reject":
        return _send(visit, verb, why, args)
    control, by = visit.acting()
    record = control.read(visit.params["name"])
    args |= {"evidence": seen_evidence(record)} | ({"attempt": record.status.attempt} if record.status.attempt else {})
    if note:
        by, role = _checked_note(control, by, note, why)
        args |= {"note": note, "evidence": visit.text("evidence", most=MOST_NOTE)}
        _log.info("%s sends a note of %s", visit.person.name, by)
    else:
        role = visit.text("role") or missing_role(control, record, by) or ""
    groups = control.groups() if _is_known_to_control(visit) else ()
    args |= ({"role": role} if role else {}) | ({"groups": ",".join(groups)} if groups else {})
    return _send(visit, verb, why, args, by)


def text_to_sign(visit: Visit) -> Response:
    """POST, answered in JSON for approve.js: the exact text that the person's key would sign now, and under which name of a key."""
    control, by = visit.acting()
    record = control.read(visit.params["name"])
    subject, step = subject_of(record), approval_step(record)
    if subject is None or step is None:
        raise PageProblem("The rollout does not wait for an approval any more. Load the page again.", 409)
    public = _public_key(visit.text("public"))
    owner = _owner(control, public)
    name = owner.key.name if owner is not None and owner.key is not None else visit.text("key_name", most=64)
    by = owner.name if owner is not None else by
    try:
        key = VerifierKey.parse(str(VerifierKey(name, public)))
    except NoteError as problem:
        raise PageProblem(f"The key cannot be used: {problem}") from problem
    evidence = seen_evidence(record)
    role = visit.text("role") or missing_role(control, record, by)
    note = note_of(subject, APPROVE, by, role or None, evidence=evidence, why=visit.text("why"))
    return JSONResponse(
        {
            "text": note.text(),
            "by": by,
            "keyName": key.name,
            "keyId": key.key_id.hex(),
            "evidence": evidence,
            "isKnown": owner is not None,
        }
    )


def _send(visit: Visit, verb: str, why: str, args: dict[str, str], by: str | None = None) -> Response:
    """Leave the request, wait a moment for its outcome, and say it."""
    control, who = visit.acting()
    request = request_of(control, verb, why, args, by or who, request_id=_request_id(visit, verb))
    with turn(visit.params["name"], request.by, verb):
        return _sent(visit, control, request)


def _sent(visit: Visit, control: Control, request: VerbRequest) -> Response:
    name, verb = visit.params["name"], request.verb
    before = control.read(name)
    if request.id in before.status.handled:
        return visit.back_to(
            _path(visit), f"{verb} was sent already under the name {request.by}; the history says what came of it."
        )
    earlier = before.status.moves
    if all(one.id != request.id for one in before.waiting):
        control.ask(name, request)
        _log.info("%s: %s %s (request %s)", visit.person.name, verb, name, request.id)
    try:
        handled = wait_until_handled(control, name, request, within_s=HANDLED_WITHIN_S)
    except ControlError as problem:
        said = f"{verb} was sent under the name {request.by}. Whether it was carried out cannot be read now: {problem}"
        return visit.back_to(_path(visit), said, is_problem=True)
    if handled is None:
        caution = control.caution() or "It has not been handled yet; this page shows when it is."
        return visit.back_to(_path(visit), f"{verb} was sent under the name {request.by}. {caution}")
    refused = refusal_of(handled, request, earlier)
    if refused is not None:
        return visit.back_to(_path(visit), f"{verb} was refused: {refused}", is_problem=True)
    return visit.back_to(_path(visit), f"{verb} was carried out under the name {request.by}.")


@contextmanager
def turn(name: str, by: str, verb: str) -> Iterator[bool]:
    """One after another: a refusal names the person and the verb, so of two requests of one name at once each would be told the other's.

    Nobody waits longer than for one request; then they go on all the same, and get False."""
    with _making:
        one = _turns.setdefault((name, by, verb), threading.Lock())
    has_turn = one.acquire(timeout=HANDLED_WITHIN_S)
    try:
        yield has_turn
    finally:
        if has_turn:
            one.release()


def _request_id(visit: Visit, verb: str) -> str | None:
    """One for each button of a page that was shown: a button that is pressed twice is one request. None: the form names no page."""
    nonce = visit.text("nonce", most=64)
    said = f"{visit.session.id} {nonce} {verb} {visit.params['name']}"
    return sha256(said.encode("utf-8", "surrogateescape")).hexdigest()[:16] if nonce else None


def _is_known_to_control(visit: Visit) -> bool:
    """Whether the groups that the control plane knows are those of this person, and not of the user that runs the console."""
    return visit.person.how == "link" or visit.site.acting_by is not None


def _seen(visit: Visit) -> dict[str, str]:
    """The revision and step that the person saw; the verb is refused at another one."""
    return {name: found for name in ("revision", "step") if (found := visit.text(name))}


def _checked_note(control: Control, by: str, note: str, why: str) -> tuple[str, str]:
    """In whose name the note speaks, and in which role. Raises PageProblem for one that would not count."""
    if len(note) > MOST_NOTE:
        raise PageProblem("The signed note is too long.")
    try:
        said = ApprovalNote.parse(text_of(note))
        people = _people(control)
        owner = people.get(said.approver)
        if owner is not None and owner.key is not None and owner.key not in signers_of(note, [owner.key]):
            raise PageProblem(f"The note is not signed by the key of {said.approver}.", 403)
    except NoteError as problem:
        raise PageProblem(f"The signed note does not hold: {problem}", 403) from problem
    if said.approver != by and (owner is None or owner.key is None):
        raise PageProblem(f"The note speaks for {said.approver}, whose key is not known here.", 403)
    if said.reason != (" ".join(why.split()) or "-"):
        raise PageProblem("The reason was changed after it was signed; sign again.", 409)
    return said.approver, said.role or ""


def _public_key(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise PageProblem("The file holds no Ed25519 key.")
    return found


def _owner(control: Control, public: bytes) -> Person | None:
    """The name is the one that the file of people has for this key, as at the command line."""
    return next((p for p in _people(control).values() if p.key is not None and p.key.public == public), None)


def _people(control: Control) -> dict[str, Person]:
    try:
        return dict(control.people().by_name)
    except PeopleFileError as problem:
        raise PageProblem(f"The file of people cannot be read: {problem}", 500) from problem


def _path(visit: Visit) -> str:
    return f"/rollouts/{quote(visit.params['name'], safe='')}"
