"""Attacks on the records of a segment. Each says what verification must find."""

import json
from collections.abc import Callable, Iterator

from lifecycle.governance.verify.findings import FindingKind
from tests.fakes.audit.scene import Attack, Expected, Scene, edited

PLACES = [
    ("alpha", 1, 0.0), ("alpha", 2, 0.5), ("alpha", 4, 0.9), ("bravo", 3, 0.3),
    ("charlie", 2, 0.99), ("delta", 1, 0.1), ("delta", 3, 0.7), ("alpha", 3, 0.25),
]  # fmt: skip
"""Log, segment, and where in its protected records."""
_Lines = list[bytes]


def attacks() -> Iterator[Attack]:
    for family, change in _ON_ONE_LINE.items():
        for log, number, where in PLACES:
            yield Attack(f"{family}: {log} {number} at {where:.0%}", family, _at(change, log, number, where))
    for family, do in _ON_SEGMENTS.items():
        for log, number in (("alpha", 1), ("bravo", 4), ("charlie", 1), ("delta", 3)):
            yield Attack(f"{family}: {log} {number}", family, _on(do, log, number))


_Change = Callable[[Scene, _Lines, int], tuple[_Lines, FindingKind, int]]
_OnSegment = Callable[[Scene, str, int], Expected]


def _at(change: _Change, log: str, number: int, where: float) -> Callable[[Scene], Expected]:
    def do(scene: Scene) -> Expected:
        index = scene.at(log, number, where)
        lines, kind, line = change(scene, scene.lines(log, number), index)
        scene.put_lines(log, number, lines)
        return Expected(kind, log, number, line)

    return do


def _on(do: _OnSegment, log: str, number: int) -> Callable[[Scene], Expected]:
    return lambda scene: do(scene, log, number)


def _flip_a_byte(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    at = len(lines[i]) // 2
    lines[i] = lines[i][:at] + bytes([lines[i][at] ^ 1]) + lines[i][at + 1 :]
    return lines, FindingKind.CHANGED, i + 1


def _change_a_verdict(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    lines[i] = edited(lines[i])
    return lines, FindingKind.CHANGED, i + 1


def _write_the_same_json_otherwise(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    lines[i] = json.dumps(json.loads(lines[i]), sort_keys=True).encode()
    return lines, FindingKind.CHANGED, i + 1


def _split_a_record_in_two(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    half = len(lines[i]) // 2
    lines[i : i + 1] = [lines[i][:half], lines[i][half:]]
    return lines, FindingKind.CHANGED, i + 1


def _drop(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    del lines[i]
    return lines, FindingKind.REMOVED if i < len(lines) else FindingKind.CUT_OFF, i + 1


def _drop_a_few(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    start = max(0, i - 4)
    del lines[start : i + 1]
    return lines, FindingKind.REMOVED if start < len(lines) else FindingKind.CUT_OFF, start + 1


def _swap_neighbours(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    i = max(1, i)
    lines[i - 1], lines[i] = lines[i], lines[i - 1]
    return lines, FindingKind.MOVED, i


def _swap_with_the_first(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    i = max(7, i)
    lines[0], lines[i] = lines[i], lines[0]
    return lines, FindingKind.MOVED, 1


def _move_to_the_front(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    lines.insert(0, lines.pop(max(3, i)))
    return lines, FindingKind.MOVED, 1


def _insert(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    lines.insert(i, edited(lines[i]))
    return lines, FindingKind.INSERTED, i + 1


def _duplicate(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    lines.insert(i, lines[i - 1] if i else lines[5])
    return lines, FindingKind.DUPLICATED, i + 1


def _write_a_copy_over(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    lines[i] = lines[(i + 11) % (len(lines) - 10)]
    return lines, FindingKind.DUPLICATED, i + 1


def _cut(_: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    return lines[:i], FindingKind.CUT_OFF, i + 1


def _splice_over(scene: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    lines[i] = scene.lines("bravo", 5)[3]
    return lines, FindingKind.SPLICED, i + 1


def _splice_between(scene: Scene, lines: _Lines, i: int) -> tuple[_Lines, FindingKind, int]:
    lines.insert(i, scene.lines("delta", 2)[2])
    return lines, FindingKind.SPLICED, i + 1


_ON_ONE_LINE: dict[str, _Change] = {
    "flip a bit": _flip_a_byte,
    "change a verdict": _change_a_verdict,
    "write the same JSON otherwise": _write_the_same_json_otherwise,
    "split a record in two": _split_a_record_in_two,
    "drop a record": _drop,
    "drop five records": _drop_a_few,
    "swap two neighbours": _swap_neighbours,
    "swap a record with the first": _swap_with_the_first,
    "move a record to the front": _move_to_the_front,
    "insert a record": _insert,
    "duplicate a record": _duplicate,
    "write a copy over a record": _write_a_copy_over,
    "truncate": _cut,
    "splice a record of another log over one": _splice_over,
    "splice a record of another log between two": _splice_between,
}


def _truncate_within_a_line(scene: Scene, log: str, number: int) -> Expected:
    lines, i = scene.lines(log, number), scene.at(log, number, 0.6)
    scene.put(scene.files(log, number).records, b"\n".join(lines[:i]) + b"\n" + lines[i][:20])
    return Expected(FindingKind.CUT_OFF, log, number, i + 1)


def _truncate_at_a_checkpoint_with_its_hashes(scene: Scene, log: str, number: int) -> Expected:
    size = scene.checkpoints(log, number)[1].size
    scene.put_lines(log, number, scene.lines(log, number)[:size], with_hashes=True)
    return Expected(FindingKind.CUT_OFF, log, number, size + 1)


def _empty(scene: Scene, log: str, number: int) -> Expected:
    scene.put(scene.files(log, number).records, b"")
    return Expected(FindingKind.CUT_OFF, log, number, 1)


def _reverse(scene: Scene, log: str, number: int) -> Expected:
    scene.put_lines(log, number, scene.lines(log, number)[::-1])
    return Expected(FindingKind.MOVED, log, number, 1)


def _put_the_records_of_another_log(scene: Scene, log: str, number: int) -> Expected:
    scene.put_lines(log, number, scene.lines("alpha", 3))
    return Expected(FindingKind.SPLICED, log, number, 1)


def _change_a_record_and_its_hash(scene: Scene, log: str, number: int) -> Expected:
    lines, i = scene.lines(log, number), scene.at(log, number, 0.4)
    lines[i] = edited(lines[i])
    scene.put_lines(log, number, lines, with_hashes=True)
    return Expected(FindingKind.CHANGED, log, number, i + 1, is_exact=False)


def _drop_a_record_and_its_hash(scene: Scene, log: str, number: int) -> Expected:
    lines, i = scene.lines(log, number), scene.at(log, number, 0.4)
    kind = FindingKind.REMOVED if log != "delta" else FindingKind.CHANGED  # its unprotected records make up the number
    del lines[i]
    scene.put_lines(log, number, lines, with_hashes=True)
    return Expected(kind, log, number, i + 1, is_exact=False)


def _change_a_record_and_remove_the_hashes(scene: Scene, log: str, number: int) -> Expected:
    lines, i = scene.lines(log, number), scene.at(log, number, 0.8)
    lines[i] = edited(lines[i])
    scene.put_lines(log, number, lines)
    scene.files(log, number).hashes.unlink()
    return Expected(FindingKind.CHANGED, log, number, i + 1, is_exact=False)


def _edit_a_stored_hash(scene: Scene, log: str, number: int) -> Expected:
    path, i = scene.files(log, number).hashes, scene.at(log, number, 0.5)
    data = bytearray(path.read_bytes())
    data[32 * i] ^= 1
    scene.put(path, bytes(data))
    return Expected(FindingKind.HASHES_CHANGED, log, number, i + 1)


def _end_lines_as_windows_does(scene: Scene, log: str, number: int) -> Expected:
    scene.put_lines(log, number, [line + b"\r" for line in scene.lines(log, number)])
    return Expected(FindingKind.CHANGED, log, number, 1)


_ON_SEGMENTS: dict[str, _OnSegment] = {
    "truncate within a line": _truncate_within_a_line,
    "truncate records and hashes at a checkpoint": _truncate_at_a_checkpoint_with_its_hashes,
    "empty the file": _empty,
    "reverse the records": _reverse,
    "put the records of another log there": _put_the_records_of_another_log,
    "change a record and its stored hash": _change_a_record_and_its_hash,
    "drop a record and its stored hash": _drop_a_record_and_its_hash,
    "change a record and remove the hashes": _change_a_record_and_remove_the_hashes,
    "edit a stored hash": _edit_a_stored_hash,
    "end lines as Windows does": _end_lines_as_windows_does,
}
