"""Files of parameters, and the values of dotted keys in them."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lifecycle.pipeline.declaration.stages import ParamsSpec
from lifecycle.pipeline.declaration.yaml12 import load_yaml
from lifecycle.pipeline.errors import PipelineFileError

_ABSENT: Final = object()


def read_params_file(path: Path) -> Mapping[str, Any]:
    """The content of a .yaml, .json or .toml file, a mapping; empty for an empty file. Raises PipelineFileError."""
    suffix = path.suffix.lower()
    if suffix == ".py":
        raise PipelineFileError(f"{path}: parameters in Python are not understood; write them as .yaml, .json or .toml")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PipelineFileError(f"{path}: there is no such file of parameters; write it, or mend `params`") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise PipelineFileError(f"{path}: cannot be read: {problem}") from problem
    try:
        parsers = {".json": json.loads, ".toml": tomllib.loads}
        body = parsers[suffix](text) if suffix in parsers else load_yaml(text, str(path))
    except ValueError as problem:
        raise PipelineFileError(f"{path}: is not {suffix[1:].upper()}: {problem}") from problem
    if body is not None and not isinstance(body, dict):
        raise PipelineFileError(f"{path}: expected a mapping of names to values")
    _refuse_dates(body, "", path)
    return body or {}


def _refuse_dates(value: Any, name: str, path: Path) -> None:
    """DVC takes none, and neither does JSON."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _refuse_dates(item, f"{name}.{key}".lstrip("."), path)
    elif not isinstance(value, str | int | float | bool | None):
        raise PipelineFileError(f"{path}: {name} is a {type(value).__name__}; write it in quotes, as text")


def value_at(body: Any, key: str, default: Any = None) -> Any:
    """The value of a dotted key such as `train.seed` or `layers.0`; the default where there is none."""
    found = body
    for part in key.split("."):
        if isinstance(found, dict):
            found = found.get(part, next((v for k, v in found.items() if str(k) == part), _ABSENT))
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            return default
        if found is _ABSENT:
            return default
    return found


def chosen_params(spec: ParamsSpec) -> dict[str, Any]:
    """What a stage reads of the file, by key; a key that the file does not have is left out. Raises PipelineFileError."""
    body = read_params_file(spec.path.at)
    if not spec.keys:
        return {str(key): value for key, value in body.items()}
    found = {key: value_at(body, key, _ABSENT) for key in spec.keys}
    return {key: value for key, value in found.items() if value is not _ABSENT}
