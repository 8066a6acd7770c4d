"""`python -m loadtests.bench.servers.hosted`: one replica without Ray, by VEDETTE_* settings; for costs of the replica's own code.

Several servers that are up at once then have no controllers beside them, whose work would be in the figures."""

import signal
import threading

from serving.app import compose
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings


def main() -> None:
    """Serve until SIGTERM."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    host = ReplicaHost(ServingSettings(), compose)
    host.start()
    stopping.wait()
    host.stop()


if __name__ == "__main__":
    main()
