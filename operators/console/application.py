"""The console as an ASGI application: its addresses, who may ask for each, and the pages that say what went wrong."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from operators.console.front_door import FrontDoor, OwnOrigins
from operators.console.live import LiveHub, TooManyStreams
from operators.console.page import ConsolePage, PageProblem, PageRoute, Visit, own_path
from operators.console.recording.console_acts import ConsoleActs, spelt_out
from operators.console.recording.session_ends import SessionEnds
from operators.console.rendering import Rendering
from operators.console.sessions import Session, SessionStore
from operators.console.sign_in import SignIn, SignInRefused
from operators.console.site import Site
from operators.control.port import ControlError, Forbidden, NoSuchService

HEALTH: Final = "/healthz"
THREADS: Final = 32
"""Pages that may wait for the control plane at once."""
THREADS_OF_ACTS: Final = 8
"""Acts have threads of their own: however slow the pages are, an abort goes through."""
MOST_FIELDS: Final = 200
MOST_KEY: Final = 1300
"""Of what a live page watches: a search of 100 characters, each written as up to twelve."""
_MOST_WORDS: Final = 500
_SEEN_S: Final = 365 * 86_400
_THEMES: Final = ("auto", "light", "dark")
_log = logging.getLogger("vedette.console")

Endpoint = Callable[[Request], Awaitable[Response]]


class ConsoleApp:
    """One console. pages: in the order of the navigation; the first is where people begin."""

    def __init__(
        self,
        site: Site,
        sign_in: SignIn,
        origins: OwnOrigins,
        pages: Iterable[ConsolePage],
        rendering: Rendering,
        acts: ConsoleActs,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.site, self._sign_in, self._origins, self._pages, self._rendering = site, sign_in, origins, tuple(pages), rendering
        self.sessions, self._acts = SessionStore(now_s), acts
        self._ends = SessionEnds(self.sessions, acts)
        self.hub = LiveHub(site, self.sessions, {topic.name: topic for page in self._pages for topic in page.topics})
        self._acting: ThreadPoolExecutor | None = None
        prefix = "__Host-" if origins.is_tls and not site.base else ""
        self.cookie, self._theme, self._seen = f"{prefix}vedette-session", "vedette-theme", "vedette-seen"

    def asgi(self) -> ASGIApp:
        """The application behind its front door."""
        routes = [
            Route("/", self._home),
            Route(HEALTH, self._health),
            Route("/sign-in", self._sign_in_page),
            Route("/sign-in", self._by_credentials, methods=["POST"]),
            Route("/sign-in/{link}", self._link_page),
            Route("/sign-in/{link}", self._by_link, methods=["POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Route("/theme", self._choose_theme, methods=["POST"]),
            Route("/seen", self._has_seen, methods=["POST"]),
            Route("/events", self._events),
            Route("/static/{name:path}", self._static),
        ]
        for page in self._pages:
            routes += [Route(r.path, self._endpoint(page, r), methods=[r.method]) for r in page.routes]
        app = Starlette(
            routes=[Route(f"{self.site.base}{r.path}", r.endpoint, methods=list(r.methods or ())) for r in routes],
            exception_handlers={HTTPException: self._http_problem, Exception: self._defect},
            lifespan=self._lifespan,
        )
        app.router.redirect_slashes = False
        return FrontDoor(app, self._origins, self._plain_problem, self._refused, open_paths=[self.site.base + HEALTH])

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        del app
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="console"))
        self._acting = ThreadPoolExecutor(THREADS_OF_ACTS, thread_name_prefix="console-act")
        warming = asyncio.get_running_loop().run_in_executor(None, self._rendering.warm)
        following = asyncio.create_task(self._sign_in.keep_current(self._end_those_that_count_no_more))
        try:
            yield
        finally:
            following.cancel()
            warming.cancel()
            self.hub.close()
            self._acting.shutdown(wait=False)
            await self._ends.close()
            await asyncio.to_thread(self._acts.close)
            await asyncio.to_thread(self.site.close)

    # Pages

    def _endpoint(self, page: ConsolePage, route: PageRoute) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            session = self._session(request, touch=route.prolongs)
            if session is None:
                if route.method == "POST":
                    return self._problem_page(request, 401, "You are not signed in any more, so nothing was done.", page)
                asked = request.url.path.removeprefix(self.site.base) + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"{self.site.url('/sign-in')}?next={quote(asked, safe='')}", status_code=303)
            form = await self._form(request, session) if route.method == "POST" else {}
            if refusal := _why_not(session, route):
                await self._refused(request, refusal)
                return self._problem_page(request, 403, refusal, page)
            params = {name: str(value) for name, value in request.path_params.items()}
            visit = Visit(self.site, session, page, params, dict(request.query_params), form, request.cookies, self._render)
            threads = self._acting if route.method == "POST" else None
            loop = asyncio.get_running_loop()
            return await self._guarded(request, page, lambda: loop.run_in_executor(threads, route.handler, visit))

        return endpoint

    async def _guarded(self, request: Request, page: ConsolePage, work: Callable[[], Awaitable[Response]]) -> Response:
        try:
            return await work()
        except PageProblem as problem:
            if problem.status == 403:
                await self._refused(request, str(problem))
            return self._problem_page(request, problem.status, str(problem), page)
        except NoSuchService as problem:
            return self._problem_page(request, 404, str(problem), page)
        except ControlError as problem:
            _log.warning("%s: %s", _shown(request), spelt_out(str(problem)))
            is_theirs = isinstance(problem, Forbidden) and request.method == "POST"  # the console looks, the person acts
            if is_theirs:
                await self._refused(request, str(problem))
            return self._problem_page(request, 403 if is_theirs else 502, str(problem), page)
        except Exception as problem:
            return self._defect_page(request, problem)

    def _render(self, visit: Visit, template: str, status: int, values: Mapping[str, Any]) -> Response:
        shared = self._shared(visit.page_shown, visit.session, visit.cookies)
        return HTMLResponse(self._rendering.html(template, {**shared, **values}), status)

    def _shared(self, page: ConsolePage | None, session: Session | None, cookies: Mapping[str, str]) -> dict[str, Any]:
        """What every template gets."""
        theme = cookies.get(self._theme, "auto")
        seen = cookies.get(self._seen, "").split(".")
        return {
            "page": page,
            "pages": [one for one in self._pages if session is None or one.is_for(session.person)],
            "person": session.person if session else None,
            "csrf": session.csrf if session else "",
            "said": session.heard() if session else [],
            "is_first_visit": page is not None and page.room not in seen,
            "theme": theme if theme in _THEMES else "auto",
            "themes": _THEMES,
            "site": self.site,
            "now": self.site.now,
            "url": self.site.url,
            "static": self._static_url,
        }

    def _static_url(self, name: str) -> str:
        return f"{self.site.url('/static/' + name)}?v={self._rendering.files[name].tag}"

    # Problems

    def _problem_page(self, request: Request, status: int, words: str, page: ConsolePage | None = None) -> Response:
        words = words if len(words) <= _MOST_WORDS else f"{words[:_MOST_WORDS]}…"
        values = {**self._shared(page, self._session(request, touch=False), request.cookies), "status": status, "words": words}
        values["is_first_visit"] = False
        return HTMLResponse(self._rendering.html("problem.html.j2", values), status)

    def _plain_problem(self, status: int, words: str) -> Response:
        values = {**self._shared(None, None, {}), "status": status, "words": words}
        return HTMLResponse(self._rendering.html("problem.html.j2", values), status)

    async def _http_problem(self, request: Request, problem: Exception) -> Response:
        status = problem.status_code if isinstance(problem, HTTPException) else 500
        words = {404: "There is no such page.", 405: "This address does not take such a request."}
        detail = problem.detail if isinstance(problem, HTTPException) and status not in words else ""
        return self._problem_page(request, status, words.get(status) or detail)

    async def _defect(self, request: Request, problem: Exception) -> Response:
        return self._defect_page(request, problem)

    def _defect_page(self, request: Request, problem: Exception) -> Response:
        mark = secrets.token_hex(4)
        _log.error("%s %s failed (%s)", request.method, _shown(request), mark, exc_info=problem)
        return self._problem_page(request, 500, f"The console failed at this. Its log has the cause under the mark {mark}.")

    # Sign-in

    def _session(self, request: Request, *, touch: bool = True) -> Session | None:
        found = self.sessions.find(request.cookies.get(self.cookie, ""), touch=touch)
        self._ends.record_lapsed()
        if found is not None and not self._sign_in.counts(found.person, found.terms):
            self._end_those_that_count_no_more()
            return None
        return found

    def _end_those_that_count_no_more(self) -> None:
        """Their key was revoked, or the policy says something else about them now. Runs when a file has changed."""
        for one in self.sessions.end_unless(lambda session: self._sign_in.counts(session.person, session.terms)):
            _log.warning(
                "the session of %s has ended: its credentials do not count any more, or for other things", one.person.name
            )
            self._ends.record(one, "the credentials do not count any more")

    async def _refused(self, request: Request, why: str) -> None:
        """Record that a form was refused. Pages that are only looked at are no acts."""
        if request.method == "POST":
            session, path = self._session(request, touch=False), _shown(request).removeprefix(self.site.base)
            why = spelt_out(why)
            _log.warning("%s: refused %s: %s", session.person.name if session else address_of(request), path, why)
            await self._acts.refused(session, address_of(request), path, why)

    async def _form(self, request: Request, session: Session | None) -> dict[str, str]:
        """The fields of a form. Raises HTTPException if the body is no form, or lacks the session's CSRF token."""
        try:
            body = (await request.body()).decode()
            form = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=MOST_FIELDS))
        except (ValueError, ClientDisconnect):
            raise HTTPException(400, "The form cannot be read.") from None
        if session is not None and not session.is_token(form.pop("csrf", "")):
            words = "The form is too old or did not come from this console, so nothing was done. Load the page again."
            await self._refused(request, words)
            raise HTTPException(403, words)
        return form

    async def _home(self, request: Request) -> Response:
        session = self._session(request)
        first = next((one for one in self._pages if session is None or one.is_for(session.person)), self._pages[0])
        return RedirectResponse(self.site.url(first.path), status_code=303)

    async def _health(self, request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n")

    async def _sign_in_page(self, request: Request) -> Response:
        return self._sign_in_form(request, own_path(request.query_params.get("next", "")))

    async def _link_page(self, request: Request) -> Response:
        """A page with a button: programs that look at links ahead do not use the link up."""
        return self._sign_in_form(request, "/", link=request.path_params["link"])

    def _sign_in_form(
        self, request: Request, following: str, *, link: str = "", words: str = "", status: int = 200
    ) -> Response:
        values = {
            **self._shared(None, None, request.cookies),
            "following": following,
            "link": link,
            "words": words,
            "takes_links": self._sign_in.links is not None,
            "takes_credentials": self._sign_in.takes_credentials,
        }
        return HTMLResponse(self._rendering.html("sign_in.html.j2", values), status)

    async def _by_link(self, request: Request) -> Response:
        try:
            person = self._sign_in.by_link(request.path_params["link"])
        except SignInRefused as refused:
            await self._acts.refused_sign_in(address_of(request), str(refused))
            return self._sign_in_form(request, "/", words=str(refused), status=403)
        return await self._begun(request, self.sessions.begin(person), "/")

    async def _by_credentials(self, request: Request) -> Response:
        form = await self._form(request, None)
        following = own_path(form.get("next", ""))
        given = form.get("credentials", "").strip()
        try:
            person, lasts_s = await self._sign_in.by_credentials(given, address_of(request))
            terms = self._sign_in.terms(person)
            if terms is None:  # the key was revoked at this moment
                raise SignInRefused("The key or token is not accepted.")
        except SignInRefused as refused:
            await self._acts.refused_sign_in(address_of(request), str(refused))
            return self._sign_in_form(request, following, words=str(refused), status=403)
        session = self.sessions.begin(person, lasts_s=lasts_s, token=self._kept(given), terms=terms)
        return await self._begun(request, session, following)

    def _kept(self, token: str) -> str:
        return token if self.site.acting_by is not None else ""

    async def _begun(self, request: Request, session: Session, following: str) -> Response:
        """Go on under a new id; whatever session the browser had before ends."""
        self._ends.watch()
        before = self.sessions.end(request.cookies.get(self.cookie, ""))
        if before is not None:
            await self._acts.signed_out(before, "another session began in the same browser")
        problem = await self._acts.signed_in(session)
        if problem:
            session.say(f"That you signed in could not be recorded: {problem}", is_problem=True)
        answer = RedirectResponse(self.site.url(following), status_code=303)
        self._set(answer, self.cookie, session.id)
        return answer

    async def _sign_out(self, request: Request) -> Response:
        session = self._session(request)
        if session is not None:
            await self._form(request, session)
            self.sessions.end(session.id)
            await self._acts.signed_out(session, "signed out")
        answer = RedirectResponse(self.site.url("/sign-in"), status_code=303)
        answer.delete_cookie(
            self.cookie, path=self.site.base or "/", secure=self._origins.is_tls, httponly=True, samesite="strict"
        )
        answer.headers["clear-site-data"] = '"cache"'
        return answer

    # What is kept in the browser

    async def _choose_theme(self, request: Request) -> Response:
        form = await self._form(request, self._session(request))
        answer = RedirectResponse(self.site.url(own_path(form.get("back", ""))), status_code=303)
        theme = form.get("theme", "")
        self._set(answer, self._theme, theme if theme in _THEMES else "auto", lasts_s=_SEEN_S)
        return answer

    async def _has_seen(self, request: Request) -> Response:
        form = await self._form(request, self._session(request))
        known = {page.room for page in self._pages}
        seen = {*request.cookies.get(self._seen, "").split("."), form.get("room", "")} & known
        answer = RedirectResponse(self.site.url(own_path(form.get("back", ""))), status_code=303)
        self._set(answer, self._seen, ".".join(sorted(seen)), lasts_s=_SEEN_S)
        return answer

    def _set(self, answer: Response, name: str, value: str, *, lasts_s: int | None = None) -> None:
        answer.set_cookie(
            name, value, max_age=lasts_s, path=self.site.base or "/", secure=self._origins.is_tls, httponly=True, samesite="strict"
        )  # fmt: skip

    # Events and files

    async def _events(self, request: Request) -> Response:
        session = self._session(request, touch=False)
        if session is None:
            return PlainTextResponse("sign in\n", 401)
        topic = self.hub.topic(request.query_params.get("topic", ""))
        key = request.query_params.get("key", "")
        if topic is None or len(key) > MOST_KEY:
            return PlainTextResponse("no such topic\n", 404)
        if not await asyncio.to_thread(
            topic.is_for, self.site, key, session.person
        ):  # what is live is the same for all viewers
            return PlainTextResponse("not for you\n", 403)
        try:
            messages = self.hub.open(topic, key, session)
        except TooManyStreams:
            return PlainTextResponse("too many open pages; close one\n", 503, headers={"retry-after": "30"})
        return StreamingResponse(messages, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def _static(self, request: Request) -> Response:
        """One of a fixed map: no path of a request reaches the disk."""
        file = self._rendering.files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        keeps = "public, max-age=31536000, immutable" if request.query_params.get("v") == file.tag else "no-cache"
        return Response(file.body, media_type=file.media_type, headers={"cache-control": keeps, "etag": f'"{file.tag}"'})


def _why_not(session: Session, route: PageRoute) -> str:
    """Why this person may not ask for this; empty if they may."""
    if not session.person.may(route.role):
        return f"This needs the role {route.role}, which you do not have."
    if not route.is_for(session.person):
        return "This page shows all tenants and models, and your credentials are for one tenant or some models."
    return ""


def address_of(request: Request) -> str:
    """Address of the client; of a proxy, if there is one in front of the console."""
    return request.client.host if request.client else ""


def _shown(request: Request) -> str:
    """The path as it may stand in a log: percent-encoded, so that nobody's path moves the cursor or begins another line."""
    return quote(request.url.path, safe="/")
