"""Both doors on real sockets before a FakeInference, and the smallest clients that can talk to them."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from serving.access.gate import Gate
from serving.doors.grpc import stubs
from serving.doors.http.door import RiskAnswers
from serving.doors.listener import DoorBackend, Listener
from tests.fakes.serving.inference import FakeInference
from tests.waiting import HANG_S

MAX_BODY_BYTES = 1 << 20


@dataclass
class Answer:
    """What came back over HTTP. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Doors:
    """The running doors. `http` opens a connection each time; `connection` is for those who keep one."""

    service: FakeInference
    http_port: int
    grpc_port: int
    channel: grpc.Channel
    listener: Listener
    events: list[str] = field(default_factory=list)
    sources: list[Any] = field(default_factory=list)
    own_port: int = 0

    def metric(self, name: str, *labels: str) -> float:
        """The value of one of the doors' own metrics. Raises KeyError if there is none."""
        values = {(doc.name, *key): value for source in self.sources for doc, found in source() for key, value in found.items()}
        return values[(name, *labels)]

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=HANG_S)

    def http(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        connection = self.connection()
        try:
            text = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
            connection.request(method, path, text, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def call(self, method: str, request: bytes, answer: str | None = None, *, timeout_s: float = HANG_S, **options: Any) -> Any:
        """One unary call; raises grpc.RpcError."""
        parse = stubs.message(answer or f"{method}Response").FromString
        return self.channel.unary_unary(f"/{stubs.SERVICE}/{method}", None, parse)(request, timeout=timeout_s, **options)


@contextmanager
def open_doors(
    credentials: grpc.ChannelCredentials | None = None,
    *,
    gate: Gate | None = None,
    risks: RiskAnswers | None = None,
    **options: Any,
) -> Iterator[Doors]:
    """Start, yield, stop. options: of the Listener. credentials: of the channel, for doors with TLS. gate: decides who may ask for what."""
    service, events = FakeInference(), []
    sources: list[Any] = []

    async def startup() -> DoorBackend:
        events.append("startup")
        return DoorBackend(service, lambda: b"vedette_up 1\n", watch=sources.append, gate=gate, risks=risks)

    async def shutdown() -> None:
        events.append("shutdown")

    listener = Listener(
        startup,
        shutdown,
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        max_body_bytes=MAX_BODY_BYTES,
        **options,
    )
    ports = listener.start(30)
    address, limits = f"127.0.0.1:{ports.grpc}", [("grpc.max_send_message_length", -1)]
    channel = (
        grpc.secure_channel(address, credentials, options=limits)
        if credentials
        else grpc.insecure_channel(address, options=limits)
    )
    try:
        yield Doors(service, ports.http, ports.grpc or 0, channel, listener, events, sources, ports.own)
    finally:
        channel.close()
        listener.stop(1)


def simple_request(**more: Any) -> dict[str, Any]:
    """A request to `simple`, in JSON."""
    ones = [1] * 16
    inputs = [
        {"name": "INPUT0", "shape": [1, 16], "datatype": "INT32", "data": list(range(16))},
        {"name": "INPUT1", "shape": [1, 16], "datatype": "INT32", "data": ones},
    ]
    return {"inputs": inputs, **more}


def simple_message(model: str = "simple", *, raw: bool = False) -> Any:
    """A request to `simple`, over gRPC."""
    import numpy as np

    message = stubs.ModelInferRequest(model_name=model)
    for name, data in (("INPUT0", range(16)), ("INPUT1", [1] * 16)):
        item = message.inputs.add(name=name, datatype="INT32", shape=[1, 16])
        if raw:
            message.raw_input_contents.append(np.array(data, "<i4").tobytes())
        else:
            item.contents.int_contents.extend(data)
    return message
