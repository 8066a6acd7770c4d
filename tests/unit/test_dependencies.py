"""Each extra of pyproject.toml lists what its rooms import, and nothing that no room of its needs."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.house import imports_in

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PLANES = ("serving", "feature_repo", "lifecycle", "operators", "loadtests")

ROOMS = {
    "serving": ("serving", "feature_repo"),
    "lifecycle": ("lifecycle", "feature_repo"),
    "operators": ("operators",),
    "loadtests": ("loadtests",),
    "kafka": (  # imported when it is asked for
        "serving.audit.anchors.kafka",
        "serving.stream.kafka",
        "operators.control.labels.kafka_topic",
    ),
    "stream": ("serving.stream",),
    "batch": ("serving.batch",),
    "mlflow": ("lifecycle.governance.registry.exchange.mlflow",),
    "wandb": ("lifecycle.governance.registry.exchange.wandb",),
}
ELSEWHERE = {
    "serving": (
        "feature_repo.offline.",  # training data: `lifecycle` runs it
        "serving.audit.anchors.kafka.",
        "serving.stream.kafka.",
        "serving.stream.kinesis.",  # `stream`
        "serving.stream.windows.",  # `stream`
        "serving.stream.codecs.avro_codec.",
        "serving.batch.",  # `batch`
    ),
    "lifecycle": ("lifecycle.governance.registry.exchange.mlflow.", "lifecycle.governance.registry.exchange.wandb."),
    "stream": ("serving.stream.kafka.",),  # `kafka`
    "operators": ("operators.control.labels.kafka_topic.",),
    "loadtests": ("loadtests.bench.",),  # runs with everything that `dev` lists
}

NOT_IMPORTED = {
    "kserve": "its descriptors are read, not imported",
    "grpcio-tools": "protoc, which runs in a process of its own",
}
"""What is listed all the same. `envoy` and the tools of `dev` are programs."""


def _module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_module(file): file for plane in PLANES for file in (ROOT / plane).rglob("*.py")}


@cache
def _imports(module: str) -> frozenset[str]:
    """Every name that a module imports, at its top or in a function: `a.b` and, of `from a import b`, `a.b` too."""
    file, found = FILES[module], set()
    for node in imports_in(file.read_text(encoding="utf-8")):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        else:
            package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
            base = (
                ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
                if node.level
                else node.module
            )
            found.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
    return frozenset(found)


def _reached(start: str) -> set[str]:
    """The modules that a start brings along, their packages included."""
    reached, ahead = set(), [start]
    while ahead:
        name = ahead.pop()
        if name in FILES and name not in reached:
            reached.add(name)
            ahead += [*_imports(name), name.rpartition(".")[0]]
    return reached


def _modules(extra: str) -> set[str]:
    if extra == "operator":
        return _reached("operators.handlers.main")
    within, elsewhere = tuple(f"{room}." for room in ROOMS[extra]), ELSEWHERE.get(extra, ("-",))
    return {name for name in FILES if f"{name}.".startswith(within) and not f"{name}.".startswith(elsewhere)}


@cache
def _packages(distribution: str) -> tuple[str, ...]:
    """What a distribution is imported as; of a shared namespace (`google`) the part that is its own."""
    files = [file.parts for file in importlib.metadata.distribution(distribution).files or ()]
    code = [parts for parts in files if parts[-1].endswith((".py", ".so")) and not parts[0].endswith((".dist-info", ".data"))]
    roots = {parts[0] for parts in code}
    shared = {root for root in roots if any(len(p) > 1 and p[0] == root for p in code) and (root, "__init__.py") not in code}
    names = {".".join(parts[: 2 if parts[0] in shared else 1]) for parts in code}
    return tuple(sorted(re.sub(r"(\.[\w-]+)?\.(py|so)$", "", name) for name in names))


def _names(extra: str) -> Iterator[str]:
    for requirement in EXTRAS[extra]:
        matched = re.match(r"([\w-]+)(?:\[([\w,]+)\])?", requirement)
        assert matched is not None
        if matched[1] != "vedette":
            yield matched[1]


def _with_those_it_includes(extra: str) -> set[str]:
    included = re.findall(r"vedette\[([\w,]+)\]", " ".join(EXTRAS[extra]))
    return {
        *_names(extra),
        *(name for more in included for inner in more.split(",") for name in _with_those_it_includes(inner)),
    }


def _is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


@pytest.mark.heavy
@pytest.mark.parametrize("extra", [*ROOMS, "operator"])
def test_what_is_listed_is_imported(extra):
    imported = {name for module in _modules(extra) for name in _imports(module)}
    listed = set(_names(extra)) - NOT_IMPORTED.keys()
    assert {name for name in listed if not any(_is_within(i, _packages(name)) for i in imported)} == set()


@pytest.mark.heavy
@pytest.mark.parametrize("extra", [*ROOMS, "operator"])
def test_what_is_imported_is_listed(extra):
    packages = tuple(package for name in _with_those_it_includes(extra) for package in _packages(name))
    missing = {
        (module, name)
        for module in _modules(extra)
        for name in _imports(module)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, *PLANES, "__future__"}
        and "." not in name.removeprefix("google.").removeprefix("opentelemetry.")
        and not _is_within(name, packages)
        and name not in {"google", "opentelemetry"}
    }
    assert missing == set()


def test_the_exceptions_are_listed_somewhere():
    assert NOT_IMPORTED.keys() <= {name for extra in ROOMS for name in _names(extra)}
