"""The loop of `vedette monitor`: looks at each model, hands alarms on, counts; ends at a signal with everything kept. Shell."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import msgspec

from lifecycle.governance.acts import ActsLog
from lifecycle.governance.archive.place import ArchiveError
from lifecycle.labels.label_log import LabelLog
from lifecycle.monitoring.alarm import Alarm, AlarmError, AlarmLog
from lifecycle.monitoring.watch.delivery import AlarmDelivery, DeliveryFailed
from lifecycle.monitoring.watch.keep_watch import ModelWatch, ends_of_log
from lifecycle.monitoring.watch.model_state import StateError
from lifecycle.monitoring.watch.reference import NoReference
from lifecycle.monitoring.watch.settings import WatchSettings
from lifecycle.monitoring.watch.state_files import StateFiles
from lifecycle.performance.watching import AS_A_RULE, FallSettings
from operators.cli.acts import now_us
from operators.cli.console import CommandError, errors, page, plain
from operators.cli.monitoring.label_reader import LabelledAlerts
from operators.cli.monitoring.monitor_metrics import ModelGauges, MonitorMetrics, gauges_of
from operators.cli.monitoring.performance_watch import PerformanceWatch
from operators.telemetry.monitor_names import ALARMS, FAILURES, LOOKS, ROWS
from operators.telemetry.page import served_page
from serving.audit.keys.keyring import Keyring
from serving.audit.signed_note import NoteError
from serving.models.bundle import Bundle
from serving.models.errors import BundleError
from serving.models.manifest import Manifest
from serving.models.store import BundleStore, open_store
from serving.settings import ServingSettings
from serving.sinks.forms.standard_webhooks import secret_bytes, sign

STANDS_STILL_S: Final = 60.0
"""A monitor that has not looked for so long, beyond ten times its interval, is not alive."""
_WEBHOOK_TIMEOUT_S: Final = 10.0
_FIRST_ERROR: Final = 400


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line says. metrics: (host, port) of the page; None: none."""

    store: Path
    models: tuple[str, ...]
    every_s: float
    is_once: bool
    is_from_now: bool
    webhook: str | None
    metrics: tuple[str, int] | None
    as_json: bool
    watch: WatchSettings
    falls: FallSettings = AS_A_RULE
    webhook_secret: Path | None = None


class MonitorRun:
    """One life of the monitor."""

    def __init__(self, options: RunOptions, settings: ServingSettings) -> None:
        self._options = options
        folder = options.store / "monitoring"
        keyring = Keyring.of(options.store, settings.audit_key, settings.audit_key_name)
        acts = ActsLog(options.store / "governance", signer=keyring.signer, now_us=now_us)
        self._alarms = AlarmLog(folder, acts)
        self._files = StateFiles(folder)
        self._bundles: BundleStore = open_store(settings.model_copy(update={"store_dir": options.store}))
        self._labels = LabelledAlerts(options.store / "labels")
        self._watches: dict[str, ModelWatch] = {}
        self._performances: dict[str, PerformanceWatch] = {}
        self._all_labels = LabelLog(options.store / "labels")
        self._receivers = [AlarmDelivery(self._alarms, folder, "stdout", self._print)]
        if options.webhook is not None:
            self._receivers.append(
                AlarmDelivery(self._alarms, folder, "webhook", _poster(options.webhook, options.webhook_secret))
            )
        self._metrics = MonitorMetrics(self._gauges)
        self._looked_s = time.monotonic()
        self._stopped = threading.Event()
        self._raised = 0
        self._told: set[str] = set()

    def run(self) -> int:
        """Watch until a signal, or once; how many alarms were raised. Raises CommandError, AnotherMonitor, OSError."""
        log = self._options.store / "audit"
        if self._options.is_once and not log.is_dir():
            raise CommandError(
                f"{log}: has no log; `vedette up` writes one into its store, or name another store with --store-dir"
            )
        with self._files.held():
            self._alarms.path.parent.mkdir(parents=True, exist_ok=True)
            with self._served():
                before = {signum: signal.signal(signum, self._stop) for signum in (signal.SIGTERM, signal.SIGINT)}
                try:
                    self._record_acts()
                    self._loop()
                finally:
                    for signum, handler in before.items():
                        signal.signal(signum, handler)
                    for watch in self._watches.values():
                        watch.keep()
        return self._raised

    def _loop(self) -> None:
        log = self._options.store / "audit"
        ends = ends_of_log(log)
        while not self._stopped.is_set():
            if not self._options.is_once:
                ends = ends_of_log(log)
            watches = self._wanted()
            most = 0
            for watch in watches:
                most = max(most, self._look(watch))
                if self._stopped.is_set():
                    break
            self._looked_s = time.monotonic()
            self._deliver()
            if most and not all(watch.has_read(ends) for watch in watches):
                continue  # there was more than one look takes
            if self._options.is_once:
                return
            self._stopped.wait(self._options.every_s)

    def _wanted(self) -> list[ModelWatch]:
        """The watches of the models that were asked for, or of all that the store has now."""
        names = self._options.models or tuple(dict.fromkeys(entry.name for entry in self._bundles.entries()))
        for name in names:
            if name not in self._watches:
                try:
                    self._watches[name] = self._opened(name)
                except (StateError, OSError) as problem:
                    if self._options.is_once:
                        raise
                    self._fail("look", f"{problem}; it is not watched until then")
        return [self._watches[name] for name in names if name in self._watches]

    def _opened(self, name: str) -> ModelWatch:
        log, options = self._options.store / "audit", self._options
        watch = ModelWatch(name, log, self._files, self._alarms, options.watch, self._bundle, self._labels.read)
        if options.is_from_now:
            watch.begin_at_end()
        self._performances[name] = PerformanceWatch(
            options.store,
            name,
            self._alarms,
            options.falls,
            self._all_labels.read,
            lambda version: self._manifest(name, version),
        )
        self._metrics.watches(name)
        self._labels.learn(name)
        return watch

    def _look(self, watch: ModelWatch) -> int:
        model, before = watch.state.model, watch.state.alarms
        try:
            rows = watch.look(now_us())
        except (OSError, AlarmError) as problem:
            if self._options.is_once:
                raise
            self._fail("look", f"{model}: {problem}; it is tried again")
            return 0
        fallen = self._look_at_performance(watch)
        self._metrics.count(LOOKS, model)
        self._metrics.count(ROWS, model, by=rows)
        self._raised += watch.state.alarms - before + len(fallen)
        for alarm in (*watch.raised, *fallen):
            self._metrics.count(ALARMS, model, alarm.kind, alarm.severity)
        if watch.acts_missing:
            self._fail(
                "act", "a major alarm is not in the log of governed acts; `vedette audit verify` says what is wrong with it"
            )
        if watch.state.unwatched:
            self._tell_once(f"{model} is not watched: {watch.state.unwatched}")
        return rows

    def _look_at_performance(self, watch: ModelWatch) -> tuple[Alarm, ...]:
        model = watch.state.model
        if not self._all_labels.folder.is_dir():
            return ()
        try:
            return self._performances[model].look(watch.state.current, now_us())
        except (OSError, AlarmError, NoteError, ArchiveError, BundleError) as problem:
            self._fail("look", f"performance of {model}: {problem}; it is tried again")
            return ()

    def _deliver(self) -> None:
        for receiver in self._receivers:
            try:
                receiver.deliver(time.monotonic())
            except (DeliveryFailed, OSError, AlarmError) as problem:
                self._fail("deliver", f"{receiver.name}: {problem}; it is tried again")

    def _record_acts(self) -> None:
        try:
            self._alarms.record_acts()
        except NoteError as problem:
            self._fail("act", str(problem))

    def _bundle(self, model: str, version: str) -> Bundle:
        try:
            return self._bundles.resolve(model, version)
        except BundleError as problem:
            raise NoReference(f"its bundle cannot be read: {problem}") from problem

    def _manifest(self, model: str, version: str) -> Manifest:
        return self._bundles.resolve(model, version).manifest

    def _fail(self, what: str, words: str) -> None:
        self._metrics.count(FAILURES, what)
        self._tell_once(words)

    def _tell_once(self, words: str) -> None:
        if words not in self._told:
            self._told = {*list(self._told)[-100:], words}
            errors.print(f"[red]vedette monitor:[/] {_escaped(words)}", soft_wrap=True)

    def _print(self, alarm: Alarm) -> None:
        if self._options.as_json:
            sys.stdout.write(msgspec.json.encode(alarm).decode() + "\n")
            sys.stdout.flush()
        else:
            page().print(plain(f"{alarm.severity.upper()}  {alarm.words}\n       {alarm.advice}"), markup=False, soft_wrap=True)

    @contextmanager
    def _served(self) -> Iterator[None]:
        if self._options.metrics is None:
            yield
            return
        checks = {"/healthz": lambda: None if self._is_alive() else "the monitor stands still"}
        with served_page(*self._options.metrics, self._metrics.render, checks) as port:
            errors.print(f"metrics on http://{self._options.metrics[0]}:{port}/metrics", soft_wrap=True)
            yield

    def _is_alive(self) -> bool:
        return time.monotonic() - self._looked_s < STANDS_STILL_S + 10 * self._options.every_s

    def _gauges(self) -> tuple[list[ModelGauges], dict[str, int]]:
        at_us = now_us()
        models = [
            gauges_of(watch.state, watch.known_reference, self._performances[name].watched, self._labels.newest_us(name), at_us)
            for name, watch in list(self._watches.items())
        ]
        return models, {receiver.name: receiver.waiting for receiver in self._receivers}

    def _stop(self, *_: object) -> None:
        self._stopped.set()


def _poster(url: str, secret: Path | None) -> Callable[[Alarm], None]:
    """Sends an alarm by HTTP POST: its JSON, and its id as Idempotency-Key. secret: file of the keys that sign it; None: unsigned."""

    def send(alarm: Alarm) -> None:
        body = msgspec.json.encode(alarm)
        headers = {"content-type": "application/json", "idempotency-key": alarm.alarm_id}
        try:
            if secret is not None:
                lines = [line.strip() for line in secret.read_text(encoding="utf-8").splitlines()]
                headers |= sign([secret_bytes(line) for line in lines if line], alarm.alarm_id, int(time.time()), body)
        except (OSError, ValueError) as problem:
            raise DeliveryFailed(f"the secret that signs alarms cannot be used: {problem}") from problem
        try:
            answer = httpx.post(url, content=body, headers=headers, timeout=_WEBHOOK_TIMEOUT_S)
        except httpx.HTTPError as problem:
            raise DeliveryFailed(f"{type(problem).__name__}: {problem}") from problem
        if answer.status_code >= _FIRST_ERROR:
            raise DeliveryFailed(f"HTTP {answer.status_code}")

    return send


def _escaped(words: str) -> str:
    from rich.markup import escape

    return escape(plain(words))
