"""One stream worker: a replica with its doors, and beside it the thread that reads, scores and writes.

    python -m serving.launch.stream

is `vedette stream` without the rest of the command line, for images of the data plane alone. `VEDETTE_SERVED` says what it serves, as
for serving.launch.pod. It ends on SIGTERM: what is scored is committed, and the group is left."""

import logging
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from threading import Event

from serving.app import compose, open_tracer
from serving.audit.record import AuditRecord
from serving.doors.interpreter import collect_rarely
from serving.launch.pod import prepare
from serving.messages import InferAnswer, InferRequest
from serving.models.errors import ModelError
from serving.models.manifest import Manifest
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from serving.store_layout import StoreLayoutError, check_readable
from serving.stream.answers import BatchScorer
from serving.stream.codecs.codec import CodecLimits
from serving.stream.codecs.opening import chosen, open_codec
from serving.stream.codecs.settings import CodecSettings
from serving.stream.correlations.kind import ServedCorrelations
from serving.stream.counts import StreamCounts
from serving.stream.kafka.cluster import KafkaCluster, open_cluster
from serving.stream.kafka.idempotent import IdempotentOutputs
from serving.stream.kafka.source import KafkaSource
from serving.stream.kafka.state_log import KafkaStateLog
from serving.stream.kafka.transactional import TransactionalOutputs
from serving.stream.ports import Ownership, Partition, StreamError, StreamOutputs, StreamSource
from serving.stream.settings import StreamSettings
from serving.stream.spans.batch_spans import StreamSpans
from serving.stream.state import AllKinds
from serving.stream.windows.served import ServedWindows
from serving.stream.worker import Connect, StreamParts, StreamWorker
from serving.telemetry.logs import configure_logging

_log = logging.getLogger("vedette.stream")


def host_settings(settings: ServingSettings, stream: StreamSettings) -> ServingSettings:
    """The settings of the one replica within a process that reads a stream: no gRPC door, and requests as large as a batch."""
    return settings.model_copy(
        update={
            "http_port": stream.http_port,
            "grpc_port": 0,
            "replicas": 1,
            "max_replicas": None,
            "front_door": "replica",
            "feature_timeout_s": stream.feature_timeout_s,
            "max_rows": max(settings.max_rows, stream.batch_events),
        }
    )


class HostAnswerer:
    """Port Answerer: the service of a replica in this process, asked from another thread."""

    def __init__(self, host: ReplicaHost) -> None:
        self._host = host

    def manifest(self, model: str) -> Manifest:
        """See the port."""
        return self._host.service.manifest(model)

    def infer(self, request: InferRequest, around: Callable[[], ExitStack]) -> InferAnswer:
        """See the port."""
        service = self._host.service

        async def ask() -> InferAnswer:
            with around():
                return await service.infer(request)

        answer: InferAnswer = self._host.submit(ask()).result()
        return answer

    def record(self, model: str, records: Sequence[AuditRecord]) -> None:
        """See the port."""
        self._host.submit(self._host.service.record(model, records)).result()


def _connecting(cluster: KafkaCluster, stream: StreamSettings) -> Connect:
    """How the worker joins its group. Under one instance name it keeps its transactional id over restarts."""
    name = stream.instance or secrets.token_hex(6)

    def connect(ownership: Ownership) -> tuple[StreamSource, StreamOutputs]:
        source = KafkaSource(
            cluster, [stream.events], stream.group, ownership, instance_id=stream.instance or None, start=stream.start
        )
        try:
            if stream.mode == "low_latency":
                return source, IdempotentOutputs(cluster, source)
            return source, TransactionalOutputs(cluster, f"{stream.group}-{name}", source, transaction_s=stream.transaction_s)
        except StreamError:
            source.close()
            raise

    return connect


class StreamProcess:
    """A worker with its replica. `run` returns when `stopping` is set and everything is committed. Raises StreamError for settings of the
    events' format that lack something."""

    def __init__(
        self,
        settings: ServingSettings,
        stream: StreamSettings,
        stopping: Event,
        event_format: CodecSettings | None = None,
        connect: Connect | None = None,
    ) -> None:
        """connect: joins another kind of stream than Kafka; nothing is restored then."""
        self._stopping = stopping
        self.counts = StreamCounts()
        state_log = None
        try:
            codec = open_codec(chosen(event_format or CodecSettings(), CodecLimits(record_bytes=stream.max_event_bytes)))
        except ValueError as problem:
            raise StreamError(str(problem)) from problem
        kind_of_stream = "kafka" if connect is None else "aws_kinesis"
        if connect is None:
            cluster = open_cluster(stream.servers, stream.options, stream.option_files)
            connect, state_log = _connecting(cluster, stream), KafkaStateLog(cluster, stream.state)
        with ExitStack() as ends:
            tracer = open_tracer(settings)
            ends.callback(tracer.close)
            windows = ServedWindows(
                is_on=stream.windows,
                bound=stream.distinct_values,
                lateness_s=stream.lateness_s,
                push_s=stream.push_s,
                tracer=tracer,
            )
            self._worker: StreamWorker | None = None
            self._host = host = ReplicaHost(
                host_settings(settings, stream),
                partial(
                    compose,
                    watched=[self.counts.metrics],
                    degraded=self._degraded,
                    around=windows.over,
                    is_joined=self._is_joined,
                    tracer=tracer,
                ),
            )
            ends.callback(host.stop)
            ends.callback(windows.close)
            self._ends = ends.pop_all()
        correlations = ServedCorrelations(
            lambda model: host.service.stable_rules(model),  # noqa: PLW0108  # there is no service before it is started
            choice=stream.correlations,
            lateness_s=stream.lateness_s + stream.disorder_s,
        )
        scorer = BatchScorer(HostAnswerer(self._host), stream.model, stream.operating_point, stream.deadline_s)
        spans = StreamSpans(tracer, kind_of_stream, stream.group)
        kinds = AllKinds((windows, correlations))
        parts = StreamParts(connect, state_log, codec, scorer, kinds, stream, self.counts, spans)
        self._worker = StreamWorker(parts, stopping.is_set)

    def run(self, on_ready: Callable[[int], None] = lambda _: None) -> None:
        """Serve and work. on_ready: gets the port of the HTTP door when the models are loaded. Raises StreamError, OSError."""
        with self._ends:
            ports = self._host.start()
            collect_rarely()
            on_ready(ports.http)
            if self._worker is not None:
                self._worker.run()

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """The partitions that the worker owns."""
        return self._worker.partitions if self._worker is not None else ()

    def _is_joined(self) -> bool:
        return self._worker is not None and self._worker.is_joined

    def _degraded(self) -> Sequence[str]:
        if self.counts.is_paused:
            return ("the stream is paused: nothing can be answered; the log says why",)
        return () if self.partitions else ("the stream worker owns no partition",)


def main() -> int:
    """Work until a signal; the exit status."""
    stopping = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    settings, stream = ServingSettings(), StreamSettings()
    configure_logging(settings.log_level)
    try:
        check_readable(settings.store_dir)
        if settings.served or settings.bundle_dir is not None:
            prepare(settings)
        StreamProcess(settings, stream, stopping).run(lambda port: _log.info("metrics and readiness on port %d", port))
    except (StreamError, ModelError, StoreLayoutError, OSError) as problem:
        _log.error("%s", problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
