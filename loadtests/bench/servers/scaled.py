"""Replicas with listeners of their own on Ray Serve, scaled in one of three ways: a server under test of the benchmark `ray_scaling`.

Made as our own replicas are: an actor whose listener shares the port, so that Ray Serve sees none of the requests. What it serves
is a wait in one of a few slots, so that replicas have a limit that does not depend on this machine's processors.

`policy`: the replica reports its load by `record_autoscaling_stats`, a custom policy in Serve's controller decides. `defaults`: the
same at Ray Serve's default intervals. `external`: a loop outside asks the replicas and tells the controller (`external_scaler_enabled`).
All three decide by operators.autoscaling.decide with the same specification."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, Final

from operators.autoscaling.decide import decide
from operators.autoscaling.spec import ScalingSpec
from operators.autoscaling.values import ScalingState
from operators.ports import Load
from serving.doors.http.reply import Reply

SLOTS: Final = 4
SERVICE_S: Final = 0.08
SPEC: Final = ScalingSpec.model_validate(
    {
        "minReplicas": 1,
        "maxReplicas": 6,
        "targetOngoingRequests": 3,
        "lookBack": "4s",
        "startUp": "4s",
        "downWindow": "15s",
        "upLimit": {"replicas": 6, "percent": 100, "per": "1s"},
        "downLimit": {"replicas": 6, "percent": 100, "per": "1s"},
    }
)
LOOK_EVERY_S: Final = 1.0
APPLICATION: Final = "scaled"


class Waiting:
    """What a listener serves here: each request waits SERVICE_S in one of SLOTS."""

    max_body_bytes = 1024
    body_timeout_s = 30.0

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(SLOTS)
        self._ongoing, self._area, self._since = 0, 0.0, time.monotonic()

    def area(self) -> float:
        """Request-seconds under way since the start: its growth over a stretch, divided by it, is the mean number under way."""
        now = time.monotonic()
        self._area, self._since = self._area + self._ongoing * (now - self._since), now
        return self._area

    def admit_head(self, method: str, url: bytes, headers: Mapping[bytes, bytes]) -> None:
        """Admit every request."""

    async def respond(
        self, method: str, raw_path: bytes, query: bytes, headers: Mapping[bytes, bytes], body: bytes, connection: object = None
    ) -> Reply:
        """`/work` waits; `/area` says how much there has been to do; anything else is ready."""
        if raw_path == b"/area":
            return Reply(json.dumps({"area": self.area()}).encode())
        if raw_path == b"/work":
            await self._work()
            return Reply(b"{}")
        return Reply(b"ready")

    async def _work(self) -> None:
        self.area()
        self._ongoing += 1
        try:
            async with self._slots:
                await asyncio.sleep(SERVICE_S)
        finally:
            self.area()
            self._ongoing -= 1


class ScaledReplica:
    """The actor's class. folder: where replicas say that they are there, by a file named by process and port of their own."""

    def __init__(self, port: int, folder: str) -> None:
        from serving.doors.listener import HttpListener

        self._app = Waiting()
        self._own = HttpListener(self._app)
        self._shared = HttpListener(self._app, port=port, reuse_port=True)
        own_port = self._own.start()
        self._shared.start()
        self._sign = Path(folder) / f"{os.getpid()}-{own_port}"
        self._sign.touch()
        self._before = (time.monotonic(), 0.0)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The mean number of requests under way since the last time."""
        (since, area), self._before = self._before, (time.monotonic(), self._app.area())
        return {"ongoing": (self._before[1] - area) / max(self._before[0] - since, 1e-3)}

    def __del__(self) -> None:
        self._sign.unlink(missing_ok=True)
        self._shared.stop(10.0)
        self._own.stop(1.0)


def policy(context: Any) -> tuple[int, dict[str, Any]]:
    """The custom policy: what the replicas recorded -> decide."""
    recorded = (context.aggregated_metrics or {}).get("ongoing", {})
    now = datetime.now(UTC)
    load = Load(
        at=now,
        ongoing=sum(recorded.values()),
        ready_replicas=context.current_num_replicas,
        wanted_replicas=context.target_num_replicas,
        problem=None if recorded else "no replica has recorded anything yet",
    )
    state = ScalingState.model_validate(context.policy_state.get("scaling", {}))
    decision = decide(SPEC, state, load, None, now)
    return decision.replicas, {"scaling": decision.state.model_dump(mode="json", by_alias=True)}


@dataclass
class Outside:
    """The loop outside: asks every replica at its own port, decides, tells the controller."""

    folder: Path
    state: ScalingState | None = None

    def look(self, before: dict[str, tuple[float, float]], wanted: int) -> tuple[Load, dict[str, tuple[float, float]]]:
        """The load, from the growth of every replica's area since the look before."""
        seen = {}
        for sign in self.folder.iterdir():
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{sign.name.partition('-')[2]}/area", timeout=1) as answer:  # nosec B310  # our own server
                    seen[sign.name] = (time.monotonic(), float(json.load(answer)["area"]))
            except (OSError, ValueError):
                continue
        means = [(area - before[n][1]) / (at - before[n][0]) for n, (at, area) in seen.items() if n in before]
        problem = None if means else "no replica was seen twice yet"
        return Load(datetime.now(UTC), sum(means), ready_replicas=len(seen), wanted_replicas=wanted, problem=problem), seen

    def run(self, ending: Event) -> None:
        """Until told to end."""
        from ray import serve
        from ray.serve._private.common import DeploymentID

        controller = serve.context._get_global_client()._controller
        wanted = 1
        seen: dict[str, tuple[float, float]] = {}
        while not ending.wait(LOOK_EVERY_S):
            load, seen = self.look(seen, wanted)
            decision = decide(SPEC, self.state, load, None, load.at)
            self.state = decision.state
            if decision.replicas != wanted:
                import ray

                ray.get(controller.update_deployment_replicas.remote(DeploymentID("Scaled", APPLICATION), decision.replicas))
                wanted = decision.replicas


def autoscaling_config(*, is_default: bool) -> dict[str, Any]:
    """Ray Serve's own part. Its delays are off, or left as they are; our decision has its own patience."""
    own = {
        "min_replicas": SPEC.min_replicas,
        "max_replicas": SPEC.max_replicas,
        "policy": {"policy_function": "loadtests.bench.servers.scaled:policy"},
    }
    fast = {
        "metrics_interval_s": LOOK_EVERY_S,
        "look_back_period_s": LOOK_EVERY_S * 2,
        "upscale_delay_s": 0.0,
        "downscale_delay_s": 0.0,
    }
    return own if is_default else {**own, **fast}


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--way", choices=("policy", "defaults", "external"), required=True)
    parser.add_argument("--folder", type=Path, required=True)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.way == "policy":
        os.environ["RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S"] = str(LOOK_EVERY_S)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import serve

    ending = Event()
    folder = tempfile.mkdtemp(prefix="rs-")
    ray.init(
        address="local",
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
        num_cpus=SPEC.max_replicas + 2,
        include_dashboard=False,
        object_store_memory=100 * 1024 * 1024,
        logging_level=logging.WARNING,
    )
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING", "enable_access_log": False})
    is_external = asked.way == "external"
    scaling = (
        {"num_replicas": 1} if is_external else {"autoscaling_config": autoscaling_config(is_default=asked.way == "defaults")}
    )
    deployment = serve.deployment(ScaledReplica).options(
        name="Scaled", ray_actor_options={"num_cpus": 0.1}, graceful_shutdown_timeout_s=15, **scaling
    )
    serve.run(
        deployment.bind(asked.port, str(asked.folder)), name=APPLICATION, route_prefix="/", external_scaler_enabled=is_external
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    if is_external:
        Outside(asked.folder).run(ending)
    else:
        ending.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
    sys.exit(0)
