"""What a pod of its own serves: the bundle that was mounted, as the control plane says, or nothing."""

import socket

import pytest

from operators.labs.simple_model import build_simple
from serving.launch.pod import main, prepare
from serving.loading.served_file import ServedFile
from serving.models.errors import ModelError
from serving.models.store import BundleStore
from serving.settings import ServingSettings
from serving.spec import ModelSpec, RevisionSpec, ServingSpec


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return build_simple(tmp_path_factory.mktemp("mounted") / "bundle")


def spec_of(digest, **revision):
    return ServingSpec(models=(ModelSpec(name="simple", version="1", revision=RevisionSpec(bundle=digest, **revision)),))


def settings(tmp_path, bundle, served=""):
    return ServingSettings(store_dir=tmp_path / "store", bundle_dir=bundle.folder, served=served)


def test_the_mounted_bundle_is_served_as_the_control_plane_says(tmp_path, bundle):
    wanted = spec_of(bundle.digest, operating_point="siem_alerting")
    assert prepare(settings(tmp_path, bundle, wanted.model_dump_json())) == wanted
    assert ServedFile(tmp_path / "store").read() == wanted
    assert BundleStore(tmp_path / "store").read(bundle.digest).digest == bundle.digest


def test_without_a_word_from_the_control_plane_the_newest_is_served(tmp_path, bundle):
    (model,) = prepare(settings(tmp_path, bundle)).models
    assert (model.name, model.revision.bundle) == (bundle.manifest.name, bundle.digest)


def test_a_pod_that_starts_again_says_the_same(tmp_path, bundle):
    assert prepare(settings(tmp_path, bundle)) == prepare(settings(tmp_path, bundle))


@pytest.mark.parametrize(
    ("served", "says"),
    [
        pytest.param("{", "VEDETTE_SERVED is not a serving specification", id="half a specification"),
        pytest.param('{"models": []}', "must serve some model", id="nothing to serve"),
        pytest.param("OTHER", "the storage address must name the bundle", id="another bundle than the one that was mounted"),
    ],
)
def test_what_cannot_be_served_is_refused_before_ray_starts(tmp_path, bundle, served, says, monkeypatch, capsys):
    other = spec_of("sha256:" + "0" * 64).model_dump_json()
    text = other if served == "OTHER" else served
    with pytest.raises(ModelError, match=says):
        prepare(settings(tmp_path, bundle, text))
    for name, value in (("STORE_DIR", tmp_path / "store"), ("BUNDLE_DIR", bundle.folder), ("SERVED", text)):
        monkeypatch.setenv(f"VEDETTE_{name}", str(value))
    assert main() == 1
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path, bundle, monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for name, value in (
            ("STORE_DIR", tmp_path / "store"),
            ("BUNDLE_DIR", bundle.folder),
            ("HTTP_PORT", taken.getsockname()[1]),
        ):
            monkeypatch.setenv(f"VEDETTE_{name}", str(value))
        assert main() == 1
    assert "cannot listen on 127.0.0.1" in capsys.readouterr().err
