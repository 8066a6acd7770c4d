"""What the console shows in the browser's tests: a store with everything in it, made by the project's own writers, and a loop that acts.

There is no Ray. Replicas are stand-ins that follow `served.json` and count what known candidates would do; the loop is the real one."""

import asyncio
import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lifecycle.monitoring.alarm import AlarmLog
from lifecycle.monitoring.watch.keep_watch import ModelWatch
from lifecycle.monitoring.watch.settings import WatchSettings
from lifecycle.monitoring.watch.state_files import StateFiles
from operators.backends.exposition import ReplicaPage
from operators.backends.local import LocalBackend
from operators.console.service.sampler import ReplicaSampler
from operators.control.folder import ControlFolder
from operators.control.loop import Loop
from operators.rollout.status import Phase, RolloutStatus
from serving.loading.served_file import ServedFile
from serving.models.build import build_bundle
from serving.models.manifest import Expected, OperatingPoint
from serving.models.store import BundleStore
from serving.spec import ModelSpec, RevisionSpec, ServingSpec
from serving.telemetry.metrics import ServingMetrics
from tests import quick_yaml as yaml
from tests.fakes.approvers import signer
from tests.fakes.monitoring import stream
from tests.fakes.operator.control_place import put_in_store, revision
from tests.fakes.operator.metrics_page import Page, served
from tests.fakes.serving.replicas import FakeReplicas
from tests.unit.lifecycle.governance.archive.logs import LogWorld
from tests.unit.operators.console.log_index.worlds import alert
from tests.unit.serving.scoring.variants import graph
from tests.waiting import until

PROMOTED, ABORTED, GUARDED, QUIET = "mail-phishing", "dns-tunnel", "lateral-movement", "beaconing"
DRIFTING = "dns"
"""The model that the monitor watches."""
SERVICES = (PROMOTED, ABORTED, GUARDED, QUIET)
_ANALYSIS = {"gates": [{"name": "errors", "margin": 0.03}, {"name": "alertRate", "margin": 0.05}], "minRequests": 0}
CANARY = {"steps": [{"setWeight": 5}, {"pause": {}}, {"setWeight": 100}], "analysis": _ANALYSIS, "rollbackWindow": "0s"}
FOUR_EYES = {
    "steps": [{"approval": {"roles": ["detection-lead", "soc-manager"]}}, {"setWeight": 100}],
    "analysis": _ANALYSIS,
    "rollbackWindow": "0s",
}
APPROVERS = {"ada": "detection-lead", "bob": "soc-manager"}


class FolderWithReplicas(ControlFolder):
    """The services of a store, with a replica that has answered some more requests each time that its metrics are read."""

    def __init__(self, store_dir: Path) -> None:
        super().__init__(store_dir)
        self._metrics = ServingMetrics("replica-1", now=lambda: 1_760_000_000.0)
        self._rng = np.random.default_rng(5)

    def replica_pages(self) -> tuple[ReplicaPage, ...]:
        """The page, after some requests to each model."""
        for model, requests in ((DRIFTING, 60), (QUIET, 25), (PROMOTED, 12)):
            handle = self._metrics.for_model(model, "1", "stable", "http")
            for seconds in self._rng.gamma(4, 0.0003, int(requests * self._rng.uniform(0.8, 1.2))):
                is_alert = self._rng.random() < 0.04
                handle.answered(
                    float(seconds), 1, operating_point="siem_alerting", verdicts=(int(not is_alert), 0, int(is_alert)),
                    degraded_rows=int(self._rng.random() < 0.01), feature_s=0.0003, model_s=0.00001,
                    feature_age_ms=float(self._rng.uniform(500, 9000)),
                )  # fmt: skip
        log = 'vedette_audit_signed{replica="replica-1"} 1\nvedette_audit_failing{replica="replica-1"} 0\n'
        breakers = "".join(
            f'vedette_breaker_state{{replica="replica-1",dependency="{name}"}} 0\n' for name in ("features", "cache")
        )
        return (ReplicaPage("replica-1", self._metrics.render().decode() + log + breakers),)


def watched_for_minutes(control: ControlFolder) -> ReplicaSampler:
    """A sampler as it is after somebody has watched the page Service for five minutes."""
    ahead = [timedelta(minutes=-5)]
    sampler = ReplicaSampler(control.replica_pages, lambda: datetime.now(UTC) + ahead[0])
    for _ in range(100):
        sampler.look()
        ahead[0] = min(ahead[0] + timedelta(seconds=3), timedelta(0))
    return sampler


@dataclass
class ConsoleWorld:
    """A store, and the thread that looks after its rollouts."""

    store: Path
    folder: ControlFolder
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start_rollout(self, name: str, version: int = 2) -> None:
        """Ask for another version of a service."""

        def wanted(document: Any) -> Any:
            asked = revision(version).model_dump(mode="json", by_alias=True)
            return {**document, "spec": {**document["spec"], "revision": asked}}

        self.folder.change(name, wanted)

    def status(self, name: str) -> RolloutStatus:
        """Where a service stands."""
        return self.folder.status(name) or RolloutStatus()

    def prepare_pages(self) -> None:
        """Have a rollout under way on QUIET, so that its page has something to show."""
        if not self.status(QUIET).is_under_way:
            self.start_rollout(QUIET)
            until(lambda: self.status(QUIET).phase is Phase.PAUSED, "the canary does not reach its pause")

    def key_file(self, person: str) -> Path:
        """The private key of an approver, as `vedette audit key new` writes it."""
        path = self.store.parent / f"{person}.pem"
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(person.encode()).digest())  # as tests.fakes.approvers has it
        path.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return path


@contextlib.contextmanager
def console_world(folder: Path) -> Iterator[ConsoleWorld]:
    """A store with services whose version 1 is served, while a loop acts on it."""
    store = folder / "store"
    _answers(store)
    _serve(store)
    _people(store)
    _drift(store, folder)
    world = ConsoleWorld(store, FolderWithReplicas(store))
    for name in SERVICES:
        policy = FOUR_EYES if name == GUARDED else CANARY
        spec = {"revision": revision(1).model_dump(mode="json", by_alias=True), "rollout": {"policy": policy}}
        document = {"apiVersion": "vedette.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name}, "spec": spec}
        world.folder.change(name, lambda _, document=document: document)
    stopping, loop = asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(_look_after(world, stopping),), name="rollouts", daemon=True
    )
    thread.start()
    try:
        yield world
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(30)
        loop.close()


def _serve(store: Path) -> None:
    models = []
    for name in SERVICES:
        put_in_store(store, name, 1)
        put_in_store(store, name, 2)
        models.append(ModelSpec(name=name, version="1", revision=revision(1).serving()))
    ServedFile(store).write(ServingSpec(models=tuple(models)))


def _answers(store: Path) -> None:
    """A signed log of answers of the last half hour, some of them alerts, on known hosts."""
    logs = LogWorld(store)
    now_us = time.time_ns() // 1000
    logs.now_us = now_us - 1800 * stream.SECOND_US
    records = []
    for number in range(120):
        host = f"10.20.{number % 7}.{number % 11 + 4}"
        verdict = ("alert", "benign", "benign", "investigate")[number % 4]
        made = alert(number, host, verdicts=(verdict,), model=DRIFTING, receipt=f"5f2c81-{number:x}")
        records.append(msgspec.structs.replace(made, time_us=now_us - (130 - number) * 12 * stream.SECOND_US))
    logs.write(*records, is_open=False)


def _drift(store: Path, folder: Path) -> None:
    """A model with a reference, rows that drift, and a monitor that has looked at them."""
    files = {"reference/sample.json": json.dumps(_sample()).encode()}
    point = OperatingPoint(
        threshold=0.8, investigate=0.5, requirement="recall >= 0.98",
        expected=Expected(precision=0.93, recall=0.985, f1=0.957, false_alarm_rate=0.004, attack_share=0.05, rows=20_000),
    )  # fmt: skip
    bundle = build_bundle(
        folder / "bundle", model=graph(1.0), files=files, name=DRIFTING, version="1", score={"output": "risk"},
        operating_points={"siem_alerting": point}, default_operating_point="siem_alerting",
        description="Finds tunnels in DNS: hosts that send data out in the names that they ask for.",
    )  # fmt: skip
    BundleStore(store).add(bundle)
    files_of_served = ServedFile(store)
    before = files_of_served.read() or ServingSpec()
    served_too = ModelSpec(name=DRIFTING, version="1", revision=RevisionSpec(bundle=bundle.digest))
    files_of_served.write(before.model_copy(update={"models": (*before.models, served_too)}))
    log = folder / "watched"  # a log that the console does not show
    for rows in (
        stream.answered(np.random.default_rng(0), 400),
        stream.answered(np.random.default_rng(1), 400, begin=400, shift=1.2),
    ):
        stream.append_to_log(log, replace(rows, model=DRIFTING))
    files_of_states = StateFiles(store / "monitoring")
    alarms = AlarmLog(store / "monitoring")
    find = BundleStore(store).resolve
    watch = ModelWatch(DRIFTING, log, files_of_states, alarms, WatchSettings(), find)
    watch.look(stream.START_US + 900 * stream.SECOND_US)
    watch.keep()


def _sample() -> dict[str, Any]:
    found = stream.values(np.random.default_rng(99), 1000)
    return {"columns": {name: list(column) for name, column in found["columns"].items()}, "score": found["score"].tolist()}


def _people(store: Path) -> None:
    people = [{"name": name, "roles": [role], "key": str(signer(name).verifier)} for name, role in APPROVERS.items()]
    path = store / "governance" / "people.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"people": people}))


async def _look_after(world: ConsoleWorld, stopping: asyncio.Event) -> None:
    """Let requests come in and look at every service, until told to stop."""
    page = Page("")
    replicas = [FakeReplicas(world.store, name) for name in SERVICES]
    async with served(page), aiohttp.ClientSession() as session:
        backend = LocalBackend(world.store, session, addresses=lambda: (page.address,), expected_replicas=lambda: 1)
        loop = asyncio.create_task(Loop(world.folder, backend, every_s=0.1).run(stopping))
        while not stopping.is_set():
            for one in replicas:
                one.answer(200)
            page.text = "".join(one.page() for one in replicas)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 0.1)
        await loop
