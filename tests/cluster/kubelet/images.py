"""What an image is here: parts of the checkout and of this machine, laid out as the image's Dockerfile has them.

A Dockerfile of ours is read: what it copies out of the build context, its environment, user, folder and command. Where it would install
requirements there is the checkout's .venv. `/usr` is this machine's, so an image has the programs that this machine has, less those
that the base image lacks and that a probe or script might call (`wget`, `curl`)."""

import os
import shlex
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
BASE_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ABSENT: Final = ("/usr/bin/wget", "/usr/bin/curl")
"""python:3.11-slim-bookworm has neither."""
APPLICATION: Final = "/opt/vedette"
Layer = tuple[str, str]
"""(path on this machine, path in the image); read-only."""


@dataclass(frozen=True, slots=True)
class Image:
    """layers: besides this machine's /usr. masked: files of /usr that the image does not have. folders: path -> (uid, gid)."""

    layers: tuple[Layer, ...] = ()
    env: dict[str, str] = field(default_factory=lambda: {"PATH": BASE_PATH})
    uid: int = 0
    gid: int = 0
    cwd: str = "/"
    entry: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    folders: dict[str, tuple[int, int]] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)


def python_layers() -> tuple[Layer, ...]:
    """The interpreter and the .venv that runs this, at their own places: the programs of a .venv name it in their first line."""
    venv, base = Path(sys.prefix), Path(sys.base_prefix)
    own = ((str(venv), str(venv)),)
    return own if base.is_relative_to("/usr") else (*own, (str(base), str(base)))


def from_dockerfile(path: Path, context: Path = ROOT, scratch: Path | None = None) -> Image:
    """An image as its Dockerfile describes it. context: where what it copies lies; scratch: a folder for what is copied with another
    owner. Raises FileNotFoundError for what is not there."""
    made, users = Image(), {0: "root"}
    layers: list[Layer] = []
    for words in instructions(path.read_text(encoding="utf-8")):
        match words[0]:
            case "COPY" if not words[1].startswith("--from="):
                *sources, target = [word for word in words[1:] if not word.startswith("--")]
                owners = [word.partition("=")[2] for word in words if word.startswith("--chown=")]
                if not target.startswith("requirements"):
                    layers += [(_copied(context / source, owners, scratch), target) for source in sources]
            case "ENV":
                pairs = [word.split("=", 1) for word in words[1:]]
                made = replace(made, env={**made.env, **{k: v.replace("$PATH", made.env["PATH"]) for k, v in pairs}})
            case "USER":
                uid, _, gid = words[1].partition(":")
                made = replace(made, uid=int(uid), gid=int(gid or uid))
            case "WORKDIR":
                made = replace(made, cwd=words[1])
            case "CMD":
                made = replace(made, command=tuple(_list(words)))
            case "ENTRYPOINT":
                made = replace(made, entry=tuple(_list(words)))
            case "RUN" if "useradd" in words:
                users[int(words[words.index("--uid") + 1])] = "vedette"
                if "install" in words:
                    made = replace(made, folders={words[-1]: (10001, 10001)})
            case _:
                pass
    if missing := [source for source, _ in layers if not Path(source).exists()]:
        raise FileNotFoundError(f"{path.name} copies {missing}, which are not there")
    if any(target.startswith(APPLICATION) for _, target in layers):
        venv = Path(sys.prefix)
        parts = [(str(venv / name), f"{APPLICATION}/{name}") for name in ("bin", "lib", "pyvenv.cfg")]
        layers = [*python_layers(), *parts, *layers]
        made = replace(made, masked=ABSENT)
    return replace(made, layers=tuple(layers), users=users)


def _copied(source: Path, owners: list[str], scratch: Path | None) -> str:
    """The source itself, which is root's as in an image; a copy of it, where the image gives it to somebody else."""
    if not owners or scratch is None or not source.exists():
        return str(source)
    uid, _, gid = owners[0].partition(":")
    copy = scratch / source.name
    if not copy.exists():
        draft = scratch / f"{source.name}.draft"
        shutil.copytree(source, draft, ignore=shutil.ignore_patterns("*.parquet"))
        for one in (draft, *draft.rglob("*")):
            os.chown(one, int(uid), int(gid))
        draft.rename(copy)
    return str(copy)


def instructions(text: str) -> list[list[str]]:
    """The instructions of a Dockerfile as words, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if line.strip()]


def _list(words: list[str]) -> list[str]:
    """`CMD ["a", "b"]`, whose quotes are gone."""
    return [word.strip("[],") for word in words[1:]]


def named(reference: str) -> str:
    """The repository's last part, without tag and digest: `ghcr.io/soc/vedette-serving:1.2` is `vedette-serving`."""
    return reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
