"""What a page of the console is. Each page lives in a room of its own beside this file and hands a `ConsolePage` to catalogue.py.

A room `operators/console/ROOM/` holds page.py with `PAGE`, and its templates in `templates/`, scripts in `static/`:

    def show(visit: Visit) -> Response:                       # runs in a thread: reads may block
        alerts = read_alerts(visit.site.store_dir)
        return visit.page("detections/list.html.j2", alerts=alerts)

    def label(visit: Visit) -> Response:                      # a form; session, role, CSRF token and origin were checked
        give_label(visit.site.store_dir, by=visit.person.name, verdict=visit.form.get("verdict", ""))
        return visit.back_to("/detections", "labelled as an attack")

    def watched(site: Site, key: str) -> Mapping[str, str]:   # what a live page shows now: element id -> HTML
        return {"alerts": site.fragment("detections/rows.html.j2", alerts=...), "announce": "3 new alerts"}

    PAGE = ConsolePage(
        room="detections", title="Detections", path="/detections",
        routes=(
            PageRoute("/detections", show),
            PageRoute("/detections/label", label, method="POST", role=ConsoleRole.ANALYST),
        ),
        topics=(LiveTopic("detections", watched),),
        scripts=("detections.js",),
    )

Templates extend `base.html.j2` and fill the blocks `title`, `about` (the explanation of a first visit) and `content`. They get: page (this
one), pages (the navigation), person, csrf, now, site, theme, said, and the functions url(path), static(name) and the macros of
`parts.html.j2`. All text is escaped; never use `|safe` on what somebody else wrote. A form that acts posts to url(...) with
`<input type="hidden" name="csrf" value="{{ csrf }}">`. No inline script, style or handler works (the CSP refuses them): SVG takes
attributes and classes, not style="".

A live page has `<div data-live="TOPIC" data-key="KEY">` around elements with ids; `console.js` listens to `/events` and replaces the inner
HTML of each element whose id comes. The text of `announce` goes into the page's aria-live region. A fragment is the same for all viewers:
what depends on a person (buttons, CSRF tokens) stays outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from starlette.responses import RedirectResponse, Response

from operators.console.roles import ConsoleRole, SignedInPerson
from operators.console.sessions import Session
from operators.console.site import Site
from operators.control.port import Control

MOST_TEXT: Final = 1024
"""Characters of one field of a form that `Visit.text` lets through."""


class PageProblem(Exception):
    """A page or act cannot be given; the person sees the words. status: HTTP status of the page that says so."""

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


class Render(Protocol):
    """Makes a whole page for one visit."""

    def __call__(self, visit: "Visit", template: str, status: int, values: Mapping[str, Any]) -> Response:
        """The page as an answer."""
        ...


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a signed-in person. params: of the path. query, form: the last value of each name."""

    site: Site
    session: Session
    page_shown: "ConsolePage"
    params: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    cookies: Mapping[str, str]
    render: Render

    @property
    def person(self) -> SignedInPerson:
        """Who asks."""
        return self.session.person

    def acting(self) -> tuple[Control, str]:
        """The control plane for acts of this person, and the name they are recorded under. Blocks. Raises PageProblem, ControlError.

        In a cluster the API server checks the person by their own token, so the console needs no right to act."""
        if self.site.acting_by is not None:
            if self.person.how != "token" or not self.session.token:
                raise PageProblem("To act in a cluster, sign in with a token that its API server accepts.", 403)
            control = self.site.acting_by(self.session.token)
            return control, control.who()
        own = self.site.control.who() if self.person.how == "link" else self.person.name
        return self.site.control, own

    def page(self, template: str, /, *, http_status: int = 200, **values: Any) -> Response:
        """A whole page. values: what the template gets beside what every template gets."""
        return self.render(self, template, http_status, values)

    def back_to(self, path: str, said: str = "", *, is_problem: bool = False) -> Response:
        """After an act: look at this page of the console again. said: shown there once."""
        if said:
            self.session.say(said, is_problem=is_problem)
        return RedirectResponse(self.site.url(path), status_code=303)

    def text(self, name: str, *, most: int = MOST_TEXT) -> str:
        """A field of the form, without white space around it; empty if it did not come. Raises PageProblem if it is too long."""
        found = self.form.get(name, "").strip()
        if len(found) > most:
            raise PageProblem(f"{name} has {len(found)} characters; at most {most} are taken")
        return found

    def number(self, name: str, default: int, *, least: int = 0, most: int = 10**9) -> int:
        """A whole number of the query, kept within its bounds; the default if it is no number."""
        text = self.query.get(name, "")
        return min(max(int(text), least), most) if text.isascii() and text.isdigit() and len(text) < 12 else default


Handler = Callable[[Visit], Response]


@dataclass(frozen=True, slots=True)
class PageRoute:
    """One address. path: may hold `{name}`; what stands there comes in `Visit.params`. role: who may ask. Forms are POST.

    for_tenants: whether people of a tenant, or narrowed to some models, may ask too; then the handler shows them what is theirs and nothing
    else. for_narrowed: the same for people who are narrowed to some models and have no tenant. prolongs: whether a request counts as one of
    the person; not where the script of an open page asks by itself: such a session would never be idle."""

    path: str
    handler: Handler
    method: Literal["GET", "POST"] = "GET"
    role: ConsoleRole = ConsoleRole.VIEWER
    for_tenants: bool = False
    for_narrowed: bool = False
    prolongs: bool = True

    def is_for(self, person: SignedInPerson) -> bool:
        """Whether this person may ask, whatever their role."""
        return person.sees_all or self.for_tenants or (self.for_narrowed and not person.tenant)


@dataclass(frozen=True, slots=True)
class LiveTopic:
    """What a live page shows now. read: element id -> HTML, in a thread, once for all viewers, every `every_s` while somebody watches.

    state: what the page is made of, cheap to read; while it is equal to that of the look before, `read` is not asked. None: always read.
    model_of: the model that a key is about, so that people who are narrowed to models may watch theirs; None: only people who see all."""

    name: str
    read: Callable[[Site, str], Mapping[str, str]]
    every_s: float = 2.0
    role: ConsoleRole = ConsoleRole.VIEWER
    state: Callable[[Site, str], object] | None = None
    model_of: Callable[[Site, str], str] | None = None

    def is_for(self, site: Site, key: str, person: SignedInPerson) -> bool:
        """Whether this person may watch this key. May block."""
        if not person.may(self.role) or person.sees_all or person.tenant or self.model_of is None:
            return person.may(self.role) and person.sees_all
        model = self.model_of(site, key)
        return bool(model) and person.models.match(model)


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """One entry of the navigation and everything below it. scripts: names of files in the room's folder `static`."""

    room: str
    title: str
    path: str
    routes: tuple[PageRoute, ...]
    topics: tuple[LiveTopic, ...] = ()
    scripts: tuple[str, ...] = ()

    def is_for(self, person: SignedInPerson) -> bool:
        """Whether it stands in this person's navigation."""
        return any(route.is_for(person) for route in self.routes if route.path == self.path)


def own_path(given: str) -> str:
    """A path of this console that somebody was on their way to; `/` for anything that could lead elsewhere.

    >>> own_path("//evil.example/"), own_path("https://evil.example"), own_path("/rollouts?q=dns")
    ('/', '/', '/rollouts?q=dns')
    """
    is_path = given.startswith("/") and given[1:2] not in ("/", "\\") and len(given) < 1024
    return given if is_path and "\\" not in given and all(32 < ord(c) < 127 for c in given) else "/"
