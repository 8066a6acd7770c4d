"""Replaces the signing key by a new one, in steps that may be interrupted and repeated.

1. the new key is made, beside the old one and not in use;
2. the old key vouches for it, in the notes beside the key and in the logs;
3. its public half is trusted, and it is put into use.

A secret that this process cannot write is replaced by its owner: then the new key and all notes are put into a folder for it."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from serving.audit.keys.keyring import (
    add_key_note,
    add_note_beside,
    key_notes,
    locked,
    make_key,
    notes_beside,
    pin,
    place_key,
    vouch,
)
from serving.audit.keys.trust import KeyNote
from serving.audit.signed_note import Signer, SigningKeyError, VerifierKey, text_of


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did. key: the file of the new key. note: by which the old key vouches for it."""

    old: VerifierKey
    new: VerifierKey
    key: Path
    note: str


def rotate(
    key: Path, name: str | None, *, now_us: int, folders: Sequence[Path], trusted: Path | None, to: Path | None = None
) -> Rotation:
    """Replace the key in the file `key`. to: the folder for the new key, where `key` is not ours to write.

    folders: of the logs that the key signs. trusted: where the new key is pinned, if anywhere. The old private key is not kept.
    Raises SigningKeyError, NoteError, OSError; asking again then goes on where it stopped."""
    place = key if to is None else to / key.name
    with locked(key.parent) if to is None else nullcontext():  # a folder made for one rotation has no other
        old = Signer.from_file(key, name)
        is_placed = to is not None and place.exists()
        new = (Signer.from_file(place, name) if is_placed else make_key(place, name)).verifier
        travelling = [*notes_beside(key), *(notes_beside(place) if is_placed else ())]
        known = [*travelling, *(found for folder in folders for found in key_notes(folder))]
        note = next((found for found in known if _replaces(found, old.verifier)), None) or vouch(old, new, now_us)
        successor = KeyNote.parse(text_of(note)).key
        if successor != new:
            raise SigningKeyError(
                f"{key} has vouched for {successor.name}+{successor.key_id.hex()} already, and a key has one successor only; use that "
                "one: it is in the folder that --to named at that rotation"
            )
        add_note_beside(place, list(dict.fromkeys((*travelling, note))))
        for folder in folders:
            add_key_note(folder, note)
        if trusted is not None:
            pin(trusted, new)
        if to is not None:
            place.with_suffix(".pub").write_text(f"{new}\n", encoding="utf-8")
        if not is_placed:
            place_key(place)
    return Rotation(old.verifier, new, place, note)


def _replaces(note: str, old: VerifierKey) -> bool:
    return KeyNote.parse(text_of(note)).replaces == old
