"""Sign-ins, sign-outs and refused forms are records of the log of acts; a session ends soon after its key. Without a server."""

import asyncio
import json
import os
import time
from functools import partial

import httpx
import pytest

from lifecycle.governance.acts import Act, ActsLog
from operators.console import sign_in
from operators.console.launch import ConsoleOptions, make_console
from operators.console.recording import console_acts
from operators.console.recording.repeats import OF_PEOPLE
from operators.console.roles import ConsoleRole, SignedInPerson
from operators.console.sessions import MOST_OF_ONE
from operators.control.folder import ControlFolder
from serving.access.authentication.api_keys import ApiKeyEntry, keys_text, new_key, utc
from serving.access.followed_files import EVERY_S, follow
from tests.fakes.console.documents import put_service, under_way

pytestmark = pytest.mark.heavy

HOST = "http://localhost:8090"


class World:
    """A console over a store, asked without a socket. key: of ana, who is an SRE of the console."""

    def __init__(self, store) -> None:
        self.store = store
        self.key, identity, digest = new_key(os.urandom)
        self.entry = ApiKeyEntry(id=identity, sha256=digest, owner="ana", roles=("console-sre",), created=utc(time.time()))
        self.put_keys([self.entry])
        policy = store / "access.yaml"
        roles = {"console-sre": [{"verbs": ["health"]}], "console-viewer": [{"verbs": ["health"]}]}
        policy.write_text(json.dumps({"version": 1, "roles": roles, "keys": "keys.json"}))
        policy.chmod(0o600)
        put_service(store, "flows", status=under_way())
        self.app = make_console(ConsoleOptions(ControlFolder(store), store, access=policy), 8090, None)
        self.asgi = self.app.asgi()

    def put_keys(self, entries) -> None:
        made = self.store / "new.json"
        made.write_bytes(keys_text(entries))
        made.chmod(0o600)
        made.replace(self.store / "keys.json")

    def client(self, session=None, origin=HOST) -> httpx.AsyncClient:
        cookies = {} if session is None else {self.app.cookie: session.id}
        transport = httpx.ASGITransport(self.asgi, client=("10.0.0.7", 1))
        return httpx.AsyncClient(transport=transport, base_url=HOST, headers={"origin": origin}, cookies=cookies)

    def session(self, *roles, **more):
        return self.app.sessions.begin(SignedInPerson("ben", frozenset(roles), "key", **more))

    def acts(self) -> list[Act]:
        self.app._acts.close()
        folder = self.store / "governance"
        return list(ActsLog(folder, signer=lambda: None, now_us=lambda: 0).read()) if folder.is_dir() else []

    @property
    def said(self) -> list[tuple[str, str, str, str]]:
        return [(one.action, one.actor, one.outcome, one.reason) for one in self.acts()]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def test_signing_in_and_out_are_records_that_belong_together(world):
    async with world.client() as client:
        assert (await client.post("/sign-in", data={"credentials": world.key})).status_code == 303
        (session,) = world.app.sessions._by_id.values()
        client.cookies.set(world.app.cookie, session.id)
        assert (await client.post("/sign-out", data={"csrf": session.csrf})).status_code == 303
    begun, ended = world.acts()
    assert (begun.action, begun.actor, begun.outcome) == ("console.sign-in", f"key:{world.entry.id}", "accepted")
    assert (ended.action, ended.actor, ended.subject) == ("console.sign-out", begun.actor, begun.subject)
    assert session.id not in begun.subject


async def test_a_console_that_stops_records_the_end_of_every_session(world):
    async with world.app._lifespan(world.asgi), world.client() as client:
        assert (await client.post("/sign-in", data={"credentials": world.key})).status_code == 303
        ended = world.session("viewer")
        closed = []
        ended.endings.append(lambda: closed.append("stream"))
        world.app.sessions.end(world.session("viewer").id)  # over before: told where it was ended
        assert [one.action for one in ActsLog(world.store / "governance", signer=lambda: None, now_us=lambda: 0).read()] == [
            "console.sign-in"
        ]
    assert (closed, len(world.app.sessions)) == (["stream"], 0)
    begun, *outs = world.acts()
    assert [(one.action, one.actor, one.reason) for one in outs] == [
        ("console.sign-out", f"key:{world.entry.id}", "the console was stopped"),
        ("console.sign-out", "ben", "the console was stopped"),
    ]
    assert outs[0].subject == begun.subject


async def test_many_sessions_that_end_with_the_console_are_a_bounded_number_of_records(world):
    async with world.app._lifespan(world.asgi):
        for number in range(OF_PEOPLE.burst + 50):
            world.app.sessions.begin(SignedInPerson(f"p{number}", frozenset(), "key"))
    outs = world.acts()
    assert OF_PEOPLE.burst < len(outs) <= OF_PEOPLE.burst + 2
    assert sum(1 + one.evidence.get("repeats", 0) - (one.actor == "several") for one in outs) == OF_PEOPLE.burst + 50


async def test_wrong_keys_are_one_record_and_a_count_and_the_key_is_not_in_it(world):
    async with world.client() as client:
        for _ in range(5):
            assert (await client.post("/sign-in", data={"credentials": "vdk_wrong"})).status_code == 403
    first, repeated = world.acts()
    assert (first.action, first.actor, first.outcome) == ("console.sign-in", "address:10.0.0.7", "refused")
    assert repeated.evidence == {"repeats": 4}
    assert not any(b"vdk_wrong" in path.read_bytes() for path in (world.store / "governance").glob("*.jsonl"))


@pytest.mark.parametrize(
    ("roles", "form", "origin", "words"),
    [
        pytest.param([ConsoleRole.VIEWER], {}, HOST, "needs the role sre", id="a person without the role"),
        pytest.param(
            [ConsoleRole.SRE], {"csrf": "wrong"}, HOST, "did not come from this console", id="a form without the token"
        ),
        pytest.param([ConsoleRole.SRE], {}, "http://evil.example", "did not come from a page", id="a form of another origin"),
    ],
)
async def test_a_refused_form_is_a_record_with_who_sent_it(world, roles, form, origin, words):
    session = world.session(*roles)
    async with world.client(session, origin) as client:
        answer = await client.post("/rollouts/flows/act", data={"csrf": session.csrf, "verb": "abort", "why": "x"} | form)
    assert answer.status_code == 403
    (one,) = world.acts()
    assert (one.action, one.actor, one.outcome, one.subject) == ("console.act", "ben", "refused", "console/rollouts/flows/act")
    assert words in one.reason


async def test_looking_is_no_act(world):
    async with world.client(world.session(ConsoleRole.VIEWER, tenant="acme")) as client:
        assert (await client.get("/rollouts")).status_code == 403
    assert world.acts() == []


async def test_a_log_that_cannot_be_written_keeps_nobody_out_and_says_so(world, monkeypatch):
    def full(self, act):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(console_acts.ActsLog, "record", full)
    async with world.client() as client:
        assert (await client.post("/sign-in", data={"credentials": world.key})).status_code == 303
    (session,) = world.app.sessions._by_id.values()
    ((words, is_problem),) = session.said
    assert is_problem
    assert "No space left" in words


async def test_a_session_ends_when_its_key_is_revoked_although_nothing_is_asked(world, monkeypatch):
    assert EVERY_S < 30, "within seconds"
    monkeypatch.setattr(sign_in, "follow", partial(follow, every_s=EVERY_S / 50))
    async with world.client() as client:
        await client.post("/sign-in", data={"credentials": world.key})
    (session,) = world.app.sessions._by_id.values()
    ended = asyncio.Event()
    session.endings.append(ended.set)
    following = asyncio.create_task(world.app._sign_in.keep_current(world.app._end_those_that_count_no_more))
    world.put_keys([world.entry.model_copy(update={"revoked": utc(time.time())})])
    async with asyncio.timeout(30):
        await ended.wait()
    following.cancel()
    await asyncio.gather(*world.app._ends.recording)
    assert world.said[-1][::2] == ("console.sign-out", "accepted")
    assert "do not count any more" in world.said[-1][3]


async def test_a_session_ends_when_its_key_says_something_else_and_others_go_on(world):
    async with world.client() as client:
        await client.post("/sign-in", data={"credentials": world.key})
    other = world.session(ConsoleRole.VIEWER)
    (session,) = [one for one in world.app.sessions._by_id.values() if one is not other]
    sign_in = world.app._sign_in
    sign_in._gate.use(sign_in._files.policy, type(sign_in._files.keys)({}))
    async with world.client(session) as client:
        answer = await client.get("/rollouts")
    assert answer.status_code == 303
    assert "/sign-in" in answer.headers["location"]
    assert list(world.app.sessions._by_id.values()) == [other]


async def test_a_session_ends_at_its_own_time_although_nothing_is_asked_and_that_is_a_record(world):
    world.app.sessions._longest_s = 0.01
    async with world.client() as client:
        await client.post("/sign-in", data={"credentials": world.key})
    ended = asyncio.Event()
    for session in world.app.sessions._by_id.values():
        session.endings.append(ended.set)
    async with asyncio.timeout(30):
        while len(world.app.sessions):
            await ended.wait()
        await asyncio.gather(*world.app._ends.recording)
    begun, over = world.acts()
    assert (over.action, over.actor, over.subject, over.reason) == (
        "console.sign-out",
        f"key:{world.entry.id}",
        begun.subject,
        "its time was over",
    )


async def test_a_session_that_makes_room_for_another_is_a_record(world):
    async with world.client() as client:
        for _ in range(MOST_OF_ONE + 1):
            client.cookies.clear()
            assert (await client.post("/sign-in", data={"credentials": world.key})).status_code == 303
    await asyncio.gather(*world.app._ends.recording)
    (over,) = [one for one in world.acts() if one.action == "console.sign-out"]
    assert "another session of the same person began" in over.reason


async def test_what_a_script_of_an_open_page_asks_by_itself_does_not_prolong_the_session(world):
    session = world.session(ConsoleRole.VIEWER)
    seen_s = session.seen_s = session.seen_s - 60
    async with world.client(session) as client:
        assert (await client.get("/detections/new?from=0")).status_code == 200
        assert session.seen_s == seen_s
        assert (await client.get("/detections")).status_code == 200
    assert session.seen_s > seen_s


async def test_a_path_that_moves_the_cursor_is_spelt_out_in_the_log_and_in_the_record(world, caplog):
    caplog.set_level("INFO", "vedette.console")
    async with world.client(origin="http://evil.example") as client:
        assert (await client.post("/rollouts/%1b%5b2J%0aforged/act")).status_code == 403
    (one,) = world.acts()
    said = [line.getMessage() for line in caplog.records if line.name == "vedette.console"]
    assert said
    for text in (*said, one.subject, one.reason):
        assert text.isprintable(), repr(text)
    assert "%1B" in one.subject


async def test_who_leaves_while_sending_a_form_is_no_defect(world, caplog):
    sent, session = [], world.session(ConsoleRole.SRE)
    head = [(b"host", b"localhost:8090"), (b"origin", HOST.encode()), (b"content-length", b"100")]
    head.append((b"cookie", f"{world.app.cookie}={session.id}".encode()))
    scope = {
        "type": "http", "method": "POST", "path": "/rollouts/flows/act", "raw_path": b"/rollouts/flows/act", "query_string": b"",
        "headers": head, "client": ("10.0.0.7", 1), "server": ("localhost", 8090), "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    parts = iter([{"type": "http.request", "body": b"csrf=", "more_body": True}, {"type": "http.disconnect"}])

    async def receive():
        return next(parts)

    async def send(message):
        sent.append(message)

    await world.asgi(scope, receive, send)
    assert sent[0]["status"] == 400
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


async def test_an_act_that_cannot_be_written_does_not_lose_those_after_it(world):
    kept = []

    def record(act):
        if act.subject == "one":
            raise OSError(28, "No space left on device")
        kept.append(act.subject)

    acts = console_acts.ConsoleActs(record)
    said = [console_acts.ConsoleAct("console.act", "ana", subject, "x") for subject in ("one", "two")]
    assert "No space left" in acts._write(said)
    assert kept == ["two"]
    acts.close()
