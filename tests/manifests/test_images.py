"""The Dockerfiles, as far as they can be judged without a container engine: what goes in, and who it runs as."""

import fnmatch
import importlib.metadata
import re
import shutil
import subprocess
import sys

import pytest
from packaging.markers import Marker

from tests.manifests.conftest import ROOT

IMAGES = ROOT / "manifests" / "images"


def _instructions(name):
    text = re.sub(r"\\\n", " ", (IMAGES / name).read_text(encoding="utf-8"))
    return [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _sources(name):
    for word, rest in _instructions(name):
        if word == "COPY" and not rest.startswith("--from"):
            yield from rest.split()[:-1]


@pytest.mark.parametrize("name", ["serving.Dockerfile", "bundles.Dockerfile", "operator.Dockerfile", "lifecycle.Dockerfile"])
def test_runs_as_the_user_the_pods_demand(name):
    users = [rest for word, rest in _instructions(name) if word == "USER"]
    assert users[-1] == "10001:10001"


@pytest.mark.parametrize("name", ["serving.Dockerfile", "bundles.Dockerfile", "operator.Dockerfile", "lifecycle.Dockerfile"])
def test_what_is_copied_passes_the_ignore_file(name):
    lines = (IMAGES / f"{name}.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    assert all(any(fnmatch.fnmatch(source, pattern) for pattern in allowed) for source in _sources(name))
    assert all(any(fnmatch.fnmatch(source, pattern) for source in _sources(name)) for pattern in allowed)


def test_the_serving_image_copies_what_exists():
    assert [s for s in _sources("serving.Dockerfile") if not (ROOT / s).exists()] == []


def test_what_is_copied_is_all_that_the_application_imports(tmp_path):
    for source in _sources("serving.Dockerfile"):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    program = """
import sys
import serving.app
import serving.features.opening
print(serving.app.__file__)
print(sorted({m.split(".")[0] for m in sys.modules} & {"lifecycle", "operators", "loadtests", "tests", "lightgbm", "locust", "kopf"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    where, others = done.stdout.splitlines()[-2:]
    assert (where, others) == (str(tmp_path / "serving" / "app.py"), "[]")


def _site_packages(requirements, folder):
    """A folder that holds the packages of a requirements file and no other of this environment."""
    folder.mkdir()
    text = (ROOT / "requirements" / requirements).read_text(encoding="utf-8")
    for name, marker in re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==[^ ]+(?: ; (.*))? \\$", text, re.MULTILINE):
        if marker and not Marker(marker).evaluate():
            continue  # not for this Python
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            link = folder / top
            if not link.exists():
                link.symlink_to(distribution.locate_file(top))


def test_the_operator_runs_on_what_its_image_holds(tmp_path):
    """Its rooms and its requirements, nothing else of this environment."""
    for source in _sources("operator.Dockerfile"):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    _site_packages("operator.txt", tmp_path / "site")
    program = """
import importlib, pkgutil
for room in ("handlers", "rollout", "autoscaling", "api"):
    package = importlib.import_module(f"operators.{room}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
print(importlib.import_module("operators.handlers.main").__file__)
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": f"{tmp_path}:{tmp_path / 'site'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "operators" / "handlers" / "main.py")


def test_the_serving_image_installs_by_hash_and_carries_no_other_room():
    text = (IMAGES / "serving.Dockerfile").read_text(encoding="utf-8")
    assert text.count("--require-hashes") == 2
    assert "--compile-bytecode" in text
    assert not any(
        source.startswith(("lifecycle", "operators", "tests", "loadtests")) for source in _sources("serving.Dockerfile")
    )


def test_ray_in_the_image_is_the_one_the_cluster_expects(resources):
    (service,) = (r for r in resources if r["kind"] == "RayService")
    (pinned,) = re.findall(
        r"^ray(?:\[.*\])?==(\S+)", (ROOT / "requirements" / "serving.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert service["spec"]["rayClusterConfig"]["rayVersion"] == pinned
