"""Names of the spans of messages, and of their attributes. Pure.

Source: OpenTelemetry semantic conventions, messaging spans and Kafka."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PROCESS: Final = "process"
SEND: Final = "send"
COUNT: Final = "count"
PUSH: Final = "push"
DELIVER: Final = "deliver"

MESSAGE_SPANS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        f"{PROCESS} TOPIC": (
            "consumer",
            "A batch of records: counted, scored, and what is written about it. It is in the trace of its first sampled record, and has "
            "links to the others, each of which has such a span in its own trace.",
        ),
        f"{SEND} TOPIC": ("producer", "The messages to one topic about a batch. Their `traceparent` names this span."),
        PUSH: (
            "client",
            "Rows of windows are written to the online store, at most 5,000 at once, by a thread of its own. Many batches lead to one "
            "row, so it is a trace of its own: the coin is tossed for each, and one that fails is kept.",
        ),
        f"{DELIVER} SINK": (
            "client",
            "One attempt of `vedette sinks` to deliver a batch of alerts. It is in the trace of its first sampled alert, with links to the "
            "others, at most 64. Alerts of which none is sampled leave no span.",
        ),
        COUNT: ("internal", "The events are counted in the states of their partition: windows and correlations."),
    }
)

SYSTEM: Final = "messaging.system"
DESTINATION: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
OFFSET: Final = "messaging.kafka.offset"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
GROUP: Final = "messaging.consumer.group.name"
MESSAGES: Final = "messaging.batch.message_count"
SINK: Final = "vedette.sink"
TAKEN: Final = "vedette.sink.taken"
STORE_ROWS: Final = "vedette.push.rows"

MESSAGE_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        SYSTEM: "`kafka` or `aws_kinesis`.",
        DESTINATION: "Topic that was read or written.",
        PARTITION: "Partition of the one record that the span is about.",
        OFFSET: "Its offset.",
        OPERATION: "`process` or `send`.",
        OPERATION_TYPE: "The same, as the conventions class it.",
        GROUP: "Consumer group.",
        MESSAGES: "Messages of the batch.",
        SINK: "Name of the sink in `sinks.yaml`.",
        TAKEN: "Alerts of the batch that the far end has taken.",
        STORE_ROWS: "Rows that were written together.",
    }
)
