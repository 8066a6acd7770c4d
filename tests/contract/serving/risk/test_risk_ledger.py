"""The laws of the risk ledger, over SQLite and a real Redis: nothing that was added is lost, whoever else writes."""

import sqlite3
import threading
import uuid
from contextlib import closing

import pytest

from serving.risk.ledger import LedgerDown
from serving.risk.redis_ledger import RedisLedger
from serving.risk.rules_of_risk import RiskRules
from serving.risk.signal import PendingCheck, RiskSignal, WrongSignal
from serving.risk.sqlite_ledger import SqliteLedger
from tests.open_files import open_below

S = 1_000_000
T0 = 1_700_000_000 * S
RULES = RiskRules()


@pytest.fixture(params=["sqlite", "redis"])
def open_ledger(request, tmp_path):
    """Opens the same ledger as often as it is called."""
    if request.param == "sqlite":
        opened = [SqliteLedger(tmp_path / "store" / "risk.db", RULES)]
        make = lambda: SqliteLedger(tmp_path / "store" / "risk.db", RULES)  # noqa: E731
    else:
        url, project = request.getfixturevalue("redis_url"), uuid.uuid4().hex
        opened = []
        make = lambda: RedisLedger(url, RULES, project)  # noqa: E731

    def opener():
        opened.append(make())
        return opened[-1]

    yield opener
    for one in opened:
        one.close()


def signal(entity="h", p=0.9, at_s=0.0, kind="realtime", name="flows"):
    at_us = T0 + int(at_s * S)
    return RiskSignal(entity=entity, kind=kind, name=name, probability=p, at_us=at_us, id=f"{entity}/{kind}/{name}/{at_s}")


def check(entity="h", due_s=60):
    return PendingCheck(entity=entity, id="e/0/1", name="deep", asked_us=T0, due_us=T0 + due_s * S)


def test_what_was_added_is_found_by_another_process(open_ledger):
    open_ledger().add([signal()], [check()], T0)
    risk = open_ledger().find("h", T0)
    assert [part.signal for part in risk.parts] == [signal()]
    assert risk.pending == (check(),)


def test_an_entity_nobody_spoke_of_is_not_found(open_ledger):
    assert open_ledger().find("h", T0) is None


def test_an_update_is_given_for_each_entity_that_changed(open_ledger):
    ledger = open_ledger()
    updates = ledger.add([signal("a"), signal("b", 0.2)], [], T0)
    assert sorted(update.after.entity for update in updates) == ["a", "b"]
    assert ledger.add([signal("a"), signal("b", 0.2)], [], T0) == []


def test_a_notable_change_is_kept_with_how_late_it_came(open_ledger):
    ledger = open_ledger()
    ledger.add([signal(p=0.05)], [], T0)
    (update,) = ledger.add([signal(p=0.99, kind="batch", name="behaviour")], [], T0 + 1800 * S)
    assert update.is_notable
    change = ledger.find("h", T0 + 1800 * S).changes[-1]
    assert (change.late_s, change.because) == (1800.0, "batch/behaviour h/batch/behaviour/0.0")
    assert change.after == pytest.approx(update.after.risk)


def test_a_wrong_signal_writes_nothing(open_ledger):
    ledger = open_ledger()
    with pytest.raises(WrongSignal):
        ledger.add([signal("good"), signal("bad", 7.0)], [], T0)
    assert ledger.find("good", T0) is None


def test_the_highest_risks_come_first_and_decay_is_counted(open_ledger):
    ledger = open_ledger()
    later = 10 * 3600
    ledger.add([signal("old", 0.999), signal("new", 0.6, at_s=later), signal("low", 0.05, at_s=later)], [], T0 + later * S)
    assert [risk.entity for risk in ledger.highest(2, T0 + later * S)] == ["new", "low"]
    assert [risk.entity for risk in ledger.highest(9, T0)] == ["old", "new", "low"]


def test_the_highest_are_right_among_more_than_a_page(open_ledger):
    ledger = open_ledger()
    ages = {f"h{i:04}": (i * 7919) % 5000 for i in range(700)}
    ledger.add([signal(entity, 0.9, at_s=-age) for entity, age in ages.items()], [], T0)
    expected = sorted(ages, key=lambda entity: (ages[entity], entity))[:5]
    assert [risk.entity for risk in ledger.highest(5, T0)] == expected


def test_the_highest_of_some_are_right_however_high_the_others_are(open_ledger):
    ledger = open_ledger()
    ledger.add([signal(f"red/{i:04}", 0.9) for i in range(700)] + [signal("blue/1", 0.01), signal("blue/2", 0.02)], [], T0)
    found = ledger.highest(5, T0, lambda entity: entity.startswith("blue/"))
    assert [risk.entity for risk in found] == ["blue/2", "blue/1"]


def test_entities_not_heard_of_are_forgotten(open_ledger):
    ledger = open_ledger()
    ledger.add([signal("old"), signal("new", at_s=100)], [], T0)
    assert ledger.forget_before(T0 + 50 * S) == 1
    assert ledger.find("old", T0) is None
    assert [risk.entity for risk in ledger.highest(9, T0)] == ["new"]


def test_writers_side_by_side_lose_nothing(open_ledger):
    ledgers, failures = [open_ledger() for _ in range(4)], []

    def write(number):
        try:
            for i in range(7):
                ledgers[number].add([signal("shared", name=f"w{number}-{i}"), signal(f"own{number}")], [], T0)
        except Exception as problem:
            failures.append(problem)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert failures == []
    assert len(open_ledger().find("shared", T0).parts) == 28


@pytest.mark.parametrize("entity", ["a b", "x" * 490, "{y}", "näme", "a\x00b", "%'; DROP TABLE risk; --"])
def test_any_text_names_an_entity(open_ledger, entity):
    ledger = open_ledger()
    ledger.add([signal(entity)], [], T0)
    assert ledger.find(entity, T0).entity == entity
    assert [risk.entity for risk in ledger.highest(1, T0)] == [entity]


def test_a_file_that_is_no_database_says_so(tmp_path):
    (tmp_path / "risk.db").write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerDown, match=r"risk\.db") as told:
        SqliteLedger(tmp_path / "risk.db", RULES)
    assert open_below(tmp_path) == [], told  # with its traceback, which keeps what nobody closed


def test_a_record_of_another_program_says_so(tmp_path):
    with closing(SqliteLedger(tmp_path / "risk.db", RULES)) as ledger:
        ledger.add([signal()], [], T0)
        with closing(sqlite3.connect(tmp_path / "risk.db")) as connection, connection:
            connection.execute("UPDATE risk SET record = ?", (b"\xff\x00",))
        with pytest.raises(LedgerDown, match="no record"):
            ledger.find("h", T0)


def test_a_redis_that_is_away_says_so_and_goes_on_when_it_is_back(request):
    server = request.getfixturevalue("redis_server")
    ledger = RedisLedger(server.url, RULES, "away")
    server.kill()
    with pytest.raises(LedgerDown, match="VEDETTE_RISK_URL"):
        ledger.add([signal()], [], T0)
    server.start()
    assert ledger.add([signal()], [], T0)
    ledger.close()


def test_a_wrong_address_does_not_show_its_password():
    with pytest.raises(LedgerDown) as caught:
        RedisLedger("http://:secret@x", RULES)
    assert "secret" not in str(caught.value)
