"""The mappings that ship with Vedette, and their content. A site names its sources in `sources`."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from serving.rules.errors import RuleError
from serving.rules.logsources import LogSourceEntry, read_entries

_SUFFIX: Final = ".yaml"


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """One source. schema: where its names are defined. is_translated: its events have other field names than rules, so a rule whose field
    has no entry in `fields` cannot match them."""

    name: str
    title: str
    about: str
    schema: tuple[str, ...]
    is_translated: bool
    entries: tuple[LogSourceEntry, ...]


@cache
def mapping_names() -> tuple[str, ...]:
    """Names of all mappings, in order."""
    return tuple(sorted(f.name.removesuffix(_SUFFIX) for f in files(__package__).iterdir() if f.name.endswith(_SUFFIX)))


@cache
def mapping_of(name: str) -> SourceMapping:
    """One mapping. Raises RuleError if there is none of that name."""
    if name not in mapping_names():
        raise RuleError(f"there is no mapping of a source {name!r}; there are {list(mapping_names())}")
    document: Any = yaml.safe_load((files(__package__) / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))
    return SourceMapping(
        name,
        document["title"],
        document["about"],
        tuple(document["schema"]),
        bool(document.get("translated", False)),
        tuple(read_entries(document["logsources"])),
    )


def entries_of(names: Iterable[str]) -> list[LogSourceEntry]:
    """The entries of these mappings. Raises RuleError for a name that there is not."""
    return [entry for name in dict.fromkeys(names) for entry in mapping_of(name).entries]
