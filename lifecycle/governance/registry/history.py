"""The history of one model's bundles in the registry, and the state that follows from it: versions, stages, aliases. Pure.

Each change is an entry, and the state is computed from all entries. An entry holds the SHA-256 of the one before it, so that nobody can
remove or change one unnoticed. It also holds the checkpoint of the log of governed acts, where the change was recorded before it took
effect."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, get_args

import msgspec

from lifecycle.governance.registry.errors import Damaged, NoSuchBundle, Refused

Stage = Literal["none", "staging", "production", "archived"]
Action = Literal["push", "stage", "alias", "unalias", "remove"]
STAGES: Final[tuple[str, ...]] = get_args(Stage)
HELD: Final = ("staging", "production")
"""Stages that only one bundle of a model holds. A bundle that enters one of them archives the bundle that held it before."""
_ALIAS: Final = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
_RESERVED: Final = frozenset({*STAGES, "latest"})


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change. Its JSON is a file of the registry."""

    time_us: int
    """When, microseconds since the epoch, UTC."""
    actor: str
    action: Action
    digest: str
    """`sha256:...` of the bundle."""
    reason: str
    version: str = ""
    """Of a push: the model's version."""
    stage: Stage | None = None
    """Of a stage."""
    alias: str = ""
    """Of an alias."""
    previous: str = ""
    """SHA-256 of the entry before, in hex."""
    checkpoint: str = ""
    """The signed note of the log of governed acts, once it held this change."""


@dataclass(frozen=True, slots=True)
class RegisteredBundle:
    """A bundle of the model as it stands now. time_us, by, reason: of its newest change of stage, or of its push if there was none."""

    name: str
    version: str
    digest: str
    stage: Stage
    aliases: tuple[str, ...]
    pushed_us: int
    time_us: int
    by: str
    reason: str

    @property
    def is_in_use(self) -> bool:
        """Whether it is in staging or production or has an alias, so that others may refer to it."""
        return self.stage in HELD or bool(self.aliases)


@dataclass(frozen=True, slots=True)
class ModelHistory:
    """A model's entries, and the state they add up to. bundles: by digest, in the order of their pushes, without those removed."""

    name: str
    entries: tuple[HistoryEntry, ...] = ()
    bundles: dict[str, RegisteredBundle] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    """Version -> digest, removed ones too: a version never changes its bundle."""
    head: str = ""
    """SHA-256 of the newest entry's file, in hex."""

    def with_entry(self, entry: HistoryEntry, body: bytes) -> "ModelHistory":
        """The history with one more entry. body: the bytes of its file. Raises Damaged if the entry does not follow the newest one."""
        if entry.previous != self.head:
            raise Damaged(
                f"entry {len(self.entries) + 1} of the registry's history of {self.name!r} does not follow the one before it: an entry "
                "was changed or removed; the log of governed acts says what was done"
            )
        after = replace(self, entries=(*self.entries, entry), head=hashlib.sha256(body).hexdigest())
        return _ADDED[entry.action](after, entry)

    def bundle(self, digest: str) -> RegisteredBundle:
        """The bundle with this digest. Raises NoSuchBundle."""
        try:
            return self.bundles[digest]
        except KeyError:
            raise NoSuchBundle(f"{self.name}: no bundle {digest} in the registry; push it first") from None

    def in_stage(self, stage: str) -> RegisteredBundle | None:
        """The bundle that holds this stage; None if none does."""
        return next((b for b in self.bundles.values() if b.stage == stage), None)

    def aliased(self, alias: str) -> RegisteredBundle | None:
        """The bundle of this alias; None if there is no such alias."""
        return next((b for b in self.bundles.values() if alias in b.aliases), None)


def decode(name: str, bodies: Sequence[bytes]) -> ModelHistory:
    """Build a model's history from the files of its entries, oldest first. Raises Damaged."""
    history = ModelHistory(name)
    for number, body in enumerate(bodies, start=1):
        try:
            entry = msgspec.json.decode(body, type=HistoryEntry)
        except msgspec.DecodeError as problem:
            raise Damaged(f"entry {number} of the registry's history of {name!r} cannot be read: {problem}") from problem
        history = history.with_entry(entry, body)
    return history


def changes(history: ModelHistory, wanted: HistoryEntry) -> bool:
    """Whether an entry would change anything. Raises Refused if a rule forbids it, NoSuchBundle if its bundle is unknown."""
    if wanted.action == "push":
        known = history.versions.get(wanted.version, wanted.digest)
        if known != wanted.digest:
            raise Refused(
                f"version {wanted.version} of {history.name} is {known} and cannot change; build this bundle as another version "
                f"(the newest is {max(map(int, history.versions))})"
            )
        return wanted.digest not in history.bundles
    bundle = history.bundle(wanted.digest)
    if wanted.action == "stage":
        return bundle.stage != wanted.stage
    if wanted.action == "remove":
        if bundle.is_in_use:
            raise Refused(f"{history.name} {bundle.version} is in use ({describe_use(bundle)}); take it out of there first")
        return True
    if not _ALIAS.fullmatch(wanted.alias) or wanted.alias in _RESERVED:
        raise Refused(
            f"{wanted.alias!r} is not an alias: small letters, digits and `-`, a letter first, none of {', '.join(sorted(_RESERVED))}"
        )
    return (wanted.alias in bundle.aliases) == (wanted.action == "unalias")


def describe_use(bundle: RegisteredBundle) -> str:
    """Stage and aliases in words; empty if there are none."""
    stage = [bundle.stage] if bundle.stage != "none" else []
    return ", ".join([*stage, *(f"alias {a}" for a in bundle.aliases)])


def _pushed(history: ModelHistory, entry: HistoryEntry) -> ModelHistory:
    made = RegisteredBundle(
        history.name, entry.version, entry.digest, "none", (), entry.time_us, entry.time_us, entry.actor, entry.reason
    )
    return replace(
        history,
        bundles={**history.bundles, entry.digest: made},
        versions={**history.versions, entry.version: entry.digest},
    )


def _staged(history: ModelHistory, entry: HistoryEntry) -> ModelHistory:
    told = {"time_us": entry.time_us, "by": entry.actor, "reason": entry.reason}

    def after(bundle: RegisteredBundle) -> RegisteredBundle:
        if bundle.digest == entry.digest:
            return replace(bundle, stage=entry.stage or "none", **told)  # type: ignore[arg-type]
        if entry.stage in HELD and bundle.stage == entry.stage:
            return replace(bundle, stage="archived", **told)  # type: ignore[arg-type]
        return bundle

    return replace(history, bundles={digest: after(bundle) for digest, bundle in history.bundles.items()})


def _aliased(history: ModelHistory, entry: HistoryEntry) -> ModelHistory:
    def after(bundle: RegisteredBundle) -> RegisteredBundle:
        others = tuple(a for a in bundle.aliases if a != entry.alias)
        is_meant = bundle.digest == entry.digest and entry.action == "alias"
        return replace(bundle, aliases=tuple(sorted((*others, entry.alias))) if is_meant else others)

    return replace(history, bundles={digest: after(bundle) for digest, bundle in history.bundles.items()})


def _removed(history: ModelHistory, entry: HistoryEntry) -> ModelHistory:
    return replace(history, bundles={d: b for d, b in history.bundles.items() if d != entry.digest})


_ADDED: Final = {"push": _pushed, "stage": _staged, "alias": _aliased, "unalias": _aliased, "remove": _removed}
