"""What a signature of a bundle says, and its form: OpenSSF's model signing v1.0.

An in-toto Statement names every file of the bundle with its SHA-256; a DSSE envelope signs it; a Sigstore bundle names the key. So
`model_signing verify key` reads ours, and the other way round. Sources: github.com/sigstore/model-transparency (docs, format),
github.com/secure-systems-lab/dsse (protocol.md), github.com/in-toto/attestation (spec/v1/statement.md).

Pure: whom to trust is serving.models.signing.trust's."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from serving.models.errors import UntrustedBundle
from serving.models.signing.keys import PublicKey, SigningKey

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
LIMIT_BYTES: Final = 16 * 1024 * 1024
"""Largest signature that is read."""
_SERIALIZATION: Final = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []}


@dataclass(frozen=True, slots=True)
class SignatureEnvelope:
    """A signature as it was read. hint: names the key; None in older signatures."""

    payload: bytes
    signature: bytes
    hint: str | None

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether the key signed the payload, and as what it is."""
        return key.is_signed(pae(self.payload), self.signature)


def pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding of an in-toto payload: the type of the payload is signed with it.

    >>> pae(b"{}")
    b'DSSEv1 28 application/vnd.in-toto+json 2 {}'
    """
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def sign(name: str, files: Mapping[str, str], key: SigningKey) -> bytes:
    """The signature of a bundle. name: of the subject, for people. files: path -> sha256 in hex, `bundle.json` among them."""
    payload = json.dumps(_statement(name, files), indent=1).encode()
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(key.sign(pae(payload))).decode(), "keyid": ""}],
    }
    material = {"publicKey": {"hint": key.public.hint}, "tlogEntries": []}
    return json.dumps({"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}).encode() + b"\n"


def read_envelope(body: bytes) -> SignatureEnvelope:
    """Read a Sigstore bundle with a DSSE envelope in it. Nothing of it is to be believed yet. Raises UntrustedBundle."""
    document = _parsed(body, "the signature")
    envelope, material = document.get("dsseEnvelope"), document.get("verificationMaterial")
    if not isinstance(envelope, dict) or not isinstance(material, dict):
        raise UntrustedBundle("the signature is not a Sigstore bundle with a DSSE envelope")
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise UntrustedBundle(f"the envelope's payloadType is {envelope.get('payloadType')!r:.80}, expected {PAYLOAD_TYPE!r}")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        count = len(signatures) if isinstance(signatures, list) else 0
        raise UntrustedBundle(f"the envelope has {count} signatures, expected one: each signer writes a file")
    key = material.get("publicKey")
    if not isinstance(key, dict):
        raise UntrustedBundle("the signature names no public key; certificates are not supported, sign with a key")
    hint = key.get("hint")
    if not isinstance(hint, str | None):
        raise UntrustedBundle("the signature's key hint is not text")
    return SignatureEnvelope(_base64(envelope.get("payload")), _base64(signatures[0].get("sig")), hint or None)


def files_in(payload: bytes) -> dict[str, str]:
    """The files that a payload names: path -> sha256 in hex. Raises UntrustedBundle if it is not a statement about a model's files."""
    statement = _parsed(payload, "the signed payload")
    for field, expected in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if statement.get(field) != expected:
            raise UntrustedBundle(f"the signed statement's {field} is {statement.get(field)!r:.80}, expected {expected!r}")
    try:
        (subject,), predicate = statement["subject"], statement["predicate"]
        how = (predicate["serialization"]["method"], predicate["serialization"]["hash_type"])
        entries = [(str(r["name"]), str(r["algorithm"]), bytes.fromhex(r["digest"])) for r in predicate["resources"]]
        root = subject["digest"]["sha256"]
    except (KeyError, TypeError, ValueError) as problem:
        raise UntrustedBundle(f"the signed statement is not of model signing v1.0 ({type(problem).__name__})") from problem
    if how != ("files", "sha256"):
        raise UntrustedBundle(f"the signed statement's files are hashed as {how}, expected whole files by sha256")
    files: dict[str, str] = {}
    for name, algorithm, digest in entries:
        if not _is_plain(name) or name in files:
            raise UntrustedBundle(
                f"the signed statement names {name!r:.80}, which is not a path within a bundle, or occurs twice"
            )
        if algorithm != "sha256" or len(digest) != 32:
            raise UntrustedBundle(f"the signed statement's digest of {name!r:.80} is not a sha256")
        files[name] = digest.hex()
    if root != _root(files):
        raise UntrustedBundle("the signed statement's digest does not match the files it names")
    return files


def _statement(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    ordered = {path: files[path] for path in sorted(files)}
    resources = [{"name": path, "algorithm": "sha256", "digest": digest} for path, digest in ordered.items()]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root(ordered)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"serialization": _SERIALIZATION, "resources": resources},
    }


def _root(files: Mapping[str, str]) -> str:
    """SHA-256 over the digests, in the order in which they are written."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in files.values())).hexdigest()


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(name) and str(path) == name and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _parsed(body: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise UntrustedBundle(f"{what} is not JSON") from problem
    if not isinstance(document, dict):
        raise UntrustedBundle(f"{what} is not a JSON object")
    return document


def _base64(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError) as problem:
        raise UntrustedBundle("a field of the envelope is not base64") from problem
