"""From a configuration to objects: forms, transports, spools. Nothing connects here."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from serving.sinks.alert import SinkAlert
from serving.sinks.config import ElasticsearchTarget, FormName, SinkConfig, SplunkTarget, SyslogTarget, TlsConfig, WebhookTarget
from serving.sinks.counts import SinkCounts
from serving.sinks.delivery import Delivery, DeliveryLimits
from serving.sinks.errors import AlertUnwritable, SinkConfigError
from serving.sinks.flow.intake import IntakeRules
from serving.sinks.flow.throttle import ThrottleLimits
from serving.sinks.forms.bulk import bulk_item
from serving.sinks.forms.cef import cef
from serving.sinks.forms.ecs import ecs
from serving.sinks.forms.ocsf import ocsf
from serving.sinks.forms.options import FormOptions
from serving.sinks.forms.plain import plain
from serving.sinks.forms.signature import secret_bytes
from serving.sinks.forms.splunk import splunk
from serving.sinks.forms.syslog import syslog
from serving.sinks.pipeline import SinkPipeline
from serving.sinks.ports import SinkTransport
from serving.sinks.spool.dead_letters import DeadLetters
from serving.sinks.spool.spool import Spool
from serving.sinks.text import JsonObject, encode_json
from serving.sinks.transports.backoff import Backoff
from serving.sinks.transports.elasticsearch import ElasticsearchTransport, basic
from serving.sinks.transports.http import HttpClient
from serving.sinks.transports.splunk import SplunkTransport
from serving.sinks.transports.syslog import SyslogTransport
from serving.sinks.transports.tls import tls_context
from serving.sinks.transports.webhook import WebhookTransport


@dataclass(slots=True)
class OpenSink:
    """One sink at work."""

    name: str
    pipeline: SinkPipeline
    spool: Spool
    delivery: Delivery
    counts: SinkCounts


def document(form: FormName, alert: SinkAlert, options: FormOptions) -> JsonObject:
    """The alert in a form that is a JSON object. Raises ValueError for `cef`, which is text."""
    if form == "cef":
        raise ValueError("CEF is text")
    return {"ocsf": ocsf, "ecs": ecs, "plain": plain}[form](alert, options)


def message(form: FormName, alert: SinkAlert, options: FormOptions) -> bytes:
    """The alert in a form, as bytes: what a syslog message holds, or the body of a webhook."""
    return cef(alert, options).encode() if form == "cef" else encode_json(document(form, alert, options))


def wire_bytes(config: SinkConfig, options: FormOptions) -> Callable[[SinkAlert], bytes]:
    """What is written for one alert: a syslog message, an envelope, an item of a bulk request, a body."""
    form = config.form_name

    def write(alert: SinkAlert) -> bytes:
        try:
            return written(alert)
        except Exception as problem:  # whatever it is, it must not hold up the alerts behind this one
            raise AlertUnwritable(f"it cannot be written as {form}: {type(problem).__name__}: {problem}") from problem

    def written(alert: SinkAlert) -> bytes:
        match config.to:
            case SyslogTarget():
                return syslog(alert, message(form, alert, options), options)
            case SplunkTarget():
                return encode_json(splunk(alert, document(form, alert, options), options))
            case ElasticsearchTarget():
                return bulk_item(alert, document(form, alert, options), options)
            case WebhookTarget():
                return message(form, alert, options)

    return write


def form_options(config: SinkConfig, version: str) -> FormOptions:
    """The options of a sink's form."""
    common = partial(
        FormOptions, version=version, hostname=socket.gethostname() or "-", event_bytes=config.event_bytes, fields=config.fields
    )
    match config.to:
        case SyslogTarget() as to:
            return common(facility=to.facility, enterprise_id=to.enterprise_id, has_bom=to.bom == "auto")
        case SplunkTarget() as to:
            return common(splunk_index=to.index, sourcetype=to.sourcetype)
        case ElasticsearchTarget() as to:
            return common(index=to.index)
        case _:
            return common()


def open_transport(config: SinkConfig, version: str) -> SinkTransport:
    """The transport of a sink. Raises SinkConfigError if a file that it needs cannot be used."""
    to, timeout_s = config.to, config.batch.timeout_s
    write = wire_bytes(config, form_options(config, version))
    if isinstance(to, SyslogTarget):
        tls = None if to.tls is None else _context(to.tls)
        name = to.tls.server_name if to.tls else None
        return SyslogTransport(to.host, to.port, write, tls=tls, server_name=name, timeout_s=timeout_s)
    lanes = to.lanes if isinstance(to, WebhookTarget) else 1
    client = HttpClient(
        to.address, tls=_context(to.tls), timeout_s=timeout_s, is_compressed=to.gzip, lanes=lanes, proxy=to.proxy
    )
    match to:
        case SplunkTarget():
            to.token.value()
            return SplunkTransport(client, write, to.token.value, is_acknowledged=to.acknowledged, timeout_s=timeout_s)
        case ElasticsearchTarget():
            authorization = partial(_authorization, to)
            authorization()
            return ElasticsearchTransport(client, write, authorization)
        case WebhookTarget():
            secrets, token = partial(_secrets, to), partial(_token, to)
            secrets(), token()
            return WebhookTransport(client, write, secrets, token, lanes=lanes)


def open_sink(config: SinkConfig, folder: Path, version: str, now_s: float) -> OpenSink:
    """A sink with its spool. Raises SinkConfigError, SpoolError."""
    transport = open_transport(config, version)
    counts = SinkCounts()
    spool = Spool(folder / config.name, most_bytes=config.spool.most_bytes, when_full=config.spool.when_full)
    throttle = config.throttle
    rules = IntakeRules(
        config.min_severity,
        config.repeats_s,
        config.group_s,
        throttle.summary_s,
        ThrottleLimits(throttle.per_second, throttle.burst, throttle.group_per_minute, throttle.group_burst),
    )
    delivery = Delivery(
        config.name,
        spool,
        transport,
        DeadLetters(folder / "dead", config.name),
        counts,
        DeliveryLimits(config.batch.most_alerts, config.batch.most_bytes),
        Backoff(config.batch.first_wait_s, config.batch.most_wait_s),
    )
    return OpenSink(config.name, SinkPipeline(config.name, rules, spool, counts, now_s), spool, delivery, counts)


def _context(tls: TlsConfig) -> ssl.SSLContext:
    return tls_context(tls.ca, tls.certificate, tls.key)


def _secrets(to: WebhookTarget) -> list[bytes]:
    try:
        return [secret_bytes(line) for line in to.secret.lines()]
    except ValueError as problem:
        raise SinkConfigError(f"secret: {problem}") from None


def _token(to: WebhookTarget) -> str | None:
    return None if to.token is None else to.token.value()


def _authorization(to: ElasticsearchTarget) -> str | None:
    if to.api_key is not None:
        return f"ApiKey {to.api_key.value()}"
    if to.username is not None and to.password is not None:
        return basic(to.username, to.password.value())
    return None
