"""Alerts about replicas: are they there, and have they room."""

from typing import Final

from operators.observability import jobs
from operators.observability.alerts.alert import Alert, AlertGroup
from serving.telemetry import door_names, names

_WHO: Final = "{{ $labels.namespace }}/{{ $labels.pod }}"

GROUP: Final = AlertGroup(
    "replicas",
    (
        Alert(
            "VedetteNoReplica",
            f'sum by (namespace) (up{{job="{jobs.REPLICA}"}}) == 0 or absent(up{{job="{jobs.REPLICA}"}})',
            "critical",
            "No replica answers in {{ $labels.namespace }}",
            "No request gets a verdict, not even one by rules.",
            lasts="1m",
        ),
        Alert(
            "VedetteReplicaAway",
            f'up{{job="{jobs.REPLICA}"}} == 0',
            "warning",
            f"The replica {_WHO} does not answer",
            "The others have its share of the requests. Ray Serve starts another one; if it does not, this alert stays.",
            lasts="2m",
        ),
        Alert(
            "VedetteTargetAway",
            f'up{{job=~"{jobs.STREAM}|{jobs.OPERATOR}|{jobs.MONITOR}|{jobs.SINKS}"}} == 0',
            "warning",
            f"{{{{ $labels.job }}}} {_WHO} does not answer",
            "It is not scraped, so other alerts about it cannot fire.",
            lasts="5m",
        ),
        Alert(
            "VedetteReplicaRestarting",
            f"count by (namespace, pod, instance) (last_over_time({names.START.name}[30m])) >= 4",
            "warning",
            f"A replica of {_WHO} started {{{{ $value }}}} times in 30 minutes",
            "Each start loads and probes every model. Its process ends repeatedly: out of memory, a fault, or a failed liveness probe.",
        ),
        Alert(
            "VedetteModelNotLoaded",
            f"max by (namespace, model, version, variant, reason) ({names.MODEL_FAILED.name}) == 1",
            "warning",
            "{{ $labels.model }} version {{ $labels.version }} ({{ $labels.variant }}) could not be loaded: {{ $labels.reason }}",
            "What was loaded before still answers. A new stable revision that fails leaves its predecessor in place.",
            lasts="2m",
        ),
        Alert(
            "VedetteReplicaMemory",
            f'process_resident_memory_bytes{{job="{jobs.REPLICA}"}} / {names.MEMORY_LIMIT.name} > 0.9',
            "warning",
            f"The replica {_WHO} uses {{{{ $value | humanizePercentage }}}} of its memory",
            "Beyond the limit the kernel ends it.",
            lasts="5m",
        ),
        Alert(
            "VedetteReplicaFiles",
            f'process_open_fds{{job="{jobs.REPLICA}"}} / process_max_fds > 0.8',
            "warning",
            f"The replica {_WHO} has {{{{ $value | humanizePercentage }}}} of its file descriptors open",
            "Without descriptors it takes no connection and opens no segment of the prediction log.",
            lasts="5m",
        ),
        Alert(
            "VedetteReplicaConnections",
            f"{door_names.DOOR_CONNECTIONS.name} / {door_names.DOOR_CONNECTIONS_MOST.name} > 0.8",
            "warning",
            f"The {{{{ $labels.door }}}} door of {_WHO} has {{{{ $value | humanizePercentage }}}} of its connections",
            "Beyond the limit the newest connections are refused.",
            lasts="5m",
        ),
        Alert(
            "VedetteReplicaLate",
            f"rate({names.LOOP_LATE.name}[5m]) / rate({names.LOOP_LOOKS.name}[5m]) > 0.05",
            "warning",
            f"Requests of {_WHO} wait about {{{{ $value | humanizeDuration }}}} before they are read",
            "The event loop is busy. Soon it refuses requests, to answer the others in time.",
            lasts="5m",
        ),
    ),
)
