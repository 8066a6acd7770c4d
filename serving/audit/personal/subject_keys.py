"""Keys of subjects: one AES-256 key a person, in files of their own. Destroying the file erases what every record says of that person.

    FOLDER/hash.key          secret of the keyed hash: subject ids cannot be guessed from names without it
    FOLDER/ID[:2]/ID.key     the key of one subject, 32 bytes; ID is HMAC-SHA-256 of the subject's name, 32 hex digits

Several replicas share a folder: a file appears whole or not at all, and the second process reads the file of the first. The second user of
`cryptography` on the data plane."""

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from serving.files.folder_sync import sync_folder

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MOST_CACHED: Final = 10_000


class SubjectKeys:
    """The keys of one store. Belongs to one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hash_key: bytes | None = None
        self._cached: dict[str, tuple[int, AESGCM]] = {}

    def subject(self, name: bytes) -> str:
        """The id of a subject. Raises OSError."""
        if self._hash_key is None:
            self._hash_key = _create(self._folder / "hash.key")
        return hmac.new(self._hash_key, name, sha256).hexdigest()[:32]

    def encrypt(self, subject: str, text: bytes, about: bytes) -> bytes:
        """Nonce and ciphertext; the subject's key is made if there is none. about: what the text belongs to, authenticated with it.

        Raises OSError."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = self._find(subject)
        if cipher is None:
            _create(self._path(subject))
            cipher = self._find(subject)
        if cipher is None:
            raise FileNotFoundError(f"{self._path(subject)}: the key was destroyed while it was being created")
        return nonce + cipher.encrypt(nonce, text, about)

    def decrypt(self, subject: str, sealed: bytes, about: bytes) -> bytes | None:
        """The text; None if the key it was encrypted with is gone."""
        cipher = self._find(subject)
        if cipher is None:
            return None
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about)
        except InvalidTag:
            return None  # a later key of the same subject

    def has(self, subject: str) -> bool:
        """Whether there is a key of this subject."""
        return self._path(subject).exists()

    def destroy(self, subject: str) -> bool:
        """Overwrite and remove a subject's key; False if there is none. Raises OSError."""
        path = self._path(subject)
        self._cached.pop(subject, None)
        try:
            with path.open("r+b") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except FileNotFoundError:
            return False
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
        return True

    def _find(self, subject: str) -> AESGCM | None:
        """The key as the file has it now: a key that somebody destroyed is not used again, even if it is still in memory."""
        path = self._path(subject)
        try:
            inode = path.stat().st_ino
        except FileNotFoundError:
            self._cached.pop(subject, None)
            return None
        known = self._cached.get(subject)
        if known is None or known[0] != inode:
            if len(self._cached) >= _MOST_CACHED:
                self._cached.clear()
            known = self._cached[subject] = inode, AESGCM(path.read_bytes())
        return known[1]

    def _path(self, subject: str) -> Path:
        return self._folder / subject[:2] / f"{subject}.key"


def _create(path: Path) -> bytes:
    """Make a key, unless somebody has; what the file holds. It is on the disk when this returns."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, secrets.token_bytes(_KEY_BYTES))
        os.fsync(fd)
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.close(fd)
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    return path.read_bytes()
