"""`make demo ARGS=--cluster`: rollouts on a whole cluster whose pods run, under load, while operators are killed. Each outcome is checked.

A good candidate is promoted and three bad ones are aborted, with no failed request. Meanwhile the leading operator is killed again and
again, 50 times in the full form. Exit code 1 if a promise is not kept, 2 where no cluster can be had."""

import argparse
import asyncio
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx

from operators.cli.demo.scenes import DARK_FIRST, LIVE_AT_ONCE
from operators.cli.demo.traffic import DemoTraffic, TrafficEvent
from operators.cli.demo.world import MODEL, World, build
from serving.models.bundle import Bundle
from tests.cluster.kuberay import no_kuberay
from tests.cluster.pods import installed
from tests.cluster.pods.cluster import why_not
from tests.cluster.pods.stage import SPACE, Stage, staged

Json = dict[str, Any]
RATE: Final = 60.0
KILLS: Final = 50
QUICK_KILLS: Final = 4
BETWEEN_S: Final = (4.0, 14.0)
"""Between two kills; the one who takes over needs up to leaseDuration, 15 s."""
SLOW_MS: Final = 120.0
WITHIN_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Scene:
    """outcome: what the rollout must come to; because: a word of its reason."""

    title: str
    bundle: Bundle
    policy: Mapping[str, Any]
    outcome: str
    because: str = ""


@dataclass(slots=True)
class Outcome:
    """Of a scene. broken: promises that do not hold, in words."""

    title: str
    outcome: str
    reason: str
    took_s: float
    answered: int
    failed: int
    kills: int
    broken: list[str] = field(default_factory=list)


def scenes(world: World) -> list[Scene]:
    return [
        Scene("a better detector", world.good, DARK_FIRST, "promoted"),
        Scene("a candidate that fails on some events, mirrored first", world.failing, DARK_FIRST, "aborted", "errors"),
        Scene("a candidate that floods the analysts", world.flooding, LIVE_AT_ONCE, "aborted", "alertRate"),
        Scene("a bundle with the wrong file in it", world.broken, DARK_FIRST, "aborted", "could not load"),
    ]


class Killer:
    """Kills the operator that leads, at random moments, while it runs. most: how often at most."""

    def __init__(self, stage: Stage, most: int, rng: random.Random) -> None:
        self._stage, self._most, self._rng = stage, most, rng
        self.kills = 0

    async def run(self) -> None:
        while self.kills < self._most:
            await asyncio.sleep(self._rng.uniform(*BETWEEN_S))
            if await asyncio.to_thread(self._kill):
                self.kills += 1

    def _kill(self) -> bool:
        """As a node does that has no memory left: SIGKILL, without a word to the API server before."""
        with self._stage.cluster.http() as http:
            lease = http.get(f"/apis/coordination.k8s.io/v1/namespaces/{installed.HOME}/leases/vedette-operator").json()
            holder = str(lease.get("spec", {}).get("holderIdentity", ""))
            running = http.get(f"/api/v1/namespaces/{installed.HOME}/pods").json()["items"]
            leading = [p["metadata"]["name"] for p in running if holder.startswith(p["metadata"]["name"])]
            if not leading:
                return False  # it was killed a moment ago, and nobody has taken over
            at = f"/api/v1/namespaces/{installed.HOME}/pods/{leading[0]}"
            return http.request("DELETE", at, json={"gracePeriodSeconds": 0}).is_success


class Play:
    """The whole demonstration on a stage."""

    def __init__(self, stage: Stage, world: World, traffic: DemoTraffic, killer: Killer, tell: Any) -> None:
        self._stage, self._world, self._traffic, self._killer, self._tell = stage, world, traffic, killer, tell

    async def rounds(self, kills: int) -> list[Outcome]:
        """All scenes; again and again with good ones back and forth, until so many kills were made."""
        found = [await self._scene(scene) for scene in scenes(self._world)]
        turns = itertools.cycle([self._world.stable, self._world.good])
        while self._killer.kills < kills and not any(o.broken for o in found):
            bundle = next(turns)
            found.append(
                await self._scene(Scene(f"version {bundle.manifest.version} once more", bundle, DARK_FIRST, "promoted"))
            )
        return found

    async def _scene(self, scene: Scene) -> Outcome:
        self._tell(f"\n{scene.title}")
        counts, began, kills = self._traffic.begin(), time.monotonic(), self._killer.kills
        version = scene.bundle.manifest.version
        asked = await asyncio.to_thread(self._stage.want, scene.bundle.digest, version, scene.policy)
        ended = await self._ended(scene.bundle.digest, asked, began)
        outcome, reason = (ended["outcome"], ended.get("reason", "")) if ended else ("still under way", "")
        took_s = time.monotonic() - began
        result = Outcome(scene.title, outcome, reason, took_s, counts.answered, counts.failed, self._killer.kills - kills)
        if outcome != scene.outcome:
            result.broken.append(f"it is {scene.outcome}; it was {outcome}: {reason}")
        if scene.because not in reason:
            result.broken.append(f"because of {scene.because}; the reason is: {reason}")
        if counts.failed:
            result.broken.append(f"0 failed requests; there were {counts.failed}: {counts.failures[:1]}")
        words = "; ".join(result.broken) or "as promised"
        self._tell(f"  {took_s:6.1f} s  {outcome}: {reason}")
        self._tell(f"            {counts.answered} answered, {counts.failed} failed, {result.kills} kills: {words}")
        return result

    async def _ended(self, digest: str, asked: datetime, began: float) -> Json | None:
        told = ""
        while time.monotonic() - began < WITHIN_S:
            await asyncio.sleep(0.5)
            try:
                ended = await asyncio.to_thread(self._stage.ended, digest, asked)
                if ended:
                    return ended
                status = await asyncio.to_thread(lambda: self._stage.status)
            except httpx.TransportError:
                continue
            words = f"step {status.get('step', '-')}, weight {status.get('weight', 0)} %, {status.get('verdict', '')}"
            if words != told:
                told = words
                self._tell(f"  {time.monotonic() - began:6.1f} s  {words}")
        return None


async def play(
    stage: Stage, world: World, rate: float, kills: int, seed: int, tell: Any
) -> tuple[list[Outcome], int, list[str]]:
    """Outcomes, kills, and promises about the whole that do not hold."""
    events = itertools.cycle([TrafficEvent(event) for event in world.events])
    address = stage.address
    traffic = DemoTraffic(f"http://{address}:8080", f"{address}:8081", MODEL, events, rate)
    killer = Killer(stage, kills, random.Random(seed))
    before = {p["metadata"]["uid"] for p in stage.pods()}
    async with traffic.running() as load:
        tell(f"constant load through the Service from here on: {load.rate:.0f} requests/s over HTTP and gRPC")
        killing = asyncio.create_task(killer.run())
        try:
            found = await Play(stage, world, load, killer, tell).rounds(kills)
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
    broken = []
    if traffic.total.failed:
        broken.append(f"0 failed requests; there were {traffic.total.failed}: {traffic.total.failures}")
    pods = await asyncio.to_thread(stage.pods)
    if {p["metadata"]["uid"] for p in pods} != before or any(_restarts(p) for p in pods):
        broken.append("no pod of Ray was replaced or restarted")
    if (owners := stage.owners("serveConfigV2")) != {"vedette-operator"}:
        broken.append(f"serveConfigV2 is the operator's alone; it is of {sorted(owners)}")
    return found, killer.kills, broken


def _restarts(pod: Json) -> int:
    return sum(s["restartCount"] for s in pod["status"].get("containerStatuses", ()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo ARGS=--cluster")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_KILLS} kills in place of {KILLS}")
    parser.add_argument("--kills", type=int, help="how often an operator is killed")
    parser.add_argument("--rate", type=float, default=RATE, help="requests a second, at most")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of kills")
    parser.add_argument("--json", action="store_true", help="print JSON for programs; progress goes to stderr")
    return parser.parse_args()


def main() -> int:
    said = arguments()
    if why := why_not() or no_kuberay():
        print(f"demo: {why}", file=sys.stderr)
        return 2
    kills = said.kills if said.kills is not None else QUICK_KILLS if said.quick else KILLS

    def tell(line: str) -> None:
        print(line, file=sys.stderr if said.json else sys.stdout, flush=True)

    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vedette-demo-") as folder:
        store = Path(folder, ".vedette")
        store.mkdir()
        world = build(store, tell, slow_ms=SLOW_MS)
        first = world.stable
        with staged(Path(folder), first.digest, first.manifest.version, tell) as stage:
            found, made, broken = asyncio.run(play(stage, world, said.rate, kills, said.seed, tell))
    broken = [*(f"{o.title}: {b}" for o in found for b in o.broken), *broken]
    answered, failed = sum(o.answered for o in found), sum(o.failed for o in found)
    took_s = time.monotonic() - began
    told = {"answered": answered, "failed": failed, "kills": made, "took_s": round(took_s, 1), "broken": broken}
    if said.json:
        print(json.dumps({"scenes": [asdict(o) for o in found], **told}, indent=1))
    else:
        words = f"{len(found)} rollouts of {SPACE}/{MODEL}, {answered:,} requests answered, {failed} failed"
        print(f"\n{words}; the operator was killed {made} times; {took_s:.0f} s")
    if broken:
        print("not as promised: " + "; ".join(broken), file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
