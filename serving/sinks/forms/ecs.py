"""Elastic Common Schema 8.17: https://www.elastic.co/guide/en/ecs/8.17/. What ECS has no field for is under `vedette.*`."""

from typing import Final

from serving.sinks.alert import SinkAlert
from serving.sinks.forms.ocsf import facts
from serving.sinks.forms.options import PRODUCT, VENDOR, FormOptions, Observed, observe, techniques
from serving.sinks.text import MOST_TITLE, JsonObject, clean, event_text, listed, one_line, percent, rfc3339

VERSION: Final = "8.17.0"
_SEVERITIES: Final = {"informational": 1, "low": 21, "medium": 47, "high": 73, "critical": 99}
"""Numbers that Elastic's own detection rules use."""


def ecs(alert: SinkAlert, options: FormOptions) -> JsonObject:
    """An ECS document with event.kind `alert`."""
    message, verdict = alert.message, alert.message.verdict
    raw, size = event_text(message.event, options.event_bytes)
    seen = observe(alert, options)
    title = one_line(message.title, MOST_TITLE) or "alert"
    severity = _SEVERITIES[message.severity]
    found = techniques(alert)
    rules = listed(verdict.rules)
    event: JsonObject = {
        "kind": "alert",
        "category": ["intrusion_detection"],
        "type": ["info"],
        "id": alert.id,
        "module": "vedette",
        "dataset": "vedette.alerts",
        "provider": clean(verdict.model, 200),
        "severity": severity,
        "risk_score": severity if verdict.probability is None else percent(verdict.probability),
        "created": rfc3339(alert.scored_us),
        "original": raw,
    }
    if alert.folded is not None:
        event |= {"start": alert.folded.first_time, "end": alert.folded.last_time}
    document: JsonObject = {
        "@timestamp": rfc3339(alert.time_us),
        "ecs": {"version": VERSION},
        "message": title,
        "event": event,
        "rule": {
            "name": title,
            "id": rules if rules else f"{clean(verdict.model, 200)}/{clean(verdict.version, 200)}",
            "ruleset": clean(verdict.model, 200),
            "version": clean(verdict.version, 200),
        },
        "observer": {"vendor": VENDOR, "product": PRODUCT, "type": "ids", "version": options.version},
        "tags": ["vedette", *(["vedette_event_cut"] if size > options.event_bytes else [])],
        "vedette": facts(alert),
    }
    if found:
        document["threat"] = {
            "framework": "MITRE ATT&CK",
            "technique": {
                "id": list(dict.fromkeys(name.partition(".")[0] for name in found)),
                **({"subtechnique": {"id": subs}} if (subs := [name for name in found if "." in name]) else {}),
            },
        }
    if verdict.trace_id is not None:
        document["trace"] = {"id": one_line(verdict.trace_id, 64)}
    return document | _observed(seen)


def _observed(seen: Observed) -> JsonObject:
    parts: dict[str, JsonObject] = {
        "source": {"ip": seen.source_ip, "port": seen.source_port, "domain": seen.source_host},
        "destination": {"ip": seen.destination_ip, "port": seen.destination_port, "domain": seen.destination_host},
        "network": {"transport": seen.protocol},
        "user": {"name": seen.user},
        "host": {"name": seen.host},
        "related": {
            "ip": [ip for ip in (seen.source_ip, seen.destination_ip) if ip],
            "user": [seen.user] if seen.user else [],
            "hosts": [host for host in (seen.source_host, seen.destination_host, seen.host) if host],
        },
    }
    filled = {part: {k: v for k, v in values.items() if v not in (None, [])} for part, values in parts.items()}
    return {part: values for part, values in filled.items() if values}
