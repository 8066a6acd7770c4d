"""Resources of this process that the Prometheus client does not report (`process_*`): its threads, and the limit of its memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from serving.telemetry import names
from serving.telemetry.metric_doc import MetricDoc


def process_use(root: Path = Path("/")) -> Iterator[tuple[MetricDoc, Mapping[tuple[str, ...], float]]]:
    """A telemetry.metrics.MetricSource. What the system does not say is left out."""
    threads, limit = _threads(root), _memory_limit_bytes(root)
    yield names.THREADS, {} if threads is None else {(): float(threads)}
    yield names.MEMORY_LIMIT, {} if limit is None else {(): float(limit)}


def _threads(root: Path) -> int | None:
    try:
        return int((root / "proc/self/status").read_text(encoding="ascii").partition("\nThreads:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        return None


def _memory_limit_bytes(root: Path) -> int | None:
    """That of the pod or container, else all memory of the machine."""
    try:
        return int((root / "sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such limit: `max`, or another system
        pass
    try:
        return int((root / "proc/meminfo").read_text(encoding="ascii").partition("MemTotal:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return None
