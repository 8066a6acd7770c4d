"""A replica without Ray and its cluster: how it starts, and how it follows the served file."""

import asyncio
from types import SimpleNamespace

import pytest

from operators.labs.simple_model import build_simple
from serving.app import compose
from serving.loading.served_file import ServedFile
from serving.models.build import build_bundle
from serving.models.store import BundleStore
from serving.replica import replica
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from serving.spec import ModelSpec, RevisionSpec, ServingSpec

WANTED = ServingSpec(models=(ModelSpec(name="flows", version="1", revision=RevisionSpec(bundle="sha256:" + "0" * 64)),))


class FailsOnce(ServedFile):
    """A file whose first read fails, as on a disk that is out for a moment."""

    failures = 1

    def __init__(self, folder, problem):
        super().__init__(folder)
        self.problem = problem

    def read(self):
        if self.failures:
            self.failures -= 1
            raise self.problem
        return super().read()


@pytest.mark.parametrize(
    "problem", [OSError(116, "Stale file handle"), RecursionError("a defect of ours")], ids=["disk", "defect"]
)
async def test_a_change_that_cannot_be_read_is_read_at_the_next_look(tmp_path, monkeypatch, problem):
    """Else an abort is lost: nothing is written to the file after it."""
    monkeypatch.setattr("serving.replica.host._FOLLOW_EVERY_S", 0)
    applied = asyncio.Queue()
    host = ReplicaHost(ServingSettings(store_dir=tmp_path, http_port=0, grpc_port=0), None)
    host._composition = SimpleNamespace(
        service=SimpleNamespace(apply=applied.put), served=FailsOnce(tmp_path, problem), fallback=ServingSpec
    )
    ServedFile(tmp_path).write(WANTED)
    following = asyncio.create_task(host._follow())
    async with asyncio.timeout(5):
        assert await applied.get() == WANTED
    following.cancel()


@pytest.mark.parametrize("begin", ["_startup", "_reconfigure"])
async def test_the_served_file_is_followed_while_the_first_of_it_still_loads(tmp_path, monkeypatch, begin):
    """Else an abort waits for the slow candidate that it takes away."""
    monkeypatch.setattr("serving.replica.host._FOLLOW_EVERY_S", 0)
    applied, is_loaded = asyncio.Queue(), asyncio.Event()

    async def apply(spec):
        await applied.put(spec)
        await is_loaded.wait()

    async def compose(_):
        return SimpleNamespace(
            service=SimpleNamespace(apply=apply), served=ServedFile(tmp_path), fallback=ServingSpec, backend=None
        )

    host = ReplicaHost(ServingSettings(store_dir=tmp_path, http_port=0, grpc_port=0, replicas=2), compose)
    host._composition = await compose(None)
    ServedFile(tmp_path).write(WANTED)
    starting = asyncio.create_task(host._startup() if begin == "_startup" else host._reconfigure(None))
    async with asyncio.timeout(5):
        assert await applied.get() == WANTED
        ServedFile(tmp_path).write(ServingSpec())
        assert await applied.get() == ServingSpec()
    assert not starting.done()
    is_loaded.set()
    await starting
    host._following.cancel()


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A replica as Ray Serve makes one, over a store whose newest version nobody has asked for; and the first version's digest."""
    monkeypatch.setattr(replica, "keep_replica_to_loopback", lambda: None)
    store, simple = BundleStore(tmp_path / "store"), build_simple(tmp_path / "1")
    one = store.add(simple)
    store.add(build_bundle(tmp_path / "2", model=simple.model_path.read_bytes(), name="simple", version="2"))
    settings = ServingSettings(store_dir=tmp_path / "store", http_port=0, grpc_port=0, audit=False)
    made = replica.Replica.func_or_class(settings, compose)
    yield made, one
    made._host.stop()


@pytest.mark.heavy
def test_a_replica_serves_nothing_and_is_not_ready_before_its_first_user_config(started):
    made, one = started
    service = made._host.backend.service
    assert not service.is_ready()
    made.reconfigure({"models": [{"name": "simple", "version": "1", "revision": {"bundle": one}}]})
    assert service.is_ready()
    assert service.model_metadata("simple", None).versions == ("1",)
    made.reconfigure({})
    assert service.model_metadata("simple", None).versions == ("1",), "an empty one leaves things as they are"


@pytest.mark.parametrize("begin", [lambda made: made.reconfigure({}), lambda made: made.check_health()], ids=["empty", "null"])
def test_a_replica_without_user_config_serves_what_the_store_says(started, begin):
    made, _ = started
    begin(made)
    assert made._host.backend.service.model_metadata("simple", None).versions == ("2",)
