"""The page Audit through a real console: search, a receipt with its proof, lineage, the state of the logs."""

import os
import re
import shutil
import threading
from html import unescape

import pytest

from lifecycle.governance.acts import Act, ActsLog
from lifecycle.governance.verify import reading
from lifecycle.governance.verify.receipts import ReceiptProof, check
from operators.console.audit import log_state, page
from operators.console.audit.proofs import MOST_AT_ONCE
from operators.console.roles import ConsoleRole
from serving.audit.keys.trust import Trust
from tests.fakes.console.served import served_console
from tests.fakes.labelled import START_US, record
from tests.unit.lifecycle.governance.archive.logs import LogWorld
from tests.unit.lifecycle.governance.archive.test_archive import archive_all
from tests.unit.operators.console.log_index.worlds import alert, read_whole


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return LogWorld(tmp_path_factory.mktemp("console") / "store")


@pytest.fixture(scope="module")
def console(world):
    world.write(*(record(n) for n in range(60)), is_open=False)
    archive_all(world)
    world.write(*(alert(n, receipt=f"live-{n}") for n in range(5)), is_open=False)
    acts = ActsLog(world.store / "governance", signer=lambda: world.signer, now_us=world.now)
    why = '<img src=x onerror="alert(1)">'
    act = Act(time_us=START_US, actor="eve", action="rollout.promote", subject="modelservice/default/flows", reason=why)
    acts.record(act)
    with served_console(world.store) as served:
        yield read_whole(served)


@pytest.fixture
def vic(console):
    with console.client(console.session("vic", frozenset({ConsoleRole.VIEWER}))) as client:
        yield client


def test_everything_is_listed_newest_first_and_each_record_once(vic):
    found, path = [], "/audit"
    while path:
        page = vic.get(path)
        assert page.status_code == 200
        assert len(page.content) < 300_000
        found += re.findall(r"/audit/record\?kind=(\w+)&amp;number=(\d+)", page.text)
        older = re.search(r'id="older" rel="next" href="([^"]+)"', page.text)
        path = unescape(older[1]) if older else None
    assert len(found) == len(set(found))
    assert [kind for kind, _ in found].count("answer") == 65
    assert [kind for kind, _ in found].count("act") == 2, "the promotion, and the archiving"


def test_a_search_finds_an_act_and_shows_it_as_text(vic):
    page = vic.get("/audit?kind=act&actor=eve")
    assert "rollout.promote" in page.text
    assert "<img src=x" not in page.text
    record_page = vic.get(unescape(re.search(r'"(/audit/record\?[^"]+)"', page.text)[1]))
    assert "modelservice/default/flows" in record_page.text
    assert "<img src=x" not in record_page.text
    assert "No record fits" in vic.get("/audit?actor=nobody").text


@pytest.mark.parametrize("receipt", ["live-3", "r-7"])
def test_a_receipt_is_proved_with_each_step_live_or_archived(vic, world, receipt):
    page = vic.get(f"/audit/receipt?id={receipt}")
    assert page.status_code == 200
    assert 'id="proved"' in page.text
    assert "This is the root that the checkpoint has" in page.text
    assert ">fails<" not in page.text
    answer = vic.get(f"/audit/receipt/proof?id={receipt}")
    assert answer.headers["content-disposition"] == f'attachment; filename="receipt-{receipt}.json"'
    proof = ReceiptProof.decode(answer.content)
    assert check(proof, Trust.of_store(world.store, world.folder))[0].log == "1-aa"


def test_an_ended_segment_is_hashed_once_and_again_after_its_file_changed(vic, world, monkeypatch):
    assert 'id="proved"' in vic.get("/audit/receipt?id=live-3").text
    hashed, leaves_of = [], reading.leaves_of
    monkeypatch.setattr(reading, "leaves_of", lambda files, archived: hashed.append(files.stem) or leaves_of(files, archived))
    assert 'id="proved"' in vic.get("/audit/receipt?id=live-1").text
    assert hashed == []
    for path in world.folder.glob("segment-*.jsonl"):
        os.utime(path, (1, 1))
    assert 'id="proved"' in vic.get("/audit/receipt?id=live-1").text
    assert len(hashed) == 1


def test_many_proofs_at_once_leave_threads_for_other_pages(vic, console):
    vic.get("/audit/receipt?id=live-3")
    making = console.app.site.kept["audit"].trees.making
    for _ in range(MOST_AT_ONCE):
        assert making.acquire(blocking=False)
    try:
        assert "many proofs are being made" in vic.get("/audit/receipt?id=live-3").text
    finally:
        making.release(MOST_AT_ONCE)
    assert 'id="proved"' in vic.get("/audit/receipt?id=live-3").text


def test_a_receipt_that_is_not_there_has_no_proof(vic):
    page = vic.get("/audit/receipt?id=%22%3E%3Cb%3E")
    assert page.status_code == 404
    assert "<b>" not in page.text
    assert 'id="not-proved"' in page.text
    assert vic.get("/audit/receipt/proof?id=nothing").status_code == 404
    assert vic.get("/audit/receipt").status_code == 200


def test_a_changed_record_is_not_proved(tmp_path):
    world = LogWorld(tmp_path / "store")
    world.write(alert(0), alert(1), is_open=False)
    (path,) = world.folder.glob("segment-*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"latency_us":100', b'"latency_us":101', 1))
    with served_console(world.store) as served, read_whole(served).client(served.session()) as client:
        page = client.get("/audit/receipt?id=r-0")
        assert 'id="not-proved"' in page.text
        assert "the records do not fit the checkpoint over it" in page.text


def test_the_lineage_of_an_answer_is_drawn_and_listed(vic):
    page = vic.get("/audit/lineage?of=live-3")
    assert page.status_code == 200
    assert '<svg class="lineage"' in page.text
    assert "style=" not in page.text
    assert "answer" in page.text
    unknown = vic.get("/audit/lineage?of=%3Cscript%3E")
    assert unknown.status_code == 404
    assert "<script>" not in unknown.text.split("</head>")[1]


def test_the_state_of_the_logs_names_checkpoints_and_what_verification_found(console, vic):
    page = vic.get("/audit/log")
    assert "1-aa" in page.text
    assert 'id="never-verified"' in page.text
    assert 'id="no-anchors"' in page.text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
    assert vic.post("/audit/log", data={"csrf": csrf}).status_code == 303
    verification = console.app.site.kept["audit"].verification
    with verification._running:  # taken when the run has ended
        pass
    assert 'id="sound"' in vic.get("/audit/log").text


@pytest.mark.parametrize("path", ["/audit/record", "/audit/record?kind=act&number=999", "/audit/record?kind=x&number=1"])
def test_a_record_that_is_not_there_is_not_found(vic, path):
    assert vic.get(path).status_code == 404


def verified(served, client):
    """The page of the state of the logs after a verification."""
    csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/audit/log").text)[1]
    assert client.post("/audit/log", data={"csrf": csrf}).status_code == 303
    with served.app.site.kept["audit"].verification._running:  # taken when the run has ended
        pass
    return client.get("/audit/log").text


def test_a_log_that_was_removed_is_found_as_the_command_line_finds_it(tmp_path, monkeypatch):
    world = LogWorld(tmp_path / "store")
    world.write(alert(0), is_open=False)
    (world.store / "served.json").write_text("{}")
    shutil.rmtree(world.folder)
    with served_console(world.store) as served, served.client(served.session()) as client:
        page = verified(served, client)
        assert 'id="changed"' in page
        assert "log missing" in page
    monkeypatch.setenv("VEDETTE_AUDIT", "off")
    with served_console(world.store) as served, served.client(served.session()) as client:
        assert "log missing" not in verified(served, client)


def test_a_verification_with_many_findings_says_how_many_more_there_are(tmp_path):
    world = LogWorld(tmp_path / "store")
    for n in range(25):
        world.write(alert(n), is_open=False)
    for path in world.folder.glob("segment-*.jsonl"):
        path.write_bytes(path.read_bytes().replace(b'"latency_us":100', b'"latency_us":101'))
    with served_console(world.store) as served, served.client(served.session()) as client:
        page = verified(served, client)
    assert int(re.search(r'id="more-findings">and (\d+) more', page)[1]) >= 5


def test_a_verification_that_fails_says_so(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret=hunter2")

    monkeypatch.setattr(log_state, "verify_with_archive", broken)
    world = LogWorld(tmp_path / "store")
    with served_console(world.store) as served, served.client(served.session()) as client:
        page = verified(served, client)
    assert "It could not be done: the console failed at it" in page
    assert "hunter2" not in page


def test_the_facts_of_lineage_are_read_once_by_all_who_ask_at_one_moment(console, vic, monkeypatch):
    room = console.app.site.kept.get("audit") or (vic.get("/audit"), console.app.site.kept["audit"])[1]
    room.facts = None
    read, facts = [], page.read_facts

    def slow(*given):
        read.append(given)
        asked.wait(60)
        return facts(*given)

    asked = threading.Event()
    monkeypatch.setattr(page, "read_facts", slow)
    answers = []
    people = [threading.Thread(target=lambda: answers.append(page._facts(console.app.site, room))) for _ in range(4)]
    for one in people:
        one.start()
    asked.set()
    for one in people:
        one.join()
    assert len(read) == 1
    assert len(answers) == 4


def test_lineage_that_cannot_be_read_now_is_not_said_to_be_unknown(console, vic, monkeypatch):
    def broken(*_):
        raise OSError(5, "Input/output error")

    console.app.site.kept["audit"].facts = None
    monkeypatch.setattr(page, "read_facts", broken)
    assert vic.get("/audit/lineage?of=live-3").status_code == 503
