"""An audit package is checked by its own script, with a plain Python in a folder where there is no Vedette; every attack on it is found."""

import json
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from lifecycle.governance.export.choice import ExportChoice
from lifecycle.governance.export.package import PackageError
from lifecycle.governance.export.script import proofs
from lifecycle.governance.verify.finding_receipts import prove_receipt
from serving.audit.keys.keyring import key_notes
from serving.audit.keys.trust import Trust
from serving.audit.signed_note import Signer
from tests.fakes.audit.packages import ATTACKS, DIGEST, AuditedStore, PackageAttack, one, script_main, write_store

pytestmark = pytest.mark.heavy

PLAIN_PYTHON = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
"""The interpreter without this environment's packages."""
CHOSEN = ExportChoice(models=frozenset({"flows"}), is_whole=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> AuditedStore:
    return write_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Signer:
    return Signer.create(tmp_path_factory.mktemp("foreign") / "foreign.pem")


@pytest.fixture(scope="module")
def packages(store, tmp_path_factory) -> dict[bool, Path]:
    folder = tmp_path_factory.mktemp("packages")
    return {
        True: store.export(folder / "whole", ExportChoice()).path,
        False: store.export(folder / "chosen", CHOSEN).path,
    }


@pytest.fixture
def package_of(packages, tmp_path):
    return lambda is_whole: shutil.copytree(packages[is_whole], tmp_path / "package")


def alone(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As an auditor runs it: isolated, in the package's folder, with an empty environment."""
    return subprocess.run(
        [PLAIN_PYTHON, "-I", *words], cwd=folder, env={}, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip


def said_in_here(folder: Path, capsys, *words: str) -> dict:
    """The package's own script, in this process: it starts sooner."""
    main = script_main(folder)
    capsys.readouterr()
    code = main([str(folder), "--json", *words])
    said = json.loads(capsys.readouterr().out)
    assert code == (0 if said["is_sound"] else 1)
    return said


def test_no_vedette_is_at_hand(tmp_path):
    for module in ("serving", "lifecycle"):
        assert "ModuleNotFoundError" in alone(tmp_path, "-c", f"import {module}").stderr


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole segments", "chosen records"])
def test_a_package_is_sound_where_there_is_no_vedette(package_of, is_whole):
    done = alone(package_of(is_whole), "verify.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("sound: ")
    assert "compare it" in done.stdout


def test_an_attack_is_found_where_there_is_no_vedette(package_of):
    folder = package_of(True)
    path = one(folder, "audit/*-alpha-000002.jsonl")
    path.write_bytes(path.read_bytes().replace(b"benign", b"alerts", 1))
    done = alone(folder, "verify.py")
    assert done.returncode == 1
    assert done.stdout.startswith(f"changed: audit/{path.name}, line 1: ")


@pytest.mark.parametrize("attack", [pytest.param(attack, id=attack.name) for attack in ATTACKS])
def test_an_attack_on_a_package_is_found(package_of, attack: PackageAttack, store, foreign, capsys):
    folder = package_of(attack.whole)
    attack.do(folder, store.logs, foreign)
    findings = said_in_here(folder, capsys)["findings"]
    assert findings, "the attack was not found"
    assert findings[0]["kind"] == attack.kind, findings
    assert attack.where in findings[0]["where"], findings


def test_a_package_that_a_forger_made_with_his_own_key_is_found_by_the_key(package_of, store, foreign, tmp_path, capsys):
    """Everything signed anew and the forger's key in the package: only the key that the auditor has from elsewhere tells."""
    forged = write_store(tmp_path / "forged")
    folder = forged.export(tmp_path / "package", ExportChoice()).path
    assert said_in_here(folder, capsys)["is_sound"]
    findings = said_in_here(folder, capsys, "--key", str(store.logs.first.verifier))["findings"]
    assert {"forged checkpoint", "forged key"} <= {finding["kind"] for finding in findings}


def test_the_pinned_key_of_the_store_is_enough(package_of, store, capsys):
    assert said_in_here(package_of(True), capsys, "--key", str(store.logs.first.verifier))["is_sound"]


def test_a_file_of_several_keys_is_believed_and_an_empty_one_is_no_key(package_of, store, foreign, capsys):
    """A store whose key was rotated trusts two: `cat .vedette/keys/trusted/*.pub > key.pub`."""
    folder = package_of(True)
    assert said_in_here(folder, capsys, "--key", f"{foreign.verifier}\n{store.logs.first.verifier}\n")["is_sound"]
    main = script_main(folder)
    assert main([str(folder), "--key", ""]) == 1, "and not every key of the package"


def test_whole_segments_hold_every_protected_record(packages, store):
    for files in (store.logs.segment("alpha", 1), store.logs.segment("charlie", 2)):
        assert (packages[True] / "audit" / files.records.name).read_bytes() == files.records.read_bytes()
    open_segment = store.logs.segment("delta", 3)
    kept = (packages[True] / "audit" / open_segment.records.name).read_bytes()
    assert open_segment.records.read_bytes().startswith(kept)
    assert open_segment.records.read_bytes().count(b"\n") - kept.count(b"\n") == 3, "the last three have no checkpoint yet"


def records_in(folder: Path, where: str = "records") -> list[dict]:
    lines = [line for path in sorted((folder / where).iterdir()) for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [json.loads(json.loads(line)["record"]) for line in lines]


def test_chosen_records_are_of_the_model_and_time_that_were_asked(store, tmp_path):
    stamps = sorted(record["time_us"] for record in records_in(store.export(tmp_path / "all", CHOSEN).path))
    since, until = stamps[20], stamps[60]
    made = store.export(tmp_path / "some", ExportChoice(since, until, frozenset({"flows"}), is_whole=False))
    records = records_in(made.path)
    assert {record["model"] for record in records} == {"flows"}
    assert sorted(record["time_us"] for record in records) == stamps[20:60]
    assert made.records == 40


def test_acts_are_those_about_the_models(packages):
    assert [act["subject"] for act in records_in(packages[True], "acts")] == [
        "modelservice/soc/flows", "modelservice/soc/nsl-kdd", f"bundle/{DIGEST}",
    ]  # fmt: skip
    assert [act["subject"] for act in records_in(packages[False], "acts")] == ["modelservice/soc/flows", f"bundle/{DIGEST}"]


def test_no_private_key_and_no_folder_of_the_machine_is_in_a_package(packages, store):
    for path in packages[True].rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            assert b"PRIVATE KEY" not in raw
            assert str(store.logs.folder).encode() not in raw


def test_a_package_in_one_file(store, tmp_path, capsys):
    made = store.export(tmp_path / "package.tar.gz", CHOSEN)
    with tarfile.open(made.path) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert said_in_here(tmp_path / "unpacked" / "package", capsys)["is_sound"]


def test_what_is_there_is_not_written_over(packages, store):
    with pytest.raises(PackageError, match="exists already"):
        store.export(packages[True], ExportChoice())


def test_records_that_were_changed_are_not_exported_as_proved(store, tmp_path):
    copy = shutil.copytree(store.logs.folder, tmp_path / "log")
    path = one(copy, "segment-*-alpha-000002.jsonl")
    path.write_bytes(path.read_bytes().replace(b"benign", b"alerts", 1))
    changed = AuditedStore(replace(store.logs, folder=copy), store.acts)
    with pytest.raises(PackageError, match="vedette audit verify"):
        changed.export(tmp_path / "package", CHOSEN)


def test_a_receipt_is_checked_by_the_script(package_of, store, tmp_path):
    first = store.logs.segment("delta", 2).records.read_bytes().splitlines()[4]
    receipt = json.loads(first)["receipt"]
    proof = prove_receipt(store.logs.folder, receipt, store.logs.trust_of(store.logs.folder), store.logs.anchored)
    (tmp_path / "receipt.json").write_bytes(proof.encode())
    folder, pinned = package_of(True), str(store.logs.first.verifier)
    done = alone(folder, "verify.py", "--receipt", str(tmp_path / "receipt.json"), "--key", pinned)
    assert (done.returncode, done.stdout) == (0, f"receipt {receipt} is proved: delta, segment 2, line 5\n")
    (tmp_path / "receipt.json").write_bytes(proof.encode().replace(b"benign", b"alerts"))
    assert alone(folder, "verify.py", "--receipt", str(tmp_path / "receipt.json")).returncode == 1


def test_a_link_in_the_log_s_folder_does_not_bring_a_private_key_into_the_package(store, tmp_path):
    log = shutil.copytree(store.logs.folder, tmp_path / "log")
    secret = tmp_path / "audit.pem"
    secret.write_text("a private key")
    (log / "chain" / "removed.jsonl").unlink()
    (log / "chain" / "removed.jsonl").symlink_to(secret)
    linked = replace(store, logs=replace(store.logs, folder=log))
    with pytest.raises(OSError, match="not a regular file"):
        linked.export(tmp_path / "package", ExportChoice())
    assert not [path for path in (tmp_path / "package").rglob("*") if path.is_file() and b"private key" in path.read_bytes()]


def test_a_revoked_key_of_the_store_is_in_the_package_and_the_script_believes_it_no_longer(store, tmp_path, capsys):
    """The second key was stolen before it signed anything: what it signed is left out, and found where it is left."""
    second = store.logs.second.verifier
    made = store.export(tmp_path / "package", ExportChoice(), signer=store.logs.first, revoked={second: 5})
    assert (made.path / "keys" / "revoked.txt").read_text(encoding="utf-8") == f"{second} time_us 5\n"
    findings = said_in_here(made.path, capsys)["findings"]
    assert {"forged checkpoint", "forged tombstone"} <= {finding["kind"] for finding in findings}
    assert any("may not sign at that time" in finding["what"] for finding in findings)
    assert not [f for f in findings if "alpha-000001" in f["where"]], "the first key signed that"


def test_a_revocation_taken_out_of_a_package_is_found(store, tmp_path, capsys):
    made = store.export(tmp_path / "package", ExportChoice(), revoked={store.logs.first.verifier: store.logs.now_us + 10**9})
    (made.path / "keys" / "revoked.txt").write_text("", encoding="utf-8")
    assert ("file changed", "keys/revoked.txt") in {
        (f["kind"], f["where"]) for f in said_in_here(made.path, capsys)["findings"]
    }


def test_the_auditor_knows_of_a_stolen_key_that_the_package_says_nothing_of(package_of, store, tmp_path, capsys):
    stolen = tmp_path / "stolen.txt"
    stolen.write_text(f"{store.logs.second.verifier} time_us 5\n", encoding="utf-8")
    assert said_in_here(package_of(True), capsys)["is_sound"]
    assert not said_in_here(tmp_path / "package", capsys, "--revoked", str(stolen))["is_sound"]


@pytest.mark.parametrize("ends", [{}, {"first": 5}, {"second": 5}, {"first": 5, "second": 6}], ids=str)
def test_the_script_trusts_whom_vedette_trusts(store, ends):
    """By key and time, with each of the keys revoked: a revoked key vouches for nobody."""
    keys = {"first": store.logs.first, "second": store.logs.second}
    revoked = {keys[name].verifier: store.logs.now_us + days * 86_400_000_000 for name, days in ends.items()}
    notes = key_notes(store.logs.folder)
    trust = Trust.build(store.logs.pinned, notes, revoked)
    script = proofs.Trust(
        [proofs.read_key(str(key)) for key in store.logs.pinned],
        notes,
        proofs.read_revoked("".join(f"{key} time_us {time_us}\n" for key, time_us in revoked.items())),
    )
    for signer in keys.values():
        for days in range(-9, 9):
            note = signer.sign(f"x\ntime_us {store.logs.now_us + days * 86_400_000_000}\n")
            try:
                is_believed = bool(script.check(note))
            except proofs.Wrong:
                is_believed = False
            assert is_believed == bool(trust.signers(note)), (signer.verifier.name, days)
