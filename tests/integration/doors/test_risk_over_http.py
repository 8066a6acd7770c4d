"""Risks over HTTP: as the command line says, only where clients may ask, and a ledger that is away takes no answer down."""

import json
import sqlite3
import urllib.error
import urllib.request

import pytest

from serving.app import compose
from serving.replica.host import ReplicaHost
from serving.risk.rules_of_risk import RiskRules
from serving.risk.signal import RiskSignal
from serving.risk.sqlite_ledger import SqliteLedger
from serving.settings import ServingSettings

pytestmark = pytest.mark.integration
T0 = 1_700_000_000_000_000


@pytest.fixture
def serve(tmp_path):
    hosts = []

    def start(**settings):
        own = ServingSettings(store_dir=tmp_path, http_port=0, grpc_port=0, audit="off", cache="off", **settings)
        hosts.append(ReplicaHost(own, compose))
        return f"http://127.0.0.1:{hosts[-1].start().http}"

    yield start
    for host in hosts:
        host.stop()


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as problem:
        return problem.code, json.loads(problem.read())


def add(folder, entity, probability=0.9):
    ledger = SqliteLedger(folder / "risk.db", RiskRules())
    ledger.add([RiskSignal(entity=entity, kind="rules", name="r", probability=probability, at_us=T0, id="e")], [], T0)
    ledger.close()


def test_an_entity_and_the_highest(serve, tmp_path):
    url = serve(risk_over_http=True)
    add(tmp_path, "147.32.84.165")
    add(tmp_path, "a/b c", 0.2)
    status, risk = get(f"{url}/v2/risk/147.32.84.165")
    assert (status, risk["schema"], risk["parts"][0]["name"]) == (200, "vedette.risk/1", "r")
    assert get(f"{url}/v2/risk/a%2Fb%20c")[1]["entity"] == "a/b c"
    assert [one["entity"] for one in get(f"{url}/v2/risk?most=1")[1]["risks"]] == ["147.32.84.165"]


@pytest.mark.parametrize("path", ["/v2/risk/nobody", "/v2/risk/%FF"])
def test_an_unknown_entity_is_not_found_and_a_question_makes_no_file(serve, tmp_path, path):
    url = serve(risk_over_http=True)
    status, body = get(url + path)
    assert (status, "nothing was ever said" in body["error"]) == (404, True)
    assert not (tmp_path / "risk.db").exists()


@pytest.mark.parametrize("most", ["0", "-1", "x", "", "9" * 400, "1e3"])
def test_a_wrong_number_is_refused(serve, most):
    url = serve(risk_over_http=True)
    status, body = get(f"{url}/v2/risk?most={most}")
    assert status == (200 if most == "" else 400), body


def test_it_is_closed_unless_a_setting_opens_it(serve):
    status, body = get(f"{serve()}/v2/risk/x")
    assert (status, "VEDETTE_RISK_OVER_HTTP" in body["error"]) == (404, True)


def test_a_damaged_ledger_is_unavailable_and_works_again_when_it_is_mended(serve, tmp_path):
    url = serve(risk_over_http=True)
    (tmp_path / "risk.db").write_bytes(b"nonsense" * 100)
    assert get(f"{url}/v2/risk/x")[0] == 503
    (tmp_path / "risk.db").unlink()
    add(tmp_path, "x")
    assert get(f"{url}/v2/risk/x")[0] == 200


def test_a_ledger_that_is_locked_by_a_writer_is_read_all_the_same(serve, tmp_path):
    url = serve(risk_over_http=True)
    add(tmp_path, "x")
    with sqlite3.connect(tmp_path / "risk.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert get(f"{url}/v2/risk/x")[0] == 200
        writer.execute("ROLLBACK")
