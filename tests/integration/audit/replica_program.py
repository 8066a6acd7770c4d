"""`python -m tests.integration.audit.replica_program STORE [FILE_BYTES]`: a replica without Ray, in a process that a test may kill.

Settings come from the environment. It prints its port, and `stopped` when it has ended in order, which it does when its stdin closes.
FILE_BYTES: no file may grow beyond them, until a line arrives on stdin."""

import resource
import sys
from pathlib import Path

from serving.app import compose
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings


def main() -> None:
    store, *most = sys.argv[1:]
    host = ReplicaHost(ServingSettings(store_dir=Path(store), http_port=0, grpc_port=0), compose)
    port = host.start().http
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(most[0]), hard))
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        sys.stdout.write("free\n")
        sys.stdout.flush()
    host.stop()
    sys.stdout.write("stopped\n")


if __name__ == "__main__":
    main()
