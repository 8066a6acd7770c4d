"""The HTTP door of labels: `vedette label serve`. Thin: a token, a bound on the body, JSON in and out.

POST /v1/labels           one label, a list of them, or {"labels": [...]}
GET  /v1/labels/EVENT     every word on an event
GET  /v1/queue            what would be drawn to label; POST draws it
GET  /v1/counts/MODEL     what counts for the gates precision and recall
GET  /openapi.json, /healthz   without a token"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from lifecycle.labels.counting import LabelCounter
from lifecycle.labels.desk import TakenLabel
from lifecycle.labels.errors import LabelConflict, LabellingError, LabelsLost, UnknownEvent, WrongLabel
from lifecycle.labels.label_log import LabelLog
from lifecycle.labels.requests import LabelRequest, decode_request
from operators.control.labels.intake import LabelIntake
from operators.control.labels.openapi import MOST_TOGETHER, openapi
from serving.audit.signed_note import NoteError

MOST_BODY_BYTES: Final = 4 * 1024 * 1024
BODY_TIMEOUT_S: Final = 30.0
_OPEN: Final = frozenset({"/healthz", "/openapi.json"})
_MOST_US: Final = 10**16
_log = logging.getLogger("vedette.labels")

DrawQueue = Callable[[str, int, int, str, bool], Mapping[str, Any]]
"""The queue of a model by budget, seed and since; whether to record the draw. Raises LabellingError and what it cannot read."""


class TooManyLabels(WrongLabel):
    """One request has more labels than it may."""


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    labels: list[msgspec.Raw]


class _QueueRequest(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    budget: int = 20
    seed: int = 0
    since: str = "7d"


class LabelDoor:
    """Answers of the door. token: what the file of the token says now; it is asked for each request."""

    def __init__(
        self,
        intake: LabelIntake,
        log: LabelLog,
        counter: LabelCounter,
        draw: DrawQueue,
        token: Callable[[], str],
        *,
        version: str = "0",
    ) -> None:
        self._intake, self._log, self._counter, self._draw, self._token = intake, log, counter, draw, token
        self._counting, self._planning = asyncio.Lock(), asyncio.Lock()
        self._described = openapi(version)

    def application(self) -> web.Application:
        """The application, to be run by the caller."""
        made = web.Application(client_max_size=MOST_BODY_BYTES, middlewares=[self._guard])
        made.router.add_post("/v1/labels", self._give)
        made.router.add_get("/v1/labels/{event:.+}", self._history)
        made.router.add_get("/v1/queue", self._queue)
        made.router.add_post("/v1/queue", self._drawn)
        made.router.add_get("/v1/counts/{model:.+}", self._counts)
        made.router.add_get("/openapi.json", self._description)
        made.router.add_get("/healthz", self._health)
        return made

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if request.path not in _OPEN and not self._is_known(request):
                return _refused(401, "unauthorized", "the bearer token is missing or wrong; send `authorization: Bearer TOKEN`")
            return await handler(request)
        except web.HTTPException as problem:
            words = {404: "no such path; see /openapi.json", 405: "no such method here; see /openapi.json"}
            if problem.status == 413:
                return _refused(
                    413, "too_large", f"the body is larger than {MOST_BODY_BYTES:,} bytes; send fewer labels at once"
                )
            return _refused(
                problem.status, "not_found" if problem.status == 404 else "refused", words.get(problem.status, problem.reason)
            )
        except LabellingError as problem:
            return _problem(problem)
        except (NoteError, OSError) as problem:
            _log.error("%s %s: %s", request.method, request.path, problem)
            return _refused(503, "unreadable", f"the log of labels cannot be used: {problem}")

    def _is_known(self, request: web.Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        token = self._token()
        is_same = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token.encode())
        return kind.lower() == "bearer" and is_same and bool(token)

    async def _give(self, request: web.Request) -> web.Response:
        requests, is_one = _requests(await _body(request))
        taken = await self._intake.take(requests)
        if not is_one:
            return _json(200, {"results": [_result(one) for one in taken]})
        (one,) = taken
        if one.problem is not None:
            return _problem(one.problem)
        return _json(200 if one.outcome == "repeated" else 201, _result(one))

    async def _history(self, request: web.Request) -> web.Response:
        event = request.match_info["event"]
        words = await asyncio.to_thread(self._log.history, event)
        if not words:
            raise UnknownEvent(f"{event[:300]}: this event has no label; POST /v1/labels gives it one", is_not_there=True)
        return _json(200, {"event": event, "current": words[-1], "history": words})

    async def _queue(self, request: web.Request) -> web.Response:
        wanted = dict(request.query.items())
        try:
            asked = msgspec.convert(wanted, _QueueRequest, strict=False)
        except msgspec.ValidationError as problem:
            raise WrongLabel(f"the query is not valid: {problem}; write e.g. ?model=NAME&budget=20") from problem
        return await self._plan(asked, is_recorded=False)

    async def _drawn(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await _body(request), type=_QueueRequest)
        except (ValueError, RecursionError) as problem:
            raise WrongLabel(f'the body is not valid: {problem}; write e.g. {{"model": "NAME", "budget": 20}}') from problem
        return await self._plan(asked, is_recorded=True)

    async def _plan(self, asked: _QueueRequest, *, is_recorded: bool) -> web.Response:
        if not 1 <= asked.budget <= 10_000 or not 0 <= asked.seed < 2**63 or not asked.model:
            raise WrongLabel("model must be a name, budget 1 to 10000, seed 0 or more")
        async with self._planning:
            found = await asyncio.to_thread(self._draw, asked.model, asked.budget, asked.seed, asked.since, is_recorded)
        return _json(200, found)

    async def _counts(self, request: web.Request) -> web.Response:
        text = request.query.get("since_us", "0")
        if not (text.isascii() and text.isdigit() and int(text) < _MOST_US):
            raise WrongLabel(f"since_us is {text[:40]!r}, expected microseconds since the epoch")
        async with self._counting:
            found = await asyncio.to_thread(self._counter.counts, request.match_info["model"], int(text))
        return _json(200, found.of)

    async def _description(self, request: web.Request) -> web.Response:
        del request
        return _json(200, self._described)

    async def _health(self, request: web.Request) -> web.Response:
        del request
        return _json(200, {"status": "ok"})


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError as problem:
        raise WrongLabel(f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s") from problem


def _requests(body: bytes) -> tuple[Sequence[LabelRequest | WrongLabel], bool]:
    """The labels of a body, and whether it is one alone. Raises WrongLabel."""
    parts: list[msgspec.Raw] | None = None
    try:
        if body.lstrip()[:1] == b"[":
            parts = msgspec.json.decode(body, type=list[msgspec.Raw])
        elif b'"labels"' in body:
            parts = msgspec.json.decode(body, type=_Batch).labels
    except (ValueError, RecursionError) as problem:
        raise WrongLabel(f'the body is not a list of labels: {problem}; write {{"labels": [...]}}') from problem
    if parts is None:
        return [decode_request(body)], True
    if len(parts) > MOST_TOGETHER:
        raise TooManyLabels(f"{len(parts):,} labels are in one request; send at most {MOST_TOGETHER:,}")
    return [_part(bytes(part)) for part in parts], False


def _part(body: bytes) -> LabelRequest | WrongLabel:
    try:
        return decode_request(body)
    except WrongLabel as wrong:
        return wrong


def _result(one: TakenLabel) -> Mapping[str, Any]:
    if one.problem is not None:
        return {"error": str(one.problem), "code": _code(one.problem)[1]}
    return {"outcome": one.outcome, "label": one.label}


def _code(problem: LabellingError) -> tuple[int, str]:
    if isinstance(problem, UnknownEvent):
        return (404, "unknown_event") if problem.is_not_there else (400, "ambiguous_event")
    if isinstance(problem, TooManyLabels):
        return 413, "too_large"
    if isinstance(problem, LabelConflict):
        return 409, "conflict"
    return (503, "not_kept") if isinstance(problem, LabelsLost) else (400, "wrong_label")


def _problem(problem: LabellingError) -> web.Response:
    status, code = _code(problem)
    if status == 503:
        _log.error("%s", problem)
    return _refused(status, code, str(problem))


def _refused(status: int, code: str, words: str) -> web.Response:
    headers = {401: {"www-authenticate": "Bearer"}, 503: {"retry-after": "5"}}.get(status, {})
    return _json(status, {"error": words, "code": code}, headers)


def _json(status: int, value: object, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json", headers=headers)


def token_in(path: Path) -> Callable[[], str]:
    """What a file of a token says, read for each request; empty, which no token is, where it cannot be read."""

    def read() -> str:
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as problem:
            _log.error("%s: the token cannot be read, so every request is refused: %s", path, problem)
            return ""

    return read
