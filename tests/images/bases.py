"""File systems that stand in for the images that FROM names: the tests ask no registry.

- `whole_python`, `whole_busybox`: Debian's packages and a copy of a CPython 3.11 under /usr/local, as `python:3.11-slim-bookworm` has
  them. Made once into the cache; takes minutes and Debian's archive.
- `light_python`: /usr of this machine, read-only, and the Python of these tests under /usr/local. Takes no time."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.images.container import ROOT, FileSystem

CACHE = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "vedette" / "image-bases"
"""In the home of the user, not in that of the tests, which goes with them."""
LIBRARIES = (
    "ca-certificates,libssl3,libsqlite3-0,libffi8,libbz2-1.0,libreadline8,liblzma5,zlib1g,"
    "libncursesw6,libexpat1,libuuid1,netbase,tzdata"
)


class NoBaseError(Exception):
    """A base cannot be made here; says why."""


def whole_python() -> FileSystem:
    """Debian bookworm with CPython 3.11. Raises NoBaseError."""
    python = _python_311()
    place = CACHE / f"bookworm-{python.parent.parent.name}"
    if not place.exists():
        with _draft(place) as draft:
            _debian(draft, LIBRARIES)
            _put_python(python.parent.parent, draft)
    return FileSystem((place,))


def whole_busybox() -> FileSystem:
    """busybox under the names of its commands. Raises NoBaseError."""
    place = CACHE / "busybox"
    if not place.exists():
        with _draft(place) as draft:
            package = draft / "package"
            package.mkdir()
            _run(["apt-get", "download", "busybox-static"], package)
            (file,) = package.glob("*.deb")
            _run(["dpkg-deb", "-x", str(file), str(draft)], package)
            shutil.rmtree(package)
            for name in ("proc", "dev", "tmp", "etc", "var/lib/vedette"):
                (draft / name).mkdir(parents=True, exist_ok=True)
            for name in ("cp", "sh", "ls", "cat"):
                (draft / "bin" / name).symlink_to("busybox")
    return FileSystem((place,))


def light_python(folder: Path) -> FileSystem:
    """Nothing is copied but a few files of /etc."""
    prefix = sys.base_prefix.strip("/")
    for name in ("usr/local", "etc", "proc", "dev", "var/lib", "opt", "root", "srv/site", prefix):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(mode=0o777)
    for name in ("bin", "sbin", "lib", "lib64"):
        (folder / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group", "shadow", "gshadow", "ld.so.cache", "nsswitch.conf", "login.defs"):
        if (Path("/etc") / name).exists():
            shutil.copy(Path("/etc") / name, folder / "etc" / name)
    site = Path(sys.prefix) / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    python = Path(sys.base_prefix)
    binds = [(Path("/usr"), "/usr"), (site, "/srv/site")]
    if python != Path("/usr"):
        binds += [(python, "/usr/local"), (python, str(python))]  # where it looks for its library, too
    return FileSystem((folder,), tuple(binds))


def _python_311() -> Path:
    found = subprocess.run(
        ["sh", "requirements/python.sh", "python3.11"],
        cwd=ROOT,
        env=_without_venv(),
        capture_output=True,
        text=True,
        check=False,
    )
    own = sys.base_prefix + "/bin/python3.11"
    path = Path(found.stdout.split()[-1] if found.returncode == 0 else own).resolve()
    if not path.exists() or path.parent.parent == Path("/usr"):
        raise NoBaseError("no CPython 3.11 in a folder of its own, which could be copied (pyenv's and uv's are)")
    return path


def _without_venv() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}


@contextmanager
def _draft(place: Path) -> Iterator[Path]:
    """A folder that becomes `place` when it is whole, and goes if it does not."""
    draft = place.with_name(f"{place.name}.{os.getpid()}")
    draft.mkdir(parents=True)
    try:
        yield draft
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _debian(folder: Path, packages: str) -> None:
    if not shutil.which("mmdebstrap"):
        raise NoBaseError("mmdebstrap is not installed: apt-get install mmdebstrap, or `make services`")
    folder.chmod(0o755)
    _run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", "bookworm", str(folder)], folder.parent)


def _put_python(prefix: Path, root: Path) -> None:
    """As the image has it: with pip, without its tests and without what somebody installed."""
    left_out = shutil.ignore_patterns("test", "tests", "__pycache__", "*.a", "idlelib", "turtledemo", "site-packages")
    for name in ("bin", "include", "lib"):
        shutil.copytree(prefix / name, root / "usr/local" / name, symlinks=True, ignore=left_out, dirs_exist_ok=True)
    site = "lib/python3.11/site-packages"
    (root / "usr/local" / site).mkdir(exist_ok=True)
    for name in ("pip", "setuptools", "_distutils_hack", "pkg_resources"):
        if (prefix / site / name).exists():
            shutil.copytree(prefix / site / name, root / "usr/local" / site / name)
    for name in ("python", "python3"):
        link = root / "usr/local/bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to("python3.11")
    _run(["chroot", str(root), "/sbin/ldconfig"], root)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        raise NoBaseError(f"{command[0]} is not installed") from missing
    if done.returncode != 0:
        raise NoBaseError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
