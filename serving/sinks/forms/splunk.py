"""The envelope of Splunk's HTTP Event Collector, "Format events for HTTP Event Collector"."""

from serving.sinks.alert import SinkAlert
from serving.sinks.forms.options import FormOptions
from serving.sinks.text import JsonObject, clean


def splunk(alert: SinkAlert, event: JsonObject, options: FormOptions) -> JsonObject:
    """One event of a request. `fields` are indexed: a search may drop repeats by `vedette_id`."""
    verdict = alert.message.verdict
    envelope: JsonObject = {
        "time": f"{alert.time_us / 1e6:.6f}",
        "source": "vedette",
        "sourcetype": options.sourcetype,
        "event": event,
        "fields": {
            "vedette_id": alert.id,
            "severity": alert.message.severity,
            "model": clean(verdict.model, 200) or "-",
            "entity": clean(alert.entity, 500) or "-",
        },
    }
    if options.hostname != "-":
        envelope["host"] = options.hostname
    if options.splunk_index:
        envelope["index"] = options.splunk_index
    return envelope
