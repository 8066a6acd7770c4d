"""Weights & Biases, off line: a real run folder is written by its own client, and the bundle comes back to the same digest."""

import shutil

import pytest

from lifecycle.governance.registry.errors import Damaged, NoSuchBundle, RegistryError
from lifecycle.governance.registry.exchange.wandb import WandbExchange, artifacts_in
from lifecycle.governance.registry.references import parse_reference
from tests.integration.registry.exchanged import Registered

pytestmark = pytest.mark.integration
FILES = 300
"""So many that the file of a run has several blocks."""


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    return Registered(tmp_path_factory.mktemp("exchanged"), FILES)


@pytest.fixture(scope="module")
def sent(registered):
    folder = registered.folder / "wandb"
    registered.run("export", "flows.v2@production", "--to", f"wandb={folder}")
    return folder


def test_the_run_says_what_the_bundle_is(registered, sent):
    (path,) = sent.rglob("*.wandb")
    (artifact,) = artifacts_in(path)
    assert (artifact.type, artifact.name) == ("model", "flows.v2")
    assert {"production", "night-shift", "v-7"} <= set(artifact.aliases)
    assert registered.bundle.digest in artifact.metadata
    assert len(artifact.manifest.contents) == FILES + 3  # bundle.json, model.onnx, the signature
    assert path.stat().st_size > 32768, "the run's file has several blocks, as those of real bundles have"


def test_the_bundle_comes_back_to_the_same_digest(registered, sent):
    got = registered.run("import", "flows.v2@production", "--from", f"wandb={sent}", "--adopt", registry="again")
    assert (got["digest"], got["stage"], got["aliases"]) == (registered.bundle.digest, "production", ["night-shift"])
    assert len(registered.run("show", "flows.v2", registry="again")["signatures"]) == 1


def test_a_folder_that_was_moved_still_has_its_bundle(registered, sent, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(sent, moved)
    hidden = sent.with_name("hidden")
    sent.rename(hidden)
    try:
        got = WandbExchange(moved).fetch(parse_reference(registered.bundle.digest), tmp_path / "got")
    finally:
        hidden.rename(sent)
    assert (got.folder / "bundle.json").read_bytes() == (registered.bundle.folder / "bundle.json").read_bytes()


def test_what_is_not_there_any_more_says_how_to_get_it(registered, sent, tmp_path):
    with pytest.raises(NoSuchBundle, match="no offline run"):
        WandbExchange(sent).fetch(parse_reference("flows.v2/8"), tmp_path / "got")
    moved = tmp_path / "moved"
    shutil.copytree(sent / "wandb", moved / "wandb")
    hidden = sent.with_name("hidden")
    sent.rename(hidden)
    try:
        with pytest.raises(Damaged, match="no longer in staging"):
            WandbExchange(moved).fetch(parse_reference("flows.v2"), tmp_path / "got")
    finally:
        hidden.rename(sent)


def test_an_alias_that_was_taken_away_means_the_bundle_no_more(registered, sent, tmp_path):
    again = tmp_path / "wandb"
    shutil.copytree(sent, again)
    registered.run("alias", "flows.v2", "night-shift", "--remove", "--why", "over")
    registered.run("export", "flows.v2", "--to", f"wandb={again}")
    with pytest.raises(NoSuchBundle, match="no offline run"):
        WandbExchange(again).fetch(parse_reference("flows.v2:night-shift"), tmp_path / "got")
    assert WandbExchange(again).fetch(parse_reference("flows.v2@production"), tmp_path / "got").aliases == ()


def test_a_torn_run_and_one_that_is_none_are_passed_over(sent, tmp_path):
    (whole,) = sent.rglob("*.wandb")
    for size in (0, 3, 7, 200, whole.stat().st_size // 2):
        (tmp_path / "torn.wandb").write_bytes(whole.read_bytes()[:size])
        assert list(artifacts_in(tmp_path / "torn.wandb")) == []


@pytest.mark.parametrize("text", ["mlflow", "wandb=", "oci=x", ""])
def test_an_address_of_no_kind(registered, text):
    with pytest.raises(RegistryError, match="expected mlflow=URL"):
        registered.run("export", "flows.v2", "--to", text)
