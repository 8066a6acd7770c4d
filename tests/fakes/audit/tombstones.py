"""What tests look up in the tombstones of a folder."""

from pathlib import Path

from serving.audit.segment_files import read_notes
from serving.audit.signed_note import text_of
from serving.audit.tombstones import Tombstone, tombstones_file


def read_tombstones(folder: Path) -> list[tuple[Tombstone, str]]:
    """Every tombstone and its note, oldest first; no signature is checked. Raises NoteError, OSError."""
    path = tombstones_file(folder)
    notes = read_notes(path) if path.exists() else []
    return [(Tombstone.parse(text_of(note)), note) for note in notes]
