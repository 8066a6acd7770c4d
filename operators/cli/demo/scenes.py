"""One scene: a candidate is rolled out under load, and its outcome is checked against the promises.

It uses the same control folder as the command line, and looks up nothing inside the server."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from operators.cli.demo.traffic import DemoTraffic, TrafficCounts
from operators.cli.demo.world import MODEL
from operators.cli.rollout.start import started
from operators.control.folder import ControlFolder
from operators.control.words import move_words
from operators.rollout.status import ExperimentReport, FinishedRollout, RolloutStatus
from serving.models.bundle import Bundle

GATES: Final = [
    {"name": "errors", "margin": 0.03},
    {"name": "latency", "margin": 0.1},
    {"name": "alertRate", "margin": 0.1},
]
ANALYSIS: Final[dict[str, Any]] = {
    "gates": GATES,
    "minRequests": 100,
    "staleAfter": "15s",
    "latencyObjective": "60ms",
}
DARK_FIRST: Final[dict[str, Any]] = {
    "steps": [
        {"mirror": {"percent": 100}},
        {"analysis": {}},
        {"setWeight": 5},
        {"analysis": {}},
        {"setWeight": 25},
        {"analysis": {}},
        {"setWeight": 100},
    ],
    "analysis": ANALYSIS,
    "rollbackWindow": "0s",
}
LIVE_AT_ONCE: Final[dict[str, Any]] = {
    "steps": [{"setWeight": 5}, {"analysis": {}}, {"setWeight": 25}, {"analysis": {}}, {"setWeight": 100}],
    "analysis": ANALYSIS,
    "rollbackWindow": "0s",
}
LITTLE_BY_LITTLE: Final[dict[str, Any]] = {
    "steps": [{"setWeight": 2}, {"analysis": {}}, {"setWeight": 25}, {"analysis": {}}, {"setWeight": 100}],
    "analysis": ANALYSIS,
    "rollbackWindow": "0s",
}
"""For a candidate whose runs are slow: two requests of a hundred are enough to show it."""
_POLL_S: Final = 0.2
_WITHIN_S: Final = 240.0


@dataclass(slots=True)
class SceneResult:
    """The result of a scene. broken: promises that do not hold, in words; empty if all hold.

    met_s: from the first request or copy the candidate got until the end; None: it got none. live: requests given to it, as clients
    saw it; mirrored: copies it was judged by."""

    title: str
    outcome: str
    took_s: float
    counts: TrafficCounts
    met_s: float | None = None
    live: int = 0
    mirrored: int = 0
    reason: str = ""
    weights: tuple[float, ...] = ()
    report: ExperimentReport | None = None
    broken: list[str] = field(default_factory=list)

    def expect(self, is_fulfilled: bool, promise: str) -> None:
        """Note a promise that does not hold."""
        if not is_fulfilled:
            self.broken.append(promise)


class Stage:
    """The folder of services and the load; `tell` prints a line."""

    def __init__(self, folder: ControlFolder, traffic: DemoTraffic, tell: Callable[[str], None]) -> None:
        self.folder, self.traffic, self._tell = folder, traffic, tell

    async def rollout(self, title: str, bundle: Bundle, policy: dict[str, Any]) -> SceneResult:
        """Ask for a bundle and wait for the end of its rollout."""
        counts, began = self.traffic.begin(), time.monotonic()
        version = bundle.manifest.version
        self._tell(f"$ vedette rollout start {MODEL} --version {version} --why '{title}'")
        revision = {"version": version, "bundle": bundle.digest}
        by = self.folder.who()
        self.folder.change(MODEL, lambda before: started(before, MODEL, revision, {"policy": policy}, by, title))
        ended = await followed(self.folder, MODEL, bundle.digest, began, self._tell)
        result = SceneResult(title, ended.outcome if ended else "still under way", time.monotonic() - began, counts)
        if ended is not None:
            self._sum_up(result, ended)
        result.expect(ended is not None, f"it ends within {_WITHIN_S:.0f} s")
        result.expect(counts.failed == 0, f"0 failed client requests, there were {counts.failed}: {counts.failures[:1]}")
        return result

    async def experiment(self, title: str, spec: dict[str, Any], within_s: float) -> SceneResult:
        """Run an A/B test to its end."""
        counts, began = self.traffic.begin(), time.monotonic()
        self._tell(f"$ vedette experiment start {MODEL} --file experiment.yaml --why '{title}'")
        self.folder.change(MODEL, lambda before: {**(before or {}), "spec": {**(before or {})["spec"], "experiment": spec}})
        report = None
        while time.monotonic() - began < within_s:
            await asyncio.sleep(_POLL_S)
            report = self._status().report
            if report is not None and report.is_final:
                break
        outcome = "concluded" if report is not None and report.is_final else "still under way"
        result = SceneResult(title, outcome, time.monotonic() - began, counts, report=report)
        result.expect(outcome == "concluded", "it ends by its duration")
        result.expect(counts.failed == 0, f"0 failed client requests, there were {counts.failed}: {counts.failures[:1]}")
        return result

    def settle(self, stable: Bundle) -> None:
        """Set the spec to the stable revision, so that it no longer asks for an aborted candidate."""
        version = stable.manifest.version
        self._tell(f"$ vedette rollout start {MODEL} --version {version} --why 'what serves is what is wanted'")
        revision, by = {"version": version, "bundle": stable.digest}, self.folder.who()
        self.folder.change(MODEL, lambda before: started(before, MODEL, revision, None, by, "what serves is what is wanted"))

    def _status(self) -> RolloutStatus:
        return self.folder.status(MODEL) or RolloutStatus()

    def _sum_up(self, result: SceneResult, ended: FinishedRollout) -> None:
        met = _first(ended, ("mirror", "setWeight"))
        result.reason = ended.reason
        result.weights = tuple(m.weight for m in ended.moves if m.move == "setWeight" and m.weight is not None)
        result.met_s = None if met is None else (ended.ended - met).total_seconds()
        seen = max((m.assessment.requests for m in ended.moves if m.assessment), default=0)
        result.live = result.counts.by_revision[f"candidate@{ended.candidate.version}"] + result.counts.fallbacks
        result.mirrored = max(0, seen - result.live) if any(m.move == "mirror" for m in ended.moves) else 0


async def followed(
    folder: ControlFolder, model: str, digest: str, began: float, tell: Callable[[str], None], *, within_s: float = _WITHIN_S
) -> FinishedRollout | None:
    """The rollout of this bundle that starts after `began` (monotonic), once it is over; its moves are printed as they come.

    None: it was not over in time."""
    printed = 0
    while time.monotonic() - began < within_s:
        await asyncio.sleep(_POLL_S)
        status = folder.status(model) or RolloutStatus()
        last = status.history[0] if status.history else None
        is_over = last is not None and last.candidate.bundle == digest and last.started.timestamp() >= _since(began)
        is_ours = status.candidate is not None and status.candidate.bundle == digest
        moves = last.moves if is_over and last is not None else status.moves if is_ours else ()
        for move in moves[printed:]:
            if not move.move.startswith("pass"):
                seconds = move.at.timestamp() - _since(began)
                tell(f"  {seconds:5.1f} s  [bold]{move_words(move)}[/]  {move.reason}")
        printed = max(printed, len(moves))
        if is_over:
            return last
    return None


def _since(began: float) -> float:
    """A monotonic moment as seconds since the epoch."""
    return time.time() - (time.monotonic() - began)


def _first(ended: FinishedRollout, moves: tuple[str, ...]) -> datetime | None:
    return next((m.at for m in ended.moves if m.move in moves), None)
