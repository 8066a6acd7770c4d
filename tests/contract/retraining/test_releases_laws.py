"""What retraining asks of what serves: the control plane of this machine and the fake that tests use keep to the same laws."""

import pytest

from lifecycle.retraining.signals import Champion
from operators.api.types import ModelServiceStatus
from operators.cli.retraining.releases import ControlReleases
from operators.cli.rollout.start import started
from operators.control.folder import ControlFolder
from operators.labs.simple_model import build_simple
from operators.rollout.spec import Revision
from operators.rollout.status import RolloutStatus
from serving.models.store import BundleStore
from serving.settings import ServingSettings
from tests.fakes.releases import MemoryReleases

MODEL = "simple"


class Machine:
    """A store and its control folder; `settle` does what the loop does."""

    def __init__(self, folder):
        self.store = BundleStore(folder)
        self.control = ControlFolder(folder)
        self.releases = ControlReleases(self.control, ServingSettings(store_dir=folder), MODEL)

    def serves(self, bundle):
        revision = Revision(version=bundle.manifest.version, bundle=bundle.digest)
        document = {"version": revision.version, "bundle": revision.bundle}
        self.control.change(MODEL, lambda before: started(before, MODEL, document, None, "ada", "the first"))
        self._stands_at(revision)

    def settle(self):
        self._stands_at(self.control.read(MODEL).service.spec.revision)

    def asked(self):
        return self.control.read(MODEL).service.metadata.generation - 1

    def _stands_at(self, revision):
        status = RolloutStatus(stable=revision, seen=revision.digest)
        self.control.record(MODEL, ModelServiceStatus(rollout=status))


class Memory:
    def __init__(self, folder):
        self.store = BundleStore(folder)
        self.releases = MemoryReleases(self.store, None)

    def serves(self, bundle):
        self.releases.serving = self.releases._champion(bundle.digest)

    def settle(self):
        self.releases.promote()

    def asked(self):
        return len(self.releases.asked)


@pytest.fixture(params=[Machine, Memory], ids=["this machine", "memory"])
def world(request, tmp_path):
    return request.param(tmp_path / "store")


@pytest.fixture
def first(world, tmp_path):
    return world.store.read(world.store.add(build_simple(tmp_path / "first")))


@pytest.fixture
def second(world, first, tmp_path):
    return build_simple(tmp_path / "second", version=world.releases.next_version(MODEL))


def test_where_nothing_serves_there_is_no_champion(world, first):
    assert world.releases.champion(MODEL) is None
    assert world.releases.busy(MODEL) is None


def test_the_champion_is_what_serves(world, first):
    world.serves(first)
    found = world.releases.champion(MODEL)
    assert isinstance(found, Champion)
    assert (found.version, found.bundle) == (first.manifest.version, first.digest)
    assert world.releases.bundle(found.bundle).digest == first.digest


def test_publishing_twice_is_publishing_once(world, first, second):
    once = world.releases.publish(second.folder)
    assert world.releases.publish(second.folder).digest == once.digest == second.digest
    assert [e.digest for e in world.store.entries() if e.name == MODEL] == [first.digest, second.digest]


def test_a_rollout_that_is_asked_for_changes_nothing_at_once_and_is_asked_for_once(world, first, second):
    world.serves(first)
    published = world.releases.publish(second.folder)
    revisions = {world.releases.start(MODEL, published, None, None, "retraining trigger-1") for _ in range(2)}
    assert world.asked() == 1
    assert world.releases.champion(MODEL).bundle == first.digest
    assert "version 2" in world.releases.busy(MODEL)
    world.settle()
    assert (world.releases.busy(MODEL), world.releases.champion(MODEL).bundle) == (None, second.digest)
    assert revisions == {world.releases.champion(MODEL).revision}


def test_a_retrained_model_keeps_the_suppressions_that_serve(tmp_path):
    world = Machine(tmp_path / "store")
    first = world.store.read(world.store.add(build_simple(tmp_path / "first")))
    entry = {
        "id": "scan", "owner": "ada", "reason": "ours", "expires": "2999-01-01T00:00:00Z", "when": "a > 0.9", "becomes": "benign",
    }  # fmt: skip
    document = {"version": first.manifest.version, "bundle": first.digest, "suppressions": [entry]}
    world.control.change(MODEL, lambda before: started(before, MODEL, document, None, "ada", "the first"))
    world.settle()
    second = world.releases.publish(build_simple(tmp_path / "second", version="2").folder)
    asked = world.releases.start(MODEL, second, None, None, "retrained")
    wanted = world.control.read(MODEL).service.spec.revision
    assert wanted is not None
    assert ([one.id for one in wanted.suppressions], wanted.digest) == (["scan"], asked)
