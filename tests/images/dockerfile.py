"""Dockerfiles as values: stages, instructions with their variables put in, and which files of a context the ignore file lets pass.

Pure. dockerfile-parse splits the text; what it leaves out (flags, JSON forms, ARG before FROM, .dockerignore) is here, as far as
Dockerfiles of this project use it. Anything else raises, so that nothing is passed over in silence."""

import fnmatch
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser


@dataclass(frozen=True, slots=True)
class Instruction:
    """word: upper case. flags: `--mount=...` and their like. value: the rest, as written."""

    word: str
    flags: tuple[str, ...]
    value: str

    @property
    def words(self) -> list[str]:
        """The value as a list: its JSON form, else its words."""
        return json.loads(self.value) if self.value.startswith("[") else self.value.split()


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM and what follows it. base: a name of another stage or of an image, with variables put in."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]


@dataclass(slots=True)
class Config:
    """What an image says about how it is started."""

    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = ""
    command: list[str] = field(default_factory=list)


def stages(path: Path, arguments: Mapping[str, str] | None = None) -> list[Stage]:
    """The stages of a Dockerfile, in order. arguments: as `--build-arg`. Raises ValueError for an ARG that FROM needs and nobody gives."""
    given = dict(arguments or {})
    found: list[Stage] = []
    for instruction in _instructions(path.read_text(encoding="utf-8")):
        if instruction.word == "FROM":
            base, *name = re.split(r"\s+AS\s+", put_in(instruction.value, given), flags=re.IGNORECASE)
            if not base:
                raise ValueError(f"{path.name}: FROM {instruction.value} has no image; pass --build-arg")
            found.append(Stage(name[0] if name else str(len(found)), base, ()))
        elif found:
            stage = found[-1]
            found[-1] = Stage(stage.name, stage.base, (*stage.instructions, instruction))
        elif instruction.word == "ARG":
            name_, _, default = instruction.value.partition("=")
            given.setdefault(name_, default)
        else:
            raise ValueError(f"{path.name}: {instruction.word} before the first FROM")
    return found


def global_arguments(path: Path) -> dict[str, str]:
    """ARGs before the first FROM, with their defaults."""
    found: dict[str, str] = {}
    for instruction in _instructions(path.read_text(encoding="utf-8")):
        if instruction.word == "FROM":
            break
        name, _, default = instruction.value.partition("=")
        found[name] = default
    return found


def put_in(text: str, variables: Mapping[str, str]) -> str:
    """$NAME and ${NAME} replaced; an unknown name is empty, as in a build."""
    return re.sub(r"\$\{?(\w+)\}?", lambda m: variables.get(m[1], ""), text)


def pairs(value: str) -> dict[str, str]:
    """KEY=value and KEY="value with spaces" of ENV and LABEL."""
    found = re.findall(r'([\w.-]+)=(?:"([^"]*)"|(\S*))', value)
    return {key: quoted or bare for key, quoted, bare in found}


def _instructions(text: str) -> Iterator[Instruction]:
    parser = DockerfileParser(fileobj=io.BytesIO(text.encode()))
    for part in parser.structure:
        if part["instruction"] == "COMMENT":
            continue
        *flags, value = re.findall(r"--\S+(?=\s)|(?!--)\S.*$", part["value"])
        yield Instruction(part["instruction"], tuple(flags), value)


class Ignored:
    """Which files of a build context go to the builder: the rules of .dockerignore. The last pattern that matches decides."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        self._rules = [
            (line.lstrip("!").strip("/"), line.startswith("!")) for line in lines if line and not line.startswith("#")
        ]

    def passes(self, path: str) -> bool:
        """path: relative to the context, of a file."""
        parents = [path, *map(str, Path(path).parents)][:-1]
        passes = True
        for pattern, lets in self._rules:
            if any(_matches(parent, pattern) for parent in parents):
                passes = lets
        return passes

    def files(self, context: Path, source: str) -> Iterator[Path]:
        """The files below a source of COPY that pass, links included."""
        place = context / source
        every = (
            [place]
            if not place.is_dir()
            else (Path(folder) / name for folder, _, names in os.walk(place) for name in sorted(names))
        )
        for file in every:
            if self.passes(str(file.relative_to(context))):
                yield file


def _matches(path: str, pattern: str) -> bool:
    """Go's filepath.Match, with `**` for any number of folders: `*` stays within one name."""
    return _match_parts(path.split("/"), pattern.split("/"))


def _match_parts(names: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(_match_parts(names[i:], patterns[1:]) for i in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], patterns[0]) and _match_parts(names[1:], patterns[1:])
