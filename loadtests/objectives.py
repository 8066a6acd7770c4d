"""Judges whether a load test passed: totals and objectives in, findings out. Core: knows nothing of Locust, clocks or servers.

An objective with too few requests is not met: no traffic is no success. objectives.yaml has the objectives of each shape and kind."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, TypeAdapter, ValidationError

from serving.files.safe_yaml import read_yaml

DEFAULT: Final = "default"
KINDS: Final = ("http", "grpc", "kafka")
OF_MODELS: Final = ("http", "grpc")
"""Kinds whose requests are for one of several models. Events are all for the worker's."""
SHIPPED: Final = Path(__file__).with_name("objectives.yaml")


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures of one kind of request. kind: `http`, `grpc` or `kafka`; `http/MODEL` or `grpc/MODEL`: of one model.
    lag: the most events that waited at a time; None: this kind has no queue."""

    kind: str
    requests: int
    failures: int
    p50_ms: float
    p99_ms: float
    per_s: float
    """Answers a second that are no failures, over the whole run."""
    lag: int | None = None


class Objective(BaseModel):
    """The limits for one kind of request. None: no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    failure_ratio: float = Field(default=0.001, ge=0, le=1)
    """At most this share of the requests fails, 0 to 1."""
    min_requests: PositiveInt = 100
    """With fewer requests nothing is judged, and the run has not passed."""
    p50_ms: PositiveFloat | None = None
    p99_ms: PositiveFloat | None = None
    min_per_s: PositiveFloat | None = None
    """Answers a second that are no failures, over the whole run."""
    max_lag: PositiveInt | None = None
    """At most so many events wait for their verdicts at any time. For Kafka."""


Objectives = Mapping[str, Mapping[str, Objective]]
"""Shape -> kind of request -> its limits. `http/MODEL` and `grpc/MODEL` are the requests of one model over a door, beside all."""


class ObjectivesError(ValueError):
    """The objectives cannot be used; the message says where and why."""


def parse_objectives(text: str, where: str) -> Objectives:
    """The objectives in a file's text. where: the file, for messages. Raises ObjectivesError."""
    try:
        found = TypeAdapter(dict[str, dict[str, Objective]]).validate_python(read_yaml(text))
    except yaml.YAMLError as problem:
        raise ObjectivesError(f"{where}: is not YAML: {problem}") from problem
    except ValidationError as problem:
        first = problem.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ObjectivesError(
            f"{where}: {place}: {first['msg']}; expected SHAPE: KIND: limits, which are {', '.join(Objective.model_fields)}"
        ) from problem
    for shape, kinds in found.items():
        for kind in kinds:
            door, _, model = kind.partition("/")
            if kind not in KINDS and not (door in OF_MODELS and model):
                raise ObjectivesError(
                    f"{where}: {shape}.{kind}: is no kind; expected {', '.join(KINDS)}, or {' or '.join(f'{d}/MODEL' for d in OF_MODELS)}"
                )
    if DEFAULT not in found:
        raise ObjectivesError(f"{where}: has no `{DEFAULT}`, by which a shape is judged that it does not name")
    return found


def read_objectives(file: Path | None) -> Objectives:
    """The objectives of a file; None: the shipped ones. Raises ObjectivesError, OSError."""
    file = file or SHIPPED
    return parse_objectives(file.read_text(encoding="utf-8"), str(file))


def of_shape(objectives: Objectives, shape: str) -> Mapping[str, Objective]:
    """The objectives of each kind under a shape. A kind or shape that the file does not name has those of `default`."""
    return {**objectives[DEFAULT], **objectives.get(shape, {})}


def asked(objectives: Mapping[str, Objective], doors: Iterable[str], models: Iterable[str]) -> tuple[str, ...]:
    """What must be judged: each door, and each model that is asked over it and has objectives of its own.

    >>> asked({"http": Objective(), "http/flows": Objective()}, ["http"], ["flows", "dns"])
    ('http', 'http/flows')
    """
    names = [name for door in doors for name in (door, *(f"{door}/{model}" for model in models))]
    return tuple(name for name in names if "/" not in name or name in objectives)


def not_asked(objectives: Mapping[str, Objective], expected: Iterable[str]) -> tuple[str, ...]:
    """Kinds of one model that have objectives and are not judged in this run."""
    return tuple(kind for kind in objectives if "/" in kind and kind not in set(expected))


@dataclass(frozen=True, slots=True)
class Finding:
    """One objective, met or not. what: the name of the limit. measured: None if nothing was measured."""

    kind: str
    what: str
    limit: float
    measured: float | None
    is_met: bool
    text: str


def judge(objectives: Mapping[str, Objective], totals: Iterable[Totals], expected: Sequence[str]) -> tuple[Finding, ...]:
    """Judge every kind of request. An expected kind without a request is a finding too. The figures of a model without
    objectives of its own are left out: its door's have them. Raises KeyError for a door without objectives.

    >>> limits = {"http": Objective(p99_ms=50, failure_ratio=0.01, min_requests=100)}
    >>> [f.text for f in judge(limits, [Totals("http", 1000, 20, 3.0, 12.0, 98.0)], ["http"]) if not f.is_met]
    ['http: 20 of 1000 failed, 2.00 %; at most 1.00 % may: missed by 1.00 points']
    """
    seen = {t.kind: t for t in totals if "/" not in t.kind or t.kind in objectives}
    found: list[Finding] = []
    for kind in dict.fromkeys((*expected, *seen)):
        limits, t = objectives[kind], seen.get(kind)
        if t is None or t.requests < limits.min_requests:
            found.append(_too_few(kind, limits.min_requests, 0 if t is None else t.requests))
        else:
            found += _findings(limits, t)
    return tuple(found)


def _too_few(kind: str, needed: int, requests: int) -> Finding:
    said = "not one request was sent" if not requests else f"{requests} requests, too few to judge"
    return Finding(kind, "min_requests", needed, requests, False, f"{kind}: {said}; at least {needed} are needed")


def _findings(limits: Objective, t: Totals) -> list[Finding]:
    ratio = t.failures / t.requests
    failed = (
        f"{t.kind}: {t.failures} of {t.requests} failed, {100 * ratio:.2f} %; at most {100 * limits.failure_ratio:.2f} % may"
    )
    found = [
        Finding(t.kind, "min_requests", limits.min_requests, t.requests, True, f"{t.kind}: {t.requests} requests"),
        _finding(
            t.kind, "failure_ratio", limits.failure_ratio, ratio, failed, f"{100 * (ratio - limits.failure_ratio):.2f} points"
        ),
    ]
    for what, limit, measured in (("p50_ms", limits.p50_ms, t.p50_ms), ("p99_ms", limits.p99_ms, t.p99_ms)):
        if limit is not None:
            said = f"{t.kind}: {what[:3]} {measured:.1f} ms; at most {limit:.1f} ms is allowed"
            found.append(_finding(t.kind, what, limit, measured, said, f"{measured - limit:.1f} ms"))
    if limits.min_per_s is not None:
        said = f"{t.kind}: {t.per_s:.1f} answers a second; at least {limits.min_per_s:.1f} are needed"
        missing = f"{limits.min_per_s - t.per_s:.1f} a second"
        found.append(
            _finding(t.kind, "min_per_s", limits.min_per_s, t.per_s, said, missing, is_met=t.per_s >= limits.min_per_s)
        )
    if limits.max_lag is not None and t.lag is not None:
        said = f"{t.kind}: up to {t.lag} events waited for a verdict; at most {limits.max_lag} may"
        found.append(_finding(t.kind, "max_lag", limits.max_lag, t.lag, said, f"{t.lag - limits.max_lag} events"))
    return found


def _finding(
    kind: str, what: str, limit: float, measured: float, said: str, missed_by: str, *, is_met: bool | None = None
) -> Finding:
    met = measured <= limit if is_met is None else is_met
    return Finding(kind, what, limit, measured, met, said if met else f"{said}: missed by {missed_by}")
