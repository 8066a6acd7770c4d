"""verify.py on a package that somebody hostile made: it ends with a verdict, reads nothing outside, and accepts nothing."""

import hashlib
import json
import os
import shutil

import pytest

from lifecycle.governance.export.choice import ExportChoice
from serving.audit.keys.trust import KeyNote
from serving.audit.segment_files import note_line
from serving.audit.signed_note import Signer
from tests.fakes.audit.hostile_files import DEEP
from tests.fakes.audit.packages import AuditedStore, one, script_main, write_store

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> AuditedStore:
    return write_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def packed(store, tmp_path_factory):
    return store.export(tmp_path_factory.mktemp("package") / "whole", ExportChoice()).path


@pytest.fixture
def package(packed, tmp_path):
    return shutil.copytree(packed, tmp_path / "package")


def run(folder, capsys, *words):
    main = script_main(folder)
    capsys.readouterr()
    code = main([str(folder), *words])
    return code, capsys.readouterr().out


def edit_manifest(folder, change):
    manifest = json.loads((folder / "manifest.json").read_bytes())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


MANIFESTS = {
    "logs that are a list": lambda m: m.update(logs=["alpha"]),
    "a number that leaps ahead": lambda m: m["logs"]["alpha"].append(10**12),
    "a number that is none": lambda m: m["logs"].update(alpha=[1e400]),
    "files that are no objects": lambda m: m.update(files={"README.txt": "x"}),
    "a path that leads out": lambda m: m["files"].update({"../../../../etc/passwd": {"sha256": "x"}}),
    "a path of the root": lambda m: m["files"].update({"/dev/zero": {"sha256": "x"}}),
    "a path with NUL": lambda m: m["files"].update({"a\0b": {"sha256": "x"}}),
    "a path with a lone surrogate": lambda m: m["files"].update({"a\ud800": {"sha256": "x"}}),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_hostile_manifest_is_not_sound(name, package, capsys):
    edit_manifest(package, MANIFESTS[name])
    code, said = run(package, capsys)
    assert code == 1
    assert "sound" in said.lower()


def test_what_a_path_of_the_manifest_leads_out_to_is_not_confirmed(package, capsys, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s")
    digest = hashlib.sha256(b"s").hexdigest()
    edit_manifest(package, lambda m: m["files"].update({"../secret": {"sha256": digest}}))
    code, said = run(package, capsys)
    assert code == 1
    assert "file changed: ../secret" in said


FILES = {
    "deep JSON for the manifest": ("manifest.json", DEEP),
    "deep JSON for anchors": ("anchors.jsonl", DEEP),
    "anchors that are other JSON": ("anchors.jsonl", b'[]\n{"note": 5}\n\xff\n'),
    "deep JSON for key notes": ("keys/notes.jsonl", DEEP),
    "keys that are none": ("keys/trusted.txt", b"a+b+c\xff"),
    "deep JSON for tombstones": ("audit/chain/removed.jsonl", DEEP),
    "a note of a lone surrogate": ("manifest.note", b'"\\ud800"\n\n'),
    "a time of 5000 digits": ("manifest.note", b"vedette-audit-package\nmanifest x\ntime_us " + b"9" * 5000 + b"\n\n"),
    "a checkpoint of 5000 digits": (
        "audit/chain/*-alpha-000001.checkpoints",
        note_line("vedette-audit/alpha/1\n" + "9" * 5000 + "\nAA==\n\n"),
    ),
    "an act of deep JSON": ("acts/*.jsonl", DEEP),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_not_sound(name, package, capsys):
    pattern, content = FILES[name]
    one(package, pattern).write_bytes(content)
    assert run(package, capsys)[0] == 1


@pytest.mark.parametrize("pattern", ["audit/*-alpha-000001.jsonl", "audit/chain/removed.jsonl", "README.txt", "manifest.note"])
@pytest.mark.parametrize("kind", ["pipe", "zeros", "loop"])
def test_what_is_no_file_is_not_read(pattern, kind, package, capsys):
    path = one(package, pattern)
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "zeros" else path)
    assert run(package, capsys)[0] == 1


def test_a_name_that_moves_the_cursor_is_printed_as_text(package, capsys):
    (package / "audit" / "\x1b[2J\n").write_text("x")
    code, said = run(package, capsys)
    assert code == 1
    assert "\x1b" not in said


def test_a_stolen_key_that_was_replaced_gets_no_second_successor(store, package, capsys, tmp_path):
    thief = Signer.create(tmp_path / "thief.pem", "thief")
    note = store.logs.first.sign(KeyNote(thief.verifier, store.logs.first.verifier, store.logs.now_us - 3000).text())
    with (package / "keys" / "notes.jsonl").open("ab") as file:
        file.write(note_line(note))
    code, said = run(package, capsys)
    assert code == 1
    assert "forged key" in said


RECEIPTS = {
    "deep JSON": DEEP,
    "no proofs": b'{"receipt": "x", "proofs": [], "keys": []}',
    "a list": b"[]",
    "numbers": b'{"receipt": 1, "proofs": [1e400], "keys": 5}',
    "no UTF-8": b'{"receipt": "\xff"}',
}


@pytest.mark.parametrize("name", RECEIPTS)
def test_a_hostile_proof_of_a_receipt_is_not_sound(name, package, capsys, tmp_path):
    (tmp_path / "proof.json").write_bytes(RECEIPTS[name])
    code, said = run(package, capsys, "--receipt", str(tmp_path / "proof.json"))
    assert (code, said.partition(":")[0]) == (1, "not sound")
