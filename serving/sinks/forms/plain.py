"""An alert as the alerts topic has it: the public contract of serving.stream.contract, with the alert's id. The form of webhooks."""

from typing import Any, Final

import msgspec

from serving.sinks.alert import SinkAlert
from serving.sinks.forms.options import FormOptions
from serving.sinks.text import MOST_VALUE, JsonObject, event_text, json_value

CUT: Final = "vedette_cut"
"""Name of the only field of an event that was too large: its size and its beginning."""


def plain(alert: SinkAlert, options: FormOptions) -> JsonObject:
    """The message with `id`, and `folded` if it stands for others. A large event becomes `{vedette_cut: {bytes, text}}`."""
    text, size = event_text(alert.message.event, options.event_bytes)
    document: Any = json_value(msgspec.to_builtins(msgspec.structs.replace(alert.message, event={})), most=MOST_VALUE)
    if size > options.event_bytes:
        document["event"] = {CUT: {"bytes": size, "text": text}}
    else:
        document["event"] = json_value(alert.message.event)
    if alert.folded is not None:
        document["folded"] = json_value(msgspec.to_builtins(alert.folded))
    return {"id": alert.id, **document}
