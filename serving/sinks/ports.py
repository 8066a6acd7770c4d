"""The port of a transport: a batch of alerts in, one answer for each out."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from serving.sinks.alert import SinkAlert


class SendAnswer(NamedTuple):
    """What the far end said to one alert.

    taken: it has it. refused: it never will take it (the alert itself is at fault). later: try again, after `after_s` if it said so.
    split: the request as a whole is at fault; halve it."""

    what: Literal["taken", "refused", "later", "split"]
    reason: str = ""
    after_s: float | None = None


TAKEN = SendAnswer("taken")


class SinkTransport(Protocol):
    """The connection to one destination of alerts, e.g. a SIEM. Used by one thread."""

    label: str
    """Where alerts go, for people: host and port, without credentials, path or query."""

    def send(self, alerts: Sequence[SinkAlert]) -> Sequence[SendAnswer]:
        """Send alerts in order; one answer for each. Raises FarEndDown if nothing is known of any: then all are tried again."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
