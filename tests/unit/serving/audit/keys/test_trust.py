"""Which keys are trusted when: what a stolen, foreign or replaced key can and cannot make a verifier believe."""

import pytest

from serving.audit.keys.trust import OVERLAP_US, REVOKED, KeyNote, Trust, read_pinned, read_revoked
from serving.audit.note_files import append_note
from serving.audit.signed_note import NoteError, Signer, unsigned

DAY = 24 * 3600 * 1_000_000
T = 1_700_000_000_000_000


@pytest.fixture
def keys(tmp_path):
    return [Signer.create(tmp_path / f"{name}.pem") for name in ("first", "second", "third", "foreign")]


def vouched(old, new, time_us, by=None):
    return (by or old).sign(KeyNote(new.verifier, old.verifier, time_us).text())


def said(signer, time_us):
    return signer.sign(f"vedette-audit-removed\ntime_us {time_us}\n")


def test_a_pinned_key_is_trusted_at_any_time(keys):
    trust = Trust.build([keys[0].verifier])
    assert trust.signers(said(keys[0], 1)) == trust.signers(said(keys[0], T)) == [keys[0].verifier]


def test_a_foreign_key_signs_for_nobody(keys):
    first, *_, foreign = keys
    trust = Trust.build([first.verifier])
    assert trust.signers(said(foreign, T)) == []
    assert "foreign, which is not a trusted key" in trust.why_not(said(foreign, T))


def test_a_foreign_key_that_takes_the_name_of_a_trusted_one_is_found(tmp_path, keys):
    impostor = Signer.create(tmp_path / "elsewhere.pem", "first")
    trust = Trust.build([keys[0].verifier])
    assert trust.signers(said(impostor, T)) == []
    forged = said(keys[0], T).replace(f"time_us {T}", f"time_us {T + 1}")
    with pytest.raises(NoteError, match="does not fit"):
        trust.signers(forged)


def test_old_checkpoints_stay_verifiable_after_two_rotations(tmp_path, keys):
    first, second, third, _ = keys
    for note in (vouched(second, third, T + 30 * DAY), vouched(first, second, T)):  # the order in the file does not matter
        append_note(tmp_path / "log" / "chain" / "keys.jsonl", note)
    trust = Trust.read(tmp_path / "log", [first.verifier])
    assert trust.problems == ()
    assert [trust.signers(said(key, time)) for key, time in ((first, T - DAY), (second, T + DAY), (third, T + 60 * DAY))] == [
        [key.verifier] for key in (first, second, third)
    ]


@pytest.mark.parametrize(
    ("who", "when", "is_trusted"),
    [
        pytest.param(0, OVERLAP_US, True, id="a replica that has not yet the new key"),
        pytest.param(0, OVERLAP_US + 1, False, id="a replaced key, found in an old backup, signs today"),
        pytest.param(1, -OVERLAP_US, True, id="the new key where a clock was set back"),
        pytest.param(1, -OVERLAP_US - 1, False, id="the new key rewrites what was before it"),
    ],
)
def test_around_a_rotation(keys, who, when, is_trusted):
    first, second, *_ = keys
    trust = Trust.build([first.verifier], [vouched(first, second, T)])
    note = said(keys[who], T + when)
    assert bool(trust.signers(note)) == is_trusted
    if not is_trusted:
        assert "may not sign at that time" in trust.why_not(note)


def test_a_note_that_another_key_signed_vouches_for_nobody(keys):
    first, _, _, foreign = keys
    trust = Trust.build([first.verifier], [vouched(first, foreign, T, by=foreign)])
    assert trust.signers(said(foreign, T)) == []
    assert "did not sign the note" in trust.problems[0]
    assert Trust.build([first.verifier], [unsigned(KeyNote(foreign.verifier, first.verifier, T).text())]).problems


def test_a_chain_of_notes_that_begins_at_no_pinned_key_is_named(keys):
    _, second, third, _ = keys
    trust = Trust.build([keys[0].verifier], [vouched(second, third, T)])
    assert [t.key for t in trust.keys] == [keys[0].verifier]
    assert "no trusted key signed" in trust.problems[0]


def test_a_stolen_key_cannot_name_a_second_successor(keys):
    first, second, _, foreign = keys
    trust = Trust.build([first.verifier], [vouched(first, second, T), vouched(first, foreign, T - DAY)])
    assert trust.signers(said(foreign, T)) == []
    assert "a second one" in trust.problems[0]


def test_a_replaced_key_does_not_come_back(keys):
    first, second, *_ = keys
    trust = Trust.build([first.verifier], [vouched(first, second, T), vouched(second, first, T + DAY)])
    assert "a replaced key cannot be a successor" in trust.problems[0]
    assert trust.signers(said(first, T + 3 * DAY)) == []


def test_the_same_note_of_two_replicas_counts_once(keys):
    first, second, *_ = keys
    note = vouched(first, second, T)
    assert Trust.build([first.verifier], [note, note]) == Trust.build([first.verifier], [note])


def test_a_revoked_key_signs_nothing_later_and_vouches_for_nobody(tmp_path, keys):
    first, second, third, _ = keys
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / "a.pub").write_text(f"{first.verifier}\n{third.verifier}\n")
    (folder / REVOKED).write_text(f"{first.verifier} time_us {T}\n")
    notes = [vouched(first, second, T - DAY)]
    trust = Trust.build(read_pinned(folder), notes, read_revoked(folder))
    assert trust.signers(said(first, T - 2 * DAY)) == [first.verifier]
    assert trust.signers(said(first, T + 1)) == trust.signers(said(second, T)) == []
    assert trust.signers(said(third, T + 1)) == [third.verifier]


@pytest.mark.parametrize("text", ["", "first time_us 5", "first+00000000+AAAA time_us 5"])
def test_a_damaged_list_of_revocations_is_an_error_and_no_empty_list(tmp_path, text):
    (tmp_path / REVOKED).write_text(f"{text}\n")
    with pytest.raises(NoteError):
        read_revoked(tmp_path)


@pytest.mark.parametrize(("name", "read"), [("ada.pub", read_pinned), (REVOKED, read_revoked)])
def test_a_file_of_keys_that_has_no_end_is_an_error(tmp_path, name, read):
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(OSError, match="more than 1048576 bytes"):
        read(tmp_path)


def test_a_note_that_says_two_times_is_refused(keys):
    with pytest.raises(NoteError, match="exactly one line `time_us T`"):
        Trust.build([keys[0].verifier]).signers(keys[0].sign("x\ntime_us 1\ntime_us 2\n"))
