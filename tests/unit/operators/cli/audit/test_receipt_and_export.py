"""`vedette audit receipt` and `vedette audit export` as somebody types them."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from serving.audit.keys.keyring import default_key, pin
from tests.fakes.audit.packages import write_store

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    written = write_store(folder)
    pin(folder / "keys" / "trusted", written.logs.first.verifier)
    default_key(folder).write_bytes((folder / "keys" / "second.pem").read_bytes())
    return folder


@pytest.fixture(scope="module")
def receipt(store):
    path = next((store / "audit").glob("segment-*-alpha-000003.jsonl"))
    return json.loads(path.read_bytes().splitlines()[2])["receipt"]


@pytest.fixture(autouse=True)
def _key_name(monkeypatch):
    monkeypatch.setenv("VEDETTE_AUDIT_KEY_NAME", "second")


def asks(store, *words):
    return RUNNER.invoke(app, ["audit", *words, "--store-dir", str(store)], catch_exceptions=True)


def test_a_receipt_is_proved_and_the_proof_checked(store, receipt, tmp_path):
    path = tmp_path / "proof.json"
    said = asks(store, "receipt", receipt, "--out", str(path))
    assert said.exit_code == 0, said.exception
    assert "alpha, segment 3, line 3" in said.stdout
    checked = asks(store, "receipt", "--check", str(path))
    assert f"proved: receipt {receipt}" in checked.stdout
    as_json = json.loads(asks(store, "receipt", "--check", str(path), "--json").stdout)
    assert (as_json["is_proved"], as_json["proofs"][0]["line"]) == (True, 3)
    assert json.loads(asks(store, "receipt", receipt, "--json").stdout) == json.loads(path.read_bytes())


def test_a_changed_proof_is_refused(store, receipt, tmp_path):
    path = tmp_path / "proof.json"
    asks(store, "receipt", receipt, "--out", str(path))
    path.write_bytes(path.read_bytes().replace(b"benign", b"alerts"))
    said = asks(store, "receipt", "--check", str(path))
    assert said.exit_code == 1
    assert "does not hold" in str(said.exception)


def test_a_receipt_or_a_file_is_needed(store):
    assert "--check FILE" in str(asks(store, "receipt").exception)


@pytest.mark.heavy
def test_a_package_is_exported_and_checked_by_its_own_script(store, tmp_path):
    out = tmp_path / "package"
    said = asks(store, "export", str(out), "--model", "flows")
    assert said.exit_code == 0, said.exception
    assert "python3 -I verify.py" in said.stdout
    done = subprocess.run([sys.executable, "-I", "verify.py"], cwd=out, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


def test_an_export_of_a_time_without_records_says_so(store, tmp_path):
    said = json.loads(asks(store, "export", str(tmp_path / "none"), "--to", "2001-01-01", "--json").stdout)
    assert (said["segments"], said["records"], said["is_signed"]) == (0, 0, True)
