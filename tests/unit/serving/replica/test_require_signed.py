"""A replica that requires signatures: an unsigned bundle is refused like any other bad one, and what was served goes on."""

import pytest

from serving.launch.pod import prepare
from serving.loading.served_file import newest_of_each
from serving.models.errors import ModelError
from serving.models.store import BundleStore
from serving.settings import ServingSettings
from tests.fakes.serving.signed_bundles import Signers
from tests.unit.serving.replica.service import World, ask


@pytest.fixture
def signers(tmp_path):
    signers = Signers(tmp_path / "keys")
    signers.trust("ada")
    return signers


@pytest.fixture
def world(tmp_path, simple, signers):
    world = World(tmp_path, simple)
    world.store._trusted = signers.trusted
    return world


async def test_an_unsigned_successor_leaves_the_signed_one_in_service(tmp_path, world, simple, signers):
    world.store.add_signature(simple.digest, signers.signature(simple, "ada"))
    await world.service.apply(newest_of_each(world.store))
    assert (await world.service.infer(ask())).version == "1"
    world.add_version(tmp_path, "2")
    await world.service.apply(newest_of_each(world.store))
    assert (await world.service.infer(ask())).version == "1"
    assert world.service.is_ready()
    (failed,) = [e for e in world.service.repository_index(only_ready=False) if e.state == "UNAVAILABLE"]
    assert "is not signed by a trusted key" in failed.reason
    assert "is not signed by a trusted key" in world.metrics.render().decode()


async def test_nothing_signed_means_not_ready_and_no_crash(world):
    await world.service.apply(newest_of_each(world.store))
    assert not world.service.is_ready()


async def test_a_key_that_is_revoked_counts_for_the_next_bundle_and_ends_no_service(tmp_path, world, simple, signers):
    world.store.add_signature(simple.digest, signers.signature(simple, "ada"))
    await world.service.apply(newest_of_each(world.store))
    (signers.trusted_dir / "ada.json").write_text('{"revoked": "2026-05-01T00:00:00Z"}')
    world.add_version(tmp_path, "2")
    second = BundleStore(world.store.root).resolve("simple", "2")
    world.store.add_signature(second.digest, signers.signature(second, "ada"))
    await world.service.apply(newest_of_each(world.store))
    assert (await world.service.infer(ask())).version == "1"


def settings(tmp_path, bundle, signers):
    return ServingSettings(
        store_dir=tmp_path / "pod", bundle_dir=bundle.folder, require_signed=True, trusted_keys=signers.trusted_dir
    )


def test_a_pod_takes_a_mounted_bundle_with_its_signature(tmp_path, simple, signers):
    (simple.folder / "model.sig").write_bytes(signers.signature(simple, "ada"))
    try:
        (model,) = prepare(settings(tmp_path, simple, signers)).models
        assert model.revision.bundle == simple.digest
    finally:
        (simple.folder / "model.sig").unlink()


def test_a_pod_refuses_a_mounted_bundle_without_one(tmp_path, simple, signers):
    with pytest.raises(ModelError, match="has no signature"):
        prepare(settings(tmp_path, simple, signers))
