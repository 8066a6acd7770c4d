"""Processes of the hybrid: the follower of verdicts, and the enricher with its replica. Both end when `stopping` is set."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from threading import Event

from serving.app import compose, open_tracer
from serving.launch.stream import HostAnswerer, host_settings
from serving.replica.host import ReplicaHost
from serving.risk.opening import open_ledger
from serving.settings import ServingSettings
from serving.stream.answers import BatchScorer
from serving.stream.hybrid.enricher import Enricher
from serving.stream.hybrid.follower import RiskFollower
from serving.stream.hybrid.group_loop import GroupLoop, JoinGroup
from serving.stream.kafka.cluster import open_cluster
from serving.stream.kafka.idempotent import IdempotentOutputs
from serving.stream.kafka.source import KafkaSource
from serving.stream.ports import Ownership, StreamError, StreamOutputs, StreamSource
from serving.stream.settings import StreamSettings
from serving.stream.spans.batch_spans import StreamSpans
from serving.telemetry.tracing.tracer import Tracer

_log = logging.getLogger("vedette.risk")


def follow(settings: ServingSettings, stream: StreamSettings, stopping: Event) -> RiskFollower:
    """Read verdicts into the ledger until told to stop. Raises StreamError, LedgerDown, RiskRulesError."""
    with ExitStack() as ends:
        ledger = open_ledger(settings.store_dir, settings.risk_url)
        ends.callback(ledger.close)
        tracer = Tracer(settings.trace_ratio, settings.otlp_endpoint)
        ends.callback(tracer.close)
        follower = RiskFollower(ledger, stream.verdicts, stream.risks)
        topics, group = [stream.verdicts, *([stream.investigate] if stream.investigate else [])], f"{stream.group}-risk"
        spans = StreamSpans(tracer, "kafka", group)
        GroupLoop(_connecting(stream, topics, group, stopping), follower, stopping.is_set, spans).run()
        return follower


def enrich(
    settings: ServingSettings, stream: StreamSettings, stopping: Event, on_ready: Callable[[int], None] = lambda _: None
) -> Enricher:
    """Score the enrichment queue until told to stop. Raises StreamError, LedgerDown, RiskRulesError, OSError."""
    if not stream.investigate:
        raise StreamError("VEDETTE_STREAM_INVESTIGATE is empty, so no event is queued for a closer look; name its topic")
    with ExitStack() as ends:
        ledger = open_ledger(settings.store_dir, settings.risk_url)
        ends.callback(ledger.close)
        tracer = open_tracer(settings)
        ends.callback(tracer.close)
        host = ReplicaHost(host_settings(settings, stream), partial(compose, tracer=tracer))
        ends.callback(host.stop)
        on_ready(host.start().http)
        scorer = BatchScorer(HostAnswerer(host), stream.model, stream.operating_point, stream.deadline_s)
        enricher = Enricher(scorer, ledger, stream.risks, stream.max_event_bytes)
        group = f"{stream.group}-enrich-{stream.model}"
        spans = StreamSpans(tracer, "kafka", group)
        GroupLoop(_connecting(stream, [stream.investigate], group, stopping), enricher, stopping.is_set, spans).run()
        return enricher


def _connecting(stream: StreamSettings, topics: list[str], group: str, stopping: Event) -> JoinGroup:
    cluster = open_cluster(stream.servers, stream.options, stream.option_files)

    def connect(ownership: Ownership) -> tuple[StreamSource, StreamOutputs]:
        source = KafkaSource(
            cluster,
            topics,
            group,
            ownership,
            instance_id=stream.instance or None,
            start=stream.start,
            is_stopping=stopping.is_set,
        )
        try:
            return source, IdempotentOutputs(cluster, source, is_stopping=stopping.is_set)
        except StreamError:
            source.close()
            raise

    return connect
