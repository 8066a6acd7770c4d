"""A process with both doors on ports that others share, closed cleanly when a line comes on stdin.

`python -m tests.fakes.serving.sharing_server HTTP_PORT GRPC_PORT CONNECTION_AGE_S`; prints `up` once it listens."""

import sys

from serving.doors.grpc import server
from serving.doors.listener import DoorBackend, Listener
from tests.fakes.serving.doors import MAX_BODY_BYTES
from tests.fakes.serving.inference import FakeInference


async def startup() -> DoorBackend:
    return DoorBackend(FakeInference())


async def shutdown() -> None: ...


def main(http_port: int, grpc_port: int, age_s: float) -> None:
    server.CONNECTION_AGE_S = age_s
    opened = Listener(
        startup,
        shutdown,
        host="127.0.0.1",
        http_port=http_port,
        grpc_port=grpc_port,
        max_body_bytes=MAX_BODY_BYTES,
        reuse_port=True,
    )
    opened.start(60)
    print("up", flush=True)
    sys.stdin.readline()
    opened.stop(10)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
