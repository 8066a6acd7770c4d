"""Streams over guarded doors: they end with the rights of whoever opened them."""

import threading
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from serving.access.authentication.api_keys import ApiKeys
from serving.access.policy_file import parse_policy
from serving.doors.grpc import streaming_call, stubs
from tests.fakes.serving.doors import open_doors
from tests.fakes.serving.guarded.gate_world import POLICY, FakeWorld
from tests.fakes.serving.guarded.token_issuer import ISSUER, token
from tests.waiting import HANG_S


def as_(world, who):
    return {"authorization": f"Bearer {token(world.now_s, sub=who).decode()}"}


def token_ended(world):
    world.now_s += 10**6


def key_revoked(world):
    revoked = {id: one.model_copy(update={"revoked": one.created}) for id, one in world.keys.entries.items()}
    world.gate.use(world.policy, ApiKeys(revoked))


def role_taken(world):
    narrowed = POLICY.replace("ISSUER", ISSUER).replace("verbs: [infer, metadata, statistics, index]", "verbs: [infer]", 1)
    narrowed += "open: [metrics]\n"
    world.gate.use(parse_policy(narrowed, Path("p.yaml")), world.keys)


@pytest.mark.parametrize("asked", ["health of a model", "health of the server, which is not open", "reflection"])
@pytest.mark.parametrize(
    ("shown", "change", "code"),
    [
        ("token", token_ended, "UNAUTHENTICATED"),
        ("key", key_revoked, "UNAUTHENTICATED"),
        ("key", role_taken, "PERMISSION_DENIED"),
    ],
)
def test_a_stream_ends_with_the_rights_of_its_caller(monkeypatch, asked, shown, change, code):
    monkeypatch.setattr(streaming_call, "CHECK_AGAIN_S", 0.01)
    policy = POLICY.replace("statistics, index]", "statistics, index, health]", 1) if "not open" in asked else POLICY
    world = FakeWorld("open: [metrics]\n" if "not open" in asked else "open: [health]\n", policy=policy)
    headers = as_(world, "soar") if shown == "token" else {"x-api-key": world.key()}
    path, question = f"/{stubs.HEALTH}/Watch", health_pb2.HealthCheckRequest(service="simple" if "model" in asked else "")
    if asked == "reflection":
        path, question = f"/{stubs.REFLECTION}/ServerReflectionInfo", reflection_pb2.ServerReflectionRequest(list_services="")
    is_over = threading.Event()

    def questions():
        yield question.SerializeToString()
        is_over.wait(HANG_S)

    with open_doors(gate=world.gate) as doors:
        stream = doors.channel.stream_stream(path)(questions(), timeout=HANG_S, metadata=list(headers.items()))
        assert next(stream)
        change(world)
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
        is_over.set()
    assert ended.value.code().name == code
