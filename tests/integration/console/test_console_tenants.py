"""People of a tenant: they see the records of their tenant's callers, and no page that shows all tenants."""

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
    world.write(*records, is_open=False)
    with served_console(world.store) as served:
        yield read_whole(served)


@pytest.fixture
def blue(console):
    roles = frozenset({ConsoleRole.ANALYST})
    session = console.app.sessions.begin(SignedInPerson("key:1", roles, "key", "blue", Globs(["10.*"])))
    with console.client(session) as client:
        yield client


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
