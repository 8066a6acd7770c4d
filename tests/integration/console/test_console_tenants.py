"""People of a tenant see the records of their tenant's callers, people who are narrowed to models the records of these; neither sees a page
that shows all. SREs who are narrowed to models move the rollouts of these."""

import msgspec
import pytest

from operators.console.roles import ConsoleRole, SignedInPerson
from serving.access.policy import Globs
from tests.fakes.console.documents import put_service, under_way
from tests.fakes.console.served import served_console
from tests.unit.lifecycle.governance.archive.logs import LogWorld
from tests.unit.operators.console.log_index.worlds import alert, read_whole


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    world = LogWorld(tmp_path_factory.mktemp("tenants") / "store")
    records = [msgspec.structs.replace(alert(n), tenant=tenant) for n, tenant in enumerate(("blue", "red", ""))]
    world.write(*records, alert(3, model="dns"), is_open=False)
    for name in ("flows", "dns-east"):
        put_service(world.store, name, status=under_way())
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


@pytest.mark.parametrize("path", ["/models", "/service", "/drift", "/audit/log", "/events?topic=rollouts"])
def test_pages_that_show_all_models_are_refused(narrowed, path):
    assert narrowed[0].get(path).status_code == 403


def test_who_is_narrowed_to_models_sees_the_rollouts_of_these(narrowed):
    client, _ = narrowed
    page = client.get("/rollouts")
    assert ">dns-east<" in page.text
    assert "flows" not in page.text
    assert "1 service<" in page.text.replace(" ·", "<"), "how many others there are is not told"
    assert 'data-live="rollouts"' not in page.text, "what is live is the same for all viewers"
    assert 'id="nav-rollouts"' in page.text
    assert 'id="act-abort"' in client.get("/rollouts/dns-east").text


@pytest.mark.parametrize("name", ["flows", "there-is-none"])
@pytest.mark.parametrize("path", ["/rollouts/{}", "/events?topic=rollout&key={}", "/events?topic=rollout-chart&key={}"])
def test_a_service_of_another_model_is_refused_as_one_that_is_not_there(narrowed, path, name):
    answer = narrowed[0].get(path.format(name))
    assert (answer.status_code, name in answer.text) == (403, False)


def test_the_page_of_their_service_is_live(narrowed):
    with narrowed[0].stream("GET", "/events?topic=rollout&key=dns-east") as answer:
        assert answer.status_code == 200
        first = next(line for line in answer.iter_lines() if line.startswith("data: "))
    assert "dns-east" in first


@pytest.mark.parametrize("act", ["act", "decide", "text-to-sign"])
def test_who_is_narrowed_to_models_moves_no_rollout_of_others(console, act):
    person = SignedInPerson("key:3", frozenset(ConsoleRole), "key", models=Globs(["dns*"]))
    session = console.app.sessions.begin(person)
    with console.client(session) as client:
        form = {"csrf": session.csrf, "verb": "promote", "why": "I want to"}
        assert client.post(f"/rollouts/flows/{act}", data=form).status_code == 403
    assert not list((console.store_dir / "control" / "flows.requests").glob("*"))


def test_who_is_narrowed_to_models_moves_the_rollouts_of_these(narrowed, console):
    client, session = narrowed
    form = {"csrf": session.csrf, "verb": "abort", "why": "it is worse"}
    assert client.post("/rollouts/dns-east/act", data=form).status_code == 303
    (request,) = (console.store_dir / "control" / "dns-east.requests").glob("*.json")
    assert '"key:2"' in request.read_text()


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
