"""Names of people in the console: read with their keys, found by name, and gone once a key is destroyed. Reasons are computed again from
the record."""

import asyncio
import re

import pytest

from lifecycle.governance.acts import Act, ActsLog
from tests.fakes.console.served import served_console
from tests.unit.lifecycle.governance.archive.test_erasure import answered
from tests.unit.operators.console.log_index.worlds import read_whole


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A store that answered ann and bob by a bundle that names the host as personal."""
    return asyncio.run(answered(tmp_path_factory.mktemp("people"), {"host": "encrypt"}))


@pytest.fixture(scope="module")
def console(world):
    with served_console(world.store) as served:
        yield read_whole(served)


@pytest.fixture(scope="module")
def ana(console):
    with console.client(console.session()) as client:
        yield client


def names(page):
    return set(re.findall(r"/detections/entity\?name=([^\"]+)\"", page.text))


def test_names_are_shown_and_found_as_long_as_their_keys_are_there(ana, world):
    assert names(ana.get("/detections?verdict=any")) == {"ann", "bob"}
    assert names(ana.get("/detections?verdict=any&entity=ann")) == {"ann"}
    assert "realtime" not in ana.get("/detections/entity?name=ann").text
    index = (world.store / "console" / "log-index.db").read_bytes()
    assert b"ann" not in index.replace(b"scanned", b"")


def test_an_alert_shows_its_values_and_reasons(ana):
    page = ana.get("/detections?verdict=any&entity=bob")
    event = re.search(r'data-event="([^"]+)"', page.text)[1]
    shown = ana.get("/detections/alert", params={"event": event})
    assert "bob" in shown.text
    card = re.search(r'id="card-link" href="([^"]+)"', shown.text)[1]
    assert ana.get(card).status_code == 200
    assert ana.get(f"/audit/lineage?of={event.partition('#')[0]}").status_code == 200
    reasons = ana.get("/detections/reasons", params={"event": event})
    assert "<ol" in reasons.text or "There are no reasons" in reasons.text


def test_the_list_has_codes_of_reasons_once_they_were_found(ana, console):
    ana.get("/detections?verdict=any")
    assert console.app.site.kept["detections"].ahead.wait(30)
    assert "<code>" in ana.get("/detections?verdict=any").text


def test_an_erased_person_vanishes_from_every_page(ana, world):
    subject = world.keys.subject(b"ann")
    events = re.findall(r'data-event="([^"]+)"', ana.get("/detections?verdict=any&entity=ann").text)
    assert events
    acts = ActsLog(world.store / "governance", signer=lambda: None, now_us=world.log_world.now)
    now_us = world.log_world.now()
    acts.record(Act(time_us=now_us, actor="eve", action="subject.erase", subject=f"subject/{subject}", reason="asked for it"))
    world.keys.destroy(subject)
    for path in (
        "/detections?verdict=any",
        "/audit",
        *(f"/detections/alert?event={event.replace('#', '%23')}" for event in events),
    ):
        page = ana.get(path)
        assert page.status_code == 200
        assert "name=ann" not in page.text
        assert ">ann<" not in page.text
    assert names(ana.get("/detections?verdict=any")) == {"bob"}
    assert "No alert fits" in ana.get("/detections?verdict=any&entity=ann").text
    assert "No model has raised an alert of this entity" in ana.get("/detections/entity?name=ann").text
