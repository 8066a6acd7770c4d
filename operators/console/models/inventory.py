"""What is known of the models of a store: versions, where each is served, its stage in the registry, who signed it, its figures.

Reads only; what cannot be read is a word in its place. A list reads a few fields of each bundle, a version's page the whole."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.documents.document import Document
from lifecycle.governance.acts import Act, ActsLog
from lifecycle.governance.lineage.facts import BundleFact
from lifecycle.governance.registry.errors import RegistryError
from lifecycle.governance.registry.history import HistoryEntry, ModelHistory
from lifecycle.governance.registry.object_store import ObjectStore
from lifecycle.governance.registry.registry import Registry
from lifecycle.governance.reports.model_card import model_card, validation_rates
from lifecycle.metrics import Interval
from lifecycle.training.operating_points.promise import promise, promise_in_full
from operators.console.log_index.moments import moment
from operators.control.port import ControlError
from operators.control.rollout_facts import rollout_facts
from serving.audit.signed_note import NoteError
from serving.files.bounded_files import read_bounded
from serving.loading.served_file import ServedFile
from serving.models.bundle import MANIFEST, MANIFEST_LIMIT_BYTES
from serving.models.errors import ModelError, UntrustedBundle
from serving.models.manifest import Manifest
from serving.models.signing.trust import TrustedKeys
from serving.models.store import BundleStore, StoreEntry
from serving.settings import ServingSettings

UNSIGNED: Final = ""


class _Expected(msgspec.Struct, frozen=True):
    recall: float
    precision: float


class _Point(msgspec.Struct, frozen=True):
    threshold: float
    requirement: str = ""
    expected: _Expected | None = None


class _BundleHead(msgspec.Struct, frozen=True):
    """A few fields of bundle.json; the rest is skipped unread."""

    description: str = ""
    default_operating_point: str | None = None
    operating_points: dict[str, _Point] = {}


_HEAD: Final = msgspec.json.Decoder(_BundleHead)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version in the store.

    served: how, e.g. `stable`, `candidate 25 %`. stage, aliases: in the registry. signer: a trusted key; empty: none. point: the default
    operating point with its threshold, recall and precision on validation rows. problem: why it cannot be read."""

    name: str
    version: str
    digest: str
    served: tuple[str, ...] = ()
    stage: str = ""
    aliases: tuple[str, ...] = ()
    signer: str = UNSIGNED
    signatures: int = 0
    description: str = ""
    point: str = ""
    threshold: float | None = None
    recall: float | None = None
    precision: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ModelListing:
    """Some of the models: their versions by name, the newest first. total: of models that match. problems: what could not be read."""

    models: tuple[tuple[str, tuple[ModelVersion, ...]], ...]
    total: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PointFigures:
    """One operating point: what it promises, and its figures on the validation rows with 95 % intervals; None: not measured."""

    name: str
    is_default: bool
    threshold: float
    investigate: float
    requirement: str
    holds: str
    words: str
    recall: Interval | None = None
    precision: Interval | None = None
    false_alarms: Interval | None = None
    rows: int = 0


@dataclass(frozen=True, slots=True)
class VersionDetail:
    """One version in full. signatures: (key, what is wrong with it; empty: nothing). history: what was done to it in the registry, the
    newest first: (when, who, what, why)."""

    version: ModelVersion
    manifest: Manifest | None
    points: tuple[PointFigures, ...] = ()
    card: Document | None = None
    signatures: tuple[tuple[str, str], ...] = ()
    history: tuple[tuple[datetime, str, str, str], ...] = ()
    problems: tuple[str, ...] = ()
    others: tuple[str, ...] = field(default_factory=tuple)
    """The other versions of the model, the newest first."""


class ModelInventory:
    """The models of one store, and of its registry."""

    def __init__(self, store_dir: Path) -> None:
        self._store_dir = store_dir
        self._settings = ServingSettings(store_dir=store_dir)
        self._store = BundleStore(store_dir)
        self._trusted = TrustedKeys(self._settings.trusted_keys_dir, lambda: datetime.now(UTC))
        self._heads: dict[str, _BundleHead] = {}

    def page(self, query: str, start: int, most: int) -> ModelListing:
        """Models whose name has this text, from the start-th on."""
        by_name: dict[str, list[StoreEntry]] = defaultdict(list)
        for entry in self._store.entries():
            if query.casefold() in entry.name.casefold():
                by_name[entry.name].append(entry)
        served, problems = self._served()
        registry, found = self._registry(), []
        for name in sorted(by_name)[start : start + most]:
            history, problem = _history(registry, name)
            problems += [problem] if problem else []
            found.append((name, tuple(self._version(e, served, history) for e in reversed(by_name[name]))))
        return ModelListing(tuple(found), len(by_name), tuple(dict.fromkeys(problems)))

    def detail(self, name: str, version: str) -> VersionDetail | None:
        """One version in full; None: the store has none."""
        entries = [e for e in self._store.entries() if e.name == name]
        entry = next((e for e in entries if e.version == version), None)
        if entry is None:
            return None
        served, problems = self._served()
        history, problem = _history(self._registry(), name)
        problems += [problem] if problem else []
        shown = self._version(entry, served, history)
        try:
            manifest = self._store.read(entry.digest).manifest
        except (ModelError, OSError) as unread:
            return VersionDetail(shown, None, problems=(*problems, str(unread)))
        try:
            card = model_card(BundleFact(entry.digest, manifest), rollout_facts(self._store_dir, entry.digest), self._acts())
        except (ControlError, NoteError, OSError, ValueError) as unread:
            card, problems = None, [*problems, f"the card cannot be put together: {unread}"]
        of_it = [] if history is None else [_told(e) for e in reversed(history.entries) if e.digest == entry.digest]
        others = tuple(e.version for e in reversed(entries) if e.version != version)
        return VersionDetail(
            shown, manifest, points_of(manifest), card, self._signatures(entry.digest), tuple(of_it), tuple(problems), others
        )

    def _version(
        self, entry: StoreEntry, served: dict[tuple[str, str], Sequence[str]], history: ModelHistory | None
    ) -> ModelVersion:
        head, problem = self._head(entry.digest)
        registered = None if history is None else history.bundles.get(entry.digest)
        signatures = self._store.signatures_of(entry.digest)
        signer = UNSIGNED
        if signatures:
            try:
                signer = self._trusted.prove(entry.digest, signatures).signer
            except (UntrustedBundle, OSError):
                signer = UNSIGNED
        name = head.default_operating_point or ""
        point = head.operating_points.get(name)
        expected = None if point is None else point.expected
        return ModelVersion(
            entry.name,
            entry.version,
            entry.digest,
            tuple(served.get((entry.name, entry.digest), ())),
            "" if registered is None else registered.stage,
            () if registered is None else registered.aliases,
            signer,
            len(signatures),
            head.description,
            name,
            None if point is None else point.threshold,
            None if expected is None else expected.recall,
            None if expected is None else expected.precision,
            problem,
        )

    def _head(self, digest: str) -> tuple[_BundleHead, str]:
        found = self._heads.get(digest)
        if found is not None:
            return found, ""
        path = self._store.folder_of(digest) / MANIFEST
        try:
            found = _HEAD.decode(read_bounded(path, MANIFEST_LIMIT_BYTES))
        except (OSError, ValueError) as problem:
            return _BundleHead(), f"{path} cannot be read: {problem}"
        if len(self._heads) >= 2000:
            self._heads.clear()
        self._heads[digest] = found
        return found, ""

    def _served(self) -> tuple[dict[tuple[str, str], Sequence[str]], list[str]]:
        try:
            spec = ServedFile(self._store_dir).read()
        except (ModelError, OSError) as problem:
            return {}, [f"what is served cannot be read: {problem}"]
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for model in spec.models if spec is not None else ():
            found[model.name, model.revision.bundle].append("stable")
            for variant in model.variants:
                share = (
                    f"{variant.weight:g} %" if variant.weight else f"mirror {variant.mirror:g} %" if variant.mirror else "dark"
                )
                found[model.name, variant.revision.bundle].append(f"{variant.name} {share}")
        return dict(found), []

    def _registry(self) -> Registry | None:
        url = self._settings.registry_url
        if "://" not in url and not Path(url).is_dir():
            return None
        try:
            return Registry(ObjectStore(url), acts=self._acts_log(), actor="", now_us=lambda: 0)
        except RegistryError:
            return None

    def _acts_log(self) -> ActsLog:
        return ActsLog(self._store_dir / "governance", signer=lambda: None, now_us=lambda: 0)

    def _acts(self) -> tuple[Act, ...]:
        return tuple(self._acts_log().read())

    def _signatures(self, digest: str) -> tuple[tuple[str, str], ...]:
        found = []
        for name, body in self._store.signatures_of(digest):
            try:
                found.append((self._trusted.prove(digest, [(name, body)]).signer, ""))
            except (UntrustedBundle, OSError) as problem:
                found.append((name.removesuffix(".sig"), str(problem).partition(": ")[2] or str(problem)))
        return tuple(found)


def _told(entry: HistoryEntry) -> tuple[datetime, str, str, str]:
    return (
        moment(entry.time_us),
        entry.actor,
        f"{entry.action} {entry.stage or entry.alias or entry.version}".strip(),
        entry.reason,
    )


def _history(registry: Registry | None, name: str) -> tuple[ModelHistory | None, str]:
    if registry is None:
        return None, ""
    try:
        return registry.history(name), ""
    except (RegistryError, OSError) as problem:
        return None, f"the registry cannot be read: {problem}"


def points_of(manifest: Manifest) -> tuple[PointFigures, ...]:
    """Every operating point of a bundle. Pure."""
    found = []
    for name, point in manifest.operating_points.items():
        rates = None if point.expected is None else validation_rates(point.expected)
        found.append(
            PointFigures(
                name, name == manifest.default_operating_point, point.threshold, point.investigate, point.requirement,
                promise(point), promise_in_full(point),
                None if rates is None else rates.recall, None if rates is None else rates.precision,
                None if rates is None else rates.false_alarm_rate, 0 if point.expected is None else point.expected.rows,
            )
        )  # fmt: skip
    return tuple(found)
