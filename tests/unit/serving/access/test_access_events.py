"""What is counted of callers: each refusal by its reason, what is over a limit by the tenant too."""

import pytest

from serving.access.refusals import RateLimited, RefusalReason
from serving.access.verbs import Verb
from serving.errors import Forbidden
from serving.telemetry.access_names import ADMITTED, LIMITED, REFUSED, VERIFICATIONS
from tests.fakes.serving.guarded.gate_world import FakeWorld, bearer
from tests.fakes.serving.guarded.token_issuer import token

LIMITS = "limits: {caller: {requests_per_s: 1, burst_s: 2}}\n"


async def ask(world, subject, model="echo"):
    credentials = bearer(token(world.now_s, sub=subject))
    found = world.gate.recall(credentials, Verb.INFER, model, "http")
    return found or await world.gate.verify(credentials, Verb.INFER, model, "http")


async def test_requests_over_the_limit_are_counted_for_the_caller_s_tenant_only():
    world = FakeWorld(LIMITS)
    await ask(world, "red-1", "words")
    for _ in range(2):
        await ask(world, "blue-1")
    for _ in range(3):
        with pytest.raises(RateLimited):
            await ask(world, "blue-1")
    with pytest.raises(Forbidden):
        await ask(world, "red-1", "echo")
    told = dict(world.gate.metrics())
    assert told[LIMITED] == {("blue",): 3.0}
    assert told[ADMITTED] == {("red", "infer"): 1.0, ("blue", "infer"): 2.0}
    assert {key: n for key, n in told[REFUSED].items() if n} == {("rate", "infer"): 3.0, ("forbidden", "infer"): 1.0}


def test_every_reason_counts_from_0_on_so_that_the_first_burst_is_an_increase():
    told = dict(FakeWorld(LIMITS).gate.metrics())
    assert {reason for reason, _ in told[REFUSED]} == {reason.value for reason in RefusalReason}
    assert {verb for _, verb in told[REFUSED]} == {*Verb, "none"}
    assert told[VERIFICATIONS].keys() >= {("token", "refused"), ("key", "refused"), ("certificate", "accepted")}
    assert not any((*told[REFUSED].values(), *told[VERIFICATIONS].values()))
