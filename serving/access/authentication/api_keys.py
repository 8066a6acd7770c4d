"""API keys: their text, the stored entries, and the check. Pure except for the randomness of `new_key`, which is an argument.

A key is `vdk_ID_SECRET`. The secret has 256 random bits, so one SHA-256 protects it as well as a slow hash would: nobody can guess it. The
file holds digests only. The key itself is shown once, when it is made."""

import base64
import hmac
import json
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from serving.access.policy import Binding, Globs
from serving.access.policy_file import AccessPolicyError, NamePattern, PolicyName

PREFIX: Final = "vdk_"
SECRET_BYTES: Final = 32
MOST_KEYS: Final = 10_000
MOST_BYTES: Final = 16 * 1024 * 1024
_KEY: Final = re.compile(rb"vdk_([a-z0-9]{8,16})_([A-Za-z0-9_-]{43})")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"


class ApiKeyEntry(BaseModel):
    """What is kept of a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern="^[a-z0-9]{8,16}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    owner: Annotated[str, Field(min_length=1, max_length=200)]
    roles: tuple[PolicyName, ...]
    tenant: PolicyName | None = None
    models: Annotated[tuple[NamePattern, ...], Field(min_length=1)] = ("*",)
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None

    @property
    def binding(self) -> Binding:
        """Roles, tenant and models of who holds the key."""
        return Binding(frozenset(self.roles), self.tenant or "", Globs(self.models))

    def until_s(self) -> float:
        """When it ends, seconds since the epoch; 0 if it was revoked, infinity if it never ends."""
        if self.revoked is not None:
            return 0.0
        return float("inf") if self.expires is None else self.expires.timestamp()


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The entries of a file, by id."""

    entries: Mapping[str, ApiKeyEntry]

    def find(self, key: bytes) -> ApiKeyEntry | None:
        """The entry of a key; None if there is none. Digests are compared in constant time, also where there is no such id."""
        parts = _KEY.fullmatch(key)
        if parts is None:
            return None
        entry = self.entries.get(parts[1].decode())
        expected = entry.sha256 if entry is not None else "0" * 64
        is_same = hmac.compare_digest(sha256(key).hexdigest(), expected)
        return entry if is_same else None


NO_KEYS: Final = ApiKeys({})


def new_key(random: Callable[[int], bytes]) -> tuple[str, str, str]:
    """A new key: its text, its id and its digest. random: gives that many random bytes."""
    identity = "".join(_LETTERS[byte & 31] for byte in random(10))
    secret = _text_of(random(SECRET_BYTES))
    key = f"{PREFIX}{identity}_{secret}"
    return key, identity, sha256(key.encode()).hexdigest()


def read_keys(path: Path) -> ApiKeys:
    """The entries of a file. Raises AccessPolicyError; also for a file that others may write: they could give keys to themselves."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise AccessPolicyError(
            f"{path}: cannot be read: {problem.strerror}; `vedette keys create` makes the file"
        ) from problem
    check_mode(path, mode)
    if len(text) > MOST_BYTES:
        raise AccessPolicyError(f"{path}: is larger than {MOST_BYTES} bytes")
    try:
        document: Any = json.loads(text)
        found = [ApiKeyEntry.model_validate(one) for one in document["keys"]]
    except ValidationError as problem:
        what = problem.errors(include_url=False, include_input=False)[0]
        raise AccessPolicyError(f"{path}: an entry is not valid: {'.'.join(map(str, what['loc']))}: {what['msg']}") from problem
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise AccessPolicyError(f'{path}: is not a file of keys, expected JSON {{"keys": [...]}}') from problem
    if len(found) > MOST_KEYS:
        raise AccessPolicyError(f"{path}: has {len(found)} keys, at most {MOST_KEYS} are read; remove revoked ones")
    if len({one.id for one in found}) < len(found):
        raise AccessPolicyError(f"{path}: two keys have the same id")
    return ApiKeys({one.id: one for one in found})


def keys_text(entries: Sequence[ApiKeyEntry]) -> bytes:
    """The file of these entries."""
    listed = [one.model_dump(mode="json", exclude_none=True) for one in entries]
    return json.dumps({"keys": listed}, indent=1).encode() + b"\n"


def check_mode(path: Path, mode: int) -> None:
    """Raises AccessPolicyError if the group or others may write a file that says who may do what."""
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AccessPolicyError(
            f"{path}: its group or others may write it (mode {stat.S_IMODE(mode):04o}), so anybody could grant themselves rights; "
            f"chmod go-w {path.name}"
        )


def utc(now_s: float) -> datetime:
    """A moment as entries hold it."""
    return datetime.fromtimestamp(int(now_s), UTC)


def _text_of(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
