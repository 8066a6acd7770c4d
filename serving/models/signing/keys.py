"""Keys that sign bundles: Ed25519, or ECDSA on a NIST curve. PEM files, as openssl and OpenSSF's model signing write them.

The one user of `cryptography` in the rooms of models. A key is known by its hint, as OpenSSF's model signing makes it: the SHA-256 of
the public key's PEM text."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from serving.models.errors import ModelError

_CURVES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}
_NEW: Final = "`vedette registry key new FILE` makes one"


class BundleKeyError(ModelError):
    """A key cannot be read or is of a kind that signs no bundles; the message says which file and what to do."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key. pem: its SubjectPublicKeyInfo as PEM, in the one form that `cryptography` writes."""

    pem: bytes

    @property
    def hint(self) -> str:
        """SHA-256 of the PEM text, in hex: what a signature names its key by."""
        return hashlib.sha256(self.pem).hexdigest()

    @classmethod
    def parse(cls, pem: bytes, where: str) -> Self:
        """Read a PEM public key. Raises BundleKeyError, which says `where`."""
        try:
            key = serialization.load_pem_public_key(pem)
        except (ValueError, TypeError) as problem:
            raise BundleKeyError(f"{where}: is not a PEM public key; {_NEW}, and its public half beside it") from problem
        return cls(_public_pem(key, where))

    def is_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's over the message."""
        key = serialization.load_pem_public_key(self.pem)
        try:
            if isinstance(key, Ed25519PublicKey):
                key.verify(signature, message)
            else:
                assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101  # nosec B101  # nothing else becomes a PublicKey
                key.verify(signature, message, ec.ECDSA(_CURVES[key.curve.name]()))
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key that signs bundles."""

    def __init__(self, private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, where: str = "the key") -> None:
        self._private = private
        self.public = PublicKey(_public_pem(private.public_key(), where))

    def sign(self, message: bytes) -> bytes:
        """The signature over a message: 64 bytes for Ed25519, DER for ECDSA."""
        if isinstance(self._private, Ed25519PrivateKey):
            return self._private.sign(message)
        return self._private.sign(message, ec.ECDSA(_CURVES[self._private.curve.name]()))

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read an unencrypted PEM private key, as a Kubernetes secret mounts it. Raises BundleKeyError."""
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as problem:
            raise BundleKeyError(f"{path}: the signing key cannot be read ({problem.strerror}); {_NEW}") from problem
        except (ValueError, TypeError) as problem:
            raise BundleKeyError(f"{path}: is not an unencrypted PEM private key; {_NEW}") from problem
        if not isinstance(key, Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise BundleKeyError(f"{path}: is neither an Ed25519 nor an ECDSA key; {_NEW}")
        return cls(key, str(path))

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make an Ed25519 key: PATH is readable by its owner only, PATH with the suffix .pub is the public half.

        Raises FileExistsError if either is there."""
        private = Ed25519PrivateKey.generate()
        key = cls(private, str(path))
        pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_new(path.with_suffix(".pub"), key.public.pem, 0o644)
        try:
            _write_new(path, pem, 0o600)
        except OSError:
            path.with_suffix(".pub").unlink()
            raise
        return key


def _public_pem(key: object, where: str) -> bytes:
    is_curve = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES
    if not (is_curve or isinstance(key, Ed25519PublicKey)):
        raise BundleKeyError(f"{where}: is neither an Ed25519 key nor an ECDSA key on P-256, P-384 or P-521; {_NEW}")
    assert isinstance(key, Ed25519PublicKey | ec.EllipticCurvePublicKey)  # noqa: S101  # nosec B101  # for the type
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _write_new(path: Path, body: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
