"""sinks.yaml: where alerts go. Parsed here, once; the rest works with values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from serving.files.bounded_files import read_bounded
from serving.files.option_files import SECRET
from serving.files.safe_yaml import read_yaml
from serving.sinks.errors import SinkConfigError
from serving.sinks.forms.options import ObservedName
from serving.sinks.secrets import SecretSource
from serving.stream.contract import Level

MOST_SINKS = 32
_MIB = 1024 * 1024
_MOST_BYTES: Final = _MIB
"""Of sinks.yaml."""
SinkName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class TlsConfig(_Part):
    """How TLS is spoken. The far end's certificate is always verified; TLS 1.2 is the oldest version."""

    ca: Path | None = None
    """PEM file of the authorities that are trusted. Unset: those of the system."""
    certificate: Path | None = None
    """PEM file of the client's certificate, where the far end asks for one."""
    key: Path | None = None
    """PEM file of its key. Unset: it is in `certificate`."""
    server_name: str | None = None
    """Name that the certificate must have. Unset: the host of the address."""


class SyslogTarget(_Part):
    """A syslog server: RFC 5424 over TCP (RFC 6587) or TLS (RFC 5425), octet counting."""

    type: Literal["syslog"]
    host: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    """Name or address of the server."""
    port: Annotated[int, Field(ge=1, le=65535)] = 6514
    """6514 is the port of syslog over TLS."""
    tls: TlsConfig | None = None
    """Set: TLS is spoken; `{}` takes the defaults. Unset: plain TCP."""
    facility: Annotated[int, Field(ge=0, le=23)] = 10
    """Facility of the messages; 10 is `security/authorization`."""
    enterprise_id: Annotated[int, Field(ge=1, le=2**32 - 1)] = 32473
    """Your private enterprise number (IANA), in the structured data. The default is reserved for examples."""
    bom: Literal["auto", "never"] = "auto"
    """`auto`: a text that is not all ASCII begins with the BOM, as RFC 5424 says. `never`: for receivers that trip over it."""


class _HttpTarget(_Part):
    url: str | None = None
    """Address, http or https, without credentials."""
    url_from: SecretSource | None = None
    """Instead of `url`, where the address itself is a secret."""
    tls: TlsConfig = TlsConfig()
    """For https."""
    proxy: str | None = None
    """HTTP proxy, `http://HOST:PORT`, without credentials. Unset: none; the environment's is not used."""
    gzip: bool = True
    """Whether bodies are compressed, unless the far end answers 415."""

    @field_validator("url", "proxy")
    @classmethod
    def _has_no_credentials(cls, url: str | None) -> str | None:
        return None if url is None else checked_url(url)

    @model_validator(mode="after")
    def _has_one_url(self) -> Self:
        if (self.url is None) == (self.url_from is None):
            raise ValueError("write either `url` or `url_from`")
        return self

    def address(self) -> str:
        """The URL. Raises SinkConfigError."""
        if self.url is not None:
            return self.url
        try:
            return checked_url(self.url_from.value() if self.url_from else "")
        except ValueError as problem:
            raise SinkConfigError(f"url_from: {problem}") from None


class SplunkTarget(_HttpTarget):
    """Splunk's HTTP Event Collector."""

    type: Literal["splunk"]
    token: SecretSource
    """The collector's token."""
    index: str = ""
    """Index. Empty: the token's own."""
    sourcetype: str = "vedette:alert"
    """Source type of the events."""
    acknowledged: bool = False
    """Whether alerts count as delivered only when Splunk says that they are indexed. The token must have indexer acknowledgement on."""


class ElasticsearchTarget(_HttpTarget):
    """Elasticsearch or OpenSearch: the bulk API, action `create`, the alert's id as `_id`."""

    type: Literal["elasticsearch"]
    index: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,199}$")] = "vedette-alerts"
    """Index or data stream."""
    api_key: SecretSource | None = None
    """API key, as Elasticsearch gives it (`encoded`)."""
    username: str | None = None
    """Name for basic authentication."""
    password: SecretSource | None = None
    """Password for basic authentication."""

    @model_validator(mode="after")
    def _has_one_login(self) -> Self:
        if (self.username is None) != (self.password is None) or (self.api_key is not None and self.username is not None):
            raise ValueError("write either `api_key`, or `username` and `password`, or none of them")
        return self


class WebhookTarget(_HttpTarget):
    """An HTTP endpoint of one's own: one POST an alert, signed by Standard Webhooks, with `Idempotency-Key`."""

    type: Literal["webhook"]
    secret: SecretSource
    """Signs the messages. Several lines: one signature with each, for a rotation; `whsec_` and base64, or any text."""
    token: SecretSource | None = None
    """Sent as `Authorization: Bearer`."""
    lanes: Annotated[int, Field(ge=1, le=32)] = 4
    """Connections. The alerts of an entity share one, so they stay in order."""
    gzip: bool = False
    """Whether bodies are compressed. The signature is over the body before that."""


class ThrottleConfig(_Part):
    """How many alerts a sink gets. What is over a limit becomes one alert that counts and lists."""

    per_second: PositiveFloat | None = None
    """Alerts a second. Unset: no limit."""
    burst: PositiveInt = 100
    """Alerts that may come at once."""
    group_per_minute: PositiveFloat | None = None
    """Alerts a minute of one group (entity and technique). Unset: no limit."""
    group_burst: PositiveInt = 10
    """Alerts of one group that may come at once."""
    summary_s: PositiveFloat = 60.0
    """Window in which the alerts over a limit become one."""


class SpoolConfig(_Part):
    """The spool of one sink."""

    most_bytes: Annotated[int, Field(ge=16 * _MIB)] = 1024 * _MIB
    """Bound on disk, at least 16 MiB."""
    when_full: Literal["wait", "drop_oldest"] = "wait"
    """`wait`: no more alerts are read from the topic, for any sink. `drop_oldest`: the oldest alerts are dropped, logged and counted."""


class BatchConfig(_Part):
    """How much is sent together, how long it may take, and when it is tried again."""

    most_alerts: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Alerts."""
    most_bytes: Annotated[int, Field(ge=1024, le=64 * _MIB)] = _MIB
    """Bytes of alerts, as they are in the spool."""
    timeout_s: PositiveFloat = 30.0
    """Time for one request, or to connect and to write."""
    first_wait_s: PositiveFloat = 0.5
    """Wait before the second try. Each further wait is twice as long, with jitter."""
    most_wait_s: PositiveFloat = 60.0
    """Longest wait, unless the far end asks for more (`Retry-After`, at most 15 minutes)."""


FormName = Literal["ocsf", "ecs", "cef", "plain"]
SinkTarget = Annotated[SyslogTarget | SplunkTarget | ElasticsearchTarget | WebhookTarget, Field(discriminator="type")]
USUAL_FORMS: Mapping[str, FormName] = {"syslog": "cef", "splunk": "ocsf", "elasticsearch": "ecs", "webhook": "plain"}


class SinkConfig(_Part):
    """One sink."""

    name: SinkName
    """Names it in metrics, logs and files: small letters, digits and hyphens. The spool belongs to the name."""
    to: SinkTarget
    """Where alerts go."""
    form: FormName | None = None
    """`cef`, `ocsf`, `ecs` or `plain` (the message of the alerts topic). Unset: cef for syslog, ocsf for Splunk, ecs for Elasticsearch,
    plain for a webhook."""
    min_severity: Level = "informational"
    """Less severe alerts are left out."""
    repeats_s: PositiveFloat = 3600.0
    """An alert with an id that was seen within this time is a repeat and is left out. The last 100,000 ids are remembered."""
    group_s: PositiveFloat | None = None
    """Of a group (entity and technique) the first alert is sent; those of this time after it become one alert, unless they are more
    severe. Unset: alerts are not grouped."""
    throttle: ThrottleConfig = ThrottleConfig()
    """How many alerts the sink gets."""
    batch: BatchConfig = BatchConfig()
    """How much is sent together."""
    spool: SpoolConfig = SpoolConfig()
    """What is kept while the far end is down."""
    event_bytes: Annotated[int, Field(ge=0, le=_MIB)] = 16 * 1024
    """Size of the event in a message. The rest is cut off, and the message says so."""
    fields: Mapping[ObservedName, tuple[str, ...]] = {}
    """Where addresses, ports, users and hosts are in your events, tried before the usual names."""

    @model_validator(mode="after")
    def _form_fits(self) -> Self:
        if self.form == "cef" and self.to.type != "syslog":
            raise ValueError(f"form `cef` is text for syslog; for {self.to.type} take ocsf, ecs or plain")
        return self

    @property
    def form_name(self) -> FormName:
        """The form, the usual one where none is chosen."""
        return self.form or USUAL_FORMS[self.to.type]


class SinkSource(_Part):
    """The topic of Kafka that alerts are read from."""

    type: Literal["kafka"] = "kafka"
    servers: str = "localhost:9092"
    """Servers of Kafka, `HOST:PORT[,HOST:PORT]`."""
    topic: str = "vedette.alerts"
    """Topic of the alerts."""
    group: str = "vedette-sinks"
    """Consumer group. It goes on where it was."""
    options: Mapping[str, str] = {}
    """Properties of librdkafka, e.g. `security.protocol: SSL`. They hold no secrets: see `secret_options`."""
    secret_options: Mapping[str, SecretSource] = {}
    """Properties of librdkafka that are secret, e.g. `sasl.password: {file: ...}`."""

    @field_validator("options")
    @classmethod
    def _has_no_secrets(cls, options: Mapping[str, str]) -> Mapping[str, str]:
        if shown := sorted(SECRET & options.keys()):
            raise ValueError(
                f"{shown[0]} is secret and this file is not; write `secret_options: {{{shown[0]}: {{file: PATH}}}}`"
            )
        return options


class KinesisSinkSource(_Part):
    """The stream of Kinesis that alerts are read from, instead of a topic of Kafka. Credentials come as for any AWS client."""

    type: Literal["kinesis"]
    region: str
    """Region, e.g. `eu-central-1`."""
    stream: str
    """Name of the stream."""
    table: str = "vedette-sinks"
    """DynamoDB table of the group's leases and places; made where it is missing."""
    endpoint: str | None = None
    """Address instead of AWS's own."""


class SinksConfig(_Part):
    """The whole file."""

    spool_dir: Path = Path("vedette-sinks")
    """Folder of the spools and of dead letters; relative to the file. On a disk that survives the process."""
    source: SinkSource | KinesisSinkSource = SinkSource()
    """Where alerts come from."""
    sinks: Annotated[tuple[SinkConfig, ...], Field(min_length=1, max_length=MOST_SINKS)]
    """Where they go."""

    @field_validator("sinks")
    @classmethod
    def _names_differ(cls, sinks: tuple[SinkConfig, ...]) -> tuple[SinkConfig, ...]:
        names = [sink.name for sink in sinks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two sinks have the name {twice[0]}; the spool belongs to the name")
        return sinks


def checked_url(url: str) -> str:
    """An http or https URL without credentials. Raises ValueError, which does not repeat it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises where it is none
    except ValueError:
        raise ValueError("the URL cannot be read") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("a URL begins with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL holds no user or password: write them as secrets of the sink (`token`, `password`)")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("a URL is ASCII without spaces")
    return url


def url_label(url: str) -> str:
    """What of a URL may be shown: scheme, host and port. A path or query may be a secret.

    >>> url_label("https://hooks.example.com:8443/services/T0/B0/XXXX?key=1")
    'https://hooks.example.com:8443'
    """
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def read_config(path: Path) -> SinksConfig:
    """Read sinks.yaml. Raises SinkConfigError, which repeats no value of the file."""
    try:
        text = read_bounded(path, _MOST_BYTES).decode()
        found = read_yaml(text)
    except OSError as problem:
        raise SinkConfigError(f"{path}: cannot be read: {problem.strerror}") from problem
    except (UnicodeDecodeError, yaml.YAMLError) as problem:
        mark = getattr(problem, "problem_mark", None)
        raise SinkConfigError(f"{path}: is not YAML" + (f", line {mark.line + 1}" if mark else "")) from None
    if not isinstance(found, dict):
        raise SinkConfigError(f"{path}: expected `sinks:` with a list; `vedette sinks show config` prints an example")
    try:
        config = SinksConfig.model_validate(found)
    except ValidationError as problem:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in problem.errors(include_input=False, include_url=False, include_context=False)[:5]
        )
        raise SinkConfigError(f"{path}: {faults}") from None
    return config.model_copy(update={"spool_dir": path.parent / config.spool_dir})
