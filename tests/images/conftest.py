"""Images built by the tests' own builder: light ones for every run, whole ones for the soak."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.images import bases
from tests.images.builder import Builder, Faithful, Image, Light
from tests.images.container import why_not

PYTHON, BUSYBOX = "python:3.11-slim-bookworm", "busybox:1.37"
Build = Callable[[str], Image]


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder with a short name, on a file system that overlays can write to."""
    if why := why_not():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="vedette-images-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def light(scratch: Path) -> Build:
    """Builds without installing and compiling: what is copied, who runs it, where it may write."""
    base = bases.light_python(scratch / "base")
    builder = Builder({PYTHON: base}, Light(), scratch / "layers")
    return _once(builder.build)


@pytest.fixture(scope="session")
def whole(scratch: Path) -> Build:
    """Builds as a container engine would. Layers are kept in the cache of this machine."""
    try:
        known = {PYTHON: bases.whole_python(), BUSYBOX: bases.whole_busybox()}
    except bases.NoBaseError as missing:
        pytest.skip(str(missing))
    builder = Builder(known, Faithful(bases.CACHE / "caches"), bases.CACHE / "layers")
    return _once(builder.build)


def _once(build: Build) -> Build:
    built: dict[str, Image] = {}

    def get(name: str) -> Image:
        if name not in built:
            built[name] = build(name)
        return built[name]

    return get
