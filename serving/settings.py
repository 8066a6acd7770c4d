"""The one settings object of the serving image, read once in the composition root and handed down in parts.

Every field is an environment variable `VEDETTE_<FIELD>` and, where it makes sense, an option of `vedette up`."""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65535)]


def _audit_word(value: object) -> object:
    """Accepts true and false, the setting's values before it had three words."""
    word = value.strip().lower() if isinstance(value, str) else value
    if word in (True, "true", "1", "yes", "on"):
        return "async"
    return "off" if word in (False, "false", "0", "no") else word


Audit = Annotated[Literal["strict", "async", "off"], BeforeValidator(_audit_word)]


class EnvironmentSettings(BaseSettings):
    """Settings out of the environment alone. Nobody has a file of them, and a source for one takes as long as the environment does."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """See BaseSettings."""
        return init_settings, env_settings


class ServingSettings(EnvironmentSettings):
    """Settings of the data plane."""

    model_config = SettingsConfigDict(
        env_prefix="VEDETTE_", frozen=True, use_attribute_docstrings=True, extra="ignore", allow_inf_nan=False
    )

    store_dir: Path = Path(".vedette")
    """Folder for all data that Vedette keeps on this machine: bundles, feature stores, the prediction log."""
    registry: str = ""
    """The registry that `vedette registry` and references such as `flows@production` use: a folder or an fsspec URL, e.g.
    `s3://models/vedette`. Empty: `registry` in the store folder."""
    require_signed: bool = False
    """Whether a replica accepts only bundles that a trusted key signed. The signature is verified before any other part of the bundle
    is read, probed or loaded. A bundle whose signature fails is refused like any other bad bundle."""
    bundle_key: Path | None = None
    """PEM file of the private key that signs the bundles of `vedette train` and `vedette up` (docs/reference/registry.md). Unset:
    bundles are not signed."""
    trusted_keys: Path | None = None
    """Folder of the public keys that may sign bundles (docs/reference/registry.md); `keys/bundles` in the store folder if unset."""
    bundle_dir: Path | None = None
    """Folder of one bundle, as KServe mounts it. `python -m serving.launch.pod` copies it into the store at the start. Unset: none."""
    served: str = ""
    """The models that `python -m serving.launch.pod` and `python -m serving.launch.stream` serve, as the JSON of Ray Serve's
    `user_config`. Empty: the newest version of each model."""
    host: str = "127.0.0.1"
    """Address the listeners bind to; `0.0.0.0` in a container."""
    http_port: Port = 8080
    """Port of the HTTP door."""
    grpc_port: Port = 8081
    """Port of the gRPC door."""
    leave_s: NonNegativeFloat = 0.0
    """Seconds for which a replica that ends still answers, while it says that it is not ready: until then load balancers and Services have
    stopped choosing it. In a cluster, more than the readiness probe needs to fail."""
    replicas: PositiveInt = 1
    """Number of Ray Serve replicas on this machine. They share the ports."""
    max_replicas: PositiveInt | None = None
    """Maximum number of replicas that scaling may start on this machine. Unset: the number is fixed."""
    spare_process: bool = False
    """Whether `vedette up` keeps one more process for each replica, which has imported everything and waits: a replica that dies is
    replaced sooner (docs/reference/resilience.md)."""
    front_door: Literal["replica", "serve"] = "replica"
    """`replica`: each replica runs its own listener (fast). `serve`: requests come through Ray Serve's proxy, which does not say who its
    client is: `max_client_share` does not apply there, all clients are one address to the limit of
    wrong credentials, and lines of security events have the address `unknown`."""
    max_body_bytes: PositiveInt = 16 * 1024 * 1024
    """Maximum size of a request body. A larger body is refused with 413 / RESOURCE_EXHAUSTED."""
    max_connections: PositiveInt = 10_000
    """Maximum number of open HTTP connections of a replica. A further connection gets 503 with Retry-After and is closed. The limit is
    lower if the process may not open as many files."""
    max_unfinished_bytes: PositiveInt = 256 * 1024 * 1024
    """Maximum size of all incomplete HTTP request bodies of a replica together. A body that would exceed it is refused with 429."""
    max_client_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of a door's connections that one client address may hold. Beyond it the newest gets 429 and is closed. Addresses of one IPv6
    /64 count as one. 1: no limit, for a proxy that hides all clients behind one address."""
    tls_cert: Path | None = None
    """PEM file of the doors' certificate chain, the server's own first, e.g. `/etc/vedette/tls/tls.crt` of a mounted Secret. With
    `VEDETTE_TLS_KEY` both doors speak TLS 1.2 and 1.3 only. The files are read again when they change. Unset: plain doors."""
    tls_key: Path | None = None
    """PEM file of the private key of `VEDETTE_TLS_CERT`, unencrypted. It may be the same file."""
    tls_client_ca: Path | None = None
    """PEM file of the certificates that may sign those of clients."""
    tls_client: Literal["off", "optional", "required"] = "off"
    """Whether clients show a certificate: `off`: none is asked for; `optional`: they may, and a bad one is refused; `required`: a
    connection without one is refused. The last two need `VEDETTE_TLS_CLIENT_CA`."""
    probe_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """A further port without TLS that answers `/v2/health/live` and `/v2/health/ready` only, for probes: the kubelet has no client
    certificate. Unset: none."""
    max_rows: PositiveInt = 100_000
    """Maximum number of rows in one request."""
    default_deadline_s: PositiveFloat = 2.0
    """Deadline of a request if the client sets none."""
    feature_timeout_s: PositiveFloat = 0.05
    """Timeout of one read of online features. After it the declared defaults are used."""
    feature_refresh_s: PositiveFloat = 10.0
    """Interval between checks of the Feast registry for changes. The check is not on the request path."""
    feature_repo: Path | None = None
    """Folder with the feature_store.yaml. Every verb that lists, reads, joins, materializes or trains features uses it. The file is
    used unchanged. Unset: `feast` in the store folder."""
    feature_near_cache_bytes: NonNegativeInt = 0
    """Memory in one replica for rows of features that were read, which are used until the online store says that they changed. 0: none is
    kept (docs/how-to/keep-features-in-redis.md)."""
    redis_url: str | None = None
    """URL of the online store in Redis, e.g. `redis://127.0.0.1:6379/0`. Also `redis+cluster://HOST:PORT,HOST:PORT` and
    `redis+sentinel://HOST:PORT,HOST:PORT/MASTER` (docs/how-to/keep-features-in-redis.md). Unset: SQLite in the store folder."""
    risk_url: str | None = None
    """URL of the ledger of risks in Redis, e.g. `redis://127.0.0.1:6379/1`. Unset: SQLite in the store folder."""
    risk_over_http: bool = False
    """Whether clients may ask for the risks of entities at `/v2/risk`. If true, any client that reaches the doors may. `vedette up` sets it
    to true if it listens on loopback and this setting is unset."""
    feature_server_url: str | None = None
    """Read features from this HTTP feature server (Feast's own protocol) instead of the store directly."""
    model_threads: PositiveInt = 1
    """Number of threads of one model session."""
    probe_timeout_s: PositiveFloat = 60.0
    """Timeout of the probe of a bundle, which runs in a process of its own."""
    model_bytes: PositiveInt = 4 * 1024 * 1024 * 1024
    """Maximum size of a bundle's files together. A larger bundle is refused before it is probed."""
    model_memory_bytes: PositiveInt | None = None
    """Maximum memory of the probe of a bundle: the runtime, the model, constants that the runtime computes while it loads, and a run.
    Unset: half of what is free in the container or on the machine."""
    model_output_bytes: PositiveInt = 1024 * 1024
    """Maximum size of a run's outputs for each row, measured on the bundle's golden cases. A bundle with larger outputs is refused."""
    model_run_s: PositiveFloat = 10.0
    """Maximum time of a run of one golden case in the probe. A slower bundle is refused."""
    model_control_flow: Literal["none", "bounded", "any"] = "bounded"
    """Loops and branches that a model may have: `none`; `bounded`: branches, and loops whose number of turns is a constant or follows the
    input's shape; `any`. Whatever it is, no operator may take the size of its output from a value of the request."""
    max_wait_s: PositiveFloat = 0.015
    """Maximum time that a request may wait for the event loop during lasting overload. A request that would wait longer is refused
    at once with 429 / RESOURCE_EXHAUSTED."""
    max_ongoing: PositiveInt = 1000
    """Maximum number of requests under way in one replica. A further request is refused at once with 429 / RESOURCE_EXHAUSTED."""
    run_threads: PositiveInt = 2
    """Number of threads of each model for runs that take too long for the event loop."""
    run_queue: PositiveInt = 64
    """Maximum number of such runs that may wait for the threads of one model. A further request is refused at once with 429 /
    RESOURCE_EXHAUSTED."""
    explain_queue: PositiveInt = 8
    """Maximum number of explanations that may wait for the one thread that computes them. A further request is refused at once with
    429 / RESOURCE_EXHAUSTED."""
    explain_budget_s: PositiveFloat = 0.5
    """Time limit of one explanation. After it the best result so far is returned, with its error. The request's deadline applies
    too."""
    breakers: bool = True
    """Whether circuit breakers stop calls to the feature store, the cache and models while these fail or are slow
    (docs/reference/resilience.md)."""
    cache: Literal["off", "memory", "redis"] = "off"
    """Where predictions are cached: nowhere, in each replica, or in a Redis that replicas share."""
    cache_url: str | None = None
    """The Redis of `VEDETTE_CACHE=redis`; `VEDETTE_REDIS_URL` if unset."""
    cache_bytes: PositiveInt = 64 * 1024 * 1024
    """Memory of the prediction cache in one replica (`VEDETTE_CACHE=memory`)."""
    cache_ttl_s: PositiveFloat = 60.0
    """Time to live of a cached prediction."""
    cache_from_us: NonNegativeFloat = 250.0
    """A model uses the cache only if its runs take longer than this. For faster models a look-up takes longer than the run."""
    cache_timeout_s: PositiveFloat = 0.01
    """Timeout of a look-up in the cache. After it the model is run."""
    repository_control: bool = False
    """Whether clients may load and unload models through the repository API. If true, any client that reaches the doors may do so.
    `vedette up` sets it to true if it listens on loopback and this setting is unset. Clients can never change models that are managed or
    have variants."""
    access: Path | None = None
    """The access policy, a YAML file (docs/reference/access.md): who may ask the doors for what. It is read again when it changes. Unset:
    everybody who reaches the doors may ask the models."""
    trusted_proxies: str = ""
    """Networks of the proxies in front of the doors, separated by spaces, e.g. `10.2.0.0/16 fd00:12::/64`: of these and of nobody else.
    Only from them the header of `VEDETTE_PROXY_HEADER` says who the client is, for limits, floods and lines of security events
    (docs/reference/access.md). Empty: the client is the peer of the connection."""
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The header that the proxies write. The other one is never read: a proxy passes it on as the client sent it."""
    audit: Audit = "async"
    """How an answer depends on its record in the prediction log. `strict`: the answer is sent after its record is on the disk; if that
    fails the request is refused. `async` (or `true`): the answer does not wait for the record. `off` (or `false`): no record."""
    audit_models: Mapping[str, Audit] = {}
    """The mode of single models, as JSON, e.g. `{"flows": "strict"}`. It replaces `VEDETTE_AUDIT` for them."""
    audit_segment_bytes: PositiveInt = 64 * 1024 * 1024
    """Size at which the prediction log starts a new segment."""
    audit_segments: NonNegativeInt = 0
    """Number of segments to keep. 0: all."""
    audit_queue: PositiveInt = 10_000
    """Maximum number of records that may wait to be written. Further records are dropped and counted."""
    audit_retention: str | None = None
    """How long `vedette audit retention run` keeps records: `7y`, or `flows=3y,default=7y` (units d, w, y, or forever). Unset: the
    verb needs `--policy`."""
    audit_archive: str | None = None
    """Archive for finished segments of the prediction log (`vedette audit archive`): a folder or an fsspec URL, e.g.
    `s3://bucket/folder`. Unset: `archive` in the store folder."""
    audit_key: Path | None = None
    """PEM file of the key that signs the prediction log's checkpoints, for example a mounted Kubernetes secret. The file is read again
    when it changes. Unset: `keys/audit.pem` in the store folder, created at the first start."""
    audit_key_name: str | None = None
    """Name of the owner of `VEDETTE_AUDIT_KEY`. The name is part of the public key. Unset: `audit`."""
    audit_anchor: str = ""
    """Anchors, which keep checkpoints outside the log: URLs separated by spaces, `file:///FOLDER`, `s3://BUCKET/PREFIX?lock=YEARS`,
    `kafka://HOST:PORT/TOPIC`. Empty: none."""
    audit_anchor_every_s: PositiveFloat = 60.0
    """Interval at which the newest checkpoint is anchored. The final checkpoint of a segment is anchored at once."""
    segments: Path | None = None
    """CSV or YAML file that maps entities to segments such as business units (docs/reference/fairness.md). With it, evidence is counted
    by segment for the gate `fairness` of a rollout. At most 24 segments. The file is read at the start. Unset: no segments."""
    mirror_queue: PositiveInt = 1000
    """Maximum number of request copies that may wait for a mirrored candidate. Further copies are dropped and counted."""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of requests to trace if the caller did not decide (head sampling)."""
    trace_slow_ms: PositiveFloat = 250.0
    """A request that takes longer keeps its trace though it was not sampled."""
    trace_kept_per_s: NonNegativeInt = 5
    """Maximum number of traces a second that each of error, slow and degraded keeps though they were not sampled. 0: none."""
    otlp_endpoint: str | None = None
    """URL of the OpenTelemetry collector, e.g. `http://127.0.0.1:4318`. Unset: spans are dropped."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Level of the log on stderr."""

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.http_port == self.grpc_port != 0:
            raise ValueError(f"HTTP and gRPC have the same port {self.http_port}; give each its own")
        return self

    @model_validator(mode="after")
    def _proxies_are_networks(self) -> Self:
        for network in self.trusted_networks:
            if network.prefixlen == 0:
                raise ValueError(
                    f"VEDETTE_TRUSTED_PROXIES has {network}, which trusts everybody: then clients choose their own addresses; name the "
                    "networks of the proxies"
                )
        return self

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of the proxies. Raises ValueError for an invalid one."""
        try:
            return tuple(ip_network(text) for text in self.trusted_proxies.split())
        except ValueError as problem:
            raise ValueError(
                f"VEDETTE_TRUSTED_PROXIES: {problem}; expected networks separated by spaces, e.g. 10.2.0.0/16"
            ) from problem

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("VEDETTE_TLS_CERT and VEDETTE_TLS_KEY belong together; set both, or neither for plain doors")
        if self.tls_client != "off" and (self.tls_cert is None or self.tls_client_ca is None):
            raise ValueError(
                f"VEDETTE_TLS_CLIENT={self.tls_client} needs VEDETTE_TLS_CERT, VEDETTE_TLS_KEY and VEDETTE_TLS_CLIENT_CA; the last is the "
                "PEM file of the certificates that may sign those of clients"
            )
        if self.tls_client == "off" and self.tls_client_ca is not None:
            raise ValueError(
                "VEDETTE_TLS_CLIENT_CA has no effect while VEDETTE_TLS_CLIENT is off; set it to optional or required"
            )
        if self.tls_cert is not None and self.front_door == "serve":
            raise ValueError("VEDETTE_FRONT_DOOR=serve has no TLS: Ray Serve's proxy is plain; use VEDETTE_FRONT_DOOR=replica")
        if self.probe_port is not None and self.probe_port in {self.http_port, self.grpc_port}:
            raise ValueError(f"VEDETTE_PROBE_PORT is {self.probe_port}, the port of a door; give probes a port of their own")
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
