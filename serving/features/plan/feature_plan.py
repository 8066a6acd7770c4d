"""The feature plan: a feature service compiled to what one request has to do, and doing it. Core; stores fetch for it.

Compiled once a registry change, never in a request: which keys to build, which cells to fetch, how they decode, their
defaults and ages, which functions compute the rest."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from numpy.typing import NDArray

from serving.features.plan.blocks import DATATYPES, Block, Cell, decoder, default_of
from serving.features.plan.computed import Computed
from serving.features.plan.definitions import ComputedView, Definitions, Feature, Service, StoredView
from serving.features.plan.errors import RegistryError
from serving.features.plan.gather import Layout, TensorAssembler, TensorAssemblers
from serving.features.plan.keys import DATATYPES as KEY_DATATYPES
from serving.features.plan.keys import key_encoder, row_encoder
from serving.ports import Columns, FeatureInfo, FeatureServiceInfo, FieldInfo, ReadOutcome


class RowMemo:
    """What a near cache keeps beside a row. until_s: monotonic seconds until which the row may be used. is_hit: it was found in memory.
    tables: of the row, a block each, and gone: the places within each block where a default stands in; made at the row's first use, None
    before, and for rows that hold anything but numbers. assembled: the graph's tensors that the row's tables alone make, and by what; kept
    from the row's first hit on. size: bytes."""

    __slots__ = ("assembled", "gone", "is_hit", "size", "tables", "until_s")

    def __init__(self, until_s: float) -> None:
        self.until_s, self.is_hit, self.size = until_s, False, 0
        self.tables: list[NDArray[Any]] | None = None
        self.gone: tuple[str, ...] = ()
        self.assembled: tuple[TensorAssembler, dict[str, NDArray[Any]]] | None = None


NOT_KEPT: Final = RowMemo(0.0)
"""The memo of rows that a near cache has read and does not keep."""

Row = tuple[Sequence[Cell], Sequence[int]] | tuple[Sequence[Cell], Sequence[int], RowMemo]
"""What a store has for one key: the cells of the group's features (whatever follows them is not looked at), and each view's event
time (us since the epoch, 0: none); with a near cache also its memo."""


class PartlyRead(list[list[Row]]):
    """Rows of a store of which some nodes did not answer: the rows that could not be read have no values.

    outcome: why. is_nothing: no row could be read. A failure of nodes says little about the others."""

    def __init__(self, rows: Sequence[list[Row]], outcome: ReadOutcome, *, is_nothing: bool) -> None:
        super().__init__(rows)
        self.outcome, self.is_nothing = outcome, is_nothing


def settled(found: Sequence[Sequence[Row]] | ReadOutcome) -> Sequence[Sequence[Row]] | ReadOutcome:
    """What a read found, for one who needs rows: an outcome if there is none."""
    return found.outcome if isinstance(found, PartlyRead) and found.is_nothing else found


Made = TypeVar("Made")
_ANY_AGE_US: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """A stored view within a group. first: the place of its first cell."""

    view: StoredView
    first: int


@dataclass(frozen=True, slots=True)
class Group:
    """Views that are looked up by the same key, so that one command reads them all.

    encode_one: of a request of one row. names and ttls_us (microseconds; any age is 2**63 - 1) are in the views' order, least_ttl_us
    is the shortest of them. cells: how many features they have together."""

    encode: Callable[[Columns, int], list[bytes]]
    encode_one: Callable[[Columns], bytes]
    views: tuple[ViewPlan, ...]
    names: tuple[str, ...]
    ttls_us: tuple[int, ...]
    least_ttl_us: int
    blocks: tuple[Block, ...]
    cells: int


class Store(Protocol):
    """Where stored features are read. decodes: cells are values already, not serialised bytes."""

    decodes: bool

    def prepare(self, project: str, groups: Sequence[Group]) -> Any:
        """Work out, once a plan, what reading these groups takes; handed back to `fetch`."""
        ...

    async def fetch(self, prepared: Any, keys: Sequence[Sequence[bytes]], timeout_s: float) -> list[list[Row]] | ReadOutcome:
        """For each group and each of its keys (distinct within a group) the row, or how the store failed. Never raises.

        A list that is a PartlyRead has rows that could not be read."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """One feature service, compiled.

    prepared: the store's own part of it. hidden: read only to compute others. layout: of every feature, shown: of those that are
    handed out; a table a block of each group in order, then those of the computed views. times: place of each view's event time
    among those of all groups. source: what it was compiled from."""

    info: FeatureServiceInfo
    groups: tuple[Group, ...]
    computed: tuple[Computed, ...]
    store: Store
    prepared: Any
    hidden: frozenset[str]
    layout: Layout
    shown: Layout
    times: Mapping[str, int]
    assemblers: TensorAssemblers
    source: Service


Steps = Generator[None, None, Made]
"""Work that can be left off at each yield, so that requests are answered in between; its result comes at the end."""


def compile_service(service: Service, definitions: Definitions, store: Store, folder: Path | None = None) -> Plan:
    """Compile one feature service at once. folder: of a feature repository of one's own. Raises RegistryError."""
    return at_once(compile_steps(service, definitions, store, computed_views(service, folder)))


def computed_views(service: Service, folder: Path | None) -> list[Computed]:
    """The service's on-demand views with their functions. Imports modules, so not for the event loop. Raises RegistryError."""
    return [Computed(view, folder) for view in service.computed]


def compile_steps(service: Service, definitions: Definitions, store: Store, computed: Sequence[Computed] = ()) -> Steps[Plan]:
    """Compile one feature service a millisecond at a time: one of a thousand features takes ten.

    computed: what `computed_views` gives. Raises RegistryError."""
    groups = []
    for views in _by_key(service.stored).values():
        groups.append((yield from _group(views, definitions.key_version, is_raw=not store.decodes)))
        yield
    stored = {f"{view.name}__{feature.name}" for view in service.stored for feature in view.features}
    tables = [block.names for group in groups for block in group.blocks] + [t for view in computed for t in view.tables]
    layout = {name: (table, place) for table, names in enumerate(tables) for place, name in enumerate(names)}
    yield
    hidden = frozenset(stored - set(service.order))
    shown = {name: at for name, at in layout.items() if name not in hidden}
    yield
    info = yield from _info(service)
    prepared = store.prepare(definitions.project, groups)
    return Plan(
        info=info,
        groups=tuple(groups),
        computed=tuple(computed),
        store=store,
        prepared=prepared,
        hidden=hidden,
        layout=layout,
        shown=shown,
        times={name: place for place, name in enumerate(name for group in groups for name in group.names)},
        assemblers=TensorAssemblers(shown, [len(names) for names in tables]),
        source=service,
    )


def at_once(steps: Steps[Made]) -> Made:
    """Do all the steps."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            made: Made = done.value
            return made


def _by_key(views: Sequence[StoredView]) -> Mapping[Any, list[StoredView]]:
    found: dict[Any, list[StoredView]] = {}
    for view in views:
        found.setdefault(tuple(sorted((k.stored, k.asked, k.type) for k in view.keys)), []).append(view)
    return found


def _group(views: Sequence[StoredView], key_version: int, *, is_raw: bool) -> Steps[Group]:
    plans: list[ViewPlan] = []
    by_type: dict[str, list[tuple[int, int, StoredView, Feature]]] = {}
    place = 0
    for index, view in enumerate(views):
        plans.append(ViewPlan(view, place))
        for feature in view.features:
            by_type.setdefault(feature.type, []).append((place, index, view, feature))
            place += 1
    yield
    blocks = []
    for type_name, members in by_type.items():
        names = tuple(f"{view.name}__{feature.name}" for _, _, view, feature in members)
        yield
        blocks.append(
            Block(
                names=names,
                views=tuple(index for _, index, _, _ in members),
                places=tuple(at for at, _, _, _ in members),
                take=_taker([at for at, _, _, _ in members]),
                defaults=tuple(default_of(feature) for _, _, _, feature in members),
                decode=decoder(type_name, is_raw=is_raw),
            )
        )
        yield
    ttls_us = tuple(_ANY_AGE_US if view.ttl_s is None else round(view.ttl_s * 1e6) for view in views)
    return Group(
        encode=key_encoder(views[0].keys, key_version),
        encode_one=row_encoder(views[0].keys, key_version),
        views=tuple(plans),
        names=tuple(view.name for view in views),
        ttls_us=ttls_us,
        least_ttl_us=min(ttls_us),
        blocks=tuple(blocks),
        cells=place,
    )


def _taker(places: Sequence[int]) -> Callable[[Sequence[Cell]], Sequence[Cell]]:
    """A function of a row's cells to those at `places`."""
    first = places[0]
    if list(places) == list(range(first, first + len(places))):
        return itemgetter(slice(first, first + len(places)))
    return itemgetter(*places)


def service_info(service: Service) -> FeatureServiceInfo:
    """What a service needs and gives. Raises RegistryError."""
    return at_once(_info(service))


def _info(service: Service) -> Steps[FeatureServiceInfo]:
    """What a service needs and gives. Raises RegistryError if two views want one key as different types."""
    keys: dict[str, str] = {}
    for view in service.stored:
        for key in view.keys:
            if key.asked and keys.setdefault(key.asked, key.type) != key.type:
                raise RegistryError(
                    f"service {service.name}: join key {key.asked!r} has two types, {keys[key.asked]} and {key.type}"
                )
    request = {field.name: field.type for view in service.computed for field in view.fields}
    features: dict[str, FeatureInfo] = {}
    every: tuple[StoredView | ComputedView, ...] = (*service.stored, *service.computed)
    for owner in every:
        ttl_s = owner.ttl_s if isinstance(owner, StoredView) else None
        for feature in owner.features:
            name, default = f"{owner.name}__{feature.name}", default_of(feature)
            shown = default if isinstance(default, (float, int, bool, str)) else repr(default)
            features[name] = FeatureInfo(name, DATATYPES.get(feature.type, "BYTES"), owner.name, shown, ttl_s)
        yield
    return FeatureServiceInfo(
        name=service.name,
        join_keys=tuple(FieldInfo(name, KEY_DATATYPES[type_name]) for name, type_name in keys.items()),
        request_fields=tuple(FieldInfo(name, DATATYPES.get(type_name, "BYTES")) for name, type_name in request.items()),
        features=tuple(features[name] for name in service.order),
    )
