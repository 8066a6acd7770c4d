"""`vedette features`, as it is typed, against a store on disk."""

import gc
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from feature_repo.declaration import Column, Declaration, Window
from lifecycle.training.feast_store import FeastStore
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


def test_no_connection_to_the_online_store_is_left_for_the_garbage_collector(folder):
    gc.disable()
    try:
        store, begin = FeastStore(folder / "feast"), START - timedelta(hours=1)
        for talk in (
            lambda: store.apply(LOGINS),
            lambda: store.materialize(begin, START),
            lambda: store.online("logins_v1", {"user": ["a"]}),
        ):
            talk()
            assert [path.name for path in (folder / "feast").glob("online.db*")] == ["online.db"]
    finally:
        gc.enable()


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


@pytest.fixture
def repository(folder: Path, tmp_path: Path) -> Path:
    """Somebody's own feature repository: its configuration is theirs, a comment and another project name included."""
    given = tmp_path / "repository"
    given.mkdir()
    text = (folder / "feast" / "feature_store.yaml").read_text(encoding="utf-8").replace("project: vedette", "project: theirs")
    (given / "feature_store.yaml").write_text(f"# ours, hands off\n{text}", encoding="utf-8")
    store = FeastStore(given, is_given=True)
    store.apply(LOGINS)
    times = [START, START + timedelta(hours=1)]
    store.write_rows(VIEW, pd.DataFrame({"user": ["a", "a"], "event_timestamp": times, "count": [3.0, 4.0]}))
    return given


def asked(words: tuple[str, ...], **environment: str) -> list[Mapping]:
    done = CliRunner().invoke(app, ["features", *words, "--json"], env=environment)
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def test_the_feature_repository_that_is_set_holds_for_every_verb(repository: Path, tmp_path: Path):
    told = {"VEDETTE_FEATURE_REPO": str(repository), "VEDETTE_STORE_DIR": str(tmp_path / "store")}
    before = (repository / "feature_store.yaml").read_bytes()
    assert [record["service"] for record in asked(("list",), **told)] == ["logins_v1"]
    assert asked(("materialize",), **told)["views"] == [VIEW]
    (record,) = asked(("read", "logins_v1", "user=a", "--at", "2026-01-01T01:01:00Z"), **told)
    assert record["value"] == 4.0, "what was materialized is what is read"
    assert (repository / "feature_store.yaml").read_bytes() == before
    assert not (tmp_path / "store").exists(), "there is one feature store, not two"


def test_training_and_judging_join_from_the_repository_that_is_set(repository: Path, monkeypatch: pytest.MonkeyPatch):
    from operators.cli.models.train import feature_store
    from serving.settings import ServingSettings

    monkeypatch.setenv("VEDETTE_FEATURE_REPO", str(repository))
    assert feature_store(ServingSettings()).folder == repository
    joined = feature_store(ServingSettings()).training_frame(
        pd.DataFrame({"user": ["a"], "event_timestamp": [START + timedelta(seconds=1)]}), "logins_v1"
    )
    assert joined[f"{VIEW}__count"].tolist() == [3.0]


def test_with_redis_too_what_is_materialized_is_what_is_read(repository: Path, tmp_path: Path, redis_url: str):
    told = {
        "VEDETTE_FEATURE_REPO": str(repository), "VEDETTE_STORE_DIR": str(tmp_path / "store"), "VEDETTE_REDIS_URL": redis_url
    }  # fmt: skip
    before = (repository / "feature_store.yaml").read_bytes()
    asked(("materialize",), **told)
    (record,) = asked(("read", "logins_v1", "user=a", "--at", "2026-01-01T01:01:00Z"), **told)
    assert record["value"] == 4.0
    assert (repository / "feature_store.yaml").read_bytes() == before


def test_a_feature_repository_that_is_none_is_named(tmp_path: Path):
    shutil.rmtree(tmp_path)
    done = CliRunner().invoke(app, ["features", "list"], env={"VEDETTE_FEATURE_REPO": str(tmp_path)})
    assert "VEDETTE_FEATURE_REPO names the folder that holds it" in str(done.exception)
