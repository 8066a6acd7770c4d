"""Functions that many checks share: the common calls and the common judgements."""

from operators.conformance.encoding import as_object, as_string, excerpt, http, json_body, model_path, parse_json
from operators.conformance.exchange import HttpCall, Reply
from operators.conformance.rpc import grpc
from operators.conformance.values import Ask, CheckJudge, ModelFacts, Subject, expect, skip


def get(path: str) -> Ask:
    """GET one path."""
    return lambda _: (HttpCall("GET", path),)


def get_model(verb: str = "") -> Ask:
    """GET the model's resource, without a version."""
    return lambda s: (HttpCall("GET", model_path(s.model.name, verb)),)


def get_versions(verb: str = "") -> Ask:
    """GET the model's resource at each version it lists."""
    return lambda s: tuple(HttpCall("GET", model_path(s.model.name, verb, v)) for v in versions(s.model))


def versions(model: ModelFacts) -> tuple[str, ...]:
    """The versions a model lists. Skips the check if it lists none."""
    return model.versions or skip("the model lists no versions")


def unknown_version(model: ModelFacts) -> str:
    """A version the model does not list, of the form of those it lists."""
    numbers = [int(v) for v in versions(model) if v.isdigit()]
    return str(max(numbers, default=0) + 987654)


def status_is(*statuses: int) -> CheckJudge:
    """Every reply has one of these statuses."""

    def judge(_: Subject, replies: tuple[Reply, ...]) -> str:
        seen = [http(reply).status for reply in replies]
        allowed = " or ".join(map(str, statuses))
        expect(all(status in statuses for status in seen), f"status {seen[0] if len(seen) == 1 else seen}, expected {allowed}")
        return f"status {seen[0]}"

    return judge


def exact_status(*statuses: int) -> CheckJudge:
    """The one status that clients rely on. Another check judges a reply that is not a client error."""

    def judge(subject: Subject, replies: tuple[Reply, ...]) -> str | None:
        seen = http(replies[0]).status
        return status_is(*statuses)(subject, replies) if 400 <= seen < 500 else skip(f"answered {seen}, no client error")

    return judge


def body_says(*keys: str) -> CheckJudge:
    """The reply is a JSON object in which one of these keys is true."""

    def judge(_: Subject, replies: tuple[Reply, ...]) -> None:
        for reply in replies:
            body = as_object(json_body(reply), "the body")
            expect(any(body.get(key) is True for key in keys), f"none of {list(keys)} is true in {body!r:.120}")

    return judge


def error_text(reply: Reply) -> str:
    """The text of `{"error": string}`."""
    answered = http(reply)
    body = as_object(parse_json(answered.body), "an error's body")
    expect("error" in body, f"an error's body must hold `error`, got {excerpt(answered.body)} with status {answered.status}")
    text = as_string(body["error"], "error")
    expect(bool(text.strip()), "the error's text is empty")
    return text


def client_error(_: Subject, replies: tuple[Reply, ...]) -> str:
    """Every reply is a 4xx status with `{"error": string}`."""
    message = ""
    for reply in replies:
        answered = http(reply)
        expect(400 <= answered.status < 500, f"status {answered.status}, expected 4xx; body {excerpt(answered.body)}")
        message = f"{answered.status}: {error_text(reply)[:100]}"
    return message


def code_is(*codes: str) -> CheckJudge:
    """Every reply has one of these gRPC codes."""

    def judge(_: Subject, replies: tuple[Reply, ...]) -> str:
        seen = [grpc(reply) for reply in replies]
        wrong = [r for r in seen if r.code not in codes]
        expect(not wrong, f"code {wrong[0].code if wrong else ''}, expected {_listed(codes)}")
        return f"{seen[0].code}: {seen[0].details[:100]}"

    return judge


def _listed(codes: tuple[str, ...]) -> str:
    return "a code that blames the request" if codes == CLIENT_CODES else " or ".join(codes)


CLIENT_CODES = ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED")
"""Codes that say the request is at fault, or not offered."""


def exact_code(code: str) -> CheckJudge:
    """The one code that clients rely on. Another check judges a reply that does not blame the request."""

    def judge(subject: Subject, replies: tuple[Reply, ...]) -> str | None:
        seen = grpc(replies[0]).code
        return code_is(code)(subject, replies) if seen in CLIENT_CODES else skip(f"answered {seen}, no client error")

    return judge


def client_code(subject: Subject, replies: tuple[Reply, ...]) -> str:
    """Every reply blames the request, in words: neither OK nor a defect of the server."""
    message = code_is(*CLIENT_CODES)(subject, replies) or ""
    expect(all(grpc(reply).details.strip() for reply in replies), "the status has no message")
    return message
