"""The key that signs: missing, damaged, rotated while running, made by two replicas at once."""

import subprocess
import sys

import pytest

from serving.audit.keys.keyring import Keyring, default_key, ensure_key, pin, revoke
from serving.audit.keys.rotation import rotate
from serving.audit.keys.trust import Trust, read_pinned, read_revoked, trusted_folder
from serving.audit.segment_files import read_notes, segments_in
from serving.audit.segments import ChainedSegments
from serving.audit.signed_note import Signer, SigningKeyError

NOW = 1_700_000_000_000_000
DAY = 24 * 3600 * 1_000_000


@pytest.fixture
def clock():
    return {"us": NOW}


@pytest.fixture
def log_of(tmp_path, clock):
    def make(keyring):
        return ChainedSegments(
            tmp_path / "audit", "one", segment_bytes=1 << 20, signer=keyring.signer, now_us=lambda: clock["us"]
        )

    return make


def notes_of(tmp_path):
    return [note for files in segments_in(tmp_path / "audit") for note in read_notes(files.checkpoints)]


def test_a_key_that_goes_missing_leaves_unsigned_checkpoints_and_signed_ones_once_it_is_back(tmp_path, log_of, caplog):
    keyring = Keyring.of(tmp_path, None, None)
    log, hidden = log_of(keyring), tmp_path / "hidden.pem"
    trust = Trust.of_store(tmp_path, tmp_path / "audit")
    log.append([b"a\n"])
    log.checkpoint()
    keyring.path.rename(hidden)
    for line in (b"b\n", b"c\n"):
        log.append([line])
        log.checkpoint()
    assert "cannot be read" in keyring.problem
    hidden.rename(keyring.path)
    log.append([b"d\n"])
    log.checkpoint()
    assert [bool(trust.signers(note)) for note in notes_of(tmp_path)] == [True, True, False, False, True]
    assert keyring.problem == ""
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"], "said once, and once more when it is over"


@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\xff\xfe"])
def test_a_damaged_key_is_a_missing_key(tmp_path, content):
    path = tmp_path / "secret" / "audit.pem"
    path.parent.mkdir()
    path.write_bytes(content)
    keyring = Keyring(path)
    assert keyring.signer() is None
    assert str(path) in keyring.problem
    path.unlink()
    Signer.create(path)
    assert keyring.signer() is not None


def test_a_configured_key_is_not_made_where_it_is_missing(tmp_path):
    keyring = Keyring.of(tmp_path, tmp_path / "secret.pem", None)
    assert keyring.signer() is None
    assert not (tmp_path / "secret.pem").exists()
    assert not default_key(tmp_path).exists()


def test_a_store_that_cannot_be_written_serves_on_without_signatures(tmp_path, caplog):
    (tmp_path / "keys").write_text("in the way")
    keyring = Keyring.of(tmp_path, None, None)
    assert keyring.signer() is None
    assert keyring.problem


def test_the_private_key_is_its_owners_alone(tmp_path):
    assert ensure_key(tmp_path).stat().st_mode & 0o077 == 0
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0


MAKE = """
import sys
from pathlib import Path
from serving.audit.keys.keyring import Keyring
sys.stdin.readline()
print(Keyring.of(Path(sys.argv[1]), None, None).signer().verifier)
"""


@pytest.mark.heavy
def test_replicas_that_make_the_default_key_at_once_have_one_key(tmp_path):
    replicas = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [replica.stdin.write("go\n") and replica for replica in replicas]
    made = {replica.communicate(timeout=60)[0].strip() for replica in said}
    (key,) = made
    assert [str(pinned) for pinned in read_pinned(trusted_folder(tmp_path))] == [key]


def test_a_foreign_key_put_in_the_place_of_the_stores_own_is_not_trusted(tmp_path):
    ensure_key(tmp_path)
    foreign = tmp_path / "foreign.pem"
    Signer.create(foreign)
    foreign.rename(default_key(tmp_path))
    signer = Keyring.of(tmp_path, None, None).signer()
    trust = Trust.of_store(tmp_path, tmp_path / "audit")
    assert trust.signers(signer.sign(f"x\ntime_us {NOW}\n")) == []


def test_a_key_rotated_while_the_log_runs_signs_the_next_checkpoint_and_both_verify_by_the_old_pin(tmp_path, log_of, clock):
    keyring = Keyring.of(tmp_path, None, None)
    (pin_before,) = read_pinned(trusted_folder(tmp_path))
    log = log_of(keyring)
    for line in (b"a\n", b"b\n"):
        log.append([line])
        log.checkpoint()
        done = rotate(
            default_key(tmp_path), None, now_us=clock["us"], folders=[tmp_path / "audit"], trusted=trusted_folder(tmp_path)
        )
        clock["us"] += 2 * DAY
    log.append([b"c\n"])
    log.checkpoint()
    trust = Trust.read(tmp_path / "audit", [pin_before])
    signers = [trust.signers(note) for note in notes_of(tmp_path)]
    assert [len(found) for found in signers] == [1, 1, 1, 1], "the first is over no record"
    assert len({found[0] for found in signers}) == 3
    assert signers[-1] == [done.new]
    assert trust.problems == ()


def test_a_rotated_secret_brings_its_notes_into_the_log(tmp_path, log_of, clock):
    mounted, made = tmp_path / "mounted", tmp_path / "made"
    old = Signer.create(mounted / "audit.pem").verifier
    keyring = Keyring(mounted / "audit.pem", folders=[tmp_path / "audit"])
    log = log_of(keyring)
    log.append([b"a\n"])
    log.checkpoint()
    done = rotate(mounted / "audit.pem", None, now_us=NOW, folders=[], trusted=None, to=made)
    again = rotate(mounted / "audit.pem", None, now_us=NOW + 5, folders=[], trusted=None, to=made)
    assert (again.new, again.note) == (done.new, done.note), "asked again before the secret is replaced"
    for path in made.iterdir():  # as whoever owns the secret puts it into place
        path.rename(mounted / path.name)
    clock["us"] += 2 * DAY
    log.append([b"b\n"])
    log.checkpoint()
    trust = Trust.read(tmp_path / "audit", [old])
    assert [trust.signers(note) for note in notes_of(tmp_path)] == [[old], [old], [done.new]]


def test_an_interrupted_rotation_goes_on_where_it_stopped(tmp_path, monkeypatch):
    ensure_key(tmp_path)
    asked = {"now_us": NOW, "folders": [tmp_path / "audit"], "trusted": trusted_folder(tmp_path)}
    with monkeypatch.context() as broken:
        broken.setattr("serving.audit.keys.rotation.place_key", lambda *_: (_ for _ in ()).throw(OSError("power cut")))
        with pytest.raises(OSError, match="power cut"):
            rotate(default_key(tmp_path), None, **asked)
    done = rotate(default_key(tmp_path), None, **asked)
    assert read_notes(tmp_path / "audit" / "chain" / "keys.jsonl") == [done.note]
    assert Keyring.of(tmp_path, None, None).signer().verifier == done.new


def test_a_key_that_has_a_successor_is_not_given_a_second_one(tmp_path):
    asked = {"now_us": NOW, "folders": [tmp_path / "audit"], "trusted": None}
    key = ensure_key(tmp_path)
    rotate(key, None, to=tmp_path / "here", **asked)
    with pytest.raises(SigningKeyError, match="a key has one successor"):
        rotate(key, None, to=tmp_path / "there", **asked)


def test_a_revocation_is_kept_beside_the_pins_and_the_earliest_counts(tmp_path):
    key = Signer.from_file(ensure_key(tmp_path)).verifier
    trusted = trusted_folder(tmp_path)
    revoke(trusted, key, NOW + 5)
    revoke(trusted, key, NOW)
    assert read_revoked(trusted) == {key: NOW}
    assert pin(trusted, key).read_text() == f"{key}\n"
