"""Whole images: built step by step on a Debian of their own, packages downloaded and checked by hash, then started and asked.

The first run downloads about a gigabyte; layers stay in the cache. `make soak ARGS=tests/images`."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from operators.labs.simple_model import build_simple
from tests.fakes.apiserver import ApiServer
from tests.images import bases
from tests.images.builder import Builder, Faithful, Image
from tests.images.conftest import BUSYBOX, Build
from tests.images.container import Process, command_line, run
from tests.images.rooms import NOT_FOR, ROOMS
from tests.ports import free_port
from tests.waiting import HANG_S, until

pytestmark = pytest.mark.soak
STORE = "/var/lib/vedette"
IMPORT_ALL = """
import importlib, pkgutil, sys
left_out = tuple(filter(None, sys.argv[2].split(",")))
names = [m.name for room in sys.argv[1].split(",") for m in pkgutil.walk_packages(importlib.import_module(room).__path__, room + ".")]
names = [name for name in names if not name.startswith(left_out) and not name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@pytest.mark.parametrize("name", list(ROOMS))
def test_every_module_can_be_imported_in_the_image(name: str, whole: Build, scratch: Path):
    image = whole(name)
    command = ["python", "-c", IMPORT_ALL, ",".join(ROOMS[name]), ",".join(NOT_FOR.get(name, ()))]
    done = run(image.files, _process(image, command), scratch / f"import-{name}")
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.splitlines()[-1]) > 50


@pytest.mark.parametrize("name", list(ROOMS))
def test_everything_is_compiled_and_belongs_to_root(name: str, whole: Build):
    *_, layer = (layer for layer in whole(name).files.layers if (layer / "opt/vedette/lib").exists())
    sources = [p for p in (layer / "opt/vedette").rglob("*.py") if "/lib2to3/" not in str(p)]
    compiled = [p for p in sources if list((p.parent / "__pycache__").glob(f"{p.stem}.cpython-311*.pyc"))]
    assert len(compiled) > 0.99 * len(sources), "a few files of packages are templates that are no Python"
    assert {p.lstat().st_uid for p in layer.rglob("*")} == {0}
    assert not [p for p in layer.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o022]


def test_serving_answers(whole: Build, scratch: Path, tmp_path: Path):
    bundle = build_simple(tmp_path / "models")
    image, port = whole("serving"), free_port()
    env = {
        "VEDETTE_BUNDLE_DIR": "/mnt/models",
        "VEDETTE_HTTP_PORT": str(port),
        "VEDETTE_GRPC_PORT": "0",
        "VEDETTE_HOST": "127.0.0.1",
    }
    files = image.files.over(_mount_point(scratch / "with-mnt", "mnt/models"))
    binds = ((bundle.folder, "/mnt/models", "ro"),)
    with _started(Image(files, image.config), image.config.command, env, scratch / "serve", binds) as log:
        _until_answers(port, "/v2/health/ready", log)
        tensor = {"datatype": "INT32", "shape": [1, 16]}
        inputs = [{"name": "INPUT0", "data": list(range(16)), **tensor}, {"name": "INPUT1", "data": [1] * 16, **tensor}]
        body = json.dumps({"inputs": inputs}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/simple/infer", body, timeout=HANG_S) as reply:
            assert json.loads(reply.read())["outputs"][0]["data"] == list(range(1, 17))


def test_a_stream_worker_lives_while_its_broker_is_away(whole: Build, scratch: Path):
    image, port = whole("serving"), free_port()
    env = {"VEDETTE_STREAM_HTTP_PORT": str(port), "VEDETTE_HOST": "127.0.0.1", "VEDETTE_STREAM_SERVERS": "127.0.0.1:1"}
    with _started(image, ["python", "-m", "serving.launch.stream"], env, scratch / "stream") as log:
        _until_answers(port, "/v2/health/live", log)


def test_the_operator_is_healthy_beside_an_api_server(whole: Build, scratch: Path):
    image, port = whole("operator"), free_port()
    with ApiServer() as server:
        kubeconfig = Path(server.kubeconfig())
        files = image.files.over(_mount_point(scratch / "with-kube", "kube"))
        env = {
            "KUBECONFIG": f"/kube/{kubeconfig.name}",
            "VEDETTE_OPERATOR_HTTP_PORT": str(port),
            "VEDETTE_OPERATOR_NAMESPACE": "vedette-system",
        }
        kubeconfig.chmod(0o644)
        kubeconfig.parent.chmod(0o755)
        binds = ((kubeconfig.parent, "/kube", "ro"),)
        with _started(Image(files, image.config), image.config.command, env, scratch / "operator", binds) as log:
            _until_answers(port, "/healthz", log)


def test_the_monitor_is_healthy(whole: Build, scratch: Path):
    image, port = whole("lifecycle"), free_port()
    command = [*image.config.command, "--metrics-port", str(port)]
    with _started(image, command, {}, scratch / "monitor") as log:
        _until_answers(port, "/healthz", log)


def test_the_bundles_are_copied_into_the_volume(scratch: Path, tmp_path: Path):
    for name in ("signatures", "models", "feast", "audit"):
        (tmp_path / ".vedette" / name).mkdir(parents=True)
        (tmp_path / ".vedette" / name / "file").write_text("x")
        (tmp_path / ".vedette" / name / "file").chmod(0o600)
    build_simple(tmp_path / ".vedette" / "bundles")
    try:
        base = bases.whole_busybox()
    except bases.NoBaseError as missing:
        pytest.skip(str(missing))
    image = Builder({BUSYBOX: base}, Faithful(scratch / "caches"), scratch / "bundle-layers", tmp_path).build("bundles")
    command = ["sh", "-c", f"{' '.join(image.config.command)} && ls {STORE}"]
    done = run(image.files, _process(image, command), scratch / "bundles")
    assert done.returncode == 0, done.stdout
    assert done.stdout.split() == ["bundles", "feast", "models", "signatures"]


def _process(
    image: Image, command: list[str], env: dict[str, str] | None = None, binds: tuple[tuple[Path, str, str], ...] = ()
) -> Process:
    user = int(image.config.user.split(":")[0])
    stores = [STORE] if any((layer / STORE.strip("/")).exists() for layer in image.files.layers) else []
    return Process(command, image.config.env | (env or {}), image.config.workdir, user, writable=("/tmp", *stores), binds=binds)


def _mount_point(layer: Path, place: str) -> Path:
    """A layer that has an empty folder, as an engine makes one for a volume."""
    (layer / place).mkdir(parents=True)
    return layer


@contextmanager
def _started(
    image: Image, command: list[str], env: dict[str, str], folder: Path, binds: tuple[tuple[Path, str, str], ...] = ()
) -> Iterator[Path]:
    log = folder.with_name(f"{folder.name}.log")
    with log.open("wb") as out:
        line = command_line(image.files, _process(image, command, env, binds), folder)
        process = subprocess.Popen(line, stdout=out, stderr=out, env={"PATH": os.environ["PATH"]})
        try:
            yield log
            assert process.poll() is None, log.read_text()[-3000:]
        finally:
            process.kill()  # unshare takes everything of its namespace along
            process.wait(HANG_S)


def _until_answers(port: int, path: str, log: Path) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=HANG_S) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    until(answers, lambda: f"{path} did not answer in time:\n{log.read_text()[-3000:]}", every_s=0.3)
