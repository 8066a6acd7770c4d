"""Tables of the reference pages, made from the code they describe.

`python -m tests.docs.tables` writes them into the pages; test_reference.py fails when a page is behind the code."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from lifecycle.datasets import declarations, detector, reasons, scenario, split_spec
from lifecycle.retraining.policy_text import commented_policy
from loadtests.bench.published import ledger
from loadtests.settings import LoadSettings
from operators.cli.stream import asyncapi
from operators.handlers.settings import OperatorSettings
from operators.observability.alerts.alert import RUNBOOKS
from operators.observability.alerts.catalogue import GROUPS
from operators.observability.alerts.slo import FAST, OBJECTIVES, SLOW
from operators.telemetry.monitor_names import MONITOR_METRICS
from operators.telemetry.operator_names import OPERATOR_METRICS
from operators.telemetry.sink_names import SINK_METRICS
from operators.telemetry.span_names import OPERATOR_ATTRIBUTES, OPERATOR_SPANS
from serving.access import policy_file, refusals
from serving.access.client_credentials import DoorCredentials
from serving.access.verbs import ABOUT, OF_MODELS, SHAREABLE, Verb
from serving.doors.grpc.method_verbs import GRPC_VERBS
from serving.doors.http.endpoint_verbs import HTTP_VERBS
from serving.features.windows import spec as window_spec
from serving.models import manifest
from serving.models.parts import conformal, triage
from serving.settings import ServingSettings
from serving.sinks import config as sinks
from serving.sinks import secrets as sink_secrets
from serving.stream.codecs.settings import CodecSettings
from serving.stream.contract import AlertMessage, InvestigateMessage, VerdictMessage
from serving.stream.settings import StreamSettings
from serving.telemetry import counts, names
from serving.telemetry.metric_doc import MetricDoc
from serving.telemetry.tracing import names as span_names
from serving.telemetry.tracing.batch_names import BATCH_ATTRIBUTES, BATCH_SPANS
from serving.telemetry.tracing.message_names import MESSAGE_ATTRIBUTES, MESSAGE_SPANS
from tests.docs import resources
from tests.docs.glossary import nouns
from tests.docs.pages import ROOT, generated_part
from tests.docs.planned import capacity_tables
from tests.docs.rooms import pages as room_pages
from tests.docs.verbs import verbs


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(_cell(c) for c in line) + " |\n" for line in lines)


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    return _words(annotation)


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in {Union, UnionType}:
        return " or ".join(_words(a) for a in arguments if a is not NoneType)
    if origin is tuple:
        return f"list of {_words(arguments[0])}"
    if origin in {Mapping, dict}:
        return f"map of {_words(arguments[1])}"
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


_PLAIN = {str: "text", Path: "path", float: "number", int: "whole number", bool: "true or false", Any: "anything"}


def _default(field: Any) -> str:
    if field.is_required():
        return "needed"
    if field.default_factory_takes_validated_data:
        return "depends"
    value = field.default if field.default is not PydanticUndefined else field.default_factory()
    if value is None:
        return "unset"
    if isinstance(value, BaseModel):
        return "its own defaults"
    if value in ("", (), {}):
        return "empty"
    return f"`{json.dumps(value, default=str)}`" if not isinstance(value, str | Path) else f"`{value}`"


def settings(model: type[BaseSettings]) -> str:
    rows = []
    for field, info in model.model_fields.items():
        rows.append([f"`{variable(model, field)}`", _type(info.annotation), _default(info), info.description or ""])
    return _table(["Variable", "Type", "Default", "What it is"], rows)


def variable(model: type[BaseSettings], field: str) -> str:
    alias = model.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{model.model_config['env_prefix']}{field.upper()}"


def metric_names(docs: Sequence[MetricDoc]) -> str:
    rows = [[f"`{m.name}`", m.kind, ", ".join(f"`{label}`" for label in m.labels), m.says] for m in docs]
    return _table(["Metric", "Kind", "Labels", "What it says"], rows)


def alerts() -> str:
    """A section a page of runbooks."""
    out = []
    for group in GROUPS:
        rows = [
            [f"[`{a.name}`]({group.runbook(a, RUNBOOKS.replace('docs', '..', 1))})", a.severity, a.team, f"`{a.expr}`", a.lasts]
            for a in group.alerts
        ]
        out.append(f"### {group.page}\n\n" + _table(["Alert", "Severity", "Team", "Fires when", "For"], rows) + "\n")
    return "".join(out)


def alert_objectives() -> str:
    rows = [
        [
            o.title,
            f"{o.objective:.1%}",
            o.words,
            "; ".join(f"{b.factor:g} x over {b.long} and {b.short}" for b in (*FAST, *SLOW)),
        ]
        for o in OBJECTIVES
    ]
    return _table(["Objective", "Good", "Of", "Burns"], rows)


def spans() -> str:
    return _table(
        ["Span", "Kind", "What it is"],
        [[f"`{name}`", kind, says] for name, (kind, says) in {**span_names.SPANS, **MESSAGE_SPANS, **BATCH_SPANS}.items()],
    )


def span_attributes() -> str:
    return _table(
        ["Attribute", "What it is"],
        [[f"`{name}`", says] for name, says in {**span_names.ATTRIBUTES, **MESSAGE_ATTRIBUTES, **BATCH_ATTRIBUTES}.items()],
    )


def buckets() -> str:
    latency = ", ".join(f"{b * 1000:g}" for b in counts.LATENCY_BUCKETS_S)
    age = ", ".join(f"{b:g}" for b in counts.AGE_BUCKETS_S)
    return f"- `{names.SECONDS.name}`, in milliseconds: {latency}.\n- `{names.FEATURE_AGE.name}`, in seconds: {age}.\n"


def message_fields(kind: type[msgspec.Struct]) -> str:
    """The fields of a message of streams."""
    words = asyncapi.field_words(kind)
    rows = []
    for field in msgspec.structs.fields(kind):
        has_default = field.default is not msgspec.NODEFAULT or field.default_factory is not msgspec.NODEFAULT
        rows.append([f"`{field.name}`", _type(field.type), "absent" if has_default else "always", words.get(field.name, "")])
    return _table(["Field", "Type", "If there is no value", "What it says"], rows)


def stream_defaults() -> StreamSettings:
    """As they are without any variable."""
    return StreamSettings.model_construct(**{name: info.default for name, info in StreamSettings.model_fields.items()})


def asyncapi_text(described: Mapping[str, Any]) -> str:
    """As it stands in the file."""
    head = "# Made from the code by `python -m tests.docs.tables`; `vedette stream contract` prints it with the topics that are set.\n"
    return head + yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=120)


def models(modules: Sequence[Any], root: type[BaseModel]) -> str:
    """A section a model of these modules: root first, then its parts in the order of their first mention."""
    out = []
    for part in _parts({module.__name__ for module in modules}, root):
        doc = inspect.cleandoc(part.__doc__ or "").split("\n\n")
        rows = [
            [f"`{info.alias or field}`", _type(info.annotation), _default(info), info.description or ""]
            for field, info in part.model_fields.items()
        ]
        title = part.__name__
        out.append(f"### {title}\n\n" + "\n\n".join(" ".join(p.split()) for p in doc) + "\n\n")
        out.append(_table(["Field", "Type", "Default", "What it is"], rows) + "\n")
    return "".join(out)


def _parts(modules: set[str], root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    seen: list[type[BaseModel]] = []

    def visit(model: type[BaseModel]) -> None:
        if model in seen:
            return
        seen.append(model)
        for info in model.model_fields.values():
            for inner in _mentioned(info.annotation):
                if inner.__module__ in modules:
                    visit(inner)

    visit(root)
    yield from seen


def _mentioned(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _mentioned(argument)


def command_line() -> str:
    out = []
    for verb in verbs():
        if not verb.words:
            continue
        out.append(f"### {verb.name}\n\n{verb.says}\n\n")
        rows = [
            [", ".join(f"`{f}{' …' if o.takes_value else ''}`" for f in o.flags) + (" (needed)" if o.is_needed else ""), o.says]
            for o in verb.options
            if "--help" not in o.flags
        ]
        out.append(_table(["Argument or option", "What it is"], rows) + "\n" if rows else "")
    return "".join(out)


def glossary() -> str:
    rows = [[f"`{noun}`", what, f"[{place}](../../{place})"] for noun, what, place in nouns(ROOT)]
    return _table(["Noun", "What it is", "Where"], rows)


def access_verbs() -> str:
    rows = [[f"`{v}`", "yes" if v in OF_MODELS else "", "yes" if v in SHAREABLE else "", ABOUT[v]] for v in Verb]
    return _table(["Verb", "For models by name", "On models that tenants share", "What it allows"], rows)


def access_endpoints() -> str:
    http = [[f"`{endpoint.value}`", f"`{HTTP_VERBS[endpoint]}`"] for endpoint in sorted(HTTP_VERBS, key=lambda one: one.value)]
    grpc = [[f"`{method}`", f"`{verb}`"] for method, verb in GRPC_VERBS.items()]
    return _table(["HTTP path or gRPC method", "Verb"], [*http, *grpc])


def access_reasons() -> str:
    return _table(
        ["`reason`", "Why the request was refused"], [[f"`{one.value}`", refusals.ABOUT[one]] for one in refusals.RefusalReason]
    )


def span_rows(spans: Mapping[str, tuple[str, str]]) -> str:
    return _table(["Span", "Kind", "What it is"], [[f"`{name}`", *said] for name, said in spans.items()])


def attribute_rows(attributes: Mapping[str, str]) -> str:
    return _table(["Attribute", "What it is"], [[f"`{name}`", said] for name, said in attributes.items()])


def targets() -> str:
    columns = ["Figure", "Target", "Measured", "Met", "Since", "Last run"]
    figures, out = ledger.read(ROOT / ledger.LEDGER), []
    for benchmark in sorted({figure.benchmark for figure in figures}):
        rows = ledger.cells([figure for figure in figures if figure.benchmark == benchmark])
        out.append(f"### {benchmark}\n\n{_table(columns, rows)}\n")
    return "".join(out)


PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("docs/reference/settings.md", "settings"): lambda: settings(ServingSettings),
    ("docs/reference/settings.md", "stream settings"): lambda: settings(StreamSettings),
    ("docs/reference/settings.md", "event format"): lambda: settings(CodecSettings),
    ("docs/reference/access.md", "clients"): lambda: settings(DoorCredentials),
    ("docs/reference/settings.md", "load settings"): lambda: settings(LoadSettings),
    ("docs/reference/metrics.md", "metrics"): lambda: metric_names(names.METRICS),
    ("docs/reference/operator.md", "operator settings"): lambda: settings(OperatorSettings),
    ("docs/reference/operator.md", "operator metrics"): lambda: metric_names(OPERATOR_METRICS),
    ("docs/reference/operator.md", "operator spans"): lambda: span_rows(OPERATOR_SPANS),
    ("docs/reference/operator.md", "operator attributes"): lambda: attribute_rows(OPERATOR_ATTRIBUTES),
    ("docs/reference/metrics.md", "buckets"): buckets,
    ("docs/reference/alerts.md", "alerts"): alerts,
    ("docs/reference/alerts.md", "objectives"): alert_objectives,
    ("docs/reference/monitor.md", "monitor metrics"): lambda: metric_names(MONITOR_METRICS),
    ("docs/reference/sinks.md", "sink metrics"): lambda: metric_names(SINK_METRICS),
    ("docs/reference/sinks.md", "sinks"): lambda: models((sinks, sink_secrets), sinks.SinksConfig),
    ("docs/reference/detector.md", "reasons"): lambda: models((reasons,), reasons.ReasonDeclaration),
    ("docs/reference/bundle.md", "manifest"): lambda: models((manifest, conformal, triage, window_spec), manifest.Manifest),
    ("docs/reference/detector.md", "detector"): lambda: models((detector, split_spec, scenario), detector.Detector),
    ("docs/reference/detector.md", "flows"): lambda: (
        f"```yaml\n{(declarations.BUILT_IN / 'flows.yaml').read_text(encoding='utf-8')}```\n"
    ),
    ("docs/reference/modelservice.md", "resource"): lambda: resources.annotated("ModelService", "flows"),
    ("docs/reference/modelservice.md", "rules"): lambda: resources.rules("ModelService"),
    ("docs/reference/modelservice.md", "status"): lambda: resources.status("ModelService"),
    ("docs/reference/rolloutpolicy.md", "resource"): lambda: resources.annotated("RolloutPolicy", "careful"),
    ("docs/reference/rolloutpolicy.md", "rules"): lambda: resources.rules("RolloutPolicy"),
    ("docs/reference/rolloutpolicy.md", "status"): lambda: resources.status("RolloutPolicy"),
    ("docs/reference/cli.md", "verbs"): command_line,
    ("docs/reference/retraining.md", "policy"): lambda: f"```yaml\n{commented_policy()}```\n",
    ("docs/reference/streams.md", "verdict"): lambda: message_fields(VerdictMessage),
    ("docs/reference/streams.md", "alert"): lambda: message_fields(AlertMessage),
    ("docs/reference/streams.md", "investigate"): lambda: message_fields(InvestigateMessage),
    ("docs/reference/access.md", "verbs"): access_verbs,
    ("docs/reference/access.md", "endpoints"): access_endpoints,
    ("docs/reference/access.md", "reasons"): access_reasons,
    ("docs/reference/access.md", "policy"): lambda: models((policy_file,), policy_file.PolicyForm),
    ("docs/reference/tracing.md", "spans"): spans,
    ("docs/reference/tracing.md", "attributes"): span_attributes,
    ("docs/reference/glossary.md", "nouns"): glossary,
    ("docs/reference/benchmarks.md", "targets"): targets,
    ("docs/reference/capacity.md", "bites"): lambda: _table(*capacity_tables.bites_table()),
    ("docs/reference/capacity.md", "plan"): lambda: _table(*capacity_tables.plan_table()),
    ("docs/reference/capacity.md", "measured"): lambda: _table(*capacity_tables.measured_table()),
    ("docs/reference/capacity.md", "assumptions"): capacity_tables.assumptions_text,
}
"""(page, part) -> what should stand there."""


WHOLE: Mapping[str, Callable[[], str]] = {
    "docs/reference/streams.asyncapi.yaml": lambda: asyncapi_text(asyncapi.contract(stream_defaults())),
}
"""Pages that are made as a whole."""


def write() -> None:
    room_pages.write()
    for page, make in WHOLE.items():
        (ROOT / page).write_text(make(), encoding="utf-8")
    for (page, part), make in PARTS.items():
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        found = generated_part(text, part)
        if found is None:
            raise SystemExit(f"{page}: has no `<!-- generated: {part} -->`")
        path.write_text(text[: found.start()] + make() + text[found.end() :], encoding="utf-8")


if __name__ == "__main__":
    write()
