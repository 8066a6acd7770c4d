"""Carries out a Dockerfile: COPY with its ignore file, RUN in a namespace, the rest as configuration.

Layers are kept in the cache under what made them, so a second build does only what changed. `Light` leaves out what takes minutes:
locked packages are links to those of these tests' environment, and nothing is compiled."""

import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tests.images.container import ROOT, FileSystem, Process, run
from tests.images.dockerfile import Config, Ignored, Instruction, Stage, global_arguments, pairs, put_in, stages
from tests.images.locked import link_locked

IMAGES = ROOT / "manifests" / "images"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class BuildError(Exception):
    """An instruction failed; holds what it printed."""


class Image:
    """A built image: files and configuration."""

    def __init__(self, files: FileSystem, config: Config) -> None:
        self.files = files
        self.config = config


class Runner(Protocol):
    """Carries out RUN, writing into an empty layer."""

    def run(
        self, files: FileSystem, config: Config, instruction: Instruction, env: Mapping[str, str], layer: Path, scratch: Path
    ) -> None:
        """Raises BuildError."""


class Faithful:
    """RUN as it is written, with this machine's network; caches that it mounts are kept beside the layers."""

    def __init__(self, caches: Path) -> None:
        self._caches = caches

    def run(
        self, files: FileSystem, config: Config, instruction: Instruction, env: Mapping[str, str], layer: Path, scratch: Path
    ) -> None:
        """See Runner."""
        binds = [(Path("/etc/resolv.conf"), "/etc/resolv.conf", "ro")]
        network = {
            k: v
            for k, v in os.environ.items()
            if re.match(r"(?i)https?_proxy|no_proxy|ssl_cert|pip_(cert|index|default)|uv_(def|index)", k)
        }
        if CERTIFICATES.exists():
            binds.append((CERTIFICATES, str(CERTIFICATES), "ro"))
            network.setdefault(
                "SSL_CERT_FILE", str(CERTIFICATES)
            )  # uv has a list of its own, without an inner mirror's authority
        for flag in instruction.flags:
            kind = dict(part.split("=", 1) for part in flag.removeprefix("--mount=").split(","))
            if kind.keys() != {"type", "target"} or kind["type"] != "cache":
                raise BuildError(f"{flag}: not known here")
            cache = self._caches / hashlib.sha256(kind["target"].encode()).hexdigest()[:8]
            cache.mkdir(parents=True, exist_ok=True)
            (layer / kind["target"].strip("/")).mkdir(parents=True)
            binds.append((cache, kind["target"], "rw"))
        if not any((base / "etc/resolv.conf").exists() for base in files.layers):
            (layer / "etc").mkdir(exist_ok=True)
            (layer / "etc/resolv.conf").touch()
        user = {"HOME": "/root", **network, **env}
        process = Process(["/bin/sh", "-c", instruction.value], user, config.workdir, upper=layer, binds=tuple(binds))
        done = run(files, process, scratch)
        if done.returncode != 0:
            raise BuildError(f"RUN {instruction.value}\n{done.stdout[-4000:]}")


class Light:
    """RUN without what installs and compiles. locked: packages of each requirements file are links into this environment."""

    def run(
        self, files: FileSystem, config: Config, instruction: Instruction, env: Mapping[str, str], layer: Path, scratch: Path
    ) -> None:
        """See Runner."""
        left, synced = [], []
        for command in instruction.value.split("&&"):
            words = shlex.split(command)
            if words[:3] == ["uv", "pip", "sync"]:
                synced.append((Path(words[words.index("--python") + 1]).parents[1], ROOT / words[-1]))
            elif (
                words[1:4] != ["-m", "pip", "install"]
                and words[1:3] != ["-m", "compileall"]
                and words[0] not in ("apt-get", "rm")
            ):
                left.append(command)
        if left:
            process = Process(["/bin/sh", "-c", "&&".join(left)], dict(env), config.workdir, upper=layer)
            done = run(files, process, scratch)
            if done.returncode != 0:
                raise BuildError(f"RUN {'&&'.join(left)}\n{done.stdout[-4000:]}")
        for environment, requirements in synced:
            link_locked(requirements, layer / str(environment).strip("/"), Path("/srv/site"))


class Builder:
    """bases: file systems by the names that FROM gives. cache: for layers on a file system that overlays take."""

    def __init__(self, bases: Mapping[str, FileSystem], runner: Runner, cache: Path, context: Path = ROOT) -> None:
        self._bases = bases
        self._runner = runner
        self._cache = cache
        self._context = context

    def build(self, name: str) -> Image:
        """Build manifests/images/NAME.Dockerfile. Raises BuildError."""
        path = IMAGES / f"{name}.Dockerfile"
        ignored = Ignored(path.with_name(f"{path.name}.dockerignore").read_text(encoding="utf-8"))
        built: dict[str, Image] = {}
        given = global_arguments(path)
        for stage in stages(path):
            built[stage.name] = self._stage(stage, built, ignored, given)
        return built[stage.name]

    def _stage(self, stage: Stage, built: Mapping[str, Image], ignored: Ignored, given: Mapping[str, str]) -> Image:
        files, key = self._bases[stage.base], hashlib.sha256(str(self._bases[stage.base]).encode())
        config = Config(env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
        arguments: dict[str, str] = {}
        for instruction in stage.instructions:
            value = put_in(instruction.value, arguments | config.env)
            match instruction.word:
                case "ARG":
                    name, has_default, default = instruction.value.partition("=")
                    if has_default or name in given:
                        arguments[name] = default or given[name]
                case "ENV":
                    config.env |= pairs(value)
                case "LABEL":
                    config.labels |= pairs(value)
                case "WORKDIR":
                    config.workdir = value
                    files = self._layer(
                        files, key, f"WORKDIR {value}", lambda new, v=value: (new / v.strip("/")).mkdir(parents=True)
                    )
                case "USER":
                    config.user = value
                case "EXPOSE":
                    pass
                case "CMD":
                    config.command = instruction.words
                case "COPY":
                    files = self._copy(files, key, instruction, config, built, ignored)
                case "RUN":
                    files = self._run(files, key, instruction, config, arguments)
                case other:
                    raise BuildError(f"{other} is not known here")
        return Image(files, config)

    def _run(
        self, files: FileSystem, key: "hashlib._Hash", one: Instruction, config: Config, arguments: dict[str, str]
    ) -> FileSystem:
        def make(layer: Path) -> None:
            scratch = layer.with_name(f"{layer.name}.job")
            self._runner.run(files, config, one, config.env | arguments, layer, scratch)
            shutil.rmtree(scratch, ignore_errors=True)

        return self._layer(files, key, f"RUN {one} {sorted(config.env.items())} {config.workdir}", make)

    def _copy(
        self,
        files: FileSystem,
        key: "hashlib._Hash",
        one: Instruction,
        config: Config,
        built: Mapping[str, Image],
        ignored: Ignored,
    ) -> FileSystem:
        *sources, target = one.words
        place = target if target.startswith("/") else f"{config.workdir}/{target}"
        owner = next((int(f.partition("=")[2].split(":")[0]) for f in one.flags if f.startswith("--chown=")), 0)
        if any(flag.startswith("--from=") for flag in one.flags):
            (flag,) = one.flags
            origin = built[flag.removeprefix("--from=")].files
            said = f"COPY {one} {[str(layer) for layer in origin.layers]}"
            return self._layer(files, key, said, lambda layer: _copy_from(origin, sources, place, layer))
        found = [(source, file) for source in sources for file in ignored.files(self._context, source)]
        missing = [source for source in sources if source not in {s for s, _ in found}]
        if missing:
            raise BuildError(f"COPY {one.value}: {', '.join(missing)} not in the context, or kept out by the ignore file")
        content = hashlib.sha256()
        for _, file in found:
            content.update(f"{file} {file.stat().st_mode}".encode() + file.read_bytes())

        def make(layer: Path) -> None:
            for source, file in found:
                within = file.relative_to(self._context / source)
                into = layer / place.strip("/")
                goal = into / within if within.parts else (into / file.name if target.endswith("/") else into)
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, goal, follow_symlinks=False)
            for made in _whole_ways(place, layer) if owner else []:
                os.chown(made, owner, owner, follow_symlinks=False)

        return self._layer(files, key, f"COPY {one} {content.hexdigest()}", make)

    def _layer(self, files: FileSystem, key: "hashlib._Hash", said: str, make: "Make") -> FileSystem:
        """The layer that an instruction makes, from the cache if it is there."""
        key.update(said.encode())
        place = self._cache / key.hexdigest()[:16]
        if not place.exists():
            draft = self._cache / f"{place.name}.{os.getpid()}"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True, mode=0o755)
            make(draft)
            draft.rename(place)
        return files.over(place)


def _whole_ways(place: str, layer: Path) -> list[Path]:
    """What COPY made: the target and everything below it."""
    target = layer / place.strip("/")
    return [target, *target.rglob("*")]


class Make(Protocol):
    """Fills a layer."""

    def __call__(self, layer: Path) -> object:
        """Raises BuildError."""


def _copy_from(origin: FileSystem, sources: list[str], target: str, layer: Path) -> None:
    """Upper layers over lower ones. Whiteouts are not expected: a build stage that deletes must say so here first."""
    (source,) = sources
    for below in origin.layers:
        if (below / source.strip("/")).exists():
            shutil.copytree(below / source.strip("/"), layer / target.strip("/"), symlinks=True, dirs_exist_ok=True)
