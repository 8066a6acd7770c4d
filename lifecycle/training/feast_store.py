"""The lifecycle's one door to Feast: apply definitions, keep window rows, join training data, fill the online store.

Everything lives in one folder, `STORE/feast/`: feature_store.yaml, registry.db, offline/*.parquet and, without Redis,
online.db.
Or in a folder that is given with a feature_store.yaml of its own, which is used as it stands. Importing Feast takes seconds, so
this module imports it when a store is opened, not before.

    StoreError
    |- NoConfiguration  the folder that was given holds no feature_store.yaml
    |- WrongAddress     VEDETTE_REDIS_URL is none, or one that Feast cannot write
    |- UnknownService   no feature service of that name
    |- WrongDefault     the tag `default` of a feature is not JSON
    `- BadRows          rows that do not fit their view: a column is missing or a time has no meaning"""

import contextlib
import io
import json
import logging
import os
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import yaml

from feature_repo import quick_feast
from feature_repo.declaration import Declaration
from serving.features.stores.addresses import RedisEndpoints, endpoints_of, is_cluster, is_sentinel

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureService, FeatureStore

EVENT = "event_timestamp"
CONFIGURATION = "feature_store.yaml"


class StoreError(Exception):
    """Feast could not do it; the message says what, where, and the remedy."""


class WrongAddress(StoreError):
    """The URL is no address of a Redis, or one that Feast cannot write."""


class NoConfiguration(StoreError):
    """The folder is no feature repository."""


class UnknownService(StoreError):
    """No feature service of that name is registered."""


class WrongDefault(StoreError):
    """The tag `default` of a registered field cannot be read."""


class BadRows(StoreError):
    """Rows lack a column or hold one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Materialized:
    """Progress of filling the online store: `done` of `total` views, `view` is the one just written."""

    view: str
    done: int
    total: int


class FeastStore:
    """One Feast store folder."""

    def __init__(self, folder: Path, redis_url: str | None = None, *, is_given: bool = False) -> None:
        """Open the store in `folder` (made if it is not there). redis_url: online store on Redis, whatever the configuration says.

        is_given: the folder is somebody's feature repository; its feature_store.yaml is read and never written.
        Raises NoConfiguration if it has none."""
        self.folder = folder.resolve()
        self._feast: FeatureStore | None = None
        self._redis_url, self._is_given = redis_url, is_given
        if not is_given:
            (self.folder / "offline").mkdir(parents=True, exist_ok=True)
            self._write_configuration()
        elif not (self.folder / CONFIGURATION).is_file():
            raise NoConfiguration(
                f"{self.folder}: there is no {CONFIGURATION}; VEDETTE_FEATURE_REPO names the folder that holds it"
            )

    @property
    def feast(self) -> "FeatureStore":
        """Feast's own store object, opened on first use."""
        if self._feast is None:
            with quiet():
                self._feast = self._open_given() if self._is_given else self._open(self.folder / CONFIGURATION)
        return self._feast

    @contextlib.contextmanager
    def _talking(self) -> "Iterator[FeatureStore]":
        """Feast for a talk with the online store, quietly; its connection is closed afterwards."""
        with quiet():
            try:
                yield self.feast
            finally:
                _close_online(self.feast)

    def _open(self, configuration: Path) -> "FeatureStore":
        quick_feast.load()
        from feast import FeatureStore

        return FeatureStore(repo_path=str(self.folder), fs_yaml_file=configuration)

    def _open_given(self) -> "FeatureStore":
        """With the online store that serving reads; a setting may have moved it to Redis."""
        if self._redis_url is None:
            return self._open(self.folder / CONFIGURATION)
        with tempfile.TemporaryDirectory(prefix="vedette-feast-") as own:
            path = Path(own) / CONFIGURATION
            path.touch(mode=0o600)  # may hold a password
            path.write_text(
                with_redis((self.folder / CONFIGURATION).read_text(encoding="utf-8"), self._redis_url), encoding="utf-8"
            )
            return self._open(path)

    def apply(self, *what: Declaration | Sequence[object]) -> None:
        """Register detectors' declarations, or Feast objects, beside what is registered already."""
        quick_feast.load()
        from feature_repo.declared import objects_for

        objects: list[object] = []
        for item in what:
            objects.extend(objects_for(item).all() if isinstance(item, Declaration) else item)
        with self._talking() as feast:
            feast.apply(objects)
        online = self.folder / "online.db"
        if online.exists():  # readers must not wait for a materialisation's transaction
            with contextlib.closing(sqlite3.connect(online)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")

    def write_rows(self, view: str, rows: "pd.DataFrame", *, keep: bool = False) -> Path:
        """Write a stored view's rows to its file: the keys, `event_timestamp` (UTC) and one column a feature.

        keep: add to the rows that are there (same key and time: the new row wins) instead of replacing them."""
        import pandas as pd

        definition = self._view(view)
        keys = [column.name for column in definition.entity_columns]
        columns = [*keys, EVENT, *(f.name for f in definition.features)]
        missing = [column for column in columns if column not in rows.columns]
        if missing:
            raise BadRows(f"view {view}: the rows lack {missing}; they need the columns {columns}")
        path: Path = self.folder / definition.batch_source.file_options.uri
        table = rows[columns].assign(**{EVENT: as_utc(rows[EVENT], f"view {view}")})
        if keep and path.exists():
            table = pd.concat([pd.read_parquet(path)[columns], table])
        table = table.sort_values([EVENT, *keys], kind="stable").drop_duplicates([*keys, EVENT], keep="last")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        table.to_parquet(part, index=False, compression="zstd")
        part.replace(path)
        return path

    def training_frame(self, entities: "pd.DataFrame", service: str) -> "pd.DataFrame":
        """Join a service's features to entity rows as of each row's `event_timestamp` (Feast's point-in-time join).

        entities: the keys, the request-time fields, `event_timestamp` (UTC), any further columns. The result has the same
        rows in the same order with the features added as `view__feature` in the service's order; a value without a row
        within the TTL is the declared default, as when serving."""
        definition = self.service(service)
        frame = entities.reset_index(drop=True).assign(**{EVENT: as_utc(entities[EVENT], f"service {service}").to_numpy()})
        with quiet():
            joined = self.feast.get_historical_features(frame, definition, full_feature_names=True).to_df()
        for name, default, dtype in _columns(definition, defaults_of(definition)):
            column = joined[name]
            frame[name] = (column if default is None else column.fillna(default)).astype(dtype)
        return frame

    def materialize(
        self, start: datetime, end: datetime, progress: Callable[[Materialized], None] | None = None, service: str | None = None
    ) -> int:
        """Write each key's newest row between start and end to the online store; returns how many views were written.

        service: only the views it uses; all views otherwise."""
        view_names = None if service is None else {p.name for p in self.service(service).feature_view_projections}
        with quiet():
            names = [view.name for view in self.feast.list_feature_views() if view_names is None or view.name in view_names]
        names = [name for name in names if self._has_rows(name)]
        for done, name in enumerate(names, 1):
            with self._talking() as feast:
                feast.materialize(start.astimezone(UTC), end.astimezone(UTC), feature_views=[name])
            if progress is not None:
                progress(Materialized(name, done, len(names)))
        return len(names)

    def services(self) -> "list[FeatureService]":
        """Every registered feature service."""
        with quiet():
            return sorted(self.feast.list_feature_services(), key=lambda service: str(service.name))

    def service(self, name: str) -> "FeatureService":
        """One feature service. Raises UnknownService."""
        for service in self.services():
            if service.name == name:
                return service
        known = ", ".join(str(service.name) for service in self.services()) or "none; train a detector first"
        raise UnknownService(f"no feature service {name!r} in {self.folder}; there is: {known}")

    def online(self, service: str, rows: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """The answer of Feast's own reader for these keys and request fields: for comparison and inspection, not for serving."""
        definition = self.service(service)
        with self._talking() as feast:
            return dict(feast.get_online_features(definition, rows, full_feature_names=True).to_dict())

    def view_source(self, name: str) -> tuple[Path, str] | None:
        """The file of a stored view's rows and the name of its column of times; None for an on-demand view or another kind of source."""
        with quiet():
            found = next((view for view in self.feast.list_feature_views() if view.name == name), None)
        options = getattr(getattr(found, "batch_source", None), "file_options", None)
        uri = str(getattr(options, "uri", ""))
        if found is None or not uri or "://" in uri:
            return None
        return self.folder / uri, str(found.batch_source.timestamp_field)

    def _has_rows(self, view: str) -> bool:
        """Whether the view's file is there; a source that is no file of this machine is left to Feast."""
        options = getattr(self._view(view).batch_source, "file_options", None)
        uri = str(getattr(options, "uri", ""))
        return not uri or "://" in uri or (self.folder / uri).exists()

    def _view(self, name: str) -> Any:
        with quiet():
            return self.feast.get_feature_view(name)

    def _write_configuration(self) -> None:
        text = resources.files("feature_repo").joinpath(CONFIGURATION).read_text(encoding="utf-8")
        if self._redis_url is not None:
            text = with_redis(text, self._redis_url)
        path = self.folder / CONFIGURATION
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.touch(mode=0o600)  # may hold a password
            path.write_text(text, encoding="utf-8")


def defaults_of(service: "FeatureService") -> dict[str, Any]:
    """`view__feature` -> default, from the tags of the registered fields: JSON, as replicas read them. Raises WrongDefault."""
    defaults: dict[str, Any] = {}
    for projection in service.feature_view_projections:
        for feature in projection.features:
            name, tag = f"{projection.name_to_use()}__{feature.name}", feature.tags.get("default", "null")
            try:
                defaults[name] = json.loads(tag)
            except (ValueError, RecursionError) as problem:
                raise WrongDefault(
                    f"feature {name}: its tag default is {tag!r:.60}, expected JSON: a number, true, false or a quoted text ({problem})"
                ) from problem
    return defaults


def _close_online(feast: "FeatureStore") -> None:
    """Close the connection to the online store. Feast never does, and opens another when it needs one.

    Else the garbage collector closes it at some time, and until then SQLite's `online.db-wal` and `-shm` lie in the store."""
    online = getattr(feast._provider, "online_store", None)
    for name in ("_conn", "_client"):  # of Feast's SQLite, of its Redis
        connection = getattr(online, name, None)
        if connection is not None:
            setattr(online, name, None)
            connection.close()


def with_redis(configuration: str, redis_url: str) -> str:
    """The text of a feature_store.yaml with its online store on this Redis. Raises WrongAddress."""
    parsed = yaml.safe_load(configuration)
    parsed["online_store"] = online_store_on(redis_url)
    return str(yaml.safe_dump(parsed, sort_keys=False))


_NUMPY = {"Float32": "float32", "Float64": "float64", "Int32": "int32", "Int64": "int64", "Bool": "bool"}


def _columns(service: "FeatureService", defaults: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Full name, default and dtype of each feature, in the service's own order (Feast's result order varies by hash seed)."""
    for projection in service.feature_view_projections:
        for feature in projection.features:
            name, dtype = f"{projection.name_to_use()}__{feature.name}", _NUMPY.get(str(feature.dtype), "object")
            default = defaults[name]
            yield name, 0 if default is None and dtype != "object" else default, dtype


def as_utc(times: "pd.Series[Any]", where: str) -> "pd.Series[Any]":
    """Times as microseconds UTC. Times without a zone are taken for UTC. Raises BadRows."""
    import pandas as pd

    try:
        return pd.to_datetime(times, utc=True).astype("datetime64[us, UTC]")
    except (ValueError, TypeError) as error:
        raise BadRows(f"{where}: {EVENT} cannot be read as times: {error}") from error


def online_store_on(redis_url: str) -> dict[str, Any]:
    """Feast's `online_store` for a URL. Raises WrongAddress.

    >>> online_store_on("redis+sentinel://s1,s2/m")["connection_string"]
    's1:26379,s2:26379,db=0'
    """
    if is_cluster(redis_url):
        ends = _endpoints(redis_url)
        options = [*_login(ends.username, ends.password), *(["ssl=true"] if ends.is_tls else [])]
        options += ["read_from_replicas=true"] if ends.reads_replicas else []
        return {"type": "redis", "redis_type": "redis_cluster", "connection_string": ",".join([*_places(ends), *options])}
    if is_sentinel(redis_url):
        ends = _endpoints(redis_url)
        options = [f"db={ends.database}", *_login(ends.username, ends.password), *(["ssl=true"] if ends.is_tls else [])]
        options += _of_sentinels(ends)
        connection = ",".join([*_places(ends), *options])
        return {
            "type": "redis", "redis_type": "redis_sentinel", "sentinel_master": ends.master, "connection_string": connection,
        }  # fmt: skip
    return {"type": "redis", "connection_string": connection_string(redis_url)}


def connection_string(redis_url: str) -> str:
    """Feast's way of writing a Redis address, from a URL. Raises WrongAddress.

    >>> connection_string("redis://:secret@cache:6380/2")
    'cache:6380,db=2,password=secret'
    """
    expected = "expected redis://HOST:PORT/DB (rediss:// for TLS; %2F for a / in a password)"
    try:
        url = urlsplit(redis_url)
        port = url.port or 6379
    except ValueError:  # its text may hold a part of the password
        raise WrongAddress(f"VEDETTE_REDIS_URL has a port that is not a number; {expected}") from None
    if url.scheme not in ("redis", "rediss") or not url.hostname:
        raise WrongAddress(f"VEDETTE_REDIS_URL has scheme {url.scheme!r} and host {url.hostname or ''!r}; {expected}")
    parts = [f"{url.hostname}:{port}", f"db={url.path.strip('/') or 0}"]
    parts += _login(*(unquote(secret) if secret else None for secret in (url.username, url.password)))
    if url.scheme == "rediss":
        parts.append("ssl=true")
    return ",".join(parts)


def _endpoints(redis_url: str) -> RedisEndpoints:
    try:
        return endpoints_of(redis_url)
    except ValueError as problem:
        raise WrongAddress(f"VEDETTE_REDIS_URL: {problem}") from None


def _places(ends: RedisEndpoints) -> list[str]:
    if any(":" in host for host, _ in ends.hosts):
        raise WrongAddress("VEDETTE_REDIS_URL has an IPv6 address, which Feast does not support; use a name of the host")
    return [f"{host}:{port}" for host, port in ends.hosts]


def _login(username: str | None, password: str | None) -> list[str]:
    parts = []
    for name, secret in (("username", username), ("password", password)):
        if secret and "," in secret:
            raise WrongAddress(
                f"the {name} in VEDETTE_REDIS_URL has a comma, which Feast does not support; choose another {name}"
            )
        if secret:
            parts.append(f"{name}={secret}")
    return parts


def _of_sentinels(ends: RedisEndpoints) -> list[str]:
    """Feast splits at commas, so that its sentinel_kwargs can have one entry only."""
    username, password = ends.sentinel_login
    own: dict[str, Any] = {name: value for name, value in (("username", username), ("password", password)) if value}
    own |= {"ssl": True} if ends.is_sentinel_tls else {}
    if len(own) > 1 or any("," in str(value) for value in own.values()):
        raise WrongAddress(
            "VEDETTE_REDIS_URL: Feast can hand one of user, password and TLS to sentinels, without a comma; serving can read with all of "
            "them, but training needs sentinels that ask for one at most"
        )
    return [f"sentinel_kwargs={json.dumps(own)}"] if own else []


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Feast's prints and warnings off the terminal: a command's stdout may be JSON."""
    logging.getLogger("feast").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
