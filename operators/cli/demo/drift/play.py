"""The steps of the drift demonstration. Everything is real but the traffic and the analyst.

The traffic is generated, so the truth of each event is known, and recall is counted, not estimated. The analyst is simulated: what the
queue draws is labelled by its truth at once, which takes people days."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from rich.markup import escape

from lifecycle.monitoring.alarm import Alarm, AlarmLog
from lifecycle.monitoring.watch.state_files import StateFiles
from operators.cli.console import errors
from operators.cli.demo.drift.children import RunningVerb, VerbError, answer_of, running, verb
from operators.cli.demo.drift.files import MODEL, write_files, write_labels
from operators.cli.demo.drift.result import (
    DRIFTED,
    QUIET,
    DriftResult,
    KnownAnswer,
    PhaseFigures,
    Promise,
    figures,
    is_clearly_above,
    story_in,
    untold,
)
from operators.cli.demo.drift.stream import BENIGN, FIELDS, Sessions, sessions
from operators.cli.demo.play import PrintLine
from operators.cli.demo.scenes import followed
from operators.cli.demo.server import end_of_log, running_server
from operators.cli.demo.traffic import DemoTraffic, TrafficAnswer, TrafficEvent
from operators.cli.demo.world import DATATYPES
from operators.cli.rollout.start import started
from operators.control.folder import ControlFolder

TRAINED_ROWS: Final = 12_000
LABELS: Final = 400
"""The budget of the labelling queue."""
_POLL_S: Final = 0.2
_WITHIN_S: Final = 600.0
"""A step that takes longer hangs, on the busiest machine too."""
_CHUNK: Final = 500


class DriftDemoError(Exception):
    """A step did not come to its end; the message says which."""


class StepPrinter:
    """Prints lines, and each step with the time since the beginning."""

    def __init__(self, tell: PrintLine) -> None:
        self._tell, self._began = tell, time.monotonic()

    @property
    def took_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def __call__(self, line: str) -> None:
        """Print a line."""
        self._tell(line)

    def step(self, title: str, rest: str = "") -> None:
        """Print that a step begins."""
        self._tell(f"\n[bold]{title}[/]{rest}  [dim]{self.took_s:.0f} s[/]")


@dataclass(frozen=True, slots=True)
class DriftOptions:
    """answers: how many there are before the drift and after the promotion; after the drift there are twice as many."""

    seed: int = 1
    rate_per_s: float = 300.0
    answers: int = 1500


def play(store_dir: Path, options: DriftOptions, print_line: PrintLine) -> DriftResult:
    """Play it on a fresh store. Raises ServerError, VerbError, DriftDemoError."""
    files, result, tell = store_dir / "demo", DriftResult(options.seed), StepPrinter(print_line)
    tell.step("train a detector", f" on {TRAINED_ROWS:,} generated sessions")
    tell("$ vedette train sessions.yaml --data sessions.parquet")
    write_files(files, sessions(np.random.default_rng([options.seed, 0]), TRAINED_ROWS, is_drifted=False))
    train_first(store_dir, files)
    tell.step("serve it, and watch it")
    tell("$ vedette up\n$ vedette monitor")
    watch = ("monitor", "--model", MODEL, "--every", "0.5")
    with running_server(store_dir, "--no-train") as server, running(store_dir, *watch) as monitor:
        try:
            asyncio.run(DriftDemo(store_dir, server, monitor, options, tell, result).play())
        except (VerbError, DriftDemoError):
            tell(f"[dim]the end of the server's log:[/]\n{escape(end_of_log(store_dir))}")
            raise
        if result.broken:
            tell(f"[dim]the end of the server's log:[/]\n{escape(end_of_log(store_dir))}")
    result.took_s = tell.took_s
    return result


def train_first(store_dir: Path, files: Path) -> None:
    """The first bundle, and the service that serves it."""
    from lifecycle.datasets.data import read_data
    from lifecycle.datasets.declarations import read_detector
    from lifecycle.training.feast_store import FeastStore
    from lifecycle.training.train import add_to_store, prepare, train
    from operators.cli.models.training_record import record_training
    from serving.models.store import BundleStore
    from serving.settings import ServingSettings

    detector = read_detector(str(files / "sessions.yaml"))
    rows = read_data(detector, files / "sessions.parquet")
    prepared = prepare(detector, rows, FeastStore(store_dir / "feast"), with_test=True)
    bundle = add_to_store(train(prepared), BundleStore(store_dir))
    record_training(bundle, ServingSettings(store_dir=store_dir))
    folder, first = ControlFolder(store_dir), {"version": bundle.manifest.version, "bundle": bundle.digest}
    folder.change(MODEL, lambda before: started(before, MODEL, first, None, folder.who(), "the first"))


class EventStream:
    """Events without an end; drifted from the moment on at which `is_drifted` is set."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 1])
        self.is_drifted = False

    def __iter__(self) -> Iterator[TrafficEvent]:
        while True:
            is_drifted = self.is_drifted
            for event in _events(sessions(self._rng, _CHUNK, is_drifted=is_drifted), DRIFTED if is_drifted else QUIET):
                if self.is_drifted != is_drifted:
                    break
                yield event


def _events(drawn: Sessions, phase: str) -> Iterator[TrafficEvent]:
    columns = {name: values.tolist() for name, values in drawn.rows.items()}
    for place, family in enumerate(drawn.family.tolist()):
        row = {name: (DATATYPES[type_], columns[name][place]) for name, type_ in FIELDS.items()}
        yield TrafficEvent(row, family, phase)


class DriftDemo:
    """The server and the monitor are there; the rest is played, step by step, under constant load."""

    def __init__(
        self,
        store_dir: Path,
        server: Mapping[str, str],
        monitor: RunningVerb,
        options: DriftOptions,
        tell: StepPrinter,
        result: DriftResult,
    ) -> None:
        self._store, self._files, self._monitor = store_dir, store_dir / "demo", monitor
        self._options, self._tell, self._result = options, tell, result
        self._events = EventStream(options.seed)
        self._traffic = DemoTraffic(server["http"], server["grpc"], MODEL, iter(self._events), options.rate_per_s, self._note)
        self._folder = ControlFolder(store_dir)

    async def play(self) -> None:
        """From the first request to the lineage."""
        async with self._traffic.running() as traffic:
            self._result.rate_per_s = traffic.rate
            self._tell(f"constant load from here on: {traffic.rate:.0f} requests/s over HTTP and gRPC")
            await self._quiet()
            await self._drift()
            await self._label()
            began = time.monotonic()
            challenger = await self._retrain()
            await self._roll_out(challenger, began)
        counts = self._traffic.total
        self._result.answered, self._result.failed = counts.answered, counts.failed
        why = f": {counts.failures[0]}" if counts.failures else ""
        self._expect(counts.failed == 0, f"{counts.answered:,} requests answered, {counts.failed} failed{why}")
        await self._lineage()

    async def _quiet(self) -> None:
        self._tell.step("quiet traffic")
        wanted = self._options.answers
        await self._until(lambda: min(len(self._answers), self._watched()), wanted, "answers are watched")
        alarms = self._alarms()
        self._expect(
            not alarms, f"no alarm while nothing changes, in {self._watched():,} rows{''.join(f'; {a.words}' for a in alarms)}"
        )
        self._sum_up("before the drift", self._answers)

    async def _drift(self) -> None:
        self._tell.step(
            "the traffic drifts", ": QUIC takes the place of TCP, and attackers call home over it, as no training row shows"
        )
        self._mark("drift")
        self._events.is_drifted = True
        await self._until(lambda: sum(a.severity == "major" for a in self._alarms()), 1, "major alarm")
        rows = len(self._drifted())
        self._mark("alarm")
        for alarm in self._alarms():
            self._tell(f"  {alarm.severity}: {escape(alarm.words)}")
        self._expect(True, f"`vedette monitor` raises a major alarm, after {rows:,} answers")
        await self._until(lambda: len(self._drifted()), 2 * self._options.answers, "answers after the drift")
        before, now = self._result.phases[0], self._sum_up("after the drift", self._drifted())
        self._expect(is_clearly_above(before.recall, now.recall), "recall has fallen by more than chance explains")

    async def _label(self) -> None:
        self._tell.step("label", ": the analyst is simulated; what takes people days comes at once")
        self._result.alarms = [
            {name: getattr(a, name) for name in ("severity", "kind", "subject", "words")} for a in self._alarms()
        ]
        since = datetime.fromtimestamp(min(alarm.began_us for alarm in self._alarms()) / 1e6, UTC).isoformat()
        queue = ("label", "queue", MODEL, "--budget", str(LABELS), "--since", since)
        self._tell(f"$ vedette {' '.join(queue)}\n$ vedette label import labels.csv")
        drawn = await answer_of(self._store, *queue)
        path = self._files / "labels.csv"
        families = {a.receipt: a.family or BENIGN for a in self._answers}
        write_labels(path, [event["event"] for event in drawn["events"]], families)
        taken = await answer_of(self._store, "label", "import", str(path))
        self._mark("labels")
        self._result.labels = taken["given"]
        self._expect(
            taken["given"] >= 0.9 * LABELS,
            f"{taken['given']} of {drawn['drawn']['rows']:,} answers since the drift began are labelled: "
            f"{drawn['drawn']['audit']} at random, {drawn['drawn']['alert']} of the alerts, and those that teach most",
        )

    async def _retrain(self) -> str:
        words = ("retrain", "run", MODEL, "--policy", "retraining.yaml", "--data", "sessions.parquet")
        self._tell.step("train a challenger")
        self._tell(f"$ vedette {' '.join(words)}")
        placed = [str(self._files / word) if word.endswith((".yaml", ".parquet")) else word for word in words]
        look = await answer_of(self._store, *placed)
        self._mark("challenger")
        ended = look["ended"] or {}
        self._result.gates = (look["challenge"] or {}).get("gates", [])
        for gate in self._result.gates:
            self._tell(f"  {gate['verdict'].replace('_', ' ')}: {escape(gate['words'])}")
        if not self._expect(
            ended.get("outcome") == "rolled_out", f"it passes `vedette gate` and the challenge: {look['words']}"
        ):
            raise DriftDemoError(f"there is no challenger to roll out: {look['words']}")
        return str(ended["bundle"])

    async def _roll_out(self, challenger: str, began: float) -> None:
        self._tell.step("roll it out")
        self._tell(f"$ vedette rollout get {MODEL} --watch")
        ended = await followed(self._folder, MODEL, challenger, began, self._tell, within_s=_WITHIN_S)
        if ended is None or ended.outcome != "promoted":
            how = "still under way" if ended is None else f"{ended.outcome}: {ended.reason}"
            raise DriftDemoError(f"the challenger is not promoted; its rollout is {how}")
        self._mark("promoted")
        moves = [move.move for move in ended.moves]
        is_mirrored = "mirror" in moves and moves.index("mirror") < moves.index("setWeight")
        self._expect(is_mirrored, f"it is promoted after it met copies only, then 25 % of the sessions; {ended.reason}")
        first, version = len(self._answers), ended.candidate.version
        await self._until(lambda: len(self._answers) - first, self._options.answers, "answers after the promotion")
        before, now = self._result.phases[1], self._sum_up("after the promotion", self._answers[first:], version)
        self._expect(is_clearly_above(now.recall, before.recall), "recall is better by more than chance explains")

    async def _lineage(self) -> None:
        words = ("lineage", "show", f"rollout/{MODEL}")
        self._tell.step("the whole story")
        self._tell(f"$ vedette {' '.join(words)}")
        shown = await verb(self._store, *words)
        self._tell(escape(shown.rstrip()))
        self._result.story = story_in(shown)
        missing = untold(self._result.story)
        self._expect(
            not missing,
            f"it tells the story from the alarm to the promotion{'; it lacks ' if missing else ''}{', '.join(missing)}",
        )

    @property
    def _answers(self) -> list[KnownAnswer]:
        return self._result.answers

    def _drifted(self) -> list[KnownAnswer]:
        return [a for a in self._answers if a.phase == DRIFTED]

    def _note(self, event: TrafficEvent, answer: TrafficAnswer) -> None:
        family = "" if event.truth == BENIGN else event.truth
        self._answers.append(KnownAnswer(answer.receipt, family, event.phase, answer.verdict == "alert", answer.version))

    def _watched(self) -> int:
        return StateFiles(self._store / "monitoring").read(MODEL).rows

    def _alarms(self) -> list[Alarm]:
        return list(AlarmLog(self._store / "monitoring").read())

    def _mark(self, what: str) -> None:
        self._result.moments[what] = len(self._answers)

    def _sum_up(self, title: str, answers: Sequence[KnownAnswer], version: str = "1") -> PhaseFigures:
        now = figures(title, version, answers)
        self._result.phases.append(now)
        self._tell(f"  recall {title}: {now.recall.value or 0:.1%} of {now.attacks} attacks")
        return now

    def _expect(self, is_kept: bool, promise: str) -> bool:
        self._result.promises.append(Promise(promise, is_kept))
        self._tell(f"  {'[green]kept[/]  ' if is_kept else '[bold red]BROKEN[/]'} {escape(promise)}")
        return is_kept

    async def _until(self, count: Callable[[], int], wanted: int, what: str) -> None:
        """Wait until there are so many. Raises VerbError, DriftDemoError."""
        end = time.monotonic() + _WITHIN_S
        with errors.status(what) as status:
            while (seen := count()) < wanted:
                self._monitor.check()
                if time.monotonic() > end:
                    raise DriftDemoError(
                        f"there are {seen:,} of {wanted:,} {what} after {_WITHIN_S:.0f} s; {self._monitor.end_of_log()}"
                    )
                status.update(f"{seen:,} of {wanted:,} {what}")
                await asyncio.sleep(_POLL_S)
