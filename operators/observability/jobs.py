"""The jobs under which Prometheus scrapes Vedette's programs; manifests/components/prometheus-operator sets them."""

from typing import Final

REPLICA: Final = "vedette-replica"
RAY: Final = "vedette-ray"
STREAM: Final = "vedette-stream"
OPERATOR: Final = "vedette-operator"
MONITOR: Final = "vedette-monitor"
SINKS: Final = "vedette-sinks"
JOBS: Final = (REPLICA, RAY, STREAM, OPERATOR, MONITOR, SINKS)
