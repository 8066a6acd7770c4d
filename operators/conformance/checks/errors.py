"""HTTP: inference requests that are wrong in one way, and the required outcome of each.

The specification leaves the statuses open ("an HTTP error status, typically 400"); a request the client got wrong is 4xx by
HTTP's own rules (MUST), and a particular status is what clients rely on (SHOULD)."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from operators.conformance import mutations
from operators.conformance.checks.judging import client_error, exact_status, unknown_version
from operators.conformance.compare import check_same
from operators.conformance.encoding import infer_call, model_path, read_answer, request_object, to_json_element
from operators.conformance.exchange import HttpCall, Reply
from operators.conformance.mutations import UNKNOWN, Mutation
from operators.conformance.values import Ask, Check, Level, ModelFacts, Subject

MUST, SHOULD = Level.MUST, Level.SHOULD
ERROR: Final = "Inference Response JSON Error Object"
BODY: Final = "Inference Request JSON Object"
INPUT: Final = "Request Input"
DATA: Final = "Tensor Data"
STRICT_JSON: Final = "RFC 8259"


@dataclass(frozen=True, slots=True)
class ErrorCase:
    """One wrong request. level: of the error itself. status: the one that clients rely on."""

    name: str
    section: str
    level: Level
    requires: str
    make: Callable[[ModelFacts], HttpCall]
    status: tuple[int, ...] = (400,)

    def checks(self) -> tuple[Check, Check]:
        """The error itself, and its status."""
        ask: Ask = lambda s: (self.make(s.model),)  # noqa: E731
        identity = f"http.error.{self.name}"
        statuses = " or ".join(map(str, self.status))
        return (
            Check(identity, self.section, self.level, f'{self.requires}: 4xx and {{"error": string}}', ask, client_error),
            Check(f"{identity}-status", ERROR, SHOULD, f"{self.requires}: {statuses}", ask, exact_status(*self.status)),
        )


def mutated(mutation: Mutation) -> Callable[[ModelFacts], HttpCall]:
    """Send a mutated request as JSON."""
    return lambda model: infer_call(model.name, request_object(mutation(model)))


def body(make: Callable[[dict[str, object]], object]) -> Callable[[ModelFacts], HttpCall]:
    """Send what `make` makes of a valid request's JSON."""
    return lambda model: infer_call(model.name, make(request_object(model.request)))


def first_input(**changes: object) -> Callable[[ModelFacts], HttpCall]:
    """Change fields of the first input's JSON; None removes one."""

    def make(model: ModelFacts) -> HttpCall:
        whole = request_object(model.request)
        inputs = json.loads(json.dumps(whole["inputs"]))
        inputs[0] = {k: v for k, v in {**inputs[0], **changes}.items() if v is not None}
        return infer_call(model.name, {**whole, "inputs": inputs})

    return make


def ragged(model: ModelFacts) -> HttpCall:
    """The right number of elements in lists of different depth."""
    data = list(_first_data(model))
    return first_input(data=[data[:1], [data[1:]]] if len(data) > 1 else [[[data]], []])(model)


def _first_data(model: ModelFacts) -> list[object]:
    return [to_json_element(element) for element in model.request.inputs[0].elements]


def not_a_number(model: ModelFacts) -> HttpCall:
    """A string where a number should be, or a number where a string should be."""
    tensor = model.request.inputs[0]
    wrong: list[object] = [{"not": "an element"}] * len(tensor.elements)
    return first_input(data=wrong)(model)


def deep(model: ModelFacts) -> HttpCall:
    """Ten thousand nested arrays: a recursive parser must not crash."""
    return infer_call(model.name, b'{"inputs": ' + b"[" * 10_000 + b"]" * 10_000 + b"}")


def at_unknown_version(model: ModelFacts) -> HttpCall:
    """A valid request at a version the model does not have."""
    return infer_call(model.name, request_object(model.request), unknown_version(model))


def truncated(model: ModelFacts) -> HttpCall:
    """A valid request without its last third."""
    whole = json.dumps(request_object(model.request)).encode()
    return infer_call(model.name, whole[: len(whole) * 2 // 3])


CASES: Final = (
    ErrorCase("malformed-json", BODY, MUST, "a body that is not JSON", lambda m: infer_call(m.name, b'{"inputs": [}')),
    ErrorCase("truncated-json", BODY, MUST, "a body cut short", truncated),
    ErrorCase("empty-body", BODY, MUST, "an empty body", lambda m: infer_call(m.name, b"")),
    ErrorCase("not-an-object", BODY, MUST, "a JSON array for a body", lambda m: infer_call(m.name, [])),
    ErrorCase("not-utf8", STRICT_JSON, MUST, "a body that is not UTF-8", lambda m: infer_call(m.name, b'{"inputs": "\xff\xfe"}')),
    ErrorCase("deep-nesting", BODY, MUST, "arrays nested 10,000 deep", deep),
    ErrorCase("no-inputs", BODY, MUST, "no `inputs`", body(lambda b: {k: v for k, v in b.items() if k != "inputs"})),
    ErrorCase("empty-inputs", BODY, MUST, "`inputs` is an empty list", body(lambda b: {**b, "inputs": []})),
    ErrorCase("inputs-not-a-list", BODY, MUST, "`inputs` is an object", body(lambda b: {**b, "inputs": {}})),
    ErrorCase("input-not-an-object", INPUT, MUST, "an input is a number", body(lambda b: {**b, "inputs": [7]})),
    ErrorCase("id-not-a-string", BODY, SHOULD, "`id` is an object", body(lambda b: {**b, "id": {"a": 1}})),
    ErrorCase("parameters-not-an-object", "Parameters", SHOULD, "`parameters` is a list", body(lambda b: {**b, "parameters": [1]})),
    ErrorCase("outputs-not-a-list", BODY, MUST, "`outputs` is a number", body(lambda b: {**b, "outputs": 7})),
    ErrorCase("missing-input", BODY, MUST, "an input is missing", mutated(mutations.missing_input)),
    ErrorCase("misnamed-input", INPUT, MUST, "an input has a name the model does not know", mutated(mutations.misnamed_input)),
    ErrorCase("unexpected-input", INPUT, SHOULD, "one input too many", mutated(mutations.unexpected_input)),
    ErrorCase("duplicate-input", INPUT, SHOULD, "an input twice", mutated(mutations.duplicate_input)),
    ErrorCase("no-name", INPUT, MUST, "an input without name", first_input(name=None)),
    ErrorCase("no-shape", INPUT, MUST, "an input without shape", first_input(shape=None)),
    ErrorCase("no-datatype", INPUT, MUST, "an input without datatype", first_input(datatype=None)),
    ErrorCase("no-data", INPUT, MUST, "an input without data", first_input(data=None)),
    ErrorCase("shape-not-integers", INPUT, MUST, "a shape of strings", first_input(shape=["a"])),
    ErrorCase("negative-dimension", INPUT, MUST, "a shape with a negative dimension", mutated(mutations.negative_dimension)),
    ErrorCase("huge-shape", INPUT, MUST, "a shape far beyond the data", mutated(mutations.huge_shape)),
    ErrorCase("wrong-dimension", INPUT, MUST, "a fixed dimension of the wrong size", mutated(mutations.wrong_dimension)),
    ErrorCase("wrong-rank", INPUT, SHOULD, "a shape with two dimensions too many", mutated(mutations.wrong_rank)),
    ErrorCase("wrong-datatype", INPUT, MUST, "strings for numbers, or numbers for strings", mutated(mutations.wrong_datatype)),
    ErrorCase("near-datatype", INPUT, SHOULD, "another integer datatype than the model's", mutated(mutations.near_datatype)),
    ErrorCase("unknown-datatype", "Tensor Data Types", MUST, "a datatype the protocol does not have",
         mutated(mutations.unknown_datatype)),
    ErrorCase("too-few-elements", DATA, MUST, "fewer elements than the shape says", mutated(mutations.too_few_elements)),
    ErrorCase("too-many-elements", DATA, MUST, "more elements than the shape says", mutated(mutations.too_many_elements)),
    ErrorCase("ragged-data", DATA, SHOULD, "data nested unevenly", ragged),
    ErrorCase("data-not-a-list", DATA, MUST, "data is an object", first_input(data={"a": 1})),
    ErrorCase("element-of-wrong-kind", DATA, MUST, "objects for elements", not_a_number),
    ErrorCase("integer-out-of-range", DATA, MUST, "an integer the datatype cannot hold", mutated(mutations.integer_out_of_range)),
    ErrorCase("unknown-output", "Request Output", MUST, "an output the model does not have", mutated(mutations.unknown_output)),
    ErrorCase("unknown-model", ERROR, MUST, "an unknown model", lambda m: infer_call(UNKNOWN, request_object(m.request)), (404,)),
    ErrorCase("unknown-version", ERROR, MUST, "an unknown version", at_unknown_version, (404,)),
    ErrorCase("unknown-path", ERROR, SHOULD, "a path the protocol does not have",
         lambda m: HttpCall("GET", model_path(m.name, "no-such-verb")), (404, 405)),
    ErrorCase("wrong-method", "RFC 9110", SHOULD, "GET on infer", lambda m: HttpCall("GET", model_path(m.name, "infer")), (405,)),
)  # fmt: skip


def _survived(subject: Subject, replies: tuple[Reply, ...]) -> None:
    check_same(subject.model, read_answer(replies[0]), subject.model.answer)


CHECKS: Final = (
    *(check for case in CASES for check in case.checks()),
    Check("http.error.survives", ERROR, MUST, "after all of these, a valid request is answered as before",
          lambda s: (infer_call(s.model.name, request_object(s.model.request)),), _survived),
)  # fmt: skip
