"""The key that signs now: read from its file, and read again when the file changes, so that a rotated secret is used without a restart.

    STORE/keys/audit.pem      the private key where no setting names another
    STORE/keys/trusted/*.pub  public keys that verification of this store trusts
    keys.jsonl beside a key   notes of the keys before it, as `vedette audit key rotate` writes them; they are carried into each log

A key that is missing or unreadable stops nothing: checkpoints are made without a signature, `problem` says why, and the next checkpoint
after it is back is signed. Which keys are trusted is decided in serving.audit.keys.trust."""

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from serving.audit.keys.trust import REVOKED, KeyNote, Trust, read_pinned, read_revoked, trusted_folder
from serving.audit.note_files import append_note
from serving.audit.segment_files import note_line, read_notes
from serving.audit.signed_note import NoteError, Signer, SigningKeyError, VerifierKey, signers_of, text_of
from serving.store_layout import say_layout

log = logging.getLogger(__name__)

DEFAULT_NAME: Final = "audit"
"""Name of the key's owner where no setting says another."""
NOTES: Final = "keys.jsonl"
"""The notes beside a key, and in the `chain` folder of a log."""


class Keyring:
    """The signing key of one process. path: its PEM file. folders: of the logs that it signs; notes beside the key go there too.

    trusted: folder of the keys that the store trusts, if it has one."""

    def __init__(
        self, path: Path, name: str | None = None, *, folders: Sequence[Path] = (), trusted: Path | None = None
    ) -> None:
        self.path, self._name, self._folders, self._trusted = path, name or DEFAULT_NAME, folders, trusted
        self._seen: tuple[int, int, int] | None = None
        self._signer: Signer | None = None
        self.problem = ""
        """Why checkpoints are unsigned now; empty while they are signed."""

    @classmethod
    def of(cls, store: Path, key: Path | None, name: str | None, *, folders: Sequence[Path] = ()) -> "Keyring":
        """The keyring of a store. key: VEDETTE_AUDIT_KEY; the store's own key, made where there is none yet, if None."""
        if key is None:
            key = default_key(store)
            try:
                ensure_key(store, name)
            except (OSError, SigningKeyError, NoteError) as error:
                log.error("the key %s could not be created: %s", key, error)
        return cls(key, name, folders=folders, trusted=trusted_folder(store))

    def signer(self) -> Signer | None:
        """The key as its file says now; None while it cannot be read. Costs one `stat` where nothing changed."""
        try:
            found = os.stat(self.path)
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen != self._seen or self._signer is None:
                self._take(Signer.from_file(self.path, self._name))
                self._seen = seen
        except (OSError, SigningKeyError, NoteError) as error:
            self._lose(error)
        return self._signer

    def has_signed(self, note: str) -> bool:
        """Whether the key that signed last signed this note too; from any thread."""
        signer = self._signer
        try:
            return signer is not None and bool(signers_of(note, [signer.verifier]))
        except NoteError:
            return False

    def knows(self, note: str) -> bool:
        """Whether a key of this installation signed a note: the one that signs now, one before it, or one that the store trusts.

        True of every note while there is no key: then nothing that this process says is signed either."""
        signer = self.signer()
        if signer is None:
            return True
        try:
            before = [KeyNote.parse(text_of(told)).replaces for told in notes_beside(self.path)]
            pinned = read_pinned(self._trusted) if self._trusted is not None else ()
            return bool(Trust.build([signer.verifier, *before, *pinned], (), self._revoked()).signers(note))
        except (OSError, NoteError):
            return False

    def _revoked(self) -> Mapping[VerifierKey, int]:
        return read_revoked(self._trusted) if self._trusted is not None else {}

    def _take(self, signer: Signer) -> None:
        before, self._signer = self._signer, signer
        if self.problem:
            log.warning("the key %s can be read again; checkpoints are signed", self.path)
        elif before is not None and before.verifier != signer.verifier:
            log.warning("checkpoints are now signed by %s, previously by %s", signer.verifier, before.verifier)
        self.problem = ""
        self._carry_notes()

    def _lose(self, error: Exception) -> None:
        why = f"{self.path}: the signing key cannot be read ({error.strerror})" if isinstance(error, OSError) else error
        if not self.problem:
            log.error("checkpoints of the prediction log are not signed: %s", why)
        self.problem = f"checkpoints of the prediction log are not signed: {why}"
        self._signer, self._seen = None, None

    def _carry_notes(self) -> None:
        """Put the notes beside the key into the logs, where verification finds them."""
        beside = self.path.with_name(NOTES)
        try:
            for note in read_notes(beside) if beside.exists() else ():
                for folder in self._folders:
                    add_key_note(folder, note)
        except (OSError, NoteError) as error:
            log.error(
                "the key notes in %s could not be copied into the log, so verification will not know them: %s", beside, error
            )


def default_key(store: Path) -> Path:
    """The store's own private key."""
    return store / "keys" / "audit.pem"


def ensure_key(store: Path, name: str | None = None) -> Path:
    """Make the store's own key and trust it, unless there is one; its file. Several processes may ask at once: all get the same key.

    Only whoever makes the key trusts it. A key that somebody else put there is not trusted for that. Raises OSError."""
    path = default_key(store)
    if path.exists():
        return path
    say_layout(store)
    with locked(path.parent):
        if not path.exists():
            pin(trusted_folder(store), make_key(path, name).verifier)
            place_key(path)
    return path


def make_key(path: Path, name: str | None = None) -> Signer:
    """A new key in `PATH.new`, not yet in use; one that an interrupted rotation left there is taken up. Raises OSError, SigningKeyError."""
    new = path.with_name(path.name + ".new")
    with suppress(SigningKeyError):
        return Signer.from_file(new, name or DEFAULT_NAME)
    new.unlink(missing_ok=True)
    return Signer.create(new, name or DEFAULT_NAME)


def place_key(path: Path) -> None:
    """Put the new key of `make_key` into use. Raises OSError."""
    os.replace(path.with_name(path.name + ".new"), path)


def pin(trusted: Path, key: VerifierKey) -> Path:
    """Trust a key: write its public half into the folder of trusted keys; its file. Raises OSError."""
    trusted.mkdir(parents=True, exist_ok=True)
    path = trusted / f"{key.name.replace('/', '_')}-{key.key_id.hex()}.pub"
    path.write_text(f"{key}\n", encoding="utf-8")
    return path


def revoke(trusted: Path, key: VerifierKey, after_us: int) -> Path:
    """Let a key sign nothing after a time; the file of revocations. Raises OSError."""
    trusted.mkdir(parents=True, exist_ok=True)
    path = trusted / REVOKED
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{key} time_us {after_us}\n")
        file.flush()
        os.fsync(file.fileno())
    return path


def vouch(old: Signer, new: VerifierKey, now_us: int) -> str:
    """The note by which a key vouches for the one that takes its place."""
    return old.sign(KeyNote(new, old.verifier, now_us).text())


def key_notes(folder: Path) -> list[str]:
    """The notes about keys in a log's folder. Raises OSError, NoteError."""
    path = folder / "chain" / NOTES
    return read_notes(path) if path.exists() else []


def add_key_note(folder: Path, note: str) -> None:
    """Put a note about a key into a log's folder, once. Raises OSError, NoteError."""
    if note not in key_notes(folder):
        append_note(folder / "chain" / NOTES, note)


def add_note_beside(key: Path, notes: Sequence[str]) -> None:
    """Write the notes that travel with a key, whole. Raises OSError."""
    path = key.with_name(NOTES)
    new = path.with_name(path.name + ".new")
    new.write_bytes(b"".join(map(note_line, notes)))
    os.replace(new, path)


def notes_beside(key: Path) -> list[str]:
    """The notes that travel with a key. Raises OSError, NoteError."""
    path = key.with_name(NOTES)
    return read_notes(path) if path.exists() else []


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the keys of this folder. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
