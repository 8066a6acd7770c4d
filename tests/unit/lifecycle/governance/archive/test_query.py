"""SQL over the log: typed columns, rows of requests, and nothing of the machine but the log."""

import json

import pytest

from lifecycle.governance.acts import Act, ActsLog
from lifecycle.governance.archive.query import COLUMNS, LogQuery, QueryError
from serving.audit.record import AuditRecord
from tests.fakes.serving.records import record
from tests.unit.lifecycle.governance.archive.logs import START_US, LogWorld, batch

pytestmark = pytest.mark.heavy


@pytest.fixture
def world(tmp_path):
    return LogWorld(tmp_path / "store")


def ask(world, sql, **options):
    return LogQuery(world.log, world.store / "governance").run(sql, **options).lines


def test_every_field_of_a_record_is_a_column():
    assert set(AuditRecord.__struct_fields__) - {"personal"} <= set(COLUMNS)


def test_records_have_their_types(world):
    world.write(record(receipt="aa-1", time_us=START_US, latency_us=7, rules=[["r1"]]))
    sql = "SELECT receipt, time, scores[1], verdicts, degraded, rules, inputs->'host'->'data'->>0, segment FROM records"
    (found,) = ask(world, sql)
    assert (found[0], str(found[1]), *found[2:]) == (
        "aa-1", "2023-11-14 22:13:20", 0.25, ["benign"], [False], [["r1"]], "10.0.0.1", "1-aa/1"
    )  # fmt: skip


def test_a_record_of_many_rows_is_a_line_each(world):
    world.write(batch("aa-1", 2000, row_numbers=list(range(100, 2100))))
    (alert,) = ask(world, "SELECT receipt, row, row_number, score, inputs, features FROM rows WHERE verdict = 'alert'")
    assert alert[:4] == ("aa-1", 1999, 2099, 1.0)
    assert (json.loads(alert[4]), json.loads(alert[5])) == ({"level": 1999}, {"flows__count": 1999.0})
    assert ask(world, "SELECT count(*), count(score) FROM rows") == [(2000, 1333)], "a row without a score has none"


def test_a_torn_last_line_is_no_record(world):
    world.write(*world.some(3), is_open=True)
    (path,) = world.folder.glob("segment-*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"receipt": "torn", "time_')
    assert ask(world, "SELECT count(*) FROM records") == [(3,)]


def test_acts_are_there(world):
    assert ask(world, "SELECT count(*) FROM acts") == [(0,)]
    acts = ActsLog(world.store / "governance", signer=lambda: world.signer, now_us=world.now)
    acts.record(Act(time_us=1, actor="ann", action="hold.add", subject="hold/1", reason="case 7", evidence={"n": 3}))
    assert ask(world, "SELECT actor, action, evidence->>'n' FROM acts") == [("ann", "hold.add", "3")]


def test_an_empty_store_answers_nothing(world):
    assert ask(world, "SELECT * FROM records") == []
    assert ask(world, "SELECT * FROM rows") == []


@pytest.mark.parametrize("sql", [
    pytest.param("SELECT * FROM read_text('/etc/passwd')", id="reads another file"),
    pytest.param("SELECT * FROM read_text('{store}/keys/audit.pem')", id="reads the signing key"),
    pytest.param("SELECT * FROM glob('{store}/**')", id="lists folders"),
    pytest.param("SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')", id="asks the network"),
    pytest.param("COPY records TO '{store}/stolen.csv'", id="writes a file"),
    pytest.param("COPY records TO '{segment}'", id="overwrites a segment"),
    pytest.param("ATTACH '{store}/x.db'", id="opens a database"),
    pytest.param("INSTALL httpfs", id="installs an extension"),
    pytest.param("SET enable_external_access = true", id="opens what was closed"),
    pytest.param("SELECT 1; SELECT 2", id="two statements"),
    pytest.param("DROP VIEW records", id="drops a view"),
    pytest.param("CREATE TABLE t AS SELECT 1", id="makes a table"),
    pytest.param("SELECT * FROM records; COPY (SELECT 1) TO '{store}/y'", id="hides a second statement"),
    pytest.param("PRAGMA database_list", id="a pragma"),
    pytest.param("", id="nothing"),
])  # fmt: skip
def test_a_query_reads_the_log_and_nothing_else(world, sql):
    world.write(*world.some(2))
    (segment,) = world.folder.glob("segment-*.jsonl")
    before = segment.read_bytes()
    with pytest.raises(QueryError):
        ask(world, sql.format(store=world.store, segment=segment))
    assert segment.read_bytes() == before
    assert not (world.store / "stolen.csv").exists()


def test_a_result_is_cut_at_its_limit(world):
    world.write(*world.some(5))
    found = LogQuery(world.log).run("SELECT receipt FROM records", most_rows=3)
    assert (len(found.lines), found.is_cut) == (3, True)
    assert not LogQuery(world.log).run("SELECT receipt FROM records", most_rows=5).is_cut


def test_a_query_that_takes_too_long_is_ended(world):
    with pytest.raises(QueryError, match="took more than"):
        ask(world, "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000) b", within_s=0.05)
