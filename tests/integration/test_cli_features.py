"""`vedette features`, as it is typed, against a store on disk."""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from typer.testing import CliRunner

from feature_repo.declaration import Column, Declaration, Window
from lifecycle.training.store import FeastStore
from operators.cli.main import app

pytestmark = pytest.mark.integration
START = datetime(2026, 1, 1, tzinfo=UTC)
LOGINS = Declaration(
    name="logins", keys=(Column("user", "BYTES"),), windows=(Window(60, ttl_s=300),), aggregates=(Column("count", "FP64", 0.0),)
)
VIEW = "logins_user_60s"


def run(store, *words):
    return CliRunner().invoke(app, ["features", *words, "--store-dir", str(store)], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    store = FeastStore(folder / "feast")
    store.apply(LOGINS)
    times = [START, START + timedelta(hours=1)]
    store.write_rows(VIEW, pd.DataFrame({"user": ["a", "a"], "event_timestamp": times, "count": [1.0, 2.0]}))
    return folder


def online(folder) -> float | None:
    (value,) = FeastStore(folder / "feast").online("logins_v1", {"user": ["a"]})[f"{VIEW}__count"]
    return value


def test_the_newest_values_up_to_a_moment_and_then_up_to_now(folder):
    past = run(folder, "materialize", "--until", "2026-01-01T00:30:00Z", "--json")
    assert past.exit_code == 0, past.output
    assert json.loads(past.stdout)["views"] == [VIEW]
    assert online(folder) == 1.0
    assert VIEW in run(folder, "materialize", "--service", "logins_v1").stdout
    assert online(folder) == 2.0


def test_what_the_store_has(folder):
    (record,) = json.loads(run(folder, "list", "--json").stdout)
    assert record == {"service": "logins_v1", "view": VIEW, "ttl_s": 300, "features": "count"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["materialize", "--service", "nobody"], "no feature service 'nobody'", id="an unknown service"),
        pytest.param(["materialize", "--since", "yesterday"], "RFC 3339", id="a time that is none"),
        pytest.param(
            ["materialize", "--since", "2026-01-02", "--until", "2026-01-01"], "is not before", id="time runs forward"
        ),
    ],
)
def test_what_is_refused(folder, words, says):
    done = run(folder, *words)
    assert done.exit_code == 1
    assert says in str(done.exception)


def test_without_a_store_the_way_out_is_said(tmp_path):
    assert "vedette train flows" in str(run(tmp_path, "list").exception)
