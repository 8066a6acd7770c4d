"""OCSF Detection Finding (class 2004), schema 1.8.0: https://schema.ocsf.io/1.8.0/classes/detection_finding.

What the schema has no attribute for is in `unmapped.vedette`."""

from typing import Any, Final

from serving.sinks.alert import SinkAlert, microseconds
from serving.sinks.forms.options import PRODUCT, VENDOR, FormOptions, Observed, observe, techniques
from serving.sinks.text import MOST_TITLE, JsonObject, clean, event_text, listed, one_line, percent

VERSION: Final = "1.8.0"
CLASS_UID: Final = 2004
_CREATE: Final = 1
_SEVERITIES: Final = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_RULE, _LEARNING = 1, 4
_HOSTNAME, _IP, _USER = 1, 2, 4


def ocsf(alert: SinkAlert, options: FormOptions) -> JsonObject:
    """A Detection Finding with activity Create. Times are milliseconds since the epoch."""
    message, verdict = alert.message, alert.message.verdict
    raw, size = event_text(message.event, options.event_bytes)
    seen = observe(alert, options)
    title = one_line(message.title, MOST_TITLE) or "alert"
    document: JsonObject = {
        "category_uid": 2,
        "class_uid": CLASS_UID,
        "activity_id": _CREATE,
        "type_uid": CLASS_UID * 100 + _CREATE,
        "time": alert.time_us // 1000,
        "severity_id": _SEVERITIES[message.severity],
        "severity": message.severity.capitalize(),
        "status_id": 1,
        "is_alert": True,
        "message": title,
        "metadata": {
            "version": VERSION,
            "product": {"name": PRODUCT, "vendor_name": VENDOR, "version": options.version},
            "uid": alert.id,
            "logged_time": alert.scored_us // 1000,
            "log_name": "alerts",
            **({"is_truncated": True, "untruncated_size": size} if size > options.event_bytes else {}),
        },
        "finding_info": _finding_info(alert, title),
        "evidences": [_evidence(alert, seen, size, options)],
        "resources": [
            {"name": one_line(str(value), 255) or "-", "type": one_line(key, 255)} for key, value in verdict.entity.items()
        ],
        "observables": _observables(seen),
        "raw_data": raw,
        "unmapped": {"vedette": facts(alert)},
    }
    if verdict.probability is not None:
        document["confidence_score"] = round(percent(verdict.probability))
    if alert.folded is not None:
        document |= {
            "count": alert.folded.count,
            "start_time": microseconds(alert.folded.first_time) // 1000,
            "end_time": microseconds(alert.folded.last_time) // 1000,
        }
    return {name: value for name, value in document.items() if value not in ([], {})}


def facts(alert: SinkAlert) -> JsonObject:
    """What only Vedette says of an alert. Forms keep it under one name of their own; absent is unknown or false."""
    verdict = alert.message.verdict
    found: JsonObject = {
        "id": alert.id,
        "model": clean(verdict.model, 200),
        "version": clean(verdict.version, 200),
        "revision": clean(verdict.revision, 200),
        "variant": clean(verdict.variant, 200),
        "source": clean(verdict.source, 50),
        "verdict": verdict.verdict,
        "receipt": clean(verdict.receipt, 200),
        "row": verdict.row,
        "event_id": clean(verdict.event_id or verdict.id, 500),
        "entity": clean(alert.entity, 1000),
        "group": clean(alert.message.group, 500),
        "score": verdict.score,
        "probability": verdict.probability,
        "operating_point": verdict.operating_point,
        "rules": listed(verdict.rules),
        "trace_id": verdict.trace_id and one_line(verdict.trace_id, 64),
        "degraded": verdict.degraded,
        "late": verdict.late,
        "sketched": verdict.sketched,
    }
    if alert.folded is not None:
        folded = alert.folded
        found["folded"] = {
            "kind": folded.kind,
            "count": folded.count,
            "first_time": folded.first_time,
            "last_time": folded.last_time,
            "ids": listed(folded.ids),
            "entities": listed(folded.entities),
        }
    return {name: value for name, value in found.items() if value is not None and value is not False and value != []}


def _finding_info(alert: SinkAlert, title: str) -> JsonObject:
    message, verdict = alert.message, alert.message.verdict
    first, last = alert.time_us, alert.time_us
    if alert.folded is not None:
        first, last = microseconds(alert.folded.first_time), microseconds(alert.folded.last_time)
    is_rule = verdict.source == "rules"
    found: JsonObject = {
        "uid": alert.id,
        "title": title,
        "created_time": alert.scored_us // 1000,
        "first_seen_time": first // 1000,
        "last_seen_time": last // 1000,
        "types": [one_line(message.group, 255) or "alert"],
        "analytic": {
            "type_id": _RULE if is_rule else _LEARNING,
            "type": "Rule" if is_rule else "Learning (ML/DL)",
            "name": clean(verdict.model, 200) or "-",
            "version": clean(verdict.version, 200),
            "uid": clean(verdict.revision, 200) or "-",
        },
        "related_analytics": [{"type_id": _RULE, "type": "Rule", "uid": rule or "-"} for rule in listed(verdict.rules)],
        "attacks": [_attack(technique) for technique in techniques(alert)],
    }
    return {name: value for name, value in found.items() if value != []}


def _attack(technique: str) -> JsonObject:
    main, _, sub = technique.partition(".")
    found: JsonObject = {"technique": {"uid": main}}
    return found | {"sub_technique": {"uid": technique}} if sub else found


def _evidence(alert: SinkAlert, seen: Observed, size: int, options: FormOptions) -> JsonObject:
    source = _endpoint(seen.source_ip, seen.source_port, seen.source_host)
    destination = _endpoint(seen.destination_ip, seen.destination_port, seen.destination_host)
    found: JsonObject = {"uid": clean(alert.message.verdict.id, 500) or "-"}
    found["data"] = {"event_bytes": size, "is_cut": size > options.event_bytes}  # the event itself is in raw_data
    if source:
        found["src_endpoint"] = source
    if destination:
        found["dst_endpoint"] = destination
    if seen.user is not None:
        found["user"] = {"name": seen.user}
    if seen.protocol is not None:
        found["connection_info"] = {"direction_id": 0, "protocol_name": seen.protocol}
    if seen.host is not None:
        found["device"] = {"type_id": 0, "hostname": seen.host}
    return found


def _endpoint(ip: str | None, port: int | None, host: str | None) -> JsonObject:
    if ip is None and host is None:
        return {}
    found = {"ip": ip, "port": port, "hostname": host}
    return {name: value for name, value in found.items() if value is not None}


def _observables(seen: Observed) -> list[JsonObject]:
    found: list[tuple[str, int, Any]] = [
        ("evidences[0].src_endpoint.ip", _IP, seen.source_ip),
        ("evidences[0].dst_endpoint.ip", _IP, seen.destination_ip),
        ("evidences[0].src_endpoint.hostname", _HOSTNAME, seen.source_host),
        ("evidences[0].dst_endpoint.hostname", _HOSTNAME, seen.destination_host),
        ("evidences[0].device.hostname", _HOSTNAME, seen.host),
        ("evidences[0].user.name", _USER, seen.user),
    ]
    return [{"name": name, "type_id": kind, "value": value} for name, kind, value in found if value is not None]
