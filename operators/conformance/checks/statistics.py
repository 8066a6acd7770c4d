"""HTTP and gRPC: the statistics extension. Skipped where the server does not declare it."""

from typing import Final

from operators.conformance.checks.judging import client_code, client_error
from operators.conformance.encoding import (
    as_list,
    as_object,
    as_string,
    infer_call,
    json_body,
    model_path,
    read_answer,
    request_object,
)
from operators.conformance.exchange import Call, HttpCall, Reply
from operators.conformance.mutations import UNKNOWN
from operators.conformance.rpc import call, read
from operators.conformance.rpc import infer_call as rpc_infer_call
from operators.conformance.rpc import read_answer as rpc_read_answer
from operators.conformance.values import Ask, Check, Level, Subject, expect, skip

MUST, SHOULD = Level.MUST, Level.SHOULD
EXTENSION: Final = "Statistics Extension"
NAMES: Final = ("statistics",)


def _declared(ask: Ask) -> Ask:
    def asked(subject: Subject) -> tuple[Call, ...]:
        return ask(subject) if subject.server.declares(*NAMES) else skip("the server does not declare statistics")

    return asked


def _around(subject: Subject) -> tuple[Call, ...]:
    """The statistics, one request, the statistics again."""
    statistics = HttpCall("GET", model_path(subject.model.name, "stats"))
    return statistics, infer_call(subject.model.name, request_object(subject.model.request)), statistics


def _successes(subject: Subject, reply: Reply) -> int:
    models = as_list(as_object(json_body(reply), "statistics").get("model_stats"), "model_stats")
    total = 0
    for found in models:
        model = as_object(found, "model_stats")
        name = as_string(model.get("name"), "name")
        expect(name == subject.model.name, f"statistics of {name!r} were not asked for")
        as_string(model.get("version"), "version")
        stats = as_object(model.get("inference_stats"), "inference_stats")
        count = as_object(stats.get("success"), "inference_stats.success").get("count")
        expect(type(count) is int, f"inference_stats.success.count is {count!r}, expected an integer")
        total += count if isinstance(count, int) else 0
    expect(bool(models), "model_stats is empty")
    return total


def _counted(subject: Subject, replies: tuple[Reply, ...]) -> str:
    before, answered, after = replies
    read_answer(answered)
    counts = _successes(subject, before), _successes(subject, after)
    expect(counts[1] > counts[0], f"{counts[0]} successes before an answer, {counts[1]} after it")
    return f"{counts[1]} successes"


def _rpc_around(subject: Subject) -> tuple[Call, ...]:
    statistics = call("ModelStatistics", name=subject.model.name)
    return statistics, rpc_infer_call(subject.model.name, subject.model.request), statistics


def _rpc_counted(subject: Subject, replies: tuple[Reply, ...]) -> str:
    before, answered, after = replies
    rpc_read_answer(answered)
    first, second = (
        sum(m.inference_stats.success.count for m in read(reply, "ModelStatisticsResponse").model_stats)
        for reply in (before, after)
    )
    expect(second > first, f"{first} successes before an answer, {second} after it")
    return f"{second} successes"


_UNKNOWN_HTTP: Final = HttpCall("GET", model_path(UNKNOWN, "stats"))
_UNKNOWN_RPC: Final = call("ModelStatistics", name=UNKNOWN)

CHECKS: Final = (
    Check("http.statistics.counts", EXTENSION, SHOULD, "the statistics of a model count its answers", _declared(_around), _counted),
    Check("http.statistics.unknown-model", EXTENSION, MUST, "an unknown model: 4xx and {\"error\": string}",
          _declared(lambda _: (_UNKNOWN_HTTP,)), client_error, False),
    Check("grpc.statistics.counts", EXTENSION, SHOULD, "ModelStatistics of a model counts its answers",
          _declared(_rpc_around), _rpc_counted),
    Check("grpc.statistics.unknown-model", EXTENSION, MUST, "ModelStatistics of an unknown model blames the request",
          _declared(lambda _: (_UNKNOWN_RPC,)), client_code, False),
)  # fmt: skip
