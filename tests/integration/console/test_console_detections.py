"""The page Detections through a real console: alerts of a real log, labels in the real log of labels."""

import re
from html import unescape

import msgspec
import pytest

from lifecycle.labels.label_log import LabelLog
from operators.console.detections import labelling, risks
from operators.console.detections.page import watched
from operators.console.detections.reasons import MOST_AT_ONCE
from operators.console.log_index.store_index import IndexState, StoreIndex
from operators.console.roles import ConsoleRole
from serving.audit.personal.subject_keys import SubjectKeys
from serving.risk.ledger import LedgerDown
from serving.risk.opening import open_ledger
from serving.risk.rules_of_risk import read_rules
from serving.risk.signal import RiskSignal
from serving.risk.sqlite_ledger import FILE, SqliteLedger
from tests.fakes.console.served import served_console
from tests.unit.lifecycle.governance.archive.logs import LogWorld
from tests.unit.operators.console.log_index.worlds import alert, read_whole

XSS = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return LogWorld(tmp_path_factory.mktemp("console") / "store")


@pytest.fixture(scope="module")
def console(world):
    rules = ((f"rule {XSS}",),)
    world.write(*(alert(n) for n in range(120)), is_open=True)
    world.write(
        msgspec.structs.replace(alert(500, receipt="r-hostile"), rules=[list(rules[0])], model=f"m{XSS}", version="1"),
        alert(501, receipt="r-two", verdicts=("benign", "investigate")),
        log="2-bb",
        is_open=True,
    )
    ledger = SqliteLedger(world.store / FILE, read_rules(world.store))
    signal = RiskSignal(entity="10.0.0.9", kind="realtime", name="flows", probability=0.9, at_us=1_760_000_000_000_000, id="s1")
    ledger.add([signal], [], 1_760_000_100_000_000)
    ledger.close()
    with served_console(world.store) as served:
        yield read_whole(served)


@pytest.fixture
def ana(console):
    with console.client(console.session("ana")) as client:
        yield client


@pytest.fixture
def viewer(console):
    with console.client(console.session("vic", frozenset({ConsoleRole.VIEWER}))) as client:
        yield client


def events(page):
    return re.findall(r'data-event="([^"]+)"', page.text)


def field(page, name):
    return unescape(re.search(rf'name="{name}" value="([^"]*)"', page.text)[1])


def say(client, event, verdict, **more):
    page = client.get("/detections?verdict=any")
    form = {"csrf": field(page, "csrf"), "nonce": field(page, "nonce"), "back": "/detections", "say": f"{verdict} {event}"}
    return client.post("/detections/label", data=form | more)


def test_the_list_is_newest_first_and_small(ana):
    page = ana.get("/detections?model=flows")
    assert page.status_code == 200
    assert events(page)[:2] == ["r-77", "r-76"]
    assert len(events(page)) == 50
    assert len(page.content) < 300_000


def test_older_pages_give_the_rest_once(ana):
    found, path = [], "/detections?model=flows"
    while path:
        page = ana.get(path)
        found += events(page)
        older = re.search(r'id="older" rel="next" href="([^"]+)"', page.text)
        path = unescape(older[1]) if older else None
    assert found == [f"r-{n:x}" for n in range(119, -1, -1)]


def test_a_console_that_ends_closes_the_ledger_of_risks(world, console, monkeypatch):
    """Its descriptor says nothing: SQLite keeps one open while another connection of the process holds a lock on the file."""
    opened = []
    monkeypatch.setattr(risks, "open_ledger", lambda *words: opened.append(open_ledger(*words)) or opened[-1])
    with served_console(world.store) as other, other.client(other.session("ana")) as client:
        assert client.get("/detections/entity?name=10.0.0.9").status_code == 200
        (ledger,) = opened
        assert ledger.find("10.0.0.9", 0) is not None
    with pytest.raises(LedgerDown, match="closed database"):
        ledger.find("10.0.0.9", 0)


def test_what_others_wrote_is_text_and_never_markup(ana):
    for path in (
        "/detections?verdict=any",
        "/detections/alert?event=r-hostile",
        "/audit",
        "/detections?entity=%3Cscript%3E&since=%3Cb%3E",
    ):
        page = ana.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<b>" not in page.text
        assert ' style="' not in page.text
        assert "onclick" not in page.text


def test_a_label_is_kept_in_the_log_under_the_persons_name(ana, world):
    assert say(ana, "r-10", "attack").headers["location"] == "/detections"
    (label,) = LabelLog(world.store / "labels").history("r-10")
    assert (label.verdict, label.analyst, label.source, label.model, label.selection) == (
        "attack",
        "ana",
        "console",
        "flows",
        "alert",
    )
    page = ana.get("/detections/alert?event=r-10")
    assert "Labelled: attack." in page.text
    assert ">attack</span>" in page.text


def test_a_key_gets_the_part_of_the_row(ana):
    said = say(ana, "r-11", "benign", part="1").json()
    assert said["said"] == "Labelled: false alarm."
    assert "false alarm" in said["html"]


def test_undo_is_a_new_label(ana, world):
    for verdict in ("attack", "benign", "undo"):
        say(ana, "r-12", verdict)
    say(ana, "r-13", "attack")
    say(ana, "r-13", "undo")
    log = LabelLog(world.store / "labels")
    assert [label.verdict for label in log.history("r-12")] == ["attack", "benign", "attack"]
    assert [label.verdict for label in log.history("r-13")] == ["attack", "unsure"]


def test_the_same_press_counts_once(ana, world):
    page = ana.get("/detections")
    form = {"csrf": field(page, "csrf"), "nonce": field(page, "nonce"), "say": "attack r-14", "back": "/detections"}
    for _ in range(3):
        ana.post("/detections/label", data=form)
    assert len(LabelLog(world.store / "labels").history("r-14")) == 1


def test_a_row_of_several_is_labelled_by_itself(ana, world):
    say(ana, "r-two#1", "unsure")
    assert [label.event for label in LabelLog(world.store / "labels").history("r-two#1")] == ["r-two#1"]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        pytest.param({"say": "attack r-nowhere"}, 404, id="no such alert"),
        pytest.param({"say": "evil r-15"}, 400, id="no such label"),
        pytest.param({"say": "attack"}, 404, id="no alert"),
        pytest.param({"say": "attack r-15", "nonce": "x" * 200}, 400, id="a nonce of another form"),
        pytest.param({"say": "attack r-15", "csrf": "x"}, 403, id="another session's token"),
        pytest.param({"say": "undo r-15"}, 400, id="nothing to undo"),
    ],
)
def test_wrong_labels_are_refused_and_nothing_is_kept(ana, world, form, status):
    answer = say(ana, "r-15", "attack", **form)
    assert answer.status_code == status
    assert LabelLog(world.store / "labels").history("r-15") == []


def test_where_no_label_can_be_kept_the_page_says_what_to_do_and_has_no_buttons(ana, monkeypatch):
    monkeypatch.setattr(labelling.os, "access", lambda place, mode: place.name != "labels")  # a mount that is read-only
    page = ana.get("/detections").text
    assert "No label can be given here" in page
    assert "manifests/base/console" in page
    assert 'name="say"' not in page
    assert 'name="say"' not in ana.get("/detections/alert?event=r-16").text


def test_a_viewer_may_look_and_not_label(viewer, world):
    page = viewer.get("/detections")
    assert page.status_code == 200
    assert 'name="say"' not in page.text
    answer = viewer.post("/detections/label", data={"csrf": field(page, "csrf"), "nonce": "abcdefghij", "say": "attack r-16"})
    assert answer.status_code == 403
    assert LabelLog(world.store / "labels").history("r-16") == []


def test_the_way_back_leads_nowhere_else(ana):
    assert say(ana, "r-17", "attack", back="//evil.example/").headers["location"] == "/detections"
    assert say(ana, "r-17", "benign", back="/detections?model=flows").headers["location"] == "/detections?model=flows"


def test_one_alert_shows_what_was_recorded_and_why_there_are_no_reasons(ana):
    page = ana.get("/detections/alert?event=r-10&reasons=1")
    assert "/audit/receipt?id=r-10" in page.text
    assert "There are no reasons" in page.text
    assert ana.get("/detections/alert?event=nowhere").status_code == 404


def test_an_entity_has_its_risk_with_parts(ana):
    page = ana.get("/detections/entity?name=10.0.0.9")
    assert page.status_code == 200
    assert "realtime" in page.text
    assert "<svg" in page.text
    assert ana.get("/detections/entity").status_code == 400


def test_new_alerts_are_counted_and_told_to_a_page_that_listens(ana, world):
    page = ana.get("/detections?model=late")
    newest = re.search(r'data-newest="(\d+)"', page.text)[1]
    with ana.stream("GET", "/events?topic=detections") as stream:
        lines = stream.iter_lines()
        first = next(line for line in lines if line.startswith("data:"))
        assert newest in first
        world.write(alert(600, model="late"), log="3-cc", is_open=True)
        second = next(line for line in lines if line.startswith("data:"))
        assert second != first
    found = ana.get(f"/detections/new?model=late&from={newest}").json()
    assert found == {"count": 1, "words": "1 new alert"}


def test_wrong_filters_are_named_and_passed_over(ana):
    page = ana.get("/detections?verdict=evil&since=yesterday&behind=%21%21")
    assert page.status_code == 200
    assert page.text.count('class="said problem"') == 3


def test_a_damaged_segment_is_named_and_the_rest_is_shown(tmp_path):
    world = LogWorld(tmp_path / "store")
    world.write(alert(0), is_open=True)
    (path,) = world.folder.glob("segment-*.jsonl")
    path.write_bytes(path.read_bytes() + b"damaged\n")
    with served_console(world.store) as served, read_whole(served).client(served.session()) as client:
        page = client.get("/detections")
        assert events(page) == ["r-0"]
        assert "1 line is not a record" in page.text


def test_a_store_that_cannot_be_written_has_a_page_that_says_so(tmp_path):
    world = LogWorld(tmp_path / "store")
    world.write(alert(0), is_open=True)
    with served_console(world.store) as served, served.client(served.session()) as client:
        (world.store / "console" / "log-index.db").mkdir()  # as a file that nobody can open
        for path in ("/detections", "/detections/alert?event=r-0", "/audit", "/audit/log", "/audit/receipt?id=r-0"):
            page = client.get(path)
            assert page.status_code == 503
            assert "log-index.db" in page.text


def test_an_empty_store_says_what_to_do(tmp_path):
    (tmp_path / "store").mkdir()
    with served_console(tmp_path / "store") as served, read_whole(served).client(served.session()) as client:
        page = client.get("/detections")
        assert page.status_code == 200
        assert "No model has raised an alert yet" in page.text


def test_an_erased_person_is_nowhere_on_the_pages(tmp_path):
    world = LogWorld(tmp_path / "store")
    keys = SubjectKeys(world.store / "keys" / "subjects")
    world.write(alert(0, host="ann-laptop", keys=keys), is_open=True)
    keys.destroy(keys.subject(b"ann-laptop"))
    with served_console(world.store) as served, read_whole(served).client(served.session()) as client:
        for path in ("/detections", "/detections/alert?event=r-0", "/audit"):
            page = client.get(path)
            assert page.status_code == 200
            assert "ann-laptop" not in page.text
        assert events(client.get("/detections?entity=ann-laptop")) == []


def test_an_open_list_says_that_the_logs_cannot_be_followed(console, monkeypatch):
    assert "live-problem" not in watched(console.app.site, "")
    monkeypatch.setattr(StoreIndex, "refresh", lambda *_, **__: IndexState(False, problem="<b>no space"))
    assert "newer alerts may be missing" in watched(console.app.site, "")["live-problem"]
    assert "<b>" not in watched(console.app.site, "")["live-problem"]


def test_undo_that_is_pressed_twice_counts_once(ana, world):
    for verdict in ("attack", "benign"):
        say(ana, "r-18", verdict)
    page = ana.get("/detections")
    form = {"csrf": field(page, "csrf"), "nonce": field(page, "nonce"), "say": "undo r-18", "back": "/detections"}
    assert [ana.post("/detections/label", data=form).status_code for _ in range(3)] == [303, 303, 303]
    assert [label.verdict for label in LabelLog(world.store / "labels").history("r-18")] == ["attack", "benign", "attack"]


def test_looking_makes_no_key_and_the_first_label_does(tmp_path):
    world = LogWorld(tmp_path / "store")
    world.write(alert(0), is_open=True)
    key = world.store / "keys" / "audit.pem"
    key.unlink()
    with served_console(world.store) as served, read_whole(served).client(served.session()) as client:
        assert events(client.get("/detections")) == ["r-0"]
        assert not key.exists()
        assert say(client, "r-0", "attack").status_code == 303
    assert key.exists()


def test_many_reasons_at_once_leave_threads_for_other_pages(ana, console):
    ana.get("/detections")
    room = console.app.site.kept["detections"]
    assert room.ahead.wait(30)
    for _ in range(MOST_AT_ONCE):
        assert room.explainer.asking.acquire(blocking=False)
    try:
        assert "many reasons are being computed" in ana.get("/detections/reasons?event=r-10").text
    finally:
        room.explainer.asking.release(MOST_AT_ONCE)
    assert "many reasons" not in ana.get("/detections/reasons?event=r-10").text
