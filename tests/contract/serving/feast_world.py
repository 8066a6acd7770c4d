"""A Feast repository with one feature of every type, composite keys, ages and computed views, on SQLite or Redis.

Values are written through Feast's own online store; what Feast reads back is what the plan is held against."""

import decimal
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import numpy as np
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    OnDemandFeatureView,
    RequestSource,
    ValueType,
)
from feast import types as t
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.transformation.python_transformation import PythonTransformation
from feast.type_map import python_values_to_proto_values

from lifecycle.training.feast_store import online_store_on, quiet

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
UUID = uuid.UUID(int=7)

SCALARS = {
    "int32": (t.Int32, -5),
    "int64": (t.Int64, 2**60 + 1),
    "float32": (t.Float32, 0.1),
    "float64": (t.Float64, -0.1),
    "string": (t.String, "é!"),
    "bytes": (t.Bytes, b"\xff\x00"),
    "bool": (t.Bool, True),
    "timestamp": (t.UnixTimestamp, NOW),
    "uuid": (t.Uuid, UUID),
    "time_uuid": (t.TimeUuid, uuid.UUID("cc37721e-e66e-11f1-b4cf-02fc00000001")),
    "decimal": (t.Decimal, decimal.Decimal("1.50")),
}
KINDS = {
    **SCALARS,
    **{f"{name}_list": (t.Array(kind), [value, value]) for name, (kind, value) in SCALARS.items()},
    **{f"{name}_set": (t.Set(kind), {value}) for name, (kind, value) in SCALARS.items()},
    "empty_list": (t.Array(t.Int64), []),
    "negative_list": (t.Array(t.Int64), [-1, 0, 300]),
    "zero": (t.Int64, 0),
    "zero_double": (t.Float64, 0.0),
    "false": (t.Bool, False),
    "empty_text": (t.String, ""),
    "pdf": (t.PdfBytes, b"%PDF"),
    "image": (t.ImageBytes, b"\x89PNG"),
    "json": (t.Json, '{"a": [1, 2]}'),
    "json_list": (t.Array(t.Json), ['{"a": 1}', "[2]"]),
    "map": (t.Map, {"a": 1, "b": "x", "c": {"d": [1.5, 2.5]}}),
    "map_list": (t.Array(t.Map), [{"a": 1}, {"b": 2.5}]),
    "struct": (t.Struct({"a": t.Int64, "b": t.String}), {"a": 1, "b": "x"}),
    "struct_list": (t.Array(t.Struct({"a": t.Int64})), [{"a": 1}, {"a": 2}]),
    "nested_list": (t.Array(t.Array(t.Int64)), [[1, 2], [3]]),
    "nested_set": (t.Set(t.Array(t.Int64)), [[1, 2], [3]]),
    "scalar_map": (t.ScalarMap, {1: "a", -2: "b"}),
    "zoned_timestamp": (t.ZonedTimestamp, NOW.astimezone(ZoneInfo("Europe/Prague"))),
}

TRANSFORMS = """
def total(columns):
    return {
        "sum": [float(a) + b for a, b in zip(columns["amount"], columns["balance"])],
        "shout": [word.upper() for word in columns["word"]],
    }
"""


class FeastWorld:
    """Feast objects applied to a store folder of their own."""

    def __init__(self, folder: Path, redis_url: str | None) -> None:
        self.folder = folder
        online = {"type": "sqlite", "path": "online.db"}
        if redis_url is not None:
            online = online_store_on(redis_url)
        configuration = {
            "project": f"world_{uuid.uuid4().hex[:8]}",
            "provider": "local",
            "registry": "registry.db",
            "online_store": online,
            "entity_key_serialization_version": 3,
        }
        (folder / "feature_store.yaml").write_text(json.dumps(configuration))
        (folder / "mine.py").write_text(TRANSFORMS)
        with quiet():
            self.store = FeatureStore(repo_path=str(folder))
            self.store.apply(self._objects(folder))

    def _objects(self, folder: Path) -> list[object]:
        user = Entity(name="user", value_type=ValueType.STRING)
        site = Entity(name="site", value_type=ValueType.STRING)
        account = Entity(name="account", value_type=ValueType.INT64)
        self.views = SimpleNamespace(
            kinds=view("kinds", [user], {name: kind for name, (kind, _) in KINDS.items()}, 0),
            pairs=view("pairs", [site, account], {"balance": t.Float64, "note": t.String}, 0),
            ages=view("ages", [user], {"count": t.Int64, "ratio": t.Float32}, 60, {"count": "-1", "ratio": "0.5"}),
            everyone=view("everyone", [], {"level": t.Int32}, 0),
        )
        request = RequestSource(
            name="request", schema=[Field(name="amount", dtype=t.Int64), Field(name="word", dtype=t.String)]
        )
        scope: dict[str, object] = {}
        exec(TRANSFORMS, scope)
        total = OnDemandFeatureView(
            name="total",
            sources=[request, self.views.pairs],
            schema=[Field(name="sum", dtype=t.Float64), Field(name="shout", dtype=t.String)],
            feature_transformation=PythonTransformation(udf=scope["total"], udf_string=TRANSFORMS),
            mode="python",
            tags={"transform": "mine:total"},
        )
        mapped = self.views.pairs.with_name("theirs").with_join_key_map({"site": "peer", "account": "peer_account"})
        v = self.views
        services = [
            FeatureService(name="kinds", features=[v.kinds]),
            FeatureService(name="pairs", features=[v.pairs]),
            FeatureService(name="mapped", features=[v.pairs.with_name("ours"), mapped]),
            FeatureService(name="ages", features=[v.ages]),
            FeatureService(name="mixed", features=[v.ages[["ratio"]], v.pairs, v.everyone, v.kinds[["string", "float32"]]]),
            FeatureService(name="everyone", features=[v.everyone]),
            FeatureService(name="total", features=[total]),
        ]
        return [user, site, account, *vars(v).values(), total, *services]

    def write(self, name: str, key: dict[str, object], values: dict[str, object], at: datetime = NOW) -> None:
        """Write one row of a view through Feast's online store; a value None is a stored null."""
        feature_view = getattr(self.views, name)
        kinds = {field.name: field.dtype.to_value_type() for field in feature_view.features}
        cells = {n: python_values_to_proto_values([x], kinds[n])[0] if x is not None else Value() for n, x in values.items()}
        key_values = [python_values_to_proto_values([x], KEY_TYPES[n])[0] for n, x in key.items()]
        names = list(key) or ["__dummy_id"]
        entity_key = EntityKey(join_keys=names, entity_values=key_values or [Value(string_val="")])
        with quiet():
            provider = self.store._get_provider()
            provider.online_write_batch(self.store.config, feature_view, [(entity_key, cells, at, None)], None)

    def feast_says(self, service: str, rows: dict[str, list[object]], *, full_names: bool = True) -> dict[str, list[object]]:
        """What `get_online_features` answers, keys left out, in the port's terms."""
        with quiet():
            found = self.store.get_online_features(self.store.get_feature_service(service), rows, full_feature_names=full_names)
        return {name: [as_port(v) for v in values] for name, values in found.to_dict().items() if name not in rows}


KEY_TYPES = {"user": ValueType.STRING, "site": ValueType.STRING, "account": ValueType.INT64}


def view(name, entities, features, ttl_s, defaults=None):
    fields = [
        Field(name=n, dtype=kind, tags={"default": defaults[n]} if defaults and n in defaults else {})
        for n, kind in features.items()
    ]
    keys = [Field(name=e.name, dtype=t.Int64 if e.name == "account" else t.String) for e in entities]
    source = FileSource(name=f"{name}_file", path=f"{name}.parquet", timestamp_field="event_timestamp")
    return FeatureView(name=name, entities=entities, schema=[*keys, *fields], source=source, ttl=timedelta(seconds=ttl_s))


def as_port(value):
    """Feast's Python value as the FeatureReader port gives it."""
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, uuid.UUID | decimal.Decimal):
        return str(value)
    if isinstance(value, list | set):
        return [as_port(v) for v in value]
    if isinstance(value, dict):
        return {key: as_port(v) for key, v in value.items()}
    return value


def columns(rows):
    """Python lists as the port's columns: text as bytes."""
    made = {}
    for name, values in rows.items():
        if isinstance(values[0], str):
            made[name] = np.array([v.encode() for v in values], dtype=object)
        else:
            made[name] = np.array(values)
    return made
