"""People of a tenant see the records of their tenant's callers, people who are narrowed to models the records of these; neither sees a page
that shows all."""

import msgspec
import pytest

from operators.console.roles import ConsoleRole, SignedInPerson
from serving.access.policy import Globs
from tests.fakes.console.served import served_console
from tests.unit.lifecycle.governance.archive.logs import LogWorld
from tests.unit.operators.console.log_index.worlds import alert, read_whole


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    world = LogWorld(tmp_path_factory.mktemp("tenants") / "store")
    records = [msgspec.structs.replace(alert(n), tenant=tenant) for n, tenant in enumerate(("blue", "red", ""))]
    world.write(*records, alert(3, model="dns"), is_open=False)
    with served_console(world.store) as served:
        yield read_whole(served)


@pytest.fixture
def blue(console):
    roles = frozenset({ConsoleRole.ANALYST})
    session = console.app.sessions.begin(SignedInPerson("key:1", roles, "key", "blue", Globs(["10.*"])))
    with console.client(session) as client:
        yield client


@pytest.fixture
def narrowed(console):
    """An SRE whose key is for one model."""
    person = SignedInPerson("key:2", frozenset({ConsoleRole.SRE}), "key", models=Globs(["dns*"]))
    session = console.app.sessions.begin(person)
    with console.client(session) as client:
        yield client, session


def test_who_is_narrowed_to_models_sees_their_records_only(narrowed):
    client, _ = narrowed
    page = client.get("/detections?verdict=any")
    assert 'data-event="r-3"' in page.text
    assert page.text.count("data-event=") == 1
    found = client.get("/audit").text
    assert "<code>r-3</code>" in found
    assert found.count("/audit/receipt?id=") == 1
    assert client.get("/detections/alert?event=r-3").status_code == 200
    assert 'id="proved"' in client.get("/audit/receipt?id=r-3").text


@pytest.mark.parametrize(
    "path",
    [
        "/detections/alert?event=r-2",
        "/audit/receipt?id=r-2",
        "/audit/receipt/proof?id=r-2",
        "/audit/record?kind=answer&number=3",
    ],
)
def test_records_of_other_models_are_not_found(narrowed, path):
    assert narrowed[0].get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/rollouts", "/rollouts/flows", "/models", "/service", "/audit/log", "/events?topic=rollouts"]
)
def test_pages_that_show_all_models_are_refused(narrowed, path):
    assert narrowed[0].get(path).status_code == 403


def test_who_is_narrowed_to_models_moves_no_rollout(narrowed):
    client, session = narrowed
    form = {"csrf": session.csrf, "verb": "promote", "why": "I want to"}
    assert client.post("/rollouts/flows/act", data=form).status_code == 403


def test_a_tenants_person_sees_the_tenants_alerts_only(blue):
    page = blue.get("/detections?verdict=any")
    assert page.status_code == 200
    assert 'data-event="r-0"' in page.text
    assert 'data-event="r-1"' not in page.text
    assert 'data-event="r-2"' not in page.text
    assert 'data-newest="1"' in page.text, "how many others have is not told"
    assert "data-live" not in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/detections/alert?event=r-1",
        "/audit/receipt?id=r-1",
        "/audit/receipt/proof?id=r-2",
        "/audit/record?kind=answer&number=2",
    ],
)
def test_records_of_others_are_not_found(blue, path):
    assert blue.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/rollouts", "/models", "/drift", "/service", "/audit/lineage?of=r-0", "/audit/log", "/events?topic=detections"]
)
def test_pages_that_show_all_tenants_are_refused(blue, path):
    assert blue.get(path).status_code == 403


def test_the_navigation_has_what_is_theirs_and_home_leads_there(blue):
    page = blue.get("/", follow_redirects=True)
    assert page.url.path == "/detections"
    assert 'id="nav-audit"' in page.text
    assert 'id="nav-rollouts"' not in page.text


def test_their_own_receipt_is_proved_and_their_own_alert_labelled(blue):
    assert 'id="proved"' in blue.get("/audit/receipt?id=r-0").text
    page = blue.get("/detections").text
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    form = {"csrf": csrf, "nonce": "abcdefghij", "back": "/detections"}
    assert blue.post("/detections/label", data=form | {"say": "attack r-1"}).status_code == 404
    assert blue.post("/detections/label", data=form | {"say": "attack r-0"}).status_code == 303
