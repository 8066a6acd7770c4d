"""YAML files as documents that know their lines: several a file, each key once, numbers and booleans as kubectl reads them.

Pure. operators.api.read interprets the documents."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final

import yaml

from operators.api.schema_check import Finding, Path
from serving.files.safe_yaml import check_bounds, placing, yaml_errors

MAX_CHARS: Final = 4_000_000
"""More than an API server would take in one request (3 MiB)."""
MAX_FIELDS: Final = 100_000
"""In one document, aliases spelled out: a few lines of them can stand for billions."""


class NotYaml(Exception):
    """The text is not YAML. line: where parsing failed, from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One document. lines: of every path in it, from 1. slips: mistakes that YAML would silently accept."""

    value: Any
    lines: Mapping[Path, int]
    slips: tuple[Finding, ...] = ()

    def line(self, path: Path) -> int:
        """Where a path stands; a path that is not there stands where its nearest parent does."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def items(self) -> Iterator["YamlDocument"]:
        """The documents of a List, as `kubectl get -o yaml` prints them; of anything else, itself."""
        value = self.value
        if (
            not isinstance(value, Mapping)
            or not str(value.get("kind", "")).endswith("List")
            or not isinstance(value.get("items"), list)
        ):
            yield self
            return
        for index, item in enumerate(value["items"]):
            at: Path = ("items", index)
            lines = {path[2:]: line for path, line in self.lines.items() if path[:2] == at}
            slips = (Finding(s.path[2:], s.what) for s in self.slips if s.path[:2] == at)
            yield YamlDocument(item, lines, tuple(slips))


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with the numbers that kubectl takes for numbers, and no dates: JSON has none."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def documents(text: str) -> Iterator[YamlDocument]:
    """Every document of a text that is not empty. Raises NotYaml."""
    if len(text) > MAX_CHARS:
        raise NotYaml(f"has {len(text)} characters; an API server takes 3 MiB: split the file", 1)
    try:
        with yaml_errors():
            yield from _documents(text)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        raise NotYaml(f"is not YAML: {problem.problem or problem.context}", mark.line + 1 if mark else 1) from problem
    except yaml.YAMLError as problem:
        raise NotYaml(f"is not YAML: {problem}", 1) from problem


def _documents(text: str) -> Iterator[YamlDocument]:
    check_bounds(text, most_repeated=inf)  # _walk has a lower bound, and counts before anything is merged
    loader = placing(_Loader)(text)
    while loader.check_node():
        node = loader.get_node()
        lines: dict[Path, int] = {}
        slips = tuple(_walk(node, (), lines, frozenset()))
        value = loader.construct_document(node)
        if value is not None:
            yield YamlDocument(value, lines, slips)


def _walk(node: yaml.Node, path: Path, lines: dict[Path, int], above: frozenset[int]) -> Iterator[Finding]:
    """Note the lines below a node; yield the keys that are written twice. above: nodes it lies in, against aliases that loop."""
    lines.setdefault(path, node.start_mark.line + 1)
    if len(lines) > MAX_FIELDS:
        raise NotYaml(
            f"has more than {MAX_FIELDS} fields once its aliases are spelled out; write less", node.start_mark.line + 1
        )
    if id(node) in above:
        return
    within = above | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _walk(item, (*path, index), lines, within)
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in first:
                yield Finding(
                    (*path, name), f"is written twice, here and in line {first[name]}; only the last would count: keep one"
                )
            first[name] = line
            lines[*path, name] = line
            yield from _walk(value, (*path, name), lines, within)
