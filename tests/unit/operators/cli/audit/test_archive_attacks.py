"""Attacks on the archive, each found by `vedette audit verify --archive`."""

import json
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from operators.cli.main import app
from serving.audit.keys.keyring import pin
from serving.audit.signed_note import Signer, text_of
from serving.audit.tombstones import write_tombstone
from tests.fakes.audit.tombstones import read_tombstones
from tests.unit.lifecycle.governance.archive.logs import LogWorld

pytestmark = pytest.mark.heavy


def asks(store, *words):
    env = {"VEDETTE_AUDIT_KEY_NAME": "audit"}
    return CliRunner().invoke(app, ["audit", *words, "--store-dir", str(store), "--json"], env=env, catch_exceptions=False)


def found(store):
    said = asks(store, "verify", str(store / "audit"), "--archive", str(store / "archive"))
    findings = [(f["kind"], f["place"]["segment"]) for folder in json.loads(said.stdout)["folders"] for f in folder["findings"]]
    assert said.exit_code == bool(findings)
    return findings


@pytest.fixture
def store(tmp_path):
    world = LogWorld(tmp_path / "store")
    pin(world.store / "keys" / "trusted", world.signer.verifier)
    world.write(*world.some(5))
    world.write(*world.some(5, first=6))
    assert asks(world.store, "archive").exit_code == 0
    return world.store


def parquet(store, number=1):
    (path,) = (store / "archive").glob(f"segment-*-{number:06}.parquet")
    return path


def note(store):
    (path,) = (store / "archive" / "chain").glob("segment-*-000001.archived")
    return path


def test_an_untouched_archive_is_sound(store):
    assert found(store) == []


def test_delete_an_archived_file(store):
    parquet(store).unlink()
    assert found(store) == [("segment missing", 1)]


def test_swap_two_archived_files(store, tmp_path):
    shutil.move(parquet(store), tmp_path / "first")
    shutil.copy(parquet(store, 2), tmp_path / "second")
    first = note(store).name.replace(".archived", ".parquet")
    shutil.move(tmp_path / "first", parquet(store, 2))
    shutil.move(tmp_path / "second", store / "archive" / first)
    assert {("archive changed", 1), ("archive changed", 2)} <= set(found(store))


def test_edit_a_typed_column_beside_an_unchanged_line(store):
    table = pq.read_table(parquet(store))
    at = table.schema.get_field_index("model")
    changed = table.set_column(at, table.schema.field(at), pa.array(["other"] * len(table)))
    pq.write_table(changed, parquet(store))
    assert pq.read_table(parquet(store))["line"] == table["line"]
    assert found(store) == [("archive changed", 1)]


def test_delete_the_note(store):
    note(store).unlink()
    assert found(store) == [("forged archive note", 1)]


def test_edit_the_note(store):
    note(store).write_text(note(store).read_text(encoding="utf-8").replace("size 5", "size 4"), encoding="utf-8")
    assert found(store) == [("forged archive note", 1)]


def test_sign_the_note_with_a_foreign_key(store, tmp_path):
    foreign = Signer.create(tmp_path / "foreign.pem", "audit")
    note(store).write_text(foreign.sign(text_of(note(store).read_text(encoding="utf-8"))), encoding="utf-8")
    assert found(store) == [("forged archive note", 1)]


def test_take_the_signature_off_the_note(store):
    note(store).write_text(text_of(note(store).read_text(encoding="utf-8")) + "\n", encoding="utf-8")
    assert found(store) == [("forged archive note", 1)]


def test_overwrite_an_archived_file_with_garbage(store):
    parquet(store).write_bytes(b"PAR1 garbage PAR1")
    assert found(store) == [("archive changed", 1)]


def test_the_archive_of_the_store_is_looked_at_without_being_named(store):
    parquet(store).unlink()
    said = json.loads(asks(store, "verify").stdout)
    assert [f["kind"] for folder in said["folders"] for f in folder["findings"]] == ["segment missing"]


@pytest.mark.parametrize("is_foreign", [pytest.param(False, id="unsigned"), pytest.param(True, id="of a foreign key")])
def test_forge_a_later_tombstone_that_says_the_archived_file_was_removed(store, tmp_path, is_foreign):
    """The forged tombstone counts for nothing, and what is gone from the archive is found as without it."""
    ((archived, _), _) = read_tombstones(store / "audit")
    removed = replace(archived, reason="past retention: flows is kept 1 days", time_us=archived.time_us + 1)
    write_tombstone(store / "audit", removed, Signer.create(tmp_path / "foreign.pem") if is_foreign else None)
    parquet(store).unlink()
    assert ("segment missing", 1) in found(store)
    assert {kind for kind, _ in found(store)} == {"segment missing", "forged tombstone" if is_foreign else "unsigned"}


def test_an_archive_that_is_elsewhere_is_remarked(store, tmp_path):
    shutil.move(store / "archive", tmp_path / "elsewhere")
    said = json.loads(asks(store, "verify").stdout)
    remarks = [r["what"] for folder in said["folders"] for r in folder["remarks"] if r["kind"] == "archive not looked at"]
    assert said["is_sound"]
    assert remarks == ["2 segments are in an archive that was not checked; name it with --archive"]
