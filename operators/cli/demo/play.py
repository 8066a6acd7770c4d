"""The demonstration: its scenes, their order, and what each must show."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.markup import escape

from operators.cli.demo.scenes import ANALYSIS, DARK_FIRST, LITTLE_BY_LITTLE, LIVE_AT_ONCE, SceneResult, Stage
from operators.cli.demo.server import end_of_log, environment, running_server
from operators.cli.demo.traffic import DemoTraffic, TrafficEvent
from operators.cli.demo.world import MODEL, World, build
from operators.cli.rollout.start import started
from operators.control.folder import ControlFolder

PrintLine = Callable[[str], None]
SCENES: Final = ("plan", "good", "broken", "errs", "errs-live", "slow", "floods", "ab")
_SLOW_MS: Final = 120.0
_WARM_S: Final = 12.0
_AB_S: Final = 25


def play(store_dir: Path, rate_per_s: float, scenes: Sequence[str], tell: PrintLine) -> list[SceneResult]:
    """Play the scenes on a fresh store. Raises ServerError."""
    world = build(store_dir, lambda what: tell(f"[dim]{what}[/]"), slow_ms=_SLOW_MS)
    folder = ControlFolder(store_dir)
    first = {"version": world.stable.manifest.version, "bundle": world.stable.digest}
    folder.change(MODEL, lambda before: started(before, MODEL, first, {"policy": DARK_FIRST}, folder.who(), "the first"))
    tell("\n[bold]serve it[/]\n$ vedette up")
    with running_server(store_dir, "--no-train") as running:
        events = itertools.cycle([TrafficEvent(event) for event in world.events])
        traffic = DemoTraffic(running["http"], running["grpc"], MODEL, events, rate_per_s)
        results = asyncio.run(_play(world, Stage(folder, traffic, tell), scenes, tell, store_dir))
    if any(result.broken for result in results):
        tell(f"[dim]the end of the server's log:[/]\n{escape(end_of_log(store_dir))}")
    return results


async def _play(world: World, stage: Stage, scenes: Sequence[str], tell: PrintLine, store_dir: Path) -> list[SceneResult]:
    results: list[SceneResult] = []
    async with stage.traffic.running() as traffic:
        tell(f"constant load from here on: {traffic.rate:.0f} requests/s over HTTP and gRPC")
        await asyncio.sleep(_WARM_S if "plan" in scenes else 2.0)
        if "plan" in scenes:
            tell("\n[bold]what would the better detector change?[/]")
            await asyncio.to_thread(_plan, store_dir, world, tell)
        for name in scenes:
            if name in _PLAYS:
                title, act = _PLAYS[name]
                tell(f"\n[bold]{title}[/]")
                results.append(await act(stage, world, title))
                tell(f"  {_verdict(results[-1])}")
    return results


async def _good(stage: Stage, world: World, title: str) -> SceneResult:
    result = await stage.rollout(title, world.good, DARK_FIRST)
    result.expect(result.outcome == "promoted", f"it is promoted; it was {result.outcome}: {result.reason}")
    result.expect(result.weights == (5, 25, 100), f"mirror, then 5, 25, 100 %; it went {result.weights}")
    return result


async def _broken(stage: Stage, world: World, title: str) -> SceneResult:
    result = await _aborted(stage, title, world.broken, DARK_FIRST, "could not load")
    result.expect(result.live + result.mirrored == 0, "it gets no request, not even a copy")
    return result


async def _errs(stage: Stage, world: World, title: str) -> SceneResult:
    result = await _aborted(stage, title, world.failing, DARK_FIRST, "errors")
    result.expect(result.live == 0, "it is found on copies; no client gets its answers")
    return result


async def _errs_live(stage: Stage, world: World, title: str) -> SceneResult:
    result = await _aborted(stage, title, world.failing_again, LIVE_AT_ONCE, "errors")
    result.expect(result.counts.fallbacks > 0, "stable answers in its place, and the answers say so")
    return result


async def _slow(stage: Stage, world: World, title: str) -> SceneResult:
    return await _aborted(stage, title, world.slow, LITTLE_BY_LITTLE, "latency")


async def _floods(stage: Stage, world: World, title: str) -> SceneResult:
    return await _aborted(stage, title, world.flooding, LIVE_AT_ONCE, "alertRate")


async def _ab(stage: Stage, world: World, title: str) -> SceneResult:
    point = str(world.good.manifest.default_operating_point)
    eager = {"version": world.good.manifest.version, "bundle": world.good.digest, "thresholds": {point: world.eager}}
    spec: dict[str, Any] = {
        "variants": [{"name": "control", "weight": 50}, {"name": "eager", "weight": 50, "revision": eager}],
        "duration": f"{_AB_S}s",
        "metric": "alertRate",
        "goal": "lower",
        "analysis": {**ANALYSIS, "gates": ANALYSIS["gates"][:2]},
    }
    stage.settle(world.good)
    result = await stage.experiment(title, spec, within_s=_AB_S + 45.0)
    winner = result.report.winner if result.report else None
    result.expect(
        winner == "control",
        f"`control` wins, by fewer alerts; the report says {result.report.reason if result.report else 'nothing'}",
    )
    return result


async def _aborted(stage: Stage, title: str, bundle: Any, policy: dict[str, Any], gate: str) -> SceneResult:
    result = await stage.rollout(title, bundle, policy)
    result.expect(result.outcome == "aborted", f"it is aborted; it was {result.outcome}")
    result.expect(gate in result.reason, f"because of {gate}; the reason is: {result.reason}")
    return result


_PLAYS: Final = {
    "good": ("a better detector", _good),
    "broken": ("a bundle with the wrong file in it", _broken),
    "errs": ("a candidate that fails on some events, mirrored first", _errs),
    "errs-live": ("one that fails, given live traffic at once", _errs_live),
    "slow": ("a candidate that is slow", _slow),
    "floods": ("a candidate that floods the analysts", _floods),
    "ab": ("an A/B test: can the analysts bear an eager threshold?", _ab),
}


def _plan(store_dir: Path, world: World, tell: PrintLine) -> None:
    words = ["rollout", "plan", MODEL, "--version", world.good.manifest.version]
    tell(f"$ vedette {' '.join(words)}")
    command = [sys.executable, "-m", "operators.cli.main", *words, "--requests", "3000", "--store-dir", str(store_dir)]
    subprocess.run(command, check=True, env=environment())


def _verdict(result: SceneResult) -> str:
    if result.broken:
        return "[bold red]not as promised:[/] " + "; ".join(result.broken)
    return "[bold green]as promised[/]"
