"""Looks at a folder of logs as a verifier would, for tests of the writer; `vedette audit verify` is the real one."""

from pathlib import Path

from serving.audit.checkpoint import Checkpoint
from serving.audit.merkle import leaf_hash, root_of
from serving.audit.segment_files import read_entries, read_notes, segments_in
from serving.audit.signed_note import text_of


def check_chain(folder: Path) -> dict[str, list[Checkpoint]]:
    """Assert that every segment has ended and holds what its checkpoints say, each naming the segment before; the last ones by log."""
    logs: dict[str, list[Checkpoint]] = {}
    for files in segments_in(folder):
        hashes = [leaf_hash(entry) for entry in read_entries(files.records)]
        said = [Checkpoint.parse(text_of(note)) for note in read_notes(files.checkpoints)]
        ended = logs.setdefault(files.log, [])
        for checkpoint in said:
            assert root_of(hashes[: checkpoint.size]) == checkpoint.root, files.stem
            assert checkpoint.before == sum(c.size for c in ended), files.stem
            assert checkpoint.previous == (ended[-1].digest() if ended else None), files.stem
        assert said[-1].is_final, files.stem
        assert said[-1].size == len(hashes), files.stem
        times = [c.time_us for c in (*ended[-1:], *said)]
        assert times == sorted(times), files.stem
        ended.append(said[-1])
    return logs
