"""Those who ask: one user over HTTP, one over gRPC, both with the same payloads, each with an answer before the next request.

An answer counts as a failure unless it is a verdict: a status of 200 is not enough. What is too slow is objectives.py's."""

import time
import urllib.request
from contextlib import suppress
from functools import cache
from itertools import cycle
from typing import Any

import grpc
from grpc.experimental import gevent as grpc_gevent
from locust import FastHttpUser, User, constant, task
from locust.exception import StopUser

from loadtests import payloads
from loadtests.settings import LoadSettings
from loadtests.stubs import infer_call

SETTINGS = LoadSettings()
HTTP, GRPC = "http infer", "grpc infer"
_TURN = iter(range(1_000_000_000))

grpc_gevent.init_gevent()  # type: ignore[no-untyped-call]  # else one waiting gRPC call would stop every user


class LoadError(Exception):
    """The server answered, but not with what was asked for."""


@cache
def _payloads(metadata: bytes) -> tuple[payloads.Payload, ...]:
    source, found = payloads.load(
        metadata, model=SETTINGS.model, file=SETTINGS.payloads, data_dir=SETTINGS.data_dir, rows=SETTINGS.rows
    )
    if not found:
        raise ValueError(f"{source} has no request of {SETTINGS.rows} rows")
    print(f"model {SETTINGS.model}: {len(found)} payloads from {source}")  # Locust shows it in its log
    return tuple(found)


@cache
def _bodies(metadata: bytes) -> tuple[bytes, ...]:
    return tuple(p.as_json() for p in _payloads(metadata))


@cache
def _messages(metadata: bytes) -> tuple[Any, ...]:
    return tuple(p.as_message(SETTINGS.model) for p in _payloads(metadata))


def fetch_metadata(host: str) -> bytes:
    """What the model says of itself, over HTTP. Raises OSError."""
    with urllib.request.urlopen(f"{host}/v2/models/{SETTINGS.model}", timeout=10) as answer:  # noqa: S310
        body: bytes = answer.read()
        return body


def prepare(host: str) -> None:
    """Have the payloads ready before the first user comes: reading a capture takes seconds. A host that does not answer is left
    to the users to report."""
    with suppress(OSError):
        metadata = fetch_metadata(host)
        _bodies(metadata)
        _messages(metadata)


def _from_somewhere(items: tuple[Any, ...]) -> Any:
    """Go round the items, each user from another place, so that users do not move in step."""
    first = next(_TURN) * 7 % len(items)
    return cycle(items[first:] + items[:first])


class HttpDoor(FastHttpUser):  # type: ignore[misc]  # Locust has no types
    """Asks over HTTP, on a connection of its own."""

    wait_time = constant(SETTINGS.wait_s)

    def on_start(self) -> None:
        """Learn what the model takes."""
        with self.client.get(f"/v2/models/{SETTINGS.model}", name="http metadata", catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"model {SETTINGS.model}: {answer.status_code} {answer.text}")
                raise StopUser
            self.bodies = _from_somewhere(_bodies(answer.content))

    @task  # type: ignore[untyped-decorator]
    def infer(self) -> None:
        """One request."""
        url, headers = f"/v2/models/{SETTINGS.model}/infer", {"Content-Type": "application/json"}
        with self.client.post(url, data=next(self.bodies), headers=headers, name=HTTP, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {(answer.text or '')[:200]}")
            elif b'"outputs"' not in answer.content:
                answer.failure("an answer without outputs")


class GrpcDoor(User):  # type: ignore[misc]
    """Asks over gRPC, on a channel of its own. What the model takes it learns over HTTP, from Locust's --host."""

    wait_time = constant(SETTINGS.wait_s)

    def on_start(self) -> None:
        """Connect, and learn what the model takes."""
        try:
            self.requests = _from_somewhere(_messages(fetch_metadata(self.host)))
        except OSError as problem:
            self._report(0.0, 0, problem)
            raise StopUser from problem
        self.channel = grpc.insecure_channel(SETTINGS.grpc, options=[("grpc.use_local_subchannel_pool", 1)])
        self.call = infer_call(self.channel)

    def on_stop(self) -> None:
        """Close the channel."""
        if hasattr(self, "channel"):
            self.channel.close()

    @task  # type: ignore[untyped-decorator]
    def infer(self) -> None:
        """One request."""
        start = time.perf_counter()
        length, problem = 0, None
        try:
            answer = self.call(next(self.requests), timeout=10)
            length = answer.ByteSize()
            if not answer.outputs:
                problem = LoadError("an answer without outputs")
        except grpc.RpcError as error:
            problem = LoadError(f"{error.code().name} {error.details()}")
        self._report(time.perf_counter() - start, length, problem)

    def _report(self, seconds: float, length: int, problem: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="gRPC", name=GRPC, response_time=seconds * 1000, response_length=length, exception=problem, context={}
        )
