"""What the images copy is all that their programs import. tests/images carries the Dockerfiles out."""

import re
import shutil
import subprocess
import sys

from tests.images.locked import link_locked
from tests.manifests.conftest import ROOT

IMAGES = ROOT / "manifests" / "images"


def _instructions(name):
    text = re.sub(r"\\\n", " ", (IMAGES / name).read_text(encoding="utf-8"))
    return [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _sources(name):
    for word, rest in _instructions(name):
        if word == "COPY" and not rest.startswith("--from"):
            yield from rest.split()[:-1]


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


def test_the_operator_runs_on_what_its_image_holds(tmp_path):
    """Its rooms and its requirements, nothing else of this environment."""
    for source in _sources("operator.Dockerfile"):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "site").mkdir()
    link_locked(ROOT / "requirements" / "operator.txt", tmp_path / "site")
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


def test_ray_in_the_image_is_the_one_the_cluster_expects(resources):
    (service,) = (r for r in resources if r["kind"] == "RayService")
    (pinned,) = re.findall(
        r"^ray(?:\[.*\])?==(\S+)", (ROOT / "requirements" / "serving.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert service["spec"]["rayClusterConfig"]["rayVersion"] == pinned
