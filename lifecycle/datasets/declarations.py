"""Detectors by name or file: the declaration's text, checked. What can be declared is detector.py's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from pydantic import ValidationError

from lifecycle.datasets.detector import Detector
from lifecycle.errors import DetectorError
from lifecycle.yaml_text import read_yaml

if TYPE_CHECKING:
    from serving.models.manifest import Manifest

BUILT_IN: Final = Path(__file__).parent / "detectors"


def read_detector(name_or_path: str) -> Detector:
    """A built-in detector by name, or a declaration by path. Raises DetectorError."""
    path = Path(name_or_path)
    built_in = BUILT_IN / f"{name_or_path}.yaml"
    if path.suffix.lower() not in (".yaml", ".yml"):
        if not built_in.is_file():
            known = sorted(p.stem for p in BUILT_IN.glob("*.yaml"))
            raise DetectorError(f"no detector {name_or_path!r}: built in are {known}; or give the path of a .yaml file")
        path = built_in
    try:
        body = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise DetectorError(
            f"{path}: cannot be read ({problem.strerror}); give a detector's name or the path of its .yaml"
        ) from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise DetectorError(f"{path}: is not YAML: {' '.join(str(problem).split())}") from problem
    return parse_detector(body, where=str(path))


def parse_detector(body: object, *, where: str) -> Detector:
    """Check a declaration. Raises DetectorError that names every wrong place."""
    if not isinstance(body, dict):
        raise DetectorError(
            f"{where}: expected a mapping with name, source, label, ...; see {BUILT_IN / 'flows.yaml'} for a complete one"
        )
    try:
        return Detector.model_validate(body)
    except ValidationError as problem:
        problems = [f"{'.'.join(str(p) for p in e['loc']) or 'detector'}: {_plain(e)}" for e in problem.errors()]
        raise DetectorError(f"{where}: {'; '.join(problems)}") from problem


def _plain(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return "this field is unknown"
    if error["type"] == "missing":
        return "this field is missing"
    return message


def detector_of(manifest: "Manifest") -> Detector | None:
    """The detector that a bundle was trained by, as its lineage has it; None if it has none, or none that is valid here."""
    declared = manifest.lineage.detector if manifest.lineage else None
    if not declared:
        return None
    try:
        return parse_detector(dict(declared), where=f"bundle {manifest.name}")
    except DetectorError:
        return None
