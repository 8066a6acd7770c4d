"""`vedette audit verify` as somebody types it."""

import json
from hashlib import sha256

import pytest
from typer.testing import CliRunner

from lifecycle.governance.archive.archiving import KIND
from operators.cli.main import app
from serving.audit.keys.keyring import pin
from tests.fakes.audit.honest_logs import write_honest_logs

pytestmark = pytest.mark.heavy

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    logs = write_honest_logs(folder / "audit", 300)
    pin(folder / "keys" / "trusted", logs.first.verifier)
    return folder


@pytest.fixture
def store(honest, tmp_path):
    import shutil

    return shutil.copytree(honest, tmp_path / "store")


def asks(store, *words):
    return RUNNER.invoke(app, ["audit", "verify", "--store-dir", str(store), *words], catch_exceptions=False)


def test_a_sound_store_ends_with_0(store):
    said = asks(store)
    assert said.exit_code == 0
    assert "sound" in said.stdout
    assert "3 records come after the last checkpoint" in said.stdout


def test_a_changed_record_ends_with_1_and_is_named(store):
    path = next((store / "audit").glob("segment-*-alpha-000002.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"benign", b"alerts")
    path.write_bytes(b"".join(lines))
    receipt = json.loads(lines[4])["receipt"]
    said = asks(store)
    assert said.exit_code == 1
    assert f"changed: alpha, segment 2, line 5 (receipt {receipt})" in said.stdout
    record = json.loads(asks(store, "--json").stdout)
    (finding,) = record["folders"][0]["findings"]
    assert (finding["kind"], finding["place"]["segment"], finding["place"]["line"]) == ("changed", 2, 5)
    assert finding["receipt"] == receipt
    assert record["is_sound"] is False


def test_what_was_found_right_is_not_hashed_again_and_still_checked(store, tmp_path):
    state = tmp_path / "state.json"
    first = json.loads(asks(store, "--json", "--resume", str(state)).stdout)["folders"][0]
    again = json.loads(asks(store, "--json", "--resume", str(state)).stdout)["folders"][0]
    assert (first["skipped"], again["skipped"]) == (0, 11)
    assert again["bytes_read"] < first["bytes_read"]
    path = next((store / "audit").glob("segment-*-alpha-000002.jsonl"))
    path.write_bytes(path.read_bytes().replace(b"benign", b"alerts", 1))
    assert asks(store, "--resume", str(state)).exit_code == 1


def test_without_a_trusted_key_nothing_is_called_sound(store, tmp_path):
    (tmp_path / "none").mkdir()
    said = RUNNER.invoke(app, ["audit", "verify", "--store-dir", str(store), "--keys", str(tmp_path / "none")])
    assert said.exit_code == 1
    assert "no key is trusted" in str(said.exception)
    assert asks(store, "--keys", str(tmp_path / "none"), "--allow-unsigned").exit_code == 0


def test_an_older_copy_of_the_whole_store_is_found_by_its_anchor(store, tmp_path):
    from serving.audit.anchors.folder import FolderAnchor
    from serving.audit.segment_files import newest_notes, segments_in

    depot = FolderAnchor(tmp_path / "depot")
    for note in newest_notes(store / "audit"):
        depot.publish(note)
    last = next(files for files in segments_in(store / "audit") if (files.log, files.number) == ("delta", 3))
    for path in (last.records, last.hashes, last.checkpoints):
        path.unlink()
    assert asks(store).exit_code == 0, "nothing within the store contradicts it"
    said = asks(store, "--anchor", (tmp_path / "depot").as_uri())
    assert said.exit_code == 1
    assert "segment missing: delta, segment 3" in said.stdout


@pytest.fixture
def archived(store, tmp_path):
    """A store whose second segment of alpha is in an archive, as archiving leaves it."""
    from lifecycle.governance.archive.parquet import write_segment
    from serving.audit.segment_files import read_entries, segments_in
    from serving.audit.signed_note import Signer
    from serving.audit.tombstones import remove_segment
    from tests.fakes.audit.tombstones import read_tombstones

    files = next(files for files in segments_in(store / "audit") if (files.log, files.number) == ("alpha", 2))
    signer = Signer.from_file(store / "keys" / "second.pem")
    place = tmp_path / "archive"
    (place / "chain").mkdir(parents=True)
    entries = list(read_entries(files.records))
    hashes = files.hashes.read_bytes()
    assert remove_segment(files, signer, now_us=1_760_000_900_000_000, reason="archived", by="ada")

    def put(lines):
        write_segment(lines, place / f"{files.stem}.parquet")
        (place / "chain" / files.hashes.name).write_bytes(hashes)
        (stone,) = (found for found, _ in read_tombstones(files.folder) if (found.log, found.segment) == ("alpha", 2))
        _, *said = stone.text().splitlines()[:5]  # segment, size, root, checkpoint
        digest = sha256((place / f"{files.stem}.parquet").read_bytes()).hexdigest()
        words = [KIND, *said, f"file {files.stem}.parquet", f"sha256 {digest}", f"time_us {stone.time_us}", "by ada"]
        (place / "chain" / f"{files.stem}.archived").write_text(signer.sign("\n".join(words) + "\n"), encoding="utf-8")
        return place

    return entries, put


def test_archived_segments_are_verified_from_the_archive(store, archived):
    entries, put = archived
    said = asks(store, "--archive", str(put(entries)))
    assert said.exit_code == 0, said.stdout
    assert "tombstone" not in said.stdout


def test_a_record_that_was_changed_in_the_archive_is_named(store, archived):
    entries, put = archived
    entries[6] = entries[6].replace(b"benign", b"alerts")
    said = asks(store, "--archive", str(put(entries)))
    assert said.exit_code == 1
    assert "changed: alpha, segment 2, line 7" in said.stdout


def test_names_and_receipts_that_are_markup_are_printed_as_they_are(store):
    path = next((store / "audit").glob("segment-*-alpha-000002.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = b'{"receipt": "[/x] \\u001b[2J"}\n'
    path.write_bytes(b"".join(lines))
    for name in ("[/red]", "[bold]"):
        (store / "audit" / f"segment-1700000000000000-{name}-000001.jsonl".replace("/", "!")).write_bytes(b"{}\n")
        (store / "audit" / f"segment-{name}.jsonl".replace("/", "!")).write_bytes(b"{}\n")
    said = asks(store)
    assert said.exit_code == 1
    assert "[/x]" in said.stdout
    assert "\x1b" not in said.stdout
    assert "[bold]" in said.stdout


def test_a_folder_without_a_log_is_not_called_sound(tmp_path, store):
    (tmp_path / "empty" / "audit").mkdir(parents=True)
    said = RUNNER.invoke(
        app, ["audit", "verify", "--store-dir", str(tmp_path / "empty"), "--keys", str(store / "keys" / "trusted")]
    )
    assert said.exit_code == 1
    assert "nothing was verified" in str(said.exception)


def test_a_damaged_file_of_what_was_found_right_means_hashing_all_again(store, tmp_path):
    state = tmp_path / "state.json"
    state.write_text("[" * 100_000)
    again = json.loads(asks(store, "--json", "--resume", str(state)).stdout)["folders"][0]
    assert again["skipped"] == 0


def test_another_store_is_verified_with_its_own_archive_and_not_with_that_of_the_settings(
    store, archived, tmp_path, monkeypatch
):
    entries, put = archived
    put(entries).rename(store / "archive")
    mine = tmp_path / "mine"
    (mine / "archive").mkdir(parents=True)
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(mine))
    for folder in (store, store / "audit"):
        words = ["audit", "verify", str(folder), "--keys", str(store / "keys" / "trusted"), "--json"]
        said = json.loads(RUNNER.invoke(app, words, catch_exceptions=False).stdout)
        assert said["is_sound"], said
        assert not [one for report in said["folders"] for one in report["remarks"] if one["kind"] == "archive not looked at"]
