"""`vedette sinks run`: the source, the sinks and the metrics, until a signal or the end of the file."""

import importlib.metadata
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from operators.cli.console import CommandError, errors
from operators.cli.sinks.sink_metrics import SinkMetrics
from serving.sinks.config import KinesisSinkSource, SinkConfig, SinksConfig, SinkSource
from serving.sinks.opening import OpenSink, open_sink
from serving.sinks.sources import LinesSource
from serving.sinks.spool.dead_letters import DeadLetters
from serving.sinks.worker import OwnedPartitions, SinkWorker
from serving.stream.ports import Partition, Position, StreamSource
from serving.telemetry.logs import configure_logging
from serving.telemetry.tracing.tracer import Tracer

Commit = Callable[[Mapping[Partition, Position]], None]


@dataclass(frozen=True, slots=True)
class SinkRunOptions:
    """What was asked. metrics: address and port, None: no metrics."""

    config: SinksConfig
    sinks: tuple[SinkConfig, ...]
    from_file: str | None
    metrics: tuple[str, int] | None


def run_sinks(options: SinkRunOptions) -> dict[str, dict[str, int]]:
    """Send alerts; what became of them, by sink. Raises SinkError, StreamError, CommandError."""
    configure_logging(os.environ.get("VEDETTE_LOG_LEVEL", "info"))
    version = importlib.metadata.version("vedette")
    folder = options.config.spool_dir
    opened: list[OpenSink] = []
    endpoint = os.environ.get("VEDETTE_OTLP_ENDPOINT")
    with ExitStack() as ends:  # what is open when a later part cannot be opened; the worker closes its own too
        tracer = Tracer(0.0, endpoint, "vedette-sinks") if endpoint else None  # it goes on with traces and begins none
        if tracer is not None:
            ends.callback(tracer.close)
        for sink in options.sinks:
            opened.append(open_sink(sink, folder, version, time.monotonic()))
            ends.callback(opened[-1].spool.close)
            opened[-1].delivery.tracer = tracer
            errors.print(
                f"{sink.name}: {sink.form_name} to {opened[-1].delivery.transport.label}", markup=False, soft_wrap=True
            )
        worker = _worker(options, opened, DeadLetters(folder / "dead", "_topic"), ends)
        metrics = SinkMetrics(opened, worker)
        if options.metrics is not None:
            port = ends.enter_context(metrics.served(*options.metrics))
            errors.print(f"metrics on http://{options.metrics[0]}:{port}/metrics", soft_wrap=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            ends.callback(signal.signal, number, signal.signal(number, lambda *_: worker.stopped.set()))
        worker.run()
    return {sink.name: metrics.totals(sink) for sink in opened}


def _worker(options: SinkRunOptions, opened: list[OpenSink], dead: DeadLetters, ends: ExitStack) -> SinkWorker:
    owned = OwnedPartitions()
    if options.from_file is not None:
        lines = _lines(options.from_file, options.config.spool_dir)
        ends.callback(lines.close)
        owned.now.add(lines.partition)
        return SinkWorker(lines, lines.commit, opened, dead, owned, after=lines.after, is_done=lambda: lines.is_done)
    place = options.config.source
    source, commit = _kafka(place, owned, ends) if isinstance(place, SinkSource) else _kinesis(place, owned)
    return SinkWorker(source, commit, opened, dead, owned)


def _lines(name: str, folder: Path) -> LinesSource:
    if name == "-":
        return LinesSource(0, "stdin")
    try:
        return LinesSource(os.open(name, os.O_RDONLY | os.O_CLOEXEC), str(Path(name).resolve()), folder / "positions.json")
    except OSError as problem:
        raise CommandError(f"{name}: cannot be read: {problem.strerror}") from problem


def _kafka(source: SinkSource, owned: OwnedPartitions, ends: ExitStack) -> tuple[StreamSource, Commit]:
    try:
        from serving.stream.kafka.cluster import KafkaCluster
        from serving.stream.kafka.idempotent import IdempotentOutputs
        from serving.stream.kafka.source import KafkaSource
    except ImportError as problem:
        raise CommandError(
            "Kafka needs the extra `kafka`: pip install 'vedette[operators,kafka]'; or use --from-file"
        ) from problem
    secret = {name: where.value() for name, where in source.secret_options.items()}
    cluster = KafkaCluster(source.servers, {**source.options, **secret}, "vedette-sinks")
    reader = KafkaSource(cluster, [source.topic], source.group, owned)
    ends.callback(reader.close)
    outputs = IdempotentOutputs(cluster, reader)
    ends.callback(outputs.close)
    errors.print(f"alerts are read from kafka://{source.servers}/{source.topic}", markup=False, soft_wrap=True)
    return reader, outputs.commit


def _kinesis(source: KinesisSinkSource, owned: OwnedPartitions) -> tuple[StreamSource, Commit]:
    try:
        from serving.stream.kinesis.account import AwsPlace
        from serving.stream.kinesis.source import KinesisSource
    except ImportError as problem:
        raise CommandError("Kinesis needs the extra `stream`: pip install 'vedette[operators,stream]'") from problem
    reader = KinesisSource(AwsPlace(source.region, source.endpoint), source.stream, source.table, owned)
    errors.print(f"alerts are read from Kinesis, {source.stream} in {source.region}", markup=False, soft_wrap=True)
    return reader, reader.commit_offsets
