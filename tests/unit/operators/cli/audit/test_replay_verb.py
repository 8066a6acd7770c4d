"""`vedette audit replay` as somebody types it: over answers, with other lines of the log between them."""

import json

import pytest
from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.main import app
from serving.loading.loader import Wanted
from serving.loading.refused_bundles import RefusedBundles
from serving.models.errors import UntrustedBundle
from serving.spec import RevisionSpec
from tests.fakes.labelled import PredictionLog
from tests.unit.lifecycle.governance.replay.test_replay import answered

RUNNER = CliRunner()
WANTED = Wanted("threat", "2", RevisionSpec(bundle="sha256:" + "0" * 64))


@pytest.fixture
async def store(tmp_path):
    """Answers, and then four records of a bundle that was refused."""
    world = await answered(tmp_path)
    latest_us = max(record.time_us for record in world.audit.records)
    for later in range(1, 5):
        refused = RefusedBundles(world.audit, identity="r", now_us=lambda at=latest_us + later: at)
        refused(WANTED, UntrustedBundle(f"no signature {later}"), f"no signature {later}")
    PredictionLog(world.store.root / "audit").append(*world.audit.records)
    return world.store.root


def asks(store, *words):
    return RUNNER.invoke(app, ["audit", "replay", "--store-dir", str(store), *words])


async def test_the_newest_answers_are_counted_without_what_answered_nobody(store):
    said = json.loads(asks(store, "--last", "3", "--json").stdout)
    assert (said["records"], said["outcomes"]) == (3, {"identical": 3})


async def test_where_nobody_was_answered_that_is_said(store):
    path = next((store / "audit").glob("segment-*.jsonl"))
    refused = [json.loads(line)["receipt"] for line in path.read_bytes().splitlines()][-1]
    said = asks(store, "--receipt", refused)
    assert isinstance(said.exception, CommandError)
    assert "no record of an answer matches" in str(said.exception)
