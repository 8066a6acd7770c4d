"""Nothing a client sends gives a 5xx or stops a replica: a fuzz run over the real served process.

A few hundred requests in `make test`, more in `make soak`; the long run is

    FUZZ_EXAMPLES=4000 make test ARGS="-s tests/e2e/test_fuzz.py"

FUZZ_EXAMPLES is the number of examples of each of the doors' own tests; schemathesis gets a tenth of it for each operation of the
served OpenAPI description. The number of requests sent is printed."""

import os
from collections import Counter
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.conformance.discovery import model_facts, model_names, server_facts
from operators.conformance.exchange import GrpcReply, HttpCall, HttpReply
from operators.conformance.transport import Transport
from operators.conformance.values import ModelFacts
from tests import laws
from tests.e2e.running.strategies import grpc_calls, http_calls
from tests.e2e.running.vedette import Vedette, replica_pids
from tests.waiting import HANG_S

pytestmark = pytest.mark.e2e

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", laws.count(300)))
FUZZED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
    derandomize=False,
)
NOT_OFFERED = 501
"""What the protocol knows and this server does not offer is 501 by its own words; any other 5xx is a defect."""
OUR_FAULT = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "CANCELLED"}
OUT_OF_TIME = 504
"""A client that says it will not wait is told so; only to requests that carry a timeout."""
SENT: Counter[str] = Counter()


def is_defect(status: int, call: HttpCall) -> bool:
    waits = "x-request-timeout-ms" in call.headers or b'"timeout"' in (call.body or b"")
    return status >= 500 and status != NOT_OFFERED and not (status == OUT_OF_TIME and waits)


@pytest.fixture(scope="module")
def fuzzed(vedette: Vedette) -> Iterator[tuple[Transport, list[ModelFacts]]]:
    """The server, with every model it serves; at the end the same replica must be there, and answer."""
    before = replica_pids(vedette.mark)
    assert before, "no replica process was found"
    with Transport(vedette.http, vedette.grpc, 20) as transport:
        server = server_facts(transport.send, has_http=True, has_grpc=True, may_change=False)
        models = [model_facts(transport.send, server, name) for name in model_names(transport.send, server, ())]
        yield transport, models
        assert replica_pids(vedette.mark) == before, "a replica was restarted"
        for model in models:
            after = model_facts(transport.send, server, model.name)
            assert after.baseline is not None, f"{model.name} does not answer any more"
    print(f"\nfuzz: {sum(SENT.values())} requests: {dict(sorted(SENT.items()))}")


@FUZZED
@given(data=st.data())
def test_no_http_request_gives_a_5xx(fuzzed: tuple[Transport, list[ModelFacts]], data: st.DataObject):
    transport, models = fuzzed
    call = data.draw(http_calls(data.draw(st.sampled_from(models))))
    reply = transport.send(call)
    assert isinstance(reply, HttpReply), reply
    SENT[f"http {reply.status}"] += 1
    assert not is_defect(reply.status, call), reply


@FUZZED
@given(data=st.data())
def test_no_grpc_request_is_answered_as_a_defect(fuzzed: tuple[Transport, list[ModelFacts]], data: st.DataObject):
    transport, models = fuzzed
    call = data.draw(grpc_calls(data.draw(st.sampled_from(models))))
    reply = transport.send(call)
    assert isinstance(reply, GrpcReply), reply
    SENT[f"grpc {reply.code}"] += 1
    assert reply.code not in OUR_FAULT, reply


def test_the_served_description_holds_no_5xx(vedette: Vedette, fuzzed: object):
    """Unloading is left out: it would take the models away from the other requests."""
    schema = schemathesis.openapi.from_url(f"{vedette.http}/openapi.json").exclude(path_regex="/unload$")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 10

    @settings(FUZZED, max_examples=max(5, EXAMPLES // 10))
    @given(data=st.data())
    def ask(operation: schemathesis.schemas.APIOperation, data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        reply = case.call(timeout=HANG_S)
        SENT[f"described {reply.status_code}"] += 1
        assert reply.status_code < 500 or reply.status_code == NOT_OFFERED, (case, reply.text[:500])

    for operation in operations:
        ask(operation)
