"""The Locust users of the doors: one over HTTP, one over gRPC, with the same payloads. Each waits for an answer before its next request.

An answer without outputs is a failure, also with status 200. objectives.py judges the latency; kafka_door.py has the user of the stream."""

import ssl
import time
import urllib.request
from contextlib import suppress
from functools import cache, lru_cache
from itertools import cycle
from typing import Any

import grpc
from grpc.experimental import gevent as grpc_gevent
from locust import FastHttpUser, User, constant, task
from locust.exception import StopUser

from loadtests import payloads
from loadtests.settings import LoadSettings
from loadtests.stubs import infer_call
from serving.access.client_credentials import DoorCredentials

SETTINGS = LoadSettings()
SHOWN_S = 30.0
HTTP, GRPC = "http infer", "grpc infer"
_TURN = iter(range(1_000_000_000))

grpc_gevent.init_gevent()  # type: ignore[no-untyped-call]  # else one waiting gRPC call would stop every user


class LoadError(Exception):
    """The server answered, but not as it should."""


def shown() -> dict[str, str]:
    """The headers that guarded doors ask for, from VEDETTE_TOKEN, VEDETTE_TOKEN_FILE, VEDETTE_API_KEY, VEDETTE_API_KEY_FILE.

    A file is read again every 30 s: tokens are renewed during a long run."""
    return _shown(int(time.monotonic() / SHOWN_S))


@lru_cache(maxsize=1)
def _shown(_: int) -> dict[str, str]:
    return dict(DoorCredentials().headers())


def trust() -> ssl.SSLContext:
    """How https doors are verified (VEDETTE_LOAD_CA), with the client certificate if there is one."""
    context = ssl.create_default_context(cafile=None if SETTINGS.ca is None else str(SETTINGS.ca))
    if SETTINGS.cert is not None:
        context.load_cert_chain(SETTINGS.cert, SETTINGS.key)
    return context


def grpc_channel(host: str) -> grpc.Channel:
    """A new connection to the gRPC door, over TLS if the HTTP door's address is https."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    if not host.startswith("https"):
        return grpc.insecure_channel(SETTINGS.grpc, options=options)
    key = SETTINGS.key or SETTINGS.cert  # one file may hold both, as for HTTP
    files = [None if path is None else path.read_bytes() for path in (SETTINGS.ca, key, SETTINGS.cert)]
    return grpc.secure_channel(SETTINGS.grpc, grpc.ssl_channel_credentials(*files), options=options)


@cache
def _payloads(model: str, metadata: bytes) -> tuple[payloads.Payload, ...]:
    source, found = payloads.load(metadata, model=model, file=SETTINGS.payloads, data_dir=SETTINGS.data_dir, rows=SETTINGS.rows)
    if not found:
        raise ValueError(f"{source} has no request of {SETTINGS.rows} rows")
    print(f"model {model}: {len(found)} payloads from {source}")  # Locust shows it in its log
    return tuple(found)


@cache
def _bodies(model: str, metadata: bytes) -> tuple[bytes, ...]:
    return tuple(p.as_json() for p in _payloads(model, metadata))


@cache
def _messages(model: str, metadata: bytes) -> tuple[Any, ...]:
    return tuple(p.as_message(model) for p in _payloads(model, metadata))


def fetch_metadata(host: str, model: str) -> bytes:
    """The model's metadata, over HTTP. Raises OSError."""
    asked = urllib.request.Request(f"{host}/v2/models/{model}", headers=shown())  # noqa: S310
    checked = trust() if host.startswith("https") else None
    with urllib.request.urlopen(asked, timeout=10, context=checked) as answer:  # noqa: S310  # nosec B310  # the address under test
        body: bytes = answer.read()
        return body


def prepare(host: str) -> None:
    """Read the payloads before the first user starts, because reading a capture takes seconds. If the host does not answer, the users
    report it."""
    with suppress(OSError):
        for model in SETTINGS.models:
            metadata = fetch_metadata(host, model)
            _bodies(model, metadata)
            _messages(model, metadata)


def cycle_from_own_start(items: tuple[Any, ...]) -> Any:
    """Cycle through the items for ever. Each call begins at another item, so that users do not send the same request together."""
    first = next(_TURN) * 7 % len(items)
    return cycle(items[first:] + items[:first])


class HttpDoor(FastHttpUser):  # type: ignore[misc]  # Locust has no types
    """Sends requests for one of the models over HTTP, each user on its own connection."""

    turns = cycle(SETTINGS.models)
    insecure = False
    ssl_context_factory = staticmethod(trust)
    wait_time = constant(SETTINGS.wait_s)

    def on_start(self) -> None:
        """Read the model's metadata and make the payloads. A user that cannot is a failed request of its model: it sends none."""
        self.model = next(self.turns)
        with self.client.get(f"/v2/models/{self.model}", headers=shown(), name="http metadata", catch_response=True) as answer:
            if answer.status_code != 200:
                answer.request_meta["name"] = f"{HTTP} {self.model}"
                answer.failure(f"model {self.model}: {answer.status_code} {answer.text}")
                raise StopUser
            self.bodies = cycle_from_own_start(_bodies(self.model, answer.content))

    @task  # type: ignore[untyped-decorator]
    def infer(self) -> None:
        """Send one request and check the answer."""
        url, headers = f"/v2/models/{self.model}/infer", {**shown(), "Content-Type": "application/json"}
        name = f"{HTTP} {self.model}"
        with self.client.post(url, data=next(self.bodies), headers=headers, name=name, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code} {(answer.text or '')[:200]}")
            elif b'"outputs"' not in answer.content:
                answer.failure("an answer without outputs")


class GrpcDoor(User):  # type: ignore[misc]
    """Sends requests for one of the models over gRPC, each user on its own channel. The model's metadata is read over HTTP, from
    Locust's --host."""

    turns = cycle(SETTINGS.models)
    wait_time = constant(SETTINGS.wait_s)

    def on_start(self) -> None:
        """Connect, read the model's metadata and make the payloads."""
        self.model = next(self.turns)
        try:
            self.requests = cycle_from_own_start(_messages(self.model, fetch_metadata(self.host, self.model)))
        except OSError as problem:
            self._report(0.0, 0, problem)
            raise StopUser from problem
        self.channel = grpc_channel(self.host)
        self.call = infer_call(self.channel)

    def on_stop(self) -> None:
        """Close the channel."""
        if hasattr(self, "channel"):
            self.channel.close()

    @task  # type: ignore[untyped-decorator]
    def infer(self) -> None:
        """Send one request and check the answer."""
        start = time.perf_counter()
        length, problem = 0, None
        try:
            answer = self.call(next(self.requests), timeout=10, metadata=list(shown().items()))
            length = answer.ByteSize()
            if not answer.outputs:
                problem = LoadError("an answer without outputs")
        except grpc.RpcError as error:
            problem = LoadError(f"{error.code().name} {error.details()}")
        self._report(time.perf_counter() - start, length, problem)

    def _report(self, seconds: float, length: int, problem: Exception | None) -> None:
        name = f"{GRPC} {self.model}"
        self.environment.events.request.fire(
            request_type="gRPC", name=name, response_time=seconds * 1000, response_length=length, exception=problem, context={}
        )
