"""Bundles: read from a folder and verified before any part of them is used.

The digest of a bundle is the sha256 of its bundle.json, which in turn holds the sha256 of every other file: one changed byte
anywhere is a different bundle. Nothing is ever unpickled. Building is serving.models.build's, running serving.models.onnx's."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import ValidationError

from serving.models.errors import BundleError, UntrustedBundle
from serving.models.golden import Arrays, decode_golden, differences
from serving.models.graph import check_ops, external_files, read_graph
from serving.models.manifest import Manifest, ScoreSpec, TensorSpec, rows_of
from serving.models.parts.triage import TRIAGE_GOLDEN, TRIAGE_MODEL
from serving.models.processor import processor_family
from serving.models.verdicts import scores_of
from serving.ports import FeatureServiceInfo, Model

MANIFEST: Final = "bundle.json"
MODEL: Final = "model.onnx"
SIGNATURE: Final = "model.sig"
"""A signature may travel in the bundle's folder under this name, as OpenSSF's model signing writes it. It is none of the bundle's files."""
MANIFEST_LIMIT_BYTES: Final = 32 * 1024 * 1024
SignatureCheck = Callable[[str], Mapping[str, str]]
"""Given a bundle's digest: the files that a trusted key signed, path -> sha256 in hex, bundle.json among them. Raises UntrustedBundle."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: its manifest, its digest (`sha256:...`) and the folder it stands in."""

    manifest: Manifest
    digest: str
    folder: Path

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL


def read_bundle(folder: Path, digest: str | None = None, signed: SignatureCheck | None = None) -> Bundle:
    """Read and verify a bundle.

    digest: what the bundle must be, if known. signed: asked before anything of the bundle is parsed; None where signatures are not
    required. Raises BundleError if a file was changed, is missing or was added, the graph has an operator that is not allowed, or
    external data points outside the folder; UntrustedBundle."""
    body = _manifest_bytes(folder)
    actual = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if digest is not None and actual != digest:
        raise BundleError(
            f"{folder / MANIFEST}: its digest is {actual}, expected {digest}; the bundle was changed, fetch or build it again"
        )
    signed_files = None if signed is None else signed(actual)
    try:
        manifest = Manifest.model_validate_json(body)
    except ValidationError as problem:
        raise BundleError(f"{folder / MANIFEST}: {problems_in(problem)}") from problem
    if signed_files is not None and signed_files != files_of(manifest, actual):
        raise UntrustedBundle(f"{folder}: the signature must name exactly the files of bundle.json")
    _check_files(folder, manifest)
    check_graph(folder / MODEL, listed=manifest.files)
    if manifest.triage is not None:
        check_graph(folder / TRIAGE_MODEL, listed=manifest.files)
    return Bundle(manifest, actual, folder)


def files_of(manifest: Manifest, digest: str) -> dict[str, str]:
    """Every file of a bundle, bundle.json included: path -> sha256 in hex. This is what a signature names."""
    return {MANIFEST: digest.removeprefix("sha256:"), **manifest.files}


def check_graph(model: Path, *, listed: Iterable[str]) -> None:
    """Operators and external data of the graph. listed: the files of the bundle. Raises BundleError."""
    graph = read_graph(model)
    try:
        check_ops(graph)
        stray = sorted(set(external_files(graph)) - set(listed))
    except BundleError as problem:
        raise BundleError(f"{model}: {problem}") from problem
    if stray:
        raise BundleError(
            f"{model}: external data {stray} is not among the bundle's files; put it beside model.onnx and build again"
        )


def check_service(manifest: Manifest, service: FeatureServiceInfo) -> None:
    """Does the bundle fit its feature service? Raises BundleError, naming the input that is missing."""
    where = f"bundle {manifest.name}/{manifest.version}"
    features = {f.name: f for f in service.features}
    fields = {f.name for f in manifest.request_fields}
    needed = [c for a in manifest.assembly for c in a.columns if c not in fields and c not in manifest.rule_columns]
    missing = [c for c in needed if c not in features]
    if missing:
        raise BundleError(
            f"{where}: its inputs {missing} are not in feature service {service.name!r}, which has {sorted(features)}; "
            "apply the feature repository the bundle was trained with"
        )
    keys, join_keys = {k.name: k.datatype for k in manifest.entity_keys}, {k.name: k.datatype for k in service.join_keys}
    if keys != join_keys:
        raise BundleError(
            f"{where}: its entity keys {keys} differ from the join keys {join_keys} of feature service {service.name!r}"
        )
    absent = [f.name for f in service.request_fields if f.name not in fields]
    if absent:
        raise BundleError(
            f"{where}: feature service {service.name!r} needs the request fields {absent}, which the bundle does not declare"
        )
    textual = {t.name for t in manifest.inputs if t.datatype == "BYTES"}
    for assembly in manifest.assembly:
        for column in assembly.columns:
            if column in features and (features[column].datatype == "BYTES") != (assembly.tensor in textual):
                raise BundleError(
                    f"{where}: feature {column!r} is {features[column].datatype} in feature service {service.name!r}, "
                    f"which input {assembly.tensor!r} cannot take"
                )


def check_signature(manifest: Manifest, model: Model) -> None:
    """The loaded graph has the inputs and outputs the manifest promises. Raises BundleError."""
    for kind, promised, actual in (
        ("input", manifest.inputs, getattr(model, "inputs", manifest.inputs)),
        ("output", manifest.outputs, getattr(model, "outputs", manifest.outputs)),
    ):
        if promised != actual:
            wrong = [f"{p} is {a}" for p, a in zip(promised, actual, strict=False) if p != a] or [
                f"{len(promised)} against {len(actual)}"
            ]
            raise BundleError(
                f"bundle {manifest.name}/{manifest.version}: the graph's {kind}s differ from bundle.json: {'; '.join(wrong)}"
            )


def check_golden(bundle: Bundle, model: Model) -> int:
    """Run the golden cases; returns how many. Raises BundleError if an output does not reproduce."""
    golden = bundle.manifest.golden
    if golden is None:
        return 0
    cases = decode_golden((bundle.folder / golden.file).read_bytes())
    tolerance = None if golden.processor == processor_family() else golden.tolerance
    for index, case in enumerate(cases):
        outputs = model.run(case.inputs)
        problems = differences(case.outputs, outputs, tolerance=tolerance)
        if problems:
            exactness = "to the bit" if tolerance is None else f"within {tolerance:g}"
            raise BundleError(
                f"{bundle.folder / golden.file}: case {index} does not reproduce {exactness}: {'; '.join(problems)}; "
                "the model or its runtime is not the one the bundle was built with"
            )
        try:
            non_row_inputs: frozenset[str] = getattr(model, "non_row_inputs", frozenset())
            check_scores(bundle.manifest.inputs, bundle.manifest.score, case.inputs, outputs, non_row_inputs)
        except BundleError as problem:
            raise BundleError(f"{bundle.folder / golden.file}: case {index}: {problem}") from problem
    return len(cases)


def check_triage(bundle: Bundle, cheap: Model) -> None:
    """The triage's graph gives a score for each row of the golden cases, and what it must. Raises BundleError."""
    golden, spec = bundle.manifest.golden, bundle.manifest.triage
    if golden is None or spec is None:
        return
    path = bundle.folder / TRIAGE_GOLDEN
    tolerance = None if golden.processor == processor_family() else golden.tolerance
    for index, case in enumerate(decode_golden(path.read_bytes())):
        outputs = cheap.run(case.inputs)
        problems = differences(case.outputs, outputs, tolerance=tolerance)
        if problems:
            raise BundleError(f"{path}: case {index} does not reproduce: {'; '.join(problems)}; build the bundle again")
        try:
            check_scores(
                bundle.manifest.inputs, ScoreSpec(output=spec.output, column=spec.column), case.inputs, outputs, frozenset()
            )
        except (BundleError, KeyError) as problem:
            raise BundleError(f"{path}: case {index}: {problem}") from problem


def check_triage_inputs(inputs: Sequence[TensorSpec], of_triage: Sequence[TensorSpec]) -> None:
    """The triage's graph takes what the model takes. Raises BundleError."""
    if [(i.name, i.datatype) for i in inputs] != [(i.name, i.datatype) for i in of_triage]:
        raise BundleError(
            f"{TRIAGE_MODEL} takes {[i.name for i in of_triage]}, and the model {[i.name for i in inputs]}; both must have the same "
            "inputs, of the same datatypes"
        )


def check_scores(
    specs: Sequence[TensorSpec], score: ScoreSpec | None, inputs: Arrays, outputs: Arrays, non_row_inputs: frozenset[str]
) -> None:
    """One run of the graph gave one score a row, if it has a score. Raises BundleError."""
    if score is None:
        return
    try:
        scores_of(outputs, score, rows_of(specs, {name: tensor.shape for name, tensor in inputs.items()}, non_row_inputs))
    except ValueError as problem:
        raise BundleError(f"{problem}; a graph that drops or merges rows cannot be served") from problem


def file_digest(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _manifest_bytes(folder: Path) -> bytes:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MANIFEST_LIMIT_BYTES:
            raise BundleError(
                f"{path}: larger than {MANIFEST_LIMIT_BYTES} bytes; this is not the bundle.json of a Vedette bundle"
            )
        return path.read_bytes()
    except OSError as problem:
        raise BundleError(f"{path}: cannot be read ({problem.strerror}); a bundle is a folder with a bundle.json") from problem


def _check_files(folder: Path, manifest: Manifest) -> None:
    if MODEL not in manifest.files:
        raise BundleError(f"{folder / MANIFEST}: files does not list {MODEL}")
    if manifest.golden is not None and manifest.golden.file not in manifest.files:
        raise BundleError(f"{folder / MANIFEST}: files does not list {manifest.golden.file}, which golden names")
    try:
        check_paths(manifest)
    except BundleError as problem:
        raise BundleError(f"{folder / MANIFEST}: {problem}") from problem
    for entry in sorted(folder.rglob("*")):
        name = entry.relative_to(folder).as_posix()
        if entry.is_symlink():
            raise BundleError(f"{entry}: a bundle holds files, not links; copy the file in and build the bundle again")
        if entry.is_file() and name not in (MANIFEST, SIGNATURE) and name not in manifest.files:
            raise BundleError(f"{entry}: bundle.json does not list this file; remove it or build the bundle again")
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path}: bundle.json lists this file and it is missing; fetch or build the bundle again")
        actual = file_digest(path)
        if actual != expected:
            raise BundleError(
                f"{path}: its sha256 is {actual}, bundle.json says {expected}; the file was changed, fetch or build the bundle again"
            )


def check_paths(manifest: Manifest) -> None:
    """Every file of the list lies within the bundle's folder, and none stands where a signature does. Raises BundleError."""
    if SIGNATURE in manifest.files:
        raise BundleError(f"files names {SIGNATURE}, a name reserved for the signature; rename the file")
    for name in manifest.files:
        listed = PurePosixPath(name)
        if listed.is_absolute() or ".." in listed.parts or "\\" in name:
            raise BundleError(f"files names {name!r}, which is outside the bundle's folder")


def problems_in(problem: ValidationError) -> str:
    """The first few problems of a validation, each with its place, in one line."""
    return "; ".join(f"{'.'.join(str(p) for p in e['loc']) or 'bundle.json'}: {e['msg']}" for e in problem.errors()[:5])
