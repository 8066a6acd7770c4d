"""The console over real HTTP, one test for each attack that docs/reference/threats.md names: each is refused, and nothing happened."""

import contextlib
import re
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from operators.console import front_door, server
from operators.console.application import ConsoleApp
from operators.console.catalogue import PAGES
from operators.console.front_door import MOST_BODY_BYTES, MOST_PATH_BYTES
from operators.console.roles import ConsoleRole
from operators.control.folder import ControlFolder
from tests.fakes.console.served import ServedConsole
from tests.integration.console.conftest import HOSTILE
from tests.waiting import HANG_S

FORM = {"content-type": "application/x-www-form-urlencoded"}
POSTS = [route for page in PAGES for route in page.routes if route.method == "POST"]


def waiting(console: ServedConsole, name: str = "flows"):
    return ControlFolder(console.store_dir).waiting(name)


def pause(client: httpx.Client, csrf: str, **changed: str) -> httpx.Response:
    return client.post("/rollouts/flows/act", data={"csrf": csrf, "verb": "pause", "why": "attack", **changed})


def raw(console: ServedConsole, text: str) -> str:
    """The status line of the answer to a request that no client would send."""
    host, port = urlsplit(console.address).hostname, urlsplit(console.address).port
    with socket.create_connection((host, port), timeout=HANG_S) as connection:
        connection.sendall(text.encode())
        return connection.recv(65536).decode(errors="replace").partition("\r\n")[0]


@pytest.mark.parametrize(
    "path", ["/rollouts", "/rollouts/hostile", "/rollouts?q=%3Cscript%3Ealert(1)%3C/script%3E", "/rollouts/%3Cscript%3E"]
)
def test_xss_hostile_names_and_reasons_stay_text(console, path):
    with console.client(console.session(HOSTILE)) as client:
        page = client.get(path).text
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "49" not in re.findall(r"&amp;(\d+)", page), "a template in a name is not run"
    assert "&lt;script&gt;" in page


def test_xss_live_parts_are_escaped_as_the_page_is(console):
    site = console.app.hub
    topic = site.topic("rollout")
    parts = topic.read(console.app.site, "hostile")
    assert all("<script" not in html and "<img" not in html for html in parts.values())
    assert "&lt;script&gt;" in parts["announce"]


def test_xss_no_page_has_an_inline_script_style_or_handler(console):
    with console.client(console.session()) as client:
        for path in [page.path for page in PAGES] + ["/rollouts/flows", "/rollouts/dns", "/nothing"]:
            page = client.get(path).text
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|<[^>]*\s(?:style|on\w+)=|<[^>]*javascript:", page), path


def test_clickjacking_no_other_page_may_frame_the_console(console):
    with console.client(console.session()) as client:
        answers = [client.get(path) for path in ("/rollouts", "/sign-in", "/static/console.js", "/nothing", "/healthz")]
    for answer in answers:
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"origin": "https://evil.example"}, id="another origin"),
        pytest.param({"origin": "null"}, id="no origin: a sandboxed frame"),
        pytest.param({"sec-fetch-site": "cross-site"}, id="a browser says it comes from elsewhere"),
        pytest.param({"sec-fetch-site": "same-site"}, id="another port of this machine"),
        pytest.param({"origin": ""}, id="an empty origin"),
    ],
)
def test_csrf_an_act_from_elsewhere_is_refused(console, headers):
    session = console.session()
    with console.client(session) as client:
        client.headers.update(headers)
        assert pause(client, session.csrf).status_code == 403
    assert waiting(console) == ()


def test_csrf_without_origin_and_fetch_metadata_nothing_is_done(console):
    session = console.session()
    with console.client(session) as client:
        del client.headers["origin"]
        assert pause(client, session.csrf).status_code == 403
    assert waiting(console) == ()


@pytest.mark.parametrize("token", ["", "wrong", "\u2603"], ids=["none", "wrong", "no ASCII"])
def test_csrf_the_token_of_the_session_is_needed(console, token):
    with console.client(console.session()) as client:
        assert pause(client, token).status_code == 403
    assert waiting(console) == ()


def test_csrf_the_token_of_another_session_does_not_count(console):
    other = console.session("bob")
    with console.client(console.session()) as client:
        assert pause(client, other.csrf).status_code == 403
    assert waiting(console) == ()


def test_csrf_a_get_never_acts(console):
    with console.client(console.session()) as client:
        assert client.get("/rollouts/flows/act?verb=pause&why=x").status_code == 405
    assert waiting(console) == ()


@pytest.mark.parametrize(
    "following", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nset-cookie: x=1"]
)
def test_open_redirect_one_goes_on_within_the_console_only(console, following):
    session = console.session()
    with console.client(session) as client:
        answer = client.post("/theme", data={"csrf": session.csrf, "theme": "dark", "back": following})
        page = client.get("/sign-in", params={"next": following}).text
    assert answer.headers["location"] == "/"
    assert "evil" not in page


@pytest.mark.parametrize(
    "path",
    [
        "/static/../application.py", "/static/..%2fapplication.py", "/static/%2e%2e/%2e%2e/etc/passwd", "/static//etc/passwd",
        "/static/console.css%00.js", "/static/rollouts/../console.css", "/rollouts/..%2f..%2fetc%2fpasswd", "/rollouts/.edit",
        "/rollouts/%2e%2e",
    ],
)  # fmt: skip
def test_path_traversal_only_what_is_on_the_map_is_served(console, path):
    session = console.session()
    own = f"host: {urlsplit(console.address).netloc}\r\ncookie: {console.cookie}={session.id}\r\nconnection: close"
    assert " 404 " in raw(console, f"GET {path} HTTP/1.1\r\n{own}\r\n\r\n")


def test_session_fixation_signing_in_makes_a_new_id_and_ends_the_old_one(console):
    before = console.session("mallory", frozenset({ConsoleRole.VIEWER}))
    with console.client(before) as client:
        answer = client.post(f"/sign-in/{console.links.make()}")
    made = answer.cookies[console.cookie]
    assert made != before.id
    assert console.app.sessions.find(before.id) is None
    assert console.app.sessions.find(made).person.how == "link"


def test_session_fixation_an_id_that_the_console_did_not_make_is_no_session(console):
    with console.client() as client:
        client.cookies.set(console.cookie, "chosen-by-somebody")
        answer = client.post(f"/sign-in/{console.links.make()}")
    assert answer.cookies[console.cookie] != "chosen-by-somebody"
    assert console.app.sessions.find("chosen-by-somebody") is None


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(console):
    with console.client() as client:
        cookie = client.post(f"/sign-in/{console.links.make()}").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "domain" not in cookie


def test_a_link_signs_in_once_and_looking_at_it_does_not_use_it_up(console):
    link = f"/sign-in/{console.links.make()}"
    with console.client() as client:
        assert client.get(link).status_code == 200
        assert client.get(link).status_code == 200
        assert client.post(link).status_code == 303
    with console.client() as other:
        assert other.post(link).status_code == 403
        assert other.get("/rollouts").status_code == 303


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "127.0.0.1.evil.example", "127.0.0.1:1", ""])
def test_dns_rebinding_the_console_answers_to_its_own_names_only(console, host):
    session = console.session()
    head = f"GET /rollouts HTTP/1.1\r\nhost: {host}\r\ncookie: {console.cookie}={session.id}\r\nconnection: close\r\n\r\n"
    assert " 421 " in raw(console, head)


def test_two_host_headers_are_none(console):
    host = urlsplit(console.address).netloc
    assert " 4" in raw(console, f"GET /rollouts HTTP/1.1\r\nhost: {host}\r\nhost: evil.example\r\nconnection: close\r\n\r\n")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_refused(console, method):
    host = urlsplit(console.address).netloc
    assert re.search(" (405|400) ", raw(console, f"{method} /rollouts HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"))


def test_an_oversized_body_is_refused_by_its_length(console):
    session = console.session()
    with console.client(session) as client:
        assert pause(client, session.csrf, why="x" * MOST_BODY_BYTES).status_code == 413
    assert waiting(console) == ()


def test_an_oversized_body_is_refused_as_it_comes_where_its_length_is_not_said(console):
    session = console.session()

    def body():
        yield b"csrf=x"
        for _ in range(MOST_BODY_BYTES // 1024 + 1):
            yield b"x" * 1024

    with console.client(session) as client:
        assert client.post("/rollouts/flows/act", content=body(), headers=FORM).status_code == 413


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"\xff\xfe", 400, id="no text"),
        pytest.param(b"&".join(b"a%d=1" % i for i in range(5000)), 400, id="thousands of fields"),
        pytest.param(b"", 403, id="nothing"),
    ],
)
def test_a_form_that_is_none_is_refused(console, body, status):
    with console.client(console.session()) as client:
        assert client.post("/rollouts/flows/act", content=body, headers=FORM).status_code == status


def test_a_long_address_is_refused(console):
    with console.client(console.session()) as client:
        assert client.get(f"/rollouts?q={'x' * MOST_PATH_BYTES}").status_code == 414


def test_slow_client_a_body_that_does_not_come_is_refused(console, monkeypatch):
    monkeypatch.setattr(front_door, "BODY_WITHIN_S", 0.1)
    session = console.session()
    head = (
        f"POST /rollouts/flows/act HTTP/1.1\r\nhost: {urlsplit(console.address).netloc}\r\norigin: {console.address}\r\n"
        f"cookie: {console.cookie}={session.id}\r\ncontent-length: 100\r\n\r\ncsrf="
    )
    assert " 408 " in raw(console, head)


def test_slow_client_a_head_that_does_not_come_ends_the_connection(console, monkeypatch):
    monkeypatch.setattr(server, "HEAD_WITHIN_S", 0.1)
    assert raw(console, "GET /rollouts HTTP/1.1\r\nhost: ") == ""


def test_slow_client_a_second_head_that_does_not_come_ends_the_connection(console, monkeypatch):
    monkeypatch.setattr(server, "HEAD_WITHIN_S", 0.1)
    where = urlsplit(console.address)
    with socket.create_connection((where.hostname, where.port), timeout=HANG_S) as connection:
        connection.sendall(f"GET /healthz HTTP/1.1\r\nhost: {where.netloc}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /hea")
        while connection.recv(65536):
            pass


def test_more_connections_than_the_bound_are_let_go_without_an_answer(console, monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 0)
    said = ""
    with contextlib.suppress(ConnectionError):
        said = raw(console, f"GET /healthz HTTP/1.1\r\nhost: {urlsplit(console.address).netloc}\r\nconnection: close\r\n\r\n")
    assert said == ""


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.path)
def test_role_escalation_every_act_needs_its_role_whatever_the_page_offers(console, route):
    others = frozenset(ConsoleRole) - {route.role}
    session = console.session("eve", others)
    with console.client(session) as client:
        path = re.sub(r"\{[^}]*\}", "flows", route.path)
        answer = client.post(path, data={"csrf": session.csrf, "verb": "pause", "why": "I may"})
    if route.role is not ConsoleRole.VIEWER:
        assert answer.status_code == 403
        assert route.role in answer.text
    assert waiting(console) == ()


def test_role_escalation_no_form_field_or_header_gives_a_role(console):
    session = console.session("eve", frozenset({ConsoleRole.VIEWER}))
    with console.client(session) as client:
        client.headers.update({"x-forwarded-user": "root", "x-roles": "sre"})
        assert pause(client, session.csrf, role="sre", roles="sre", by="root").status_code == 403
    assert waiting(console) == ()


def test_an_act_is_in_the_persons_name_and_not_in_one_that_the_form_says(console):
    session = console.session("ana")
    with console.client(session) as client:
        assert pause(client, session.csrf, by="root", why="the pager rang").status_code == 303
    (left,) = waiting(console)
    assert (left.by, left.verb, left.why) == ("ana", "pause", "the pager rang")
    for path in (console.store_dir / "control" / "flows.requests").glob("*.json"):
        path.unlink()


@pytest.mark.parametrize("path", [page.path for page in PAGES] + ["/rollouts/flows", "/events?topic=rollouts"])
def test_without_a_session_nothing_is_shown(console, path):
    with console.client() as client:
        answer = client.get(path)
    assert answer.status_code in (303, 401)
    assert "flows" not in answer.text


def test_after_signing_out_the_session_is_gone_on_the_server(console):
    session = console.session()
    with console.client(session) as client:
        assert client.post("/sign-out", data={"csrf": session.csrf}).headers["location"] == "/sign-in"
    assert console.app.sessions.find(session.id) is None


def test_an_error_page_tells_nothing_of_its_cause(console, monkeypatch):
    def broken(self, name):
        raise RuntimeError("secret=hunter2")

    monkeypatch.setattr(ControlFolder, "read", broken)
    with console.client(console.session()) as client:
        answer = client.get("/rollouts/flows")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


def test_answers_are_not_kept_by_browsers_apart_from_files_named_by_their_content(console):
    with console.client(console.session()) as client:
        page = client.get("/rollouts")
        files = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
        kept = [client.get(path).headers["cache-control"] for path in files]
    assert page.headers["cache-control"] == "no-store"
    assert len(files) >= 4
    assert all("immutable" in one for one in kept)


def test_the_console_asks_for_nothing_from_elsewhere(console):
    assert ConsoleApp is not None
    with console.client(console.session()) as client:
        for path in [page.path for page in PAGES]:
            assert not re.search(r'(?:src|href|action)="(?:https?:)?//', client.get(path).text), path


@pytest.mark.parametrize(
    "path", ["/rollouts/a%20b/act", "/rollouts/%2e%2e/act", "/rollouts/%00/decide", f"/rollouts/{'x' * 300}/act"]
)
def test_a_name_that_no_service_can_have_is_not_found_and_no_defect(console, path):
    session = console.session()
    own = f"host: {urlsplit(console.address).netloc}\r\norigin: {console.address}\r\ncookie: {console.cookie}={session.id}"
    body = f"csrf={session.csrf}&verb=pause&why=x"
    head = f"{own}\r\ncontent-type: {FORM['content-type']}\r\ncontent-length: {len(body)}\r\nconnection: close"
    assert " 404 " in raw(console, f"POST {path} HTTP/1.1\r\n{head}\r\n\r\n{body}")
