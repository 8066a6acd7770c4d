"""What a sink has done since the start. Each field is written by one thread."""

from dataclasses import dataclass


@dataclass(slots=True)
class SinkCounts:
    """Counts of alerts, and how the far end is. failed: tries that reached nobody; retried: alerts that were to be sent again."""

    filtered: int = 0
    repeated: int = 0
    grouped: int = 0
    throttled: int = 0
    spooled: int = 0
    sent: int = 0
    failed: int = 0
    retried: int = 0
    dead: int = 0
    is_up: bool = True
    """Whether the last try was taken."""
    sent_us: int = 0
    """When an alert was taken last, microseconds since the epoch; 0: never."""
