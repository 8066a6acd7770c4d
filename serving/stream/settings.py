"""The settings of a stream worker, beside those of the replica that it is: environment variables `VEDETTE_STREAM_<FIELD>`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.settings import Port

Mode = Literal["exactly_once", "low_latency"]


class StreamSettings(BaseSettings):
    """What a worker reads, scores and writes, and how events are held."""

    model_config = SettingsConfigDict(
        env_prefix="VEDETTE_STREAM_",
        frozen=True,
        use_attribute_docstrings=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # options may hold a password
    )

    servers: str = ""
    """Kafka's servers, HOST:PORT[,HOST:PORT]. `vedette stream` needs them."""
    options: Mapping[str, str] = Field(default={}, repr=False)
    """Properties of librdkafka for every connection, as JSON, e.g. `{"security.protocol": "SSL"}`."""
    option_files: Mapping[str, Path] = {}
    """Secret properties of librdkafka by the files that hold them, as JSON, e.g. `{"sasl.password": "/etc/vedette-kafka/password"}`.
    They are read when the process starts."""
    group: str = "vedette"
    """Consumer group. Its workers share the partitions of the events."""
    instance: str = ""
    """Name of this worker, for good, e.g. a pod's of a StatefulSet. A restarted worker of the same name goes on at once. Empty: a random
    name; the transaction of a killed worker then stays open until `VEDETTE_STREAM_TRANSACTION_S` is over."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a group begins that has no position yet."""
    model: str = "flows"
    """The model that scores the events. It must be served (served.json), as over HTTP."""
    operating_point: str = ""
    """Operating point of the verdicts. Empty: the model's own default."""
    mode: Mode = "exactly_once"
    """`exactly_once`: verdicts, state and positions in one Kafka transaction. `low_latency`: an idempotent producer, at least once; a
    repeated verdict has the same `vedette-id`."""
    events: str = "vedette.events"
    """Topic of the events."""
    verdicts: str = "vedette.verdicts"
    """Topic of the verdicts."""
    alerts: str = "vedette.alerts"
    """Topic of the alerts."""
    dead_letters: str = "vedette.dead-letters"
    """Topic of the records that are no events, or that the model refuses."""
    investigate: str = "vedette.investigate"
    """Topic of events with the verdict `investigate`, for a closer look (`vedette risk enrich`). Empty: none are queued."""
    investigate_s: PositiveFloat = 60.0
    """How long a closer look may take. A later result counts, and is marked as late."""
    risks: str = "vedette.risk"
    """Compacted topic of notable changes of risks (`vedette risk follow`)."""
    state: str = "vedette.state"
    """Compacted topic of the state of the group's workers. It has as many partitions as the events. Each group needs one of its own."""
    http_port: Port = 0
    """Port of the worker's HTTP door: `/metrics`, readiness and the protocol. 0: any free one. On one machine the other replicas of the
    store answer `/metrics` for the worker too."""
    batch_events: PositiveInt = 4000
    """Maximum number of events that are scored at once."""
    linger_ms: PositiveFloat = 5.0
    """How long the worker waits for a batch to fill."""
    commit_ms: PositiveFloat = 100.0
    """Interval between commits in the mode `exactly_once`. Verdicts become visible with the commit. In the mode `low_latency` each batch
    is written at once, and positions are committed with it."""
    transaction_s: PositiveFloat = 15.0
    """Time limit of one transaction. A broker that is away for longer ends it, and its events are scored again."""
    deadline_s: PositiveFloat = 30.0
    """Deadline of the request that scores a batch."""
    feature_timeout_s: PositiveFloat = 1.0
    """Timeout of one read of stored features for a batch, in place of `VEDETTE_FEATURE_TIMEOUT_S`."""
    retry_s: PositiveFloat = 5.0
    """Maximum pause between two attempts at a batch while the model or the broker is out. Partitions are paused meanwhile."""
    max_event_bytes: PositiveInt = 512 * 1024
    """Maximum size of an event. A larger record goes to the dead letters."""
    disorder_s: NonNegativeFloat = 0.0
    """How far events may be out of order. An event is held until the newest event of its partition is so much newer. 0: events are scored
    as they come."""
    lateness_s: NonNegativeFloat = 120.0
    """An event that comes behind the watermark by no more than this is still counted in its windows."""
    max_ahead_s: PositiveFloat = 120.0
    """How far the time of an event may be ahead of the worker's clock. A later one goes to the dead letters: it would make every event
    after it late. While it is no more than `VEDETTE_STREAM_LATENESS_S`, one source with a wrong clock stops no counting."""
    windows: bool = True
    """Whether the windows of the model's features are counted from the stream. Off: the features come from the online store."""
    distinct_values: PositiveInt = 8192
    """How many distinct values of an entity and column are told apart. With more a distinct count is an estimate, and the verdict says
    `sketched`."""
    push_s: NonNegativeFloat = 1.0
    """Interval at which new rows of windows are written to the online store, so that requests over HTTP see them. It is longer while
    writing takes more than a tenth of it. 0: they are not written."""
    correlations: Literal["all", "whole", "off"] = "all"
    """Which SIGMA correlations of the model's bundle are evaluated. `all`: one whose `group-by` lacks the key of the events counts within
    each partition only, and the log says so. `whole`: such a correlation is left out. `off`: none."""
    idle_s: PositiveFloat = 10.0
    """When a partition has had no event for so long, its held events are scored."""
    max_held: PositiveInt = 200_000
    """Maximum number of held events of a partition. Beyond it the oldest are scored early."""
    snapshot_s: PositiveFloat = 60.0
    """Interval between snapshots of a partition's state in the changelog."""

    @field_validator("options", mode="after")
    @classmethod
    def _no_own_options(cls, options: Mapping[str, str]) -> Mapping[str, str]:
        own = {"group.id", "transactional.id", "enable.auto.commit", "enable.auto.offset.store", "bootstrap.servers"}
        taken = sorted(own & set(options))
        if taken:
            raise ValueError(f"{taken} are set by the worker itself; leave them out")
        return options

    @model_validator(mode="after")
    def _one_value_each(self) -> Self:
        if twice := sorted(self.options.keys() & self.option_files.keys()):
            raise ValueError(f"{twice} are both in VEDETTE_STREAM_OPTIONS and in VEDETTE_STREAM_OPTION_FILES; leave one out")
        return self
