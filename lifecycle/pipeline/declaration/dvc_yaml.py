"""Reads a dvc.yaml: the part of DVC's schema that is understood here, and what is refused with a reason.

docs/reference/pipeline.md lists both. Whether the stages fit together is graph.py's."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lifecycle.pipeline.declaration.stages import Command, DeclaredPath, OutputSpec, ParamsSpec, Pipeline, StageSpec, declared
from lifecycle.pipeline.declaration.templates import DEFAULT_FILE, TemplateValues
from lifecycle.pipeline.declaration.yaml12 import load_yaml
from lifecycle.pipeline.errors import PipelineFileError

FILE: Final = "dvc.yaml"
_TOP: Final = frozenset({"stages", "vars", "params", "metrics", "plots", "artifacts"})
_STAGE: Final = frozenset(
    {"cmd", "wdir", "deps", "params", "outs", "metrics", "plots", "vars", "frozen", "always_changed", "desc", "meta"}
)
_FLAGS: Final = frozenset({"cache", "persist", "remote", "push", "desc", "type", "labels", "meta"})
_PLOT: Final = frozenset({"template", "x", "y", "x_label", "y_label", "title", "header"})
_EXPANDING: Final = ("foreach", "matrix", "do")
_NAME: Final = re.compile(r"[^!-,./:-@\[-^`{-~\x00-\x1f]+")
_SCHEME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


def read_pipeline(folder: Path, root: Path) -> Pipeline:
    """The pipeline of the dvc.yaml in a folder. root: the DVC project around it; both absolute. Raises PipelineFileError."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PipelineFileError(
            f"{path}: there is no such file; --dir names the folder that has it, `vedette pipeline init` writes an example"
        ) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise PipelineFileError(f"{path}: cannot be read: {problem}") from problem
    body = load_yaml(text, str(path)) or {}
    if not isinstance(body, dict):
        raise PipelineFileError(f"{path}: expected a mapping with `stages`")
    _known(body, _TOP, str(path))
    stages = body.get("stages") or {}
    if not isinstance(stages, dict):
        raise PipelineFileError(f"{path}: stages: expected a mapping of names to stages")
    values = TemplateValues.read(body.get("vars"), folder, str(path))
    return Pipeline(folder, root, {name: _stage(name, stage, folder, values, str(path)) for name, stage in stages.items()})


def _stage(name: Any, body: Any, folder: Path, values: TemplateValues, where: str) -> StageSpec:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PipelineFileError(f"{where}: stage {name!r}: a name is made of letters, digits, `-` and `_`")
    at = f"{where}: stage {name}"
    if not isinstance(body, dict):
        raise PipelineFileError(f"{at}: expected a mapping with `cmd`")
    if expanding := [key for key in _EXPANDING if key in body]:
        raise PipelineFileError(f"{at}: {expanding[0]} is not understood; write each stage by itself")
    _known(body, _STAGE, at)
    wdir = body.get("wdir") or "."
    if body.get("vars"):
        values = values.with_vars(body["vars"], folder / str(values.fill(wdir, f"stage {name}.wdir")))
    filled = {
        key: values.fill(value, f"stage {name}.{key}") for key, value in body.items() if key not in {"vars", "meta", "desc"}
    }
    run_in = declared(_text(filled.get("wdir") or ".", f"{at}: wdir"), folder).at
    return StageSpec(
        name,
        _command(filled.get("cmd"), at),
        run_in,
        deps=tuple(_path(item, run_in, f"{at}: deps") for item in _list(filled.get("deps"), f"{at}: deps")),
        params=tuple(_params(filled.get("params"), run_in, f"{at}: params")),
        outs=tuple(
            out for kind in ("outs", "metrics", "plots") for out in _outs(filled.get(kind), kind, run_in, f"{at}: {kind}")
        ),
        is_frozen=_flag(filled.get("frozen"), f"{at}: frozen"),
        is_always_changed=_flag(filled.get("always_changed"), f"{at}: always_changed"),
        description=str(body.get("desc") or ""),
    )


def _command(value: Any, at: str) -> Command:
    lines = value if isinstance(value, list) else [value]
    if not lines or not all(isinstance(line, str) and line.strip() for line in lines):
        raise PipelineFileError(f"{at}: cmd: expected a command or a list of commands")
    return tuple(lines) if isinstance(value, list) else str(value)


def _outs(value: Any, kind: str, folder: Path, at: str) -> Iterator[OutputSpec]:
    allowed = _FLAGS | _PLOT if kind == "plots" else _FLAGS
    for item in _list(value, at):
        for written, flags in item.items() if isinstance(item, dict) else [(item, {})]:
            if not isinstance(flags, dict):
                raise PipelineFileError(f"{at}: {written}: expected flags such as `cache: false`")
            _known(flags, allowed, f"{at}: {written}")
            yield OutputSpec(
                _path(written, folder, at),
                kind,
                is_cached=_flag(flags.get("cache"), f"{at}: {written}: cache", default=True),
                is_persistent=_flag(flags.get("persist"), f"{at}: {written}: persist"),
            )


def _params(value: Any, folder: Path, at: str) -> Iterator[ParamsSpec]:
    """`- key` of params.yaml; `- FILE: [key, ...]`; `- FILE:` for the whole file. A file once, with all its keys."""
    keys: dict[str, list[str] | None] = {}
    for item in _list(value, at):
        for name, names in item.items() if isinstance(item, dict) else [(DEFAULT_FILE, [item])]:
            if names is None or keys.get(name, []) is None:
                keys[name] = None
            elif isinstance(names, list) and all(isinstance(key, str) for key in names):
                keys.setdefault(name, []).extend(names)  # type: ignore[union-attr]
            else:
                raise PipelineFileError(f"{at}: {name}: expected a list of keys")
    for name, names in keys.items():
        yield ParamsSpec(_path(name, folder, at), tuple(dict.fromkeys(names or ())))


def _path(value: Any, folder: Path, at: str) -> DeclaredPath:
    written = _text(value, at)
    if _SCHEME.match(written):
        raise PipelineFileError(f"{at}: {written}: only files of this machine are understood; fetch it in a stage of its own")
    return declared(written, folder)


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str) or not value or "\x00" in value:
        raise PipelineFileError(f"{at}: expected a path, found {value!r:.60}")
    return value


def _list(value: Any, at: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise PipelineFileError(f"{at}: expected a list, found {value!r:.60}")
    return value


def _flag(value: Any, at: str, *, default: bool = False) -> bool:
    if value is None:
        return default
    if not isinstance(value, bool):
        raise PipelineFileError(f"{at}: expected true or false, found {value!r:.60}")
    return value


def _known(body: Mapping[Any, Any], names: frozenset[str], at: str) -> None:
    unknown = [str(key) for key in body if key not in names]
    if unknown:
        raise PipelineFileError(f"{at}: {', '.join(unknown)}: not understood; understood are {', '.join(sorted(names))}")
