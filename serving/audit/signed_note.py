"""Signed notes: a text and Ed25519 signatures below it, as transparency logs publish their checkpoints.

The form is C2SP's `signed-note` (c2sp.org/signed-note), which Go's sum database, Sigstore's Rekor and Tessera use. The text ends with
a newline, an empty line follows, then one line for each signature: an em dash, the key's name, and base64 of key id and signature.
The key id is the first four bytes of SHA-256(name || 0x0A || 0x01 || public key). The one user of `cryptography` on the data plane."""

import base64
import binascii
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519: Final = b"\x01"
_SIGNATURE: Final = re.compile("^\u2014 ([^\\s+]+) ([A-Za-z0-9+/]+={0,2})$")
_CREATE: Final = "`vedette audit key new` makes one"
_KEY_NAME: Final = re.compile(r"[^\s+]+")
_NUMBER: Final = re.compile("0|[1-9][0-9]{0,15}")
MOST_SIGNATURES: Final = 100
"""Signatures of one note that are looked at, as in Go's implementation."""


class SigningKeyError(Exception):
    """A key cannot be read or is of another kind; the message says which file and what to do."""


class NoteError(Exception):
    """A note is malformed, or nobody who is trusted signed it."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name of its owner. As text: `NAME+KEYID+BASE64(0x01 || public key)`, one line."""

    name: str
    public: bytes
    """Raw Ed25519 public key, 32 bytes."""

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text form. Raises NoteError."""
        try:
            name, key_id, encoded = text.strip().split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise NoteError(f"not a verifier key (expected NAME+KEYID+KEY): {text.strip()[:80]!r}") from error
        key = cls(name, raw[1:])
        if raw[:1] != _ED25519 or len(raw) != 33 or not _KEY_NAME.fullmatch(name) or key.key_id.hex() != key_id:
            raise NoteError(f"verifier key {name!r}: not an Ed25519 key, or its id does not match the key")
        return key

    def is_signed(self, text: str, signature: bytes) -> bool:
        """Whether the signature is this key's over the text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """A private key and the name of its owner."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        if not _KEY_NAME.fullmatch(name):
            raise NoteError(f"{name!r} is not a valid name of a key; write it without white space and without +")
        self._private = private
        public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.verifier = VerifierKey(name, public)

    def sign(self, text: str) -> str:
        """The signed note of a text that ends with a newline and has no empty line."""
        if not text.endswith("\n") or "\n\n" in text:
            raise NoteError("a note's text ends with a newline and has no empty line")
        signature = self._private.sign(text.encode())
        encoded = base64.b64encode(self.verifier.key_id + signature).decode()
        return f"{text}\n\u2014 {self.verifier.name} {encoded}\n"

    @classmethod
    def from_file(cls, path: Path, name: str | None = None) -> Self:
        """Read a private key from a PEM file (PKCS#8, unencrypted), as a Kubernetes secret mounts it. Raises SigningKeyError.

        name: of its owner; the file's name without its suffix if None."""
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise SigningKeyError(
                f"{path}: the signing key cannot be read ({error.strerror}); create one with `vedette audit key new`"
            ) from error
        except (ValueError, TypeError) as error:
            raise SigningKeyError(
                f"{path}: not an unencrypted PEM private key; create one with `vedette audit key new`"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningKeyError(f"{path}: not an Ed25519 key; create one with `vedette audit key new`")
        return cls(name or path.stem, key)

    @classmethod
    def create(cls, path: Path, name: str | None = None) -> Self:
        """Make a new key and write it as PEM, readable by its owner only. Raises FileExistsError if the file is there."""
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        return cls(name or path.stem, private)


def text_of(note: str) -> str:
    """The text that a note's signatures are about. Raises NoteError."""
    text, separator, _ = note.partition("\n\n")
    if not separator:
        raise NoteError("a note must have a text, an empty line, and its signatures")
    return text + "\n"


def signers_of(note: str, trusted: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Which of the trusted keys signed the note. A signature that claims a trusted key and does not fit makes the note false.

    Raises NoteError for a malformed note or a false signature."""
    text = text_of(note)
    by_id: Mapping[tuple[str, bytes], VerifierKey] = {(key.name, key.key_id): key for key in trusted}
    found = []
    lines = note[len(text) + 1 :].splitlines()
    if len(lines) > MOST_SIGNATURES:
        raise NoteError(f"a note has at most {MOST_SIGNATURES} signatures, this one has {len(lines)}")
    for line in lines:
        match = _SIGNATURE.match(line)
        if match is None:
            raise NoteError(f"not a signature line: {line[:80]!r}")
        try:
            raw = base64.b64decode(match[2], validate=True)
        except binascii.Error as error:
            raise NoteError(f"the signature of {match[1]!r} is not base64") from error
        key = by_id.get((match[1], raw[:4]))
        if key is None:
            continue
        if not key.is_signed(text, raw[4:]):
            raise NoteError(f"the signature of {key.name!r} does not fit the text")
        found.append(key)
    return found


def unsigned(text: str) -> str:
    """A note without signatures, where no key was at hand."""
    return f"{text}\n"


def whole_number(text: str) -> int:
    """A number of a note: decimal, not negative, at most 16 digits, which is the year 2286 in microseconds. Raises ValueError."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"not a number of at most 16 digits: {text[:40]!r}")
    return int(text)
