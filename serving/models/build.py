"""Building a bundle: derive the signature from the graph, run it for the golden cases, hash every file.

Deterministic: the same arguments give the same digest. No time, host or path goes into a bundle."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from serving.models.assembly import as_runtime_strings
from serving.models.bundle import (
    MANIFEST,
    MODEL,
    Bundle,
    check_golden,
    check_graph,
    check_triage,
    check_triage_inputs,
    file_digest,
    problems_in,
    read_bundle,
)
from serving.models.errors import BundleError
from serving.models.golden import GoldenCase, encode_golden
from serving.models.graph import external_files, read_graph, without_zipmap
from serving.models.manifest import Golden, Manifest, TensorSpec
from serving.models.onnx import OnnxModel
from serving.models.parts.triage import TRIAGE_GOLDEN, TRIAGE_MODEL
from serving.models.processor import processor_family
from serving.models.rules_model import derived_fields, rules_of
from serving.rules.declared.rules_yaml import FOLDER as RULES_FOLDER

DEFAULT_TOLERANCE = 1e-5


def build_bundle(
    folder: Path,
    *,
    model: bytes | Path,
    golden_inputs: Mapping[str, NDArray[Any]] | tuple[Mapping[str, NDArray[Any]], ...] = (),
    files: Mapping[str, bytes] | None = None,
    rule_files: Mapping[str, bytes] | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
    cheap: bytes | None = None,
    **manifest_fields: Any,
) -> Bundle:
    """Write a bundle to `folder` (created; refused if it is there and not empty) and return it, verified.

    model: an ONNX file (its external data is taken along) or its bytes. golden_inputs: tensors by input name, one mapping or
    several; strings as object arrays of bytes or str. files: more files, path -> content, e.g. `reference/sample.json`.
    rule_files: files of the folder `rules/`, name -> content: rules.yaml and SIGMA's *.yml; refused if they do not hold.
    cheap: the graph of the cheap model that the field `triage` of the manifest is about.
    manifest_fields: the fields of Manifest that cannot be derived (name, version, score, assembly, ...).
    Raises BundleError; then nothing is left behind."""
    if folder.exists() and any(folder.iterdir()):
        raise BundleError(f"{folder}: exists and is not empty; name a new folder for the bundle")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        draft = Path(scratch) / "bundle"
        draft.mkdir()
        _place_model(draft, model)
        placed = {**(files or {}), **{f"{RULES_FOLDER}{n}": c for n, c in (rule_files or {}).items()}}
        rules = {name.removeprefix(RULES_FOLDER): c for name, c in placed.items() if name.startswith(RULES_FOLDER)}
        if rules and (rule_files or "rules" in manifest_fields):
            manifest_fields["rules"] = {**dict(manifest_fields.get("rules") or {}), **derived_fields(rules)}
        for name, content in placed.items():
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        check_graph(draft / MODEL, listed={p.relative_to(draft).as_posix() for p in draft.rglob("*")})
        session = OnnxModel(draft / MODEL)
        golden = _place_golden(draft, session, golden_inputs, tolerance)
        prefilter = None if cheap is None else _place_triage(draft, cheap, golden_inputs, session.inputs)
        _place_manifest(draft, session, golden, manifest_fields)
        bundle = read_bundle(draft)
        if prefilter is not None:
            check_triage(bundle, prefilter)
        check_golden(bundle, session)
        rules_of(bundle)
        if folder.exists():
            folder.rmdir()
        shutil.move(draft, folder)
    return Bundle(bundle.manifest, bundle.digest, folder)


def _place_model(draft: Path, model: bytes | Path) -> None:
    if isinstance(model, Path):
        source = read_graph(model)
        for name in external_files(source):
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(model.parent / name, target)
            except OSError as problem:
                raise BundleError(f"{model}: its external data {name!r} cannot be read ({problem.strerror})") from problem
        shutil.copyfile(model, draft / MODEL)
    else:
        (draft / MODEL).write_bytes(model)
        source = read_graph(draft / MODEL)
    plain = without_zipmap(source)
    if plain is not source:
        (draft / MODEL).write_bytes(plain.SerializeToString(deterministic=True))


def _place_golden(
    draft: Path,
    session: OnnxModel,
    inputs: Mapping[str, NDArray[Any]] | tuple[Mapping[str, NDArray[Any]], ...],
    tolerance: float,
) -> Golden | None:
    cases = _cases(session, inputs)
    if not cases:
        return None
    (draft / "golden.json").write_bytes(encode_golden(cases))
    return Golden(processor=processor_family(), tolerance=tolerance)


def _place_triage(
    draft: Path,
    graph: bytes,
    inputs: Mapping[str, NDArray[Any]] | tuple[Mapping[str, NDArray[Any]], ...],
    expected: Sequence[TensorSpec],
) -> OnnxModel:
    (draft / TRIAGE_MODEL).write_bytes(graph)
    check_graph(draft / TRIAGE_MODEL, listed=())
    session = OnnxModel(draft / TRIAGE_MODEL)
    check_triage_inputs(expected, session.inputs)
    (draft / TRIAGE_GOLDEN).write_bytes(encode_golden(_cases(session, inputs)))
    return session


def _cases(
    session: OnnxModel, inputs: Mapping[str, NDArray[Any]] | tuple[Mapping[str, NDArray[Any]], ...]
) -> tuple[GoldenCase, ...]:
    batches = (inputs,) if isinstance(inputs, Mapping) else inputs
    cases = []
    for batch in batches:
        tensors = {name: as_runtime_strings(a) if a.dtype.kind in "OSU" else np.asarray(a) for name, a in batch.items()}
        cases.append(GoldenCase(tensors, session.run(tensors)))
    return tuple(cases)


def _place_manifest(draft: Path, session: OnnxModel, golden: Golden | None, fields: Mapping[str, Any]) -> None:
    digests = {p.relative_to(draft).as_posix(): file_digest(p) for p in sorted(draft.rglob("*")) if p.is_file()}
    try:
        manifest = Manifest.model_validate(
            {**fields, "inputs": session.inputs, "outputs": session.outputs, "golden": golden, "files": digests}
        )
    except ValidationError as problem:
        raise BundleError(f"the bundle's description is not valid: {problems_in(problem)}") from problem
    body = json.dumps(manifest.model_dump(mode="json"), sort_keys=True, indent=1, allow_nan=False)
    (draft / MANIFEST).write_text(body + "\n", encoding="utf-8")
