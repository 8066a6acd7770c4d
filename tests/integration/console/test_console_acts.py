"""What people do in the console, over real HTTP: requests as the command line leaves them, signed notes, sign-in by the access policy."""

import json
import os
import re
import threading
import time
from html import unescape

import pytest

from lifecycle.governance.acts import ActsLog
from lifecycle.governance.approvals.judge import ApprovalClaim, proven
from operators.console import application
from operators.console.roles import ConsoleRole
from operators.control.folder import ControlFolder, people_file
from operators.control.port import Forbidden, Unreachable
from operators.control.verb_requests import subject_of
from serving.access.authentication.api_keys import ApiKeyEntry, keys_text, new_key, utc
from tests import quick_yaml as yaml
from tests.fakes.approvers import ROLES, signer
from tests.fakes.console.documents import healthy, put_service, under_way
from tests.fakes.console.served import served_console

APPROVER = frozenset({ConsoleRole.APPROVER})


@pytest.fixture
def people(console):
    """A file of people with keys beside the shared console's services; requests of the test are removed afterwards."""
    path = people_file(console.store_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [{"name": name, "roles": sorted(roles), "key": str(signer(name).verifier)} for name, roles in ROLES.items()]
    path.write_text(yaml.safe_dump({"people": entries}))
    yield ControlFolder(console.store_dir).people()
    path.unlink()
    for name in ("dns", "flows", "mail", "hostile"):
        for left in (console.store_dir / "control" / f"{name}.requests").glob("*.json"):
            left.unlink()


def text_to_sign(client, session, by, why="looked at it"):
    form = {"csrf": session.csrf, "verb": "approve", "why": why, "public": signer(by).verifier.public.hex(), "key_name": "any"}
    return client.post("/rollouts/dns/text-to-sign", data=form)


def approve(client, session, note, evidence, why="looked at it", **more):
    form = {"csrf": session.csrf, "verb": "approve", "why": why, "note": note, "evidence": evidence, **more}
    return client.post("/rollouts/dns/decide", data=form)


def test_an_approval_that_a_person_signs_in_the_browser_counts(console, people):
    session = console.session("ana", APPROVER)
    with console.client(session) as client:
        given = text_to_sign(client, session, "ada").json()
        assert (given["by"], given["keyName"], given["isKnown"]) == ("ada", "ada", True)
        note = signer("ada").sign(given["text"])
        assert approve(client, session, note, given["evidence"]).status_code == 303
    folder = ControlFolder(console.store_dir)
    (left,) = folder.waiting("dns")
    assert (left.by, left.verb, left.args["role"]) == ("ada", "approve", "detection-lead")
    claim = ApprovalClaim(left.by, left.at, left.why, left.args["role"], note=left.args["note"], evidence=left.args["evidence"])
    assert proven(subject_of(folder.read("dns")), claim, people, "approve").approver == "ada"


@pytest.mark.parametrize(
    ("forged", "status"),
    [
        pytest.param(lambda text: signer("ada", key_of="eve").sign(text), 403, id="another key under the name"),
        pytest.param(lambda text: signer("eve").sign(text), 403, id="somebody else's signature"),
        pytest.param(
            lambda text: signer("ada").sign(text.replace("step 4", "step 5")), 303, id="another step: the loop refuses it"
        ),
        pytest.param(lambda text: signer("ada").sign(text).replace("approver ada", "approver bob"), 403, id="another approver"),
        pytest.param(lambda text: signer("ada").sign(text.replace("looked at it", "did not look")), 409, id="another reason"),
        pytest.param(lambda text: text, 403, id="no signature"),
        pytest.param(lambda text: "x" * 20_000, 400, id="long"),
    ],
)
def test_a_note_that_would_not_count_is_refused(console, people, forged, status):
    session = console.session("ana", APPROVER)
    with console.client(session) as client:
        given = text_to_sign(client, session, "ada").json()
        assert approve(client, session, forged(given["text"]), given["evidence"]).status_code == status
    left = ControlFolder(console.store_dir).waiting("dns")
    assert len(left) == (status == 303)


def test_a_person_with_no_key_of_the_file_signs_for_nobody_else(console, people):
    session = console.session("mallory", APPROVER)
    with console.client(session) as client:
        given = text_to_sign(client, session, "stranger").json()
        assert (given["by"], given["isKnown"]) == ("mallory", False)
        note = signer("stranger").sign(given["text"].replace("approver mallory", "approver ada"))
        assert approve(client, session, note, given["evidence"]).status_code == 403


def test_nothing_is_signed_where_no_approval_is_waited_for(console, people):
    session = console.session("ana", APPROVER)
    with console.client(session) as client:
        form = {"csrf": session.csrf, "verb": "approve", "why": "x", "public": signer("ada").verifier.public.hex()}
        assert client.post("/rollouts/flows/text-to-sign", data=form).status_code == 409


@pytest.mark.parametrize("verb", ["promote", "pause", "resume", "abort", "retry", "undo"])
def test_a_move_is_left_with_who_why_and_what_was_seen(console, people, verb):
    session = console.session("key:ab12", frozenset({ConsoleRole.SRE}))
    with console.client(session) as client:
        page = client.get("/rollouts/flows").text
        seen = dict(re.findall(r'name="(revision|step)" value="([^"]+)"', page))
        form = {"csrf": session.csrf, "verb": verb, "why": "the pager rang", **seen}
        answer = client.post("/rollouts/flows/act", data=form)
        said = client.get(answer.headers["location"]).text
    (left,) = ControlFolder(console.store_dir).waiting("flows")
    assert (left.verb, left.by, left.why) == (verb, "key:ab12", "the pager rang")
    assert left.args == seen
    assert seen.keys() == {"revision", "step"}
    assert "no `vedette up`" in said.replace("&#39;", "'")


@pytest.mark.parametrize("verb", ["promote-full", "approve", "restart", "", "rm -rf"])
def test_other_verbs_are_no_moves_of_the_console(console, people, verb):
    session = console.session("ana")
    with console.client(session) as client:
        assert client.post("/rollouts/flows/act", data={"csrf": session.csrf, "verb": verb, "why": "x"}).status_code == 400


def test_an_act_needs_a_reason(console, people):
    session = console.session("ana")
    with console.client(session) as client:
        answer = client.post("/rollouts/flows/act", data={"csrf": session.csrf, "verb": "abort", "why": "  "})
        assert "Say why" in client.get(answer.headers["location"]).text
    assert ControlFolder(console.store_dir).waiting("flows") == ()


def test_a_button_that_is_pressed_twice_is_one_request(console, people):
    session = console.session("ana", frozenset({ConsoleRole.SRE}))
    with console.client(session) as client:
        seen = dict(re.findall(r'name="(revision|step|nonce)" value="([^"]+)"', client.get("/rollouts/flows").text))
        for verb in ("pause", "pause", "abort"):
            client.post("/rollouts/flows/act", data={"csrf": session.csrf, "verb": verb, "why": "the pager rang", **seen})
    assert [one.verb for one in ControlFolder(console.store_dir).waiting("flows")] == ["pause", "abort"]


def test_an_undo_names_the_revision_that_is_taken_back_so_that_it_never_goes_back_twice(console, people):
    session = console.session("ana", frozenset({ConsoleRole.SRE}))
    with console.client(session) as client:
        seen = dict(re.findall(r'name="(revision|step)" value="([^"]+)"', client.get("/rollouts/mail").text))
    assert seen == {"revision": ControlFolder(console.store_dir).read("mail").status.stable.digest}


@pytest.mark.parametrize(("name", "form"), [("flows", "act-form"), ("dns", "decide-form")])
def test_the_enter_key_in_the_reason_presses_no_button(console, name, form):
    with console.client(console.session()) as client:
        page = client.get(f"/rollouts/{name}").text
    first = re.search("<button[^>]*>", page[page.index(f'id="{form}"') :])[0]
    assert "disabled" in first, "browsers press the first button of a form, and none if that is disabled"


def test_an_act_that_was_sent_is_said_to_be_sent_though_its_outcome_cannot_be_read(tmp_path):
    put_service(tmp_path, "flows", status=under_way())

    class Leaving(ControlFolder):
        def caution(self):
            if self.waiting("flows"):
                raise Unreachable("the cluster does not answer")
            return super().caution()

    with served_console(tmp_path, control=Leaving(tmp_path)) as console:
        session = console.session("ana")
        with console.client(session) as client:
            answer = client.post("/rollouts/flows/act", data={"csrf": session.csrf, "verb": "abort", "why": "errors are up"})
        ((said, is_problem),) = session.heard()
    assert (answer.status_code, is_problem) == (303, True)
    assert "abort was sent under the name ana" in said
    assert len(ControlFolder(tmp_path).waiting("flows")) == 1


def test_an_abort_goes_through_while_pages_hold_every_thread(tmp_path, monkeypatch):
    put_service(tmp_path, "flows", status=under_way())
    monkeypatch.setattr(application, "THREADS", 1)
    asked, going = threading.Event(), threading.Event()

    class Slow(ControlFolder):
        def stamps(self):
            asked.set()
            going.wait(60)
            return super().stamps()

    with served_console(tmp_path, control=Slow(tmp_path)) as console:
        session = console.session("ana")
        with console.client(session) as client, console.client(session) as other:
            page = threading.Thread(target=other.get, args=("/rollouts",))
            page.start()
            try:
                assert asked.wait(60)
                form = {"csrf": session.csrf, "verb": "abort", "why": "errors are up"}
                assert client.post("/rollouts/flows/act", data=form).status_code == 303
            finally:
                going.set()
                page.join()
    assert [one.verb for one in ControlFolder(tmp_path).waiting("flows")] == ["abort"]


@pytest.mark.parametrize("how", ["token", "key"])
def test_who_signs_in_with_credentials_has_no_groups_of_the_consoles_own_user(console, people, how):
    session = console.session("token:corp:ana", APPROVER, how)
    with console.client(session) as client:
        form = {"csrf": session.csrf, "verb": "approve", "why": "looked at it"}
        assert client.post("/rollouts/dns/decide", data=form).status_code == 303
    (left,) = ControlFolder(console.store_dir).waiting("dns")
    assert "groups" not in left.args


def test_roles_and_names_come_from_the_access_policy(tmp_path):
    key, identity, digest = new_key(os.urandom)
    entry = ApiKeyEntry(id=identity, sha256=digest, owner="sam", roles=("console-sre",), created=utc(time.time()), expires=None)
    poor, poor_id, poor_digest = new_key(os.urandom)
    other = ApiKeyEntry(id=poor_id, sha256=poor_digest, owner="pat", roles=("scorer",), created=utc(time.time()), expires=None)
    (tmp_path / "keys.json").write_bytes(keys_text([entry, other]))
    roles = {"console-sre": [{"verbs": ["health"]}], "scorer": [{"verbs": ["infer"]}]}
    (tmp_path / "access.yaml").write_text(yaml.safe_dump({"version": 1, "roles": roles, "keys": "keys.json"}))
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    put_service(tmp_path, "flows", status=under_way())
    with served_console(tmp_path, access=tmp_path / "access.yaml") as console, console.client() as client:
        assert client.post("/sign-in", data={"credentials": poor}).status_code == 403
        assert client.post("/sign-in", data={"credentials": "wrong"}).status_code == 403
        assert client.post(f"/sign-in/{console.links.make()}").status_code == 403, "with a policy no link counts"
        answer = client.post("/sign-in", data={"credentials": key, "next": "/rollouts/flows"})
        assert answer.headers["location"] == "/rollouts/flows"
        session = console.app.sessions.find(answer.cookies[console.cookie])
        assert (session.person.name, session.person.roles) == (f"key:{identity}", {ConsoleRole.SRE})
        assert session.token == "", "on this machine no credentials are kept"


def test_in_a_cluster_a_person_acts_with_their_own_token_and_in_the_name_the_api_server_knows(tmp_path):
    put_service(tmp_path, "flows", status=under_way())
    tokens = []

    class Theirs(ControlFolder):
        def who(self):
            return "oidc:sam"

    def acting_by(token):
        tokens.append(token)
        return Theirs(tmp_path)

    with served_console(tmp_path, acting_by=acting_by) as console:
        form = {"verb": "pause", "why": "the pager rang"}
        by_key = console.session("key:ab12", how="key")
        with console.client(by_key) as client:
            assert client.post("/rollouts/flows/act", data={"csrf": by_key.csrf, **form}).status_code == 403
        by_token = console.session("token:corp:sam", how="token")
        by_token.token = "s3cret"
        with console.client(by_token) as client:
            assert client.post("/rollouts/flows/act", data={"csrf": by_token.csrf, **form}).status_code == 303
            assert "s3cret" not in client.get("/rollouts/flows").text
    (left,) = ControlFolder(tmp_path).waiting("flows")
    assert (left.by, set(tokens)) == ("oidc:sam", {"s3cret"})


def test_five_hundred_services_are_a_light_page(tmp_path):
    for i in range(500):
        put_service(tmp_path, f"service-{i:03d}", status=healthy() if i % 7 else under_way())
    with served_console(tmp_path) as console, console.client(console.session()) as client:
        page = client.get("/rollouts").text
        assert len(page) < 300_000
        assert "500 services" in page
        assert page.count("<tr>") == 51
        found = client.get("/rollouts", params={"q": "service-499"}).text
        assert found.count("<tr>") == 2


def test_a_live_page_gets_parts_until_it_signs_out(console):
    session = console.session("ana")
    with (
        console.client(session) as client,
        client.stream("GET", "/events", params={"topic": "rollout", "key": "mail"}) as events,
    ):
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = events.iter_lines()
        first = next(json.loads(line[6:]) for line in lines if line.startswith("data: "))
        assert first.keys() >= {"standing", "evidence", "moves", "rollout-step"}
        console.app.sessions.end(session.id)
        assert "event: over" in list(lines)


def test_a_topic_that_is_none_and_a_viewer_that_is_none(console):
    with console.client(console.session()) as client:
        assert client.get("/events", params={"topic": "nothing"}).status_code == 404
    with console.client() as client:
        assert client.get("/events", params={"topic": "rollouts"}).status_code == 401


def test_the_choice_of_colours_and_what_was_read_are_kept_in_the_browser(console):
    session = console.session("ana")
    with console.client(session) as client:
        assert 'id="about"' in client.get("/rollouts").text
        client.post("/theme", data={"csrf": session.csrf, "theme": "dark", "back": "/rollouts"})
        client.post("/seen", data={"csrf": session.csrf, "room": "rollouts", "back": "/rollouts"})
        page = client.get("/rollouts").text
    assert 'data-theme="dark"' in page
    assert 'id="about"' not in page


def test_in_a_cluster_an_act_that_the_api_server_forbids_is_refused_and_the_control_plane_is_not_called_away(tmp_path):
    put_service(tmp_path, "flows", status=under_way())

    class Theirs(ControlFolder):
        def ask(self, name, request):
            raise Forbidden('namespace soc: modelservices "flows" is forbidden: User "sam" cannot patch')

    with served_console(tmp_path, acting_by=lambda token: Theirs(tmp_path)) as console:
        session = console.session("token:corp:sam", how="token")
        session.token = "s3cret"
        with console.client(session) as client:
            form = {"csrf": session.csrf, "verb": "pause", "why": "the pager rang"}
            answer = client.post("/rollouts/flows/act", data=form)
    assert answer.status_code == 403
    assert "cannot patch" in answer.text
    acts = list(ActsLog(tmp_path / "governance", signer=lambda: None, now_us=lambda: 0).read())
    assert [(one.action, one.outcome) for one in acts] == [("console.act", "refused"), ("console.sign-out", "accepted")]


def test_a_live_list_follows_the_whole_search_however_long_it_is(tmp_path):
    letter = "\N{CYRILLIC SMALL LETTER ZHE}"
    put_service(tmp_path, "near", status=under_way(2, "Paused", waitingFor=letter * 45))
    put_service(tmp_path, "this", status=under_way(2, "Paused", waitingFor=letter * 90))
    with served_console(tmp_path) as console, console.client(console.session()) as client:
        page = client.get("/rollouts", params={"q": letter * 80, "phase": "Paused"}).text
        key = unescape(re.search(r'data-live="rollouts" data-key="([^"]*)"', page)[1])
        with client.stream("GET", "/events", params={"topic": "rollouts", "key": key}) as stream:
            live = next(line for line in stream.iter_lines() if line.startswith("data:") and "rollouts-rows" in line)
        assert client.get("/events", params={"topic": "rollouts", "key": "x" * 2000}).status_code == 404
    for shown in (page, live):
        assert "/rollouts/this" in shown
        assert "/rollouts/near" not in shown
