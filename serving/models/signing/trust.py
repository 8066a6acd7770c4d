"""Trusted keys: a folder of public keys, and whether one of them signed a bundle.

    NAME.pub     a PEM public key
    NAME.json    optional: {"not_before": TIME, "not_after": TIME, "revoked": TIME, "reason": TEXT}, times RFC 3339

The folder is read at each check, so a revoked key counts for the next bundle that is loaded. What cannot be read is not trusted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from serving.files.bounded_files import read_bounded
from serving.models.errors import ModelError, UntrustedBundle
from serving.models.signing.keys import PublicKey
from serving.models.signing.statement import SignatureEnvelope, files_in, read_envelope

MANIFEST_PATH: Final = "bundle.json"
MOST_BYTES: Final = 64 * 1024
"""A key is smaller by far, its conditions too."""
Signatures = Iterable[tuple[str, bytes]]
"""Where each signature lies, for messages, and its bytes."""


class KeyConditions(BaseModel):
    """NAME.json: when a key is to be trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    not_before: AwareDatetime | None = None
    """Not trusted before this moment."""
    not_after: AwareDatetime | None = None
    """Not trusted after it: what it signed is to be signed by another key until then."""
    revoked: AwareDatetime | None = None
    """Any time here: nothing that it ever signed is trusted, as nobody can tell when a signature was made."""
    reason: str = ""
    """Why, for people."""

    def problem(self, now: datetime) -> str | None:
        """Why the key is not to be trusted now; None if it is."""
        because = f" ({self.reason})" if self.reason else ""
        if self.revoked is not None:
            return f"was revoked at {_utc(self.revoked)}{because}"
        if self.not_after is not None and now > self.not_after:
            return f"expired at {_utc(self.not_after)}{because}"
        if self.not_before is not None and now < self.not_before:
            return f"is not valid before {_utc(self.not_before)}{because}"
        return None


@dataclass(frozen=True, slots=True)
class BundleKey:
    """A public key in the folder, by the name of its file."""

    name: str
    key: PublicKey
    conditions: KeyConditions


@dataclass(frozen=True, slots=True)
class Proof:
    """A signature that holds. files: path -> sha256 in hex, all that it speaks of."""

    signer: str
    hint: str
    files: dict[str, str]


class TrustedKeys:
    """The keys of a folder. now: the time, with a zone."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self.folder, self._now = folder, now

    def read(self) -> tuple[list[BundleKey], list[str]]:
        """The keys, and the faults of files that are not keys."""
        keys, problems = [], []
        for path in sorted(self.folder.glob("*.pub")):
            try:
                keys.append(BundleKey(path.stem, PublicKey.parse(read_bounded(path, MOST_BYTES), path.name), _conditions(path)))
            except (ModelError, OSError) as problem:
                problems.append(f"{path.name} is not trusted: {problem}")
        return keys, problems

    def prove(self, digest: str, signatures: Signatures) -> Proof:
        """The first signature of a bundle that a trusted key made. digest: `sha256:...` of its bundle.json.

        Raises UntrustedBundle: there is none; the message says why for each."""
        keys, why = self.read()
        if not keys:
            why.append(f"no trusted key is in {self.folder}; put the signer's public key there as NAME.pub")
        found = False
        for where, body in signatures:
            found = True
            try:
                return _proof(digest, read_envelope(body), keys, self._now())
            except UntrustedBundle as problem:
                why.append(f"{where}: {problem}")
        if not found:
            why.insert(0, "it has no signature; sign it with `vedette registry sign`, or pull it from where it is signed")
        raise UntrustedBundle(f"bundle {digest} is not signed by a trusted key: {'; '.join(why[:5])}")


def _proof(digest: str, envelope: SignatureEnvelope, keys: Iterable[BundleKey], now: datetime) -> Proof:
    named = [k for k in keys if envelope.hint in (None, k.key.hint)]
    if not named:
        raise UntrustedBundle(f"the key {(envelope.hint or '')[:16]} that signed it is not trusted")
    signer = next((k for k in named if envelope.is_signed_by(k.key)), None)
    if signer is None:
        raise UntrustedBundle(f"the signature was not made by {' or '.join(k.name for k in named)}: it was changed or forged")
    problem = signer.conditions.problem(now)
    if problem is not None:
        raise UntrustedBundle(f"the key {signer.name} {problem}")
    files = files_in(envelope.payload)
    if f"sha256:{files.get(MANIFEST_PATH)}" != digest:
        raise UntrustedBundle(f"the signature of {signer.name} signs another bundle, sha256:{files.get(MANIFEST_PATH)}")
    return Proof(signer.name, signer.key.hint, files)


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def _conditions(key: Path) -> KeyConditions:
    path = key.with_suffix(".json")
    try:
        return KeyConditions.model_validate_json(read_bounded(path, MOST_BYTES))
    except FileNotFoundError:
        return KeyConditions()
    except ValidationError as problem:
        first = problem.errors()[0]
        raise UntrustedBundle(f"{path.name}: {'.'.join(str(p) for p in first['loc'])}: {first['msg']}") from problem
