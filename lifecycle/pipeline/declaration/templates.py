"""`${...}` in a dvc.yaml: values of params.yaml and of `vars`, put in where a stage names them. Pure, but for the files of values."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lifecycle.pipeline.declaration.params import read_params_file, value_at
from lifecycle.pipeline.errors import PipelineFileError

DEFAULT_FILE: Final = "params.yaml"
_TEMPLATE: Final = re.compile(r"(?<!\\)\$\{(?P<inner>.*?)\}")
_ABSENT: Final = object()


class TemplateValues:
    """The values that templates may name. where: the file that uses them, for messages."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values, self._where = values, where

    @classmethod
    def read(cls, declared: Any, folder: Path, where: str) -> "TemplateValues":
        """params.yaml, if there is one, and what `vars` declares: values, or files of values (`FILE`, `FILE:KEY,KEY`)."""
        return cls({}, where).with_vars(declared, folder, is_default_read=True)

    def with_vars(self, declared: Any, folder: Path, *, is_default_read: bool = False) -> "TemplateValues":
        """These and the values of a further `vars`. Raises PipelineFileError where both set one key."""
        if not isinstance(declared, list | None):
            raise PipelineFileError(f"{self._where}: vars: expected a list of mappings and files")
        merged: dict[str, Any] = dict(self._values)
        entries = list(declared or [])
        if is_default_read and DEFAULT_FILE not in entries and (folder / DEFAULT_FILE).is_file():
            entries.insert(0, DEFAULT_FILE)
        for entry in entries:
            _merge(merged, _values_of(entry, folder, self._where), self._where)
        return TemplateValues(merged, self._where)

    def fill(self, value: Any, at: str) -> Any:
        """The value with every template in it replaced. at: where it stands, for messages. Raises PipelineFileError."""
        if isinstance(value, dict):
            return {self.fill(k, at): self.fill(v, at) for k, v in value.items()}
        if isinstance(value, list):
            return [self.fill(item, at) for item in value]
        if not isinstance(value, str):
            return value
        whole = _TEMPLATE.fullmatch(value)
        if whole and "${" not in whole["inner"]:
            return self._value(whole["inner"], at)
        filled = _TEMPLATE.sub(self._text(at), value)
        return filled.replace(r"\${", "${")

    def _text(self, at: str) -> Callable[[re.Match[str]], str]:
        def text(match: re.Match[str]) -> str:
            value = self._value(match["inner"], at)
            return str(value).lower() if isinstance(value, bool) else str(value)

        return text

    def _value(self, inner: str, at: str) -> Any:
        key = inner.strip().replace("[", ".").replace("]", "")
        found = value_at(self._values, key, _ABSENT)
        if found is _ABSENT:
            known = ", ".join(sorted(map(str, self._values))) or "none"
            raise PipelineFileError(f"{self._where}: {at}: ${{{inner}}} is not known; params.yaml and vars have: {known}")
        if isinstance(found, dict | list):
            raise PipelineFileError(
                f"{self._where}: {at}: ${{{inner}}} is a {'mapping' if isinstance(found, dict) else 'list'}; name one value in it"
            )
        return found


def _values_of(entry: Any, folder: Path, where: str) -> Mapping[str, Any]:
    if isinstance(entry, dict):
        return entry
    if not isinstance(entry, str) or "${" in entry:
        raise PipelineFileError(f"{where}: vars: expected a mapping or the name of a file, found {entry!r:.60}")
    name, _, keys = entry.partition(":")
    body = read_params_file(folder / name)
    if not keys:
        return body
    chosen = {key.strip(): body.get(key.strip(), _ABSENT) for key in keys.split(",")}
    missing = [key for key, value in chosen.items() if value is _ABSENT]
    if missing:
        raise PipelineFileError(f"{where}: vars: {name} has no {', '.join(missing)}")
    return chosen


def _merge(into: dict[str, Any], values: Mapping[str, Any], where: str, at: str = "") -> None:
    for key, value in values.items():
        name = f"{at}{key}"
        if key not in into:
            into[key] = value
        elif isinstance(into[key], dict) and isinstance(value, dict):
            into[key] = dict(into[key])
            _merge(into[key], value, where, f"{name}.")
        else:
            raise PipelineFileError(f"{where}: vars: {name} is set twice; each value has one place")
