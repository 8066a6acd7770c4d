"""Receipts and packages of segments that are in the archive alone."""

import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from serving.audit.keys.keyring import pin
from tests.unit.lifecycle.governance.archive.logs import LogWorld

RUNNER = CliRunner()


@pytest.fixture
def store(tmp_path):
    world = LogWorld(tmp_path / "store")
    pin(world.store / "keys" / "trusted", world.signer.verifier)
    world.write(*world.some(5))
    world.write(*world.some(5, first=6))
    return world.store


def asks(store, *words):
    return RUNNER.invoke(
        app, ["audit", *words, "--store-dir", str(store)], env={"VEDETTE_AUDIT_KEY_NAME": "audit"}, catch_exceptions=True
    )


@pytest.fixture
def archived(store):
    said = asks(store, "archive")
    assert said.exit_code == 0, said.exception
    assert not list((store / "audit").glob("segment-*.jsonl"))
    assert len(list((store / "archive").glob("segment-*.parquet"))) == 2
    return store


def test_the_receipt_of_an_archived_record_is_proved_off_line(archived, tmp_path):
    proof = tmp_path / "proof.json"
    said = asks(archived, "receipt", "aa-7", "--out", str(proof))
    assert said.exit_code == 0, said.exception
    assert "1-aa, segment 2, line 2" in said.stdout
    checked = asks(archived, "receipt", "--check", str(proof))
    assert "proved: receipt aa-7" in checked.stdout


def test_an_unknown_receipt_is_searched_in_the_archive_too(archived):
    said = asks(archived, "receipt", "never")
    assert said.exit_code == 1
    assert "live and archived segments were searched" in str(said.exception)


@pytest.mark.heavy
@pytest.mark.parametrize("words", [(), ("--model", "flows")], ids=["whole segments", "one model's records"])
def test_a_package_of_archived_records_is_checked_by_its_own_script(archived, tmp_path, words):
    out = tmp_path / "package"
    said = asks(archived, "export", str(out), *words, "--json")
    assert said.exit_code == 0, said.exception
    assert json.loads(said.stdout)["records"] == 10
    done = subprocess.run([sys.executable, "-I", "verify.py"], cwd=out, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.heavy
def test_an_archive_that_is_elsewhere_is_named(archived, tmp_path):
    elsewhere = shutil.move(archived / "archive", tmp_path / "elsewhere")
    assert asks(archived, "receipt", "aa-7").exit_code == 1
    said = asks(archived, "receipt", "aa-7", "--archive", str(elsewhere))
    assert "1-aa, segment 2, line 2" in said.stdout
    said = asks(archived, "export", str(tmp_path / "package"), "--archive", str(elsewhere), "--json")
    assert json.loads(said.stdout)["records"] == 10


def test_a_receipt_under_a_key_that_was_revoked_before_is_not_proved(archived):
    (pinned,) = (archived / "keys" / "trusted").glob("audit-*.pub")
    key = pinned.read_text(encoding="utf-8").strip()
    assert asks(archived, "key", "revoke", key, "--after", "2001-01-01").exit_code == 0
    said = asks(archived, "receipt", "aa-7")
    assert said.exit_code == 1
    assert "may not sign at that time" in str(said.exception)
