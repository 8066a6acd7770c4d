"""A real MLflow server: a bundle goes there with its stage, aliases, signatures and lineage, and comes back to the same digest."""

import pytest

from lifecycle.governance.registry.errors import NoSuchBundle, RegistryError
from serving.models.errors import BundleError
from tests.fakes.mlflow_server import mlflow_server
from tests.integration.registry.exchanged import Registered

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    return Registered(tmp_path_factory.mktemp("exchanged"))


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    from mlflow import MlflowClient

    return MlflowClient(url, url)


@pytest.fixture(scope="module")
def sent(registered, url):
    return registered.run("export", "flows.v2@production", "--to", f"mlflow={url}")


def test_mlflow_shows_stage_aliases_lineage_and_figures(registered, sent, client):
    version = client.get_model_version_by_alias("flows.v2", "production")
    assert version.tags["vedette.digest"] == registered.bundle.digest
    assert (version.tags["vedette.version"], version.tags["vedette.stage"], version.tags["vedette.reason"]) == (
        "7", "production", "recall"
    )  # fmt: skip
    assert set(version.aliases) == {"production", "night-shift"}
    run = client.get_run(version.run_id)
    assert run.data.params == {"data_digest": "sha256:00", "code_commit": "abc", "seed": "7", "trees": "300"}
    assert run.data.metrics == {"validation.recall": 0.98}


def test_sent_again_after_a_change_it_is_the_same_version_with_the_new_stage(registered, sent, url, client):
    registered.run("promote", "flows.v2", "staging", "--why", "back")
    registered.run("export", "flows.v2", "--to", f"mlflow={url}")
    versions = client.search_model_versions("name = 'flows.v2'")
    assert len(versions) == 1
    assert set(client.get_model_version("flows.v2", versions[0].version).aliases) == {"staging", "night-shift"}
    registered.run("promote", "flows.v2", "production", "--why", "recall")
    registered.run("export", "flows.v2", "--to", f"mlflow={url}")


def test_it_comes_back_to_the_same_digest_by_every_reference(registered, sent, url):
    for number, reference in enumerate(
        ("flows.v2@production", "flows.v2:night-shift", "flows.v2/7", "flows.v2", registered.bundle.digest)
    ):
        got = registered.run("import", reference, "--from", f"mlflow={url}", "--adopt", registry=f"again-{number}")
        assert (got["digest"], got["stage"], got["aliases"]) == (registered.bundle.digest, "production", ["night-shift"])
    assert len(registered.run("show", "flows.v2", registry="again-0")["signatures"]) == 1


def test_what_is_not_there_and_what_is_no_bundle(registered, sent, url, client):
    for reference in ("flows.v2@staging", "flows.v2/8", "nobody"):
        with pytest.raises(NoSuchBundle, match="not a bundle that was sent there"):
            registered.run("import", reference, "--from", f"mlflow={url}")
    client.create_registered_model("foreign")
    run = client.create_run("0")
    client.create_model_version("foreign", f"{run.info.artifact_uri}/model", run.info.run_id)
    with pytest.raises(NoSuchBundle):
        registered.run("import", "foreign", "--from", f"mlflow={url}")


def test_a_file_that_was_changed_in_mlflow_is_not_taken(registered, sent, url, client, tmp_path):
    version = client.get_model_version_by_alias("flows.v2", "production")
    (tmp_path / "model.onnx").write_bytes(b"evil")
    client.log_artifact(version.run_id, str(tmp_path / "model.onnx"), "bundle")
    with pytest.raises(BundleError, match="the file was changed"):
        registered.run("import", "flows.v2", "--from", f"mlflow={url}", registry="victim")
    client.log_artifact(version.run_id, str(registered.bundle.folder / "model.onnx"), "bundle")


def test_a_server_that_is_not_there(registered, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:9"):
        registered.run("export", "flows.v2", "--to", "mlflow=http://127.0.0.1:9")
