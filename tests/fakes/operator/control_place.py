"""A store of nothing but names, a folder of services, and a loop over replicas that follow the store."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from operators.backends.local import LocalBackend
from operators.control.folder import ControlFolder
from operators.control.loop import Loop
from operators.rollout.spec import Revision
from serving.loading.served_file import ServedFile, newest_of_each
from serving.models.store import BundleStore
from tests.fakes.operator.metrics_page import Page, served
from tests.fakes.serving.replicas import FakeReplicas

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
QUICK = {
    "steps": [
        {"mirror": {"percent": 100}},
        {"analysis": {}},
        {"setWeight": 5},
        {"analysis": {}},
        {"setWeight": 25},
        {"analysis": {}},
        {"setWeight": 100},
    ],
    "analysis": {
        "gates": [
            {"name": "errors", "margin": 0.03},
            {"name": "latency", "margin": 0.05},
            {"name": "alertRate", "margin": 0.05},
        ],
        "minRequests": 50,
        "staleAfter": "10s",
    },
}


def revision(version: int) -> Revision:
    return Revision(version=str(version), bundle=f"sha256:{version:064x}")


def put_in_store(store_dir: Path, model: str, version: int) -> Revision:
    """Make the store have a bundle of this name, as far as the control plane looks."""
    made = revision(version)
    BundleStore(store_dir).folder_of(made.bundle).mkdir(parents=True, exist_ok=True)
    pointer = store_dir / "models" / model / f"{version}.json"
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.write_text(json.dumps({"digest": made.bundle}))
    return made


def document(wanted: Revision, name: str = "ids", **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name},
        "spec": {"revision": wanted.model_dump(mode="json", by_alias=True), "rollout": {"policy": QUICK}, **spec},
    }


@dataclass
class Place:
    """Everything of one store; `now` is moved by hand."""

    store_dir: Path
    folder: ControlFolder
    replicas: FakeReplicas
    page: Page
    session: aiohttp.ClientSession
    now: datetime = START

    def loop(self) -> Loop:
        """A new process' loop over what is on the disk."""
        backend = LocalBackend(
            self.store_dir, self.session, addresses=lambda: (self.page.address,), expected_replicas=lambda: self.replicas.count
        )
        return Loop(self.folder, backend, now=lambda: self.now)

    def traffic(self, requests: int, seconds: float = 1.0) -> None:
        self.replicas.answer(requests)
        self.show(seconds)

    def show(self, seconds: float = 1.0) -> None:
        self.now += timedelta(seconds=seconds)
        self.page.text = self.replicas.page()

    async def look(self, looks: int = 1, requests: int = 300) -> None:
        """So many looks with requests between them, each look by a loop that was started anew."""
        for _ in range(looks):
            self.traffic(requests)
            await self.loop().look_at_all()


@asynccontextmanager
async def placed(tmp_path: Path) -> AsyncIterator[Place]:
    put_in_store(tmp_path, "ids", 1)
    put_in_store(tmp_path, "ids", 2)
    ServedFile(tmp_path).write(newest_of_each(BundleStore(tmp_path)))
    spec = ServedFile(tmp_path).read()
    first = spec.models[0].model_copy(update={"version": "1", "revision": revision(1).serving()})
    ServedFile(tmp_path).write(spec.model_copy(update={"models": (first,)}))
    page = Page("")
    async with served(page), aiohttp.ClientSession() as session:
        yield Place(tmp_path, ControlFolder(tmp_path), FakeReplicas(tmp_path, "ids"), page, session)
