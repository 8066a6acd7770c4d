"""Attacks on checkpoints, segments, tombstones and keys. Each says what verification must find."""

import base64
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace

from lifecycle.governance.verify.findings import FindingKind as Kind
from serving.audit.keys.trust import KeyNote
from serving.audit.merkle import leaf_hash, root_of
from serving.audit.segment_files import note_line, segments_in
from serving.audit.signed_note import Signer, text_of
from serving.audit.tombstones import Tombstone
from tests.fakes.audit.honest_logs import REMOVED, record_line
from tests.fakes.audit.scene import Attack, Expected, Scene, edited

_On = Callable[[Scene, str, int], Expected]


def attacks() -> Iterator[Attack]:
    for family, (do, places) in _ON_SEGMENTS.items():
        for log, number in places:
            yield Attack(f"{family}: {log} {number}", family, _bind(do, log, number))
    for family, on_all in _ON_FOLDERS.items():
        yield Attack(family, family, on_all)


def _bind(do: _On, log: str, number: int) -> Callable[[Scene], Expected]:
    return lambda scene: do(scene, log, number)


def _sign_changed_records_anew(scene: Scene, log: str, number: int, key: Signer) -> int:
    """Change one record and make every checkpoint of the segment fit again; the line that was changed."""
    lines, i = scene.lines(log, number), scene.at(log, number, 0.5)
    lines[i] = edited(lines[i])
    scene.put_lines(log, number, lines, with_hashes=True)
    leaves = list(map(leaf_hash, lines))
    fitting = [replace(c, root=root_of(leaves[: c.size])) for c in scene.checkpoints(log, number)]
    scene.put_notes(log, number, [key.sign(c.text()) for c in fitting])
    return i + 1


def _sign_anew_with_a_foreign_key(scene: Scene, log: str, number: int) -> Expected:
    _sign_changed_records_anew(scene, log, number, scene.foreign)
    return Expected(Kind.FORGED_CHECKPOINT, log, number, 1)


def _sign_anew_under_a_trusted_name(scene: Scene, log: str, number: int) -> Expected:
    name = scene.logs.first.verifier.name
    _sign_changed_records_anew(scene, log, number, Signer.create(scene.logs.folder / "stolen.pem", name))
    (scene.logs.folder / "stolen.pem").unlink()
    return Expected(Kind.FORGED_CHECKPOINT, log, number, 1)


def _sign_anew_with_the_true_key(scene: Scene, log: str, number: int) -> Expected:
    """Somebody who has the key: what others witnessed, or an anchor holds, tells."""
    _sign_changed_records_anew(scene, log, number, scene.logs.second)
    return Expected(Kind.REWRITTEN, log, number)


def _claim_a_trusted_key_for_another_signature(scene: Scene, log: str, number: int) -> Expected:
    """The trusted key's name and id over a signature of another key."""
    notes = scene.notes(log, number)
    text = text_of(notes[-1])
    trusted = scene.logs.second.verifier
    raw = trusted.key_id + base64.b64decode(scene.foreign.sign(text).split(" ")[-1])[4:]
    notes[-1] = f"{text}\n\u2014 {trusted.name} {base64.b64encode(raw).decode()}\n"
    scene.put_notes(log, number, notes)
    return Expected(Kind.FORGED_CHECKPOINT, log, number, len(notes))


def _edit(scene: Scene, log: str, number: int, change: Callable[[str], str], at: int = 1) -> Expected:
    notes = scene.notes(log, number)
    notes[at] = change(notes[at])
    scene.put_notes(log, number, notes)
    return Expected(Kind.FORGED_CHECKPOINT, log, number, at + 1)


def _edit_the_size(scene: Scene, log: str, number: int) -> Expected:
    size = str(scene.checkpoints(log, number)[1].size)
    return _edit(scene, log, number, lambda note: note.replace(f"\n{size}\n", f"\n{int(size) - 1}\n", 1))


def _edit_the_time(scene: Scene, log: str, number: int) -> Expected:
    return _edit(scene, log, number, lambda note: note.replace("time_us 17", "time_us 16", 1))


def _edit_the_root(scene: Scene, log: str, number: int) -> Expected:
    root = base64.b64encode(scene.checkpoints(log, number)[1].root).decode()
    other = base64.b64encode(bytes(32)).decode()
    return _edit(scene, log, number, lambda note: note.replace(root, other, 1))


def _write_no_note(scene: Scene, log: str, number: int) -> Expected:
    files = scene.files(log, number)
    lines = files.checkpoints.read_bytes().splitlines(keepends=True)
    lines[1] = b"no note\n"
    scene.put(files.checkpoints, b"".join(lines))
    return Expected(Kind.FORGED_CHECKPOINT, log, number, 2)


def _strip_the_signature(scene: Scene, log: str, number: int) -> Expected:
    notes = scene.notes(log, number)
    before = scene.checkpoints(log, number)[-2 if len(notes) > 1 else -1].size
    notes[-1] = text_of(notes[-1]) + "\n"
    scene.put_notes(log, number, notes)
    return Expected(Kind.UNSIGNED, log, number, before + 1)


def _put_a_checkpoint_of_another_segment(scene: Scene, log: str, number: int) -> Expected:
    notes = scene.notes(log, number)
    scene.put_notes(log, number, [*notes[:1], scene.notes("alpha", 3)[1], *notes[1:]])
    return Expected(Kind.SPLICED, log, number, 2)


def _swap_two_checkpoints(scene: Scene, log: str, number: int) -> Expected:
    notes = scene.notes(log, number)
    notes[0], notes[1] = notes[1], notes[0]
    scene.put_notes(log, number, notes)
    return Expected(Kind.MOVED, log, number, 2)


def _duplicate_a_checkpoint(scene: Scene, log: str, number: int) -> Expected:
    notes = scene.notes(log, number)
    scene.put_notes(log, number, [notes[0], *notes])
    return Expected(Kind.DUPLICATED, log, number, 2)


def _remove_the_last_checkpoint(scene: Scene, log: str, number: int) -> Expected:
    notes = scene.notes(log, number)
    scene.put_notes(log, number, notes[:-1])
    return Expected(Kind.CHECKPOINT_MISSING, log, number, len(notes))


def _remove_the_file_of_checkpoints(scene: Scene, log: str, number: int) -> Expected:
    scene.files(log, number).checkpoints.unlink()
    return Expected(Kind.CHECKPOINT_FILE_MISSING, log, number)


def _remove_the_records(scene: Scene, log: str, number: int) -> Expected:
    scene.files(log, number).records.unlink()
    return Expected(Kind.SEGMENT_MISSING, log, number)


def _remove_a_segment(scene: Scene, log: str, number: int) -> Expected:
    scene.remove(log, number)
    return Expected(Kind.SEGMENT_MISSING, log, number)


def _remove_a_replica(scene: Scene, log: str, _: int) -> Expected:
    scene.remove(log)
    if log == "bravo":  # its tombstones say that it was there
        scene.put_stones([])
    return Expected(Kind.REPLICA_MISSING, log, 1)


def _roll_a_segment_back(scene: Scene, log: str, number: int) -> Expected:
    kept = scene.roll_back(log, number, 1)
    return Expected(Kind.ROLLED_BACK, log, number, kept + 1)


def _roll_a_log_back(scene: Scene, log: str, number: int) -> Expected:
    newest = max(files.number for files in segments_in(scene.logs.folder) if files.log == log)
    scene.remove(log, *range(number + 1, newest + 1))
    return _roll_a_segment_back(scene, log, number)


def _put_a_segment_there_twice(scene: Scene, log: str, number: int) -> Expected:
    files = scene.files(log, number)
    shutil.copy(files.records, files.folder / files.records.name.replace("segment-17", "segment-16"))
    return Expected(Kind.STRAY_FILE, log, number)


def _give_a_segment_another_number(scene: Scene, log: str, number: int) -> Expected:
    files = scene.files(log, number)
    for path in (files.records, files.hashes, files.checkpoints):
        path.rename(path.with_name(path.name.replace(f"-{number:06d}.", "-000009.")))
    return Expected(Kind.SEGMENT_MISSING, log, number)


_ENDED = (("alpha", 1), ("bravo", 4), ("charlie", 1), ("delta", 2))
_ANY = (("alpha", 2), ("bravo", 3), ("charlie", 1), ("delta", 3))
_ON_SEGMENTS: dict[str, tuple[_On, tuple[tuple[str, int], ...]]] = {
    "sign changed records anew with a foreign key": (_sign_anew_with_a_foreign_key, _ANY),
    "sign changed records anew under a trusted name": (_sign_anew_under_a_trusted_name, _ANY),
    "sign changed records anew with the true key": (_sign_anew_with_the_true_key, (("charlie", 2), ("delta", 3), ("alpha", 4))),
    "claim a trusted key for another signature": (_claim_a_trusted_key_for_another_signature, _ANY),
    "edit the size of a checkpoint": (_edit_the_size, _ANY),
    "edit the time of a checkpoint": (_edit_the_time, (("alpha", 4), ("delta", 1))),
    "edit the root of a checkpoint": (_edit_the_root, (("alpha", 1), ("charlie", 2))),
    "write something else over a checkpoint": (_write_no_note, (("bravo", 5), ("delta", 2))),
    "strip the last signature of a log": (_strip_the_signature, (("delta", 3), ("charlie", 2))),
    "put a checkpoint of another segment there": (_put_a_checkpoint_of_another_segment, _ANY),
    "swap two checkpoints": (_swap_two_checkpoints, _ANY),
    "duplicate a checkpoint": (_duplicate_a_checkpoint, (("alpha", 3), ("delta", 3))),
    "remove the last checkpoint": (_remove_the_last_checkpoint, (*_ENDED, ("delta", 3), ("alpha", 4))),
    "remove the file of checkpoints": (_remove_the_file_of_checkpoints, (*_ENDED, ("charlie", 2), ("delta", 3))),
    "remove the records of a segment": (_remove_the_records, (*_ENDED, ("alpha", 4))),
    "remove a segment": (_remove_a_segment, (*_ENDED, ("alpha", 4))),
    "remove a replica": (_remove_a_replica, (("alpha", 0), ("bravo", 0), ("charlie", 0), ("delta", 0))),
    "roll a segment back": (_roll_a_segment_back, (*_ENDED, ("delta", 3), ("charlie", 2))),
    "roll a log back": (_roll_a_log_back, (("alpha", 2), ("bravo", 4), ("charlie", 1), ("delta", 2))),
    "put a segment there twice": (_put_a_segment_there_twice, (("alpha", 2), ("delta", 3))),
    "give a segment another number": (_give_a_segment_another_number, (("alpha", 1), ("charlie", 1))),
}  # fmt: skip


def _edit_a_tombstone(scene: Scene) -> Expected:
    scene.put_stones(
        [note.replace("past retention", "by order of the court") for note in scene.stones()[:1]] + scene.stones()[1:]
    )
    return Expected(Kind.FORGED_TOMBSTONE, "bravo", 1, 1)


def _forge_a_tombstone(scene: Scene) -> Expected:
    final = scene.checkpoints("alpha", 2)[-1]
    stone = Tombstone.over(final, time_us=scene.logs.now_us, reason="past retention", by="retention")
    scene.remove("alpha", 2, but_notes=True)
    scene.put_stones([*scene.stones(), scene.foreign.sign(stone.text())])
    return Expected(Kind.FORGED_TOMBSTONE, "alpha", 2, REMOVED + 1)


def _put_the_tombstone_of_another_segment(scene: Scene) -> Expected:
    first = scene.stones()[0].replace("segment bravo/1\n", "segment alpha/2\n")
    scene.remove("alpha", 2, but_notes=True)
    scene.put_stones([*scene.stones(), first])
    return Expected(Kind.FORGED_TOMBSTONE, "alpha", 2, REMOVED + 1)


def _remove_a_tombstone(scene: Scene) -> Expected:
    scene.put_stones(scene.stones()[1:])
    return Expected(Kind.SEGMENT_MISSING, "bravo", 1)


def _strip_a_tombstone(scene: Scene) -> Expected:
    first, *rest = scene.stones()
    scene.put_stones([text_of(first) + "\n", *rest])
    return Expected(Kind.UNSIGNED, "bravo", 1, 1)


def _remove_the_checkpoints_under_a_tombstone(scene: Scene) -> Expected:
    scene.files("bravo", 2).checkpoints.unlink()
    return Expected(Kind.CHECKPOINT_FILE_MISSING, "bravo", 2)


def _forge_the_succession(scene: Scene) -> Expected:
    note = KeyNote(scene.foreign.verifier, scene.logs.second.verifier, scene.logs.now_us).text()
    path = scene.logs.folder / "chain" / "keys.jsonl"
    scene.put(path, path.read_bytes() + note_line(scene.foreign.sign(note)))
    return Expected(Kind.FORGED_KEY, "")


def _edit_the_succession(scene: Scene) -> Expected:
    path = scene.logs.folder / "chain" / "keys.jsonl"
    scene.put(path, path.read_bytes().replace(str(scene.logs.second.verifier).encode(), str(scene.foreign.verifier).encode()))
    return Expected(Kind.FORGED_KEY, "", also=("alpha", "bravo", "charlie", "delta"))


def _put_a_file_there_that_readers_read(scene: Scene) -> Expected:
    scene.put(scene.logs.folder / "segment-0.jsonl", record_line("nobody", 1))
    return Expected(Kind.STRAY_FILE, "")


def _put_a_whole_log_there(scene: Scene) -> Expected:
    """With checkpoints of its own, which a key signs that nobody trusts."""
    files = scene.files("charlie", 1)
    for path in (files.records, files.hashes):
        shutil.copy(path, path.with_name(path.name.replace("charlie", "echo")))
    forged = [scene.foreign.sign(replace(c, log="echo").text()) for c in scene.checkpoints("charlie", 1)]
    target = files.checkpoints.with_name(files.checkpoints.name.replace("charlie", "echo"))
    scene.put(target, b"".join(map(note_line, forged)))
    return Expected(Kind.FORGED_CHECKPOINT, "echo", 1, 1)


def _roll_the_whole_folder_back(scene: Scene) -> Expected:
    """A backup from the time when delta had just begun; only the anchor knows better."""
    scene.remove("delta", 2, 3)
    kept = scene.roll_back("delta", 1, 0)
    return Expected(Kind.ROLLED_BACK, "delta", 1, kept + 1)


_ON_FOLDERS: dict[str, Callable[[Scene], Expected]] = {
    "edit a tombstone": _edit_a_tombstone,
    "remove a segment and forge its tombstone": _forge_a_tombstone,
    "remove a segment and write its name on the tombstone of another": _put_the_tombstone_of_another_segment,
    "remove a tombstone": _remove_a_tombstone,
    "strip the signature of a tombstone": _strip_a_tombstone,
    "remove the checkpoints of a removed segment": _remove_the_checkpoints_under_a_tombstone,
    "forge a note that a foreign key replaces the trusted one": _forge_the_succession,
    "edit the note about the new key": _edit_the_succession,
    "put a file there that readers take for records": _put_a_file_there_that_readers_read,
    "put a whole log there that a foreign key signed": _put_a_whole_log_there,
    "roll the whole folder back": _roll_the_whole_folder_back,
}
