"""`vedette audit key` as somebody types it."""

import json

import pytest
from typer.testing import CliRunner

from lifecycle.governance.acts import ActsLog
from operators.cli.console import CommandError
from operators.cli.main import app
from serving.audit.keys.keyring import ensure_key
from serving.audit.signed_note import Signer

RUNNER = CliRunner()


@pytest.fixture
def store(tmp_path):
    ensure_key(tmp_path)
    (tmp_path / "audit").mkdir()
    return tmp_path


def run(*words, code=0):
    said = RUNNER.invoke(app, ["audit", "key", *map(str, words)])
    assert said.exit_code == code, said.output
    return said


def acts(store):
    log = ActsLog(store / "governance", signer=lambda: None, now_us=lambda: 0)
    return [(act.action, act.subject, act.reason) for act in log.read()]


def test_a_new_key_is_two_files_and_the_public_one_is_printed(tmp_path):
    said = json.loads(run("new", tmp_path / "audit.pem", "--name", "soc", "--json").stdout)
    signer = Signer.from_file(tmp_path / "audit.pem", "soc")
    assert said["key"] == str(signer.verifier) == (tmp_path / "audit.pub").read_text().strip()
    assert "PRIVATE" not in run("new", tmp_path / "other.pem").stdout


@pytest.mark.parametrize("verb", [("audit", "key", "new"), ("registry", "key", "new")])
@pytest.mark.parametrize("half", ["ada.pem", "ada.pub"])
def test_a_key_is_never_overwritten_neither_half_of_it(tmp_path, verb, half):
    """The private half may be kept elsewhere, and the other half may be of the other kind of key."""
    (tmp_path / half).write_text("of somebody", encoding="utf-8")
    refused = RUNNER.invoke(app, [*verb, str(tmp_path / "ada.pem")]).exception
    assert isinstance(refused, CommandError)
    assert f"{half}: exists already" in str(refused)
    assert [(p.name, p.read_text(encoding="utf-8")) for p in tmp_path.iterdir()] == [(half, "of somebody")]


def test_a_rotation_is_recorded_and_both_keys_are_trusted(store):
    done = json.loads(run("rotate", "--reason", "yearly", "--store-dir", store, "--json").stdout)
    shown = json.loads(run("show", "--store-dir", store, "--json").stdout)
    assert (shown["key"], shown["is_trusted"], shown["problems"]) == (done["new"], True, [])
    assert {key["key"] for key in shown["trusted"]} == {done["old"], done["new"]}
    assert acts(store) == [("key.rotate", f"key/{'+'.join(done['old'].split('+')[:2])}", "yearly")]
    assert "replaced by" in run("show", "--store-dir", store).stdout


def test_a_mounted_secret_is_not_written(store, tmp_path, monkeypatch):
    mounted = tmp_path / "mounted" / "audit.pem"
    Signer.create(mounted)
    before = mounted.read_bytes()
    monkeypatch.setenv("VEDETTE_AUDIT_KEY", str(mounted))
    assert "--to FOLDER" in str(RUNNER.invoke(app, ["audit", "key", "rotate", "--store-dir", str(store)]).exception)
    run("rotate", "--to", tmp_path / "made", "--store-dir", store)
    assert mounted.read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["audit.pem", "audit.pub", "keys.jsonl"]


def test_a_foreign_key_signs_for_nobody_until_it_is_trusted_and_nothing_after_it_is_revoked(store, monkeypatch):
    foreign = store / "foreign.pem"
    key = Signer.create(foreign, "audit").verifier
    monkeypatch.setenv("VEDETTE_AUDIT_KEY", str(foreign))

    def is_trusted():
        return json.loads(run("show", "--store-dir", store, "--json").stdout)["is_trusted"]

    assert not is_trusted()
    run("trust", key, "--store-dir", store)
    assert is_trusted()
    run("revoke", key, "--after", "2023-01-01", "--reason", "stolen", "--store-dir", store)
    assert not is_trusted()
    assert [act[0] for act in acts(store)] == ["key.trust", "key.revoke"]


def test_what_is_no_key_is_refused_and_nothing_is_trusted(store):
    assert "not a verifier key" in str(
        RUNNER.invoke(app, ["audit", "key", "trust", "x+y+z", "--store-dir", str(store)]).exception
    )
    assert acts(store) == []


@pytest.mark.parametrize("time_us", [10**18 - 1, 253_402_300_800_000_000], ids=["18 digits", "the year 10000"])
def test_a_revocation_at_a_time_that_no_calendar_has_is_shown_as_its_number(store, time_us):
    (pinned,) = (store / "keys" / "trusted").glob("*.pub")
    (store / "keys" / "trusted" / "revoked").write_text(f"{pinned.read_text().strip()} time_us {time_us}\n", encoding="utf-8")
    assert f"time_us {time_us}" in run("show", "--store-dir", store).stdout.replace("\n", "")


def test_a_path_is_printed_as_it_is(tmp_path):
    folder = tmp_path / "[red]keys"
    folder.mkdir()
    assert str(folder / "audit.pem") in run("new", folder / "audit.pem").stdout
