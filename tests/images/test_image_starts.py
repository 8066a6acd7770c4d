"""Each image's steps are carried out and its process is started: as the image's user, with a root that nobody can write to.

Light images here: packages are links to those of this environment that the image's requirements lock. Whole ones in the soak."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.images.conftest import Build
from tests.images.container import ROOT, Process, run
from tests.images.imports import lacking
from tests.images.locked import locked
from tests.images.rooms import NOT_FOR, REQUIREMENTS, ROOMS

pytestmark = pytest.mark.slow
START = """
import importlib, os, sys
module = importlib.import_module(sys.argv[1])
assert module.__file__.startswith("/opt/vedette/app/"), module.__file__
for place in ("/opt/vedette/app/x", "/etc/x", "/x"):
    try:
        open(place, "w")
    except OSError:
        continue
    raise SystemExit(place + " can be written")
open(os.environ["HOME"] + "/x", "w")
print(os.getuid(), os.getgid(), os.getgroups())
"""


@pytest.mark.parametrize("name", list(ROOMS))
def test_every_module_of_an_image_has_its_packages_there(name: str):
    has = {package for package, _ in locked(ROOT / "requirements" / f"{REQUIREMENTS[name]}.txt")}
    assert lacking(ROOT, ROOMS[name], has, NOT_FOR.get(name, ())) == []


@pytest.mark.parametrize("name", list(ROOMS))
def test_the_process_starts_as_its_user_and_writes_into_volumes_only(name: str, light: Build, scratch: Path):
    done = _run(name, light, scratch, ["python", "-c", START, light(name).config.command[2]])
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.splitlines()[-1] == "10001 10001 []"


@pytest.mark.parametrize(
    ("name", "env", "expected"),
    [
        ("serving", {}, "the pod must serve some model, but /var/lib/vedette holds no bundle"),
        ("operator", {"KUBECONFIG": "/tmp/none"}, "no cluster to talk to"),
    ],
)
def test_its_own_command_starts_and_says_what_it_misses(
    name: str, env: dict[str, str], expected: str, light: Build, scratch: Path
):
    done = _run(name, light, scratch, None, env)
    assert done.returncode != 0
    assert expected in done.stdout


def test_the_command_line_is_in_the_lifecycle_image(light: Build, scratch: Path):
    done = _run("lifecycle", light, scratch, [*light("lifecycle").config.command, "--help"])
    assert done.returncode == 0, done.stdout
    assert "--metrics-port" in done.stdout


def _run(
    name: str, build: Build, scratch: Path, command: list[str] | None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    image = build(name)
    user, _, group = image.config.user.partition(":")
    assert user == group
    volumes = ("/tmp", *(place for place in [image.config.env.get("VEDETTE_STORE_DIR")] if place))
    process = Process(
        command or image.config.command, image.config.env | (env or {}), image.config.workdir, int(user), writable=volumes
    )
    return run(image.files, process, scratch / f"run-{os.urandom(4).hex()}", timeout_s=120)
