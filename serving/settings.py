"""The one settings object of the serving image, read once in the composition root and handed down in parts.

Every field is an environment variable `VEDETTE_<FIELD>` and, where it makes sense, an option of `vedette up`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]


def _audit_word(value: object) -> object:
    """true and false, which the setting was before it had three words."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word in (True, "true", "1", "yes", "on"):
        return "async"
    return "off" if word in (False, "false", "0", "no") else word


Audit = Annotated[Literal["strict", "async", "off"], BeforeValidator(_audit_word)]


class ServingSettings(BaseSettings):
    """Settings of the data plane."""

    model_config = SettingsConfigDict(
        env_prefix="VEDETTE_", frozen=True, use_attribute_docstrings=True, extra="ignore", allow_inf_nan=False
    )

    store_dir: Path = Path(".vedette")
    """Folder of everything Vedette keeps on this machine: bundles, feature stores, the prediction log."""
    registry: str = ""
    """Where bundles come from, for `vedette registry` and references like `flows@production`: a folder or any fsspec URL, e.g.
    `s3://models/vedette`; empty: `registry` in the store folder."""
    require_signed: bool = False
    """Whether a replica takes only bundles that a trusted key signed. The signature is verified before anything of a bundle is read,
    probed or loaded; one that fails is refused as any other bad bundle is."""
    bundle_key: Path | None = None
    """PEM file of the private key that signs what `vedette train` and `vedette up` train here (docs/reference/registry.md); unset: nothing
    is signed."""
    trusted_keys: Path | None = None
    """Folder of the public keys that may sign bundles (docs/reference/registry.md); `keys/bundles` in the store folder if unset."""
    bundle_dir: Path | None = None
    """Folder of one bundle that `python -m serving.launch.pod` takes into the store at its start, as KServe mounts it; unset: none."""
    served: str = ""
    """What `python -m serving.launch.pod` serves, as the JSON of Ray Serve's `user_config`; empty: the newest version of each model."""
    host: str = "127.0.0.1"
    """Address the listeners bind to; `0.0.0.0` in a container."""
    http_port: Port = 8080
    """Port of the HTTP door."""
    grpc_port: Port = 8081
    """Port of the gRPC door."""
    replicas: PositiveInt = 1
    """Ray Serve replicas on this machine; they share the ports."""
    max_replicas: PositiveInt | None = None
    """The most replicas that scaling may start on this machine. Unset: the count is fixed."""
    front_door: Literal["replica", "serve"] = "replica"
    """`replica`: each replica runs its own listener (fast). `serve`: requests come through Ray Serve's proxy."""
    max_body_bytes: PositiveInt = 16 * 1024 * 1024
    """Largest request body; a larger one is answered 413 / RESOURCE_EXHAUSTED."""
    max_connections: PositiveInt = 10_000
    """Most HTTP connections at once, a replica; the one beyond them is answered 503 with Retry-After and closed. Less where the
    process may not have as many files open."""
    max_unfinished_bytes: PositiveInt = 256 * 1024 * 1024
    """Most bytes of HTTP request bodies that have not arrived whole, over all connections of a replica; the body that would go
    beyond is answered 429."""
    max_rows: PositiveInt = 100_000
    """Most rows in one request."""
    default_deadline_s: PositiveFloat = 2.0
    """How long a request may take when the client does not say."""
    feature_timeout_s: PositiveFloat = 0.05
    """How long one read of online features may take before defaults stand in for them."""
    feature_refresh_s: PositiveFloat = 10.0
    """How often the Feast registry is looked at for changes, off the request path."""
    feature_repo: Path | None = None
    """Folder with the feature_store.yaml of the features, for every verb: what is listed, read, joined, materialized and trained
    into. The file there is used as it stands. `feast` in the store folder if unset."""
    redis_url: str | None = None
    """Online store on Redis, e.g. `redis://127.0.0.1:6379/0`; SQLite in the store folder if unset."""
    feature_server_url: str | None = None
    """Read features from this HTTP feature server (Feast's own protocol) instead of the store directly."""
    model_threads: PositiveInt = 1
    """Threads of one model session."""
    probe_timeout_s: PositiveFloat = 60.0
    """How long probing a bundle in its own process may take."""
    max_wait_s: PositiveFloat = 0.015
    """How long a request may wait for the event loop under standing overload; beyond it is answered 429 / RESOURCE_EXHAUSTED at once."""
    max_ongoing: PositiveInt = 1000
    """Most requests under way in one replica; the one beyond them is answered 429 / RESOURCE_EXHAUSTED at once."""
    run_threads: PositiveInt = 2
    """Runs of one model at once that are too long for the event loop, in threads of that model's own."""
    run_queue: PositiveInt = 64
    """Such runs of one model that may wait for its threads; the one beyond them is answered 429 / RESOURCE_EXHAUSTED at once."""
    explain_queue: PositiveInt = 8
    """Explanations that may wait for the one thread that makes them; the one beyond them is answered 429 / RESOURCE_EXHAUSTED at once."""
    explain_budget_s: PositiveFloat = 0.5
    """How long one explanation may take. Then the best that was found is answered, with its error. The request's deadline holds as well."""
    breakers: bool = True
    """Whether breakers stop calls to features, cache and models that fail or are slow (docs/reference/resilience.md)."""
    cache: Literal["off", "memory", "redis"] = "off"
    """Where predictions are cached: nowhere, in each replica, or in a Redis that replicas share."""
    cache_url: str | None = None
    """The Redis of `VEDETTE_CACHE=redis`; `VEDETTE_REDIS_URL` if unset."""
    cache_bytes: PositiveInt = 64 * 1024 * 1024
    """Memory of the prediction cache in one replica (`VEDETTE_CACHE=memory`)."""
    cache_ttl_s: PositiveFloat = 60.0
    """How long a prediction is kept."""
    cache_from_us: NonNegativeFloat = 250.0
    """Only models whose runs take longer use the cache: for the others a look-up takes longer than the run."""
    cache_timeout_s: PositiveFloat = 0.01
    """How long a look-up in the cache may take before the model is run."""
    repository_control: bool = False
    """Whether clients may load and unload models through the repository API: any client that reaches the doors may. `vedette up`
    turns it on where it listens on loopback, unless this is set. Models that are managed or have variants are never changed by clients."""
    audit: Audit = "async"
    """How an answer depends on its record in the prediction log. `strict`: it leaves after its record is on the disk, or is
    refused. `async` (or `true`): it never waits. `off` (or `false`): no record."""
    audit_models: Mapping[str, Audit] = {}
    """The same for single models, as JSON, e.g. `{"flows": "strict"}`."""
    audit_segment_bytes: PositiveInt = 64 * 1024 * 1024
    """The prediction log starts a new segment at this size."""
    audit_segments: NonNegativeInt = 0
    """Segments kept; 0 keeps all."""
    audit_queue: PositiveInt = 10_000
    """Records waiting to be written; beyond it records are dropped and counted."""
    audit_retention: str | None = None
    """How long `vedette audit retention run` keeps records: `7y`, or `flows=3y,default=7y` (d, w, y or forever). Unset: it asks."""
    audit_archive: str | None = None
    """Where `vedette audit archive` puts finished segments of the prediction log: a folder or a URL that fsspec knows, such as
    `s3://bucket/folder`. `archive` in the store folder if unset."""
    audit_key: Path | None = None
    """PEM file of the key that signs the prediction log's checkpoints, as a Kubernetes secret mounts it; read again when it changes.
    Unset: `keys/audit.pem` in the store folder, made at the first start."""
    audit_key_name: str | None = None
    """Name of that key's owner, a part of the public key; `audit` if unset."""
    audit_anchor: str = ""
    """Where checkpoints are kept outside the log: URLs with spaces between, `file:///FOLDER`, `s3://BUCKET/PREFIX?lock=YEARS`,
    `kafka://HOST:PORT/TOPIC`; empty: nowhere."""
    audit_anchor_every_s: PositiveFloat = 60.0
    """How often the newest checkpoint is anchored; the final one of a segment at once."""
    segments: Path | None = None
    """File that maps entities to segments such as business units (docs/reference/fairness.md), CSV or YAML: evidence is counted by
    segment, for the gate `fairness` of a rollout. At most 24 segments; read at the start. Unset: nothing is."""
    mirror_queue: PositiveInt = 1000
    """Copies of requests waiting to be scored by a mirrored candidate; beyond it copies are dropped and counted."""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of requests traced when the caller did not decide (head sampling)."""
    otlp_endpoint: str | None = None
    """OpenTelemetry collector, e.g. `http://127.0.0.1:4318`; spans are dropped if unset."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Level of the log on stderr."""

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.http_port == self.grpc_port != 0:
            raise ValueError(f"HTTP and gRPC have the same port {self.http_port}; give each its own")
        return self

    @property
    def trusted_keys_dir(self) -> Path:
        """The folder of the keys that may sign bundles."""
        return self.trusted_keys or self.store_dir / "keys" / "bundles"

    @property
    def registry_url(self) -> str:
        """Where the registry is: a folder or a URL."""
        return self.registry or str(self.store_dir / "registry")

    @property
    def feast_dir(self) -> Path:
        """The one folder of the features: for the data plane and every verb."""
        return self.feature_repo or self.store_dir / "feast"
