"""`vedette bundle create | verify | show`: any ONNX model as a bundle, and the content of a bundle."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, finite, plain, print_json, print_table
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serving.models.bundle import Bundle
    from serving.models.manifest import Manifest, TensorSpec
    from serving.models.onnx import OnnxModel
    from serving.models.store import BundleStore

app = typer.Typer(no_args_is_help=True, help="Make, verify and show bundles.")
BundleArgument = Annotated[
    str, typer.Argument(metavar="NAME|FOLDER", help="A model of the store (NAME or NAME/VERSION), or a bundle's folder.")
]
DERIVED = frozenset({"inputs", "outputs", "files", "golden", "schema_version", "platform"})
"""Fields of bundle.json that follow from the model's file."""
GOLDEN_ROWS = (3, 1)
MANY_ROWS = 64
GOLDEN_SIZES = (4, 1, 16, 3)
"""First variable dimension, and further ones, tried for the golden inputs of a graph that does not say what fits."""


@app.command()
def create(
    onnx: Annotated[Path, typer.Option("--onnx", help="The ONNX model; its external data is copied too.")],
    name: Annotated[str | None, typer.Option(help="Name it is served under (default: the file's).")] = None,
    version: Annotated[str | None, typer.Option(help="A whole number (default: the next one in the store).")] = None,
    description: Annotated[str, typer.Option(help="One line for people.")] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option("--input", help="TENSOR=COLUMN,COLUMN,...: take named columns instead of whole tensors; repeat."),
    ] = None,
    score: Annotated[str | None, typer.Option(help="OUTPUT or OUTPUT:COLUMN with the score; turns on verdicts.")] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="NAME=THRESHOLD of an operating point; repeat (default: siem_alerting=0.5).")
    ] = None,
    describe: Annotated[
        Path | None, typer.Option(help="YAML or JSON with more fields of bundle.json, e.g. for features; options override it.")
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            help="Folder of rules that answer while features or the model fail: rules.yaml and SIGMA files (*.yml), subfolders too."
        ),
    ] = None,
    golden: Annotated[Path | None, typer.Option(help="JSON with golden inputs, as the body of an infer request.")] = None,
    no_golden: Annotated[bool, typer.Option("--no-golden", help="Make no golden cases.")] = False,
    allow_nonfinite: Annotated[bool, typer.Option("--allow-nonfinite", help="Clients may send NaN and infinities.")] = False,
    output: Annotated[Path | None, typer.Option(help="Write the bundle to this folder instead of the store.")] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Make a bundle of any ONNX model and put it into the store."""
    from serving.models.build import build_bundle

    if not onnx.is_file():
        raise CommandError(f"{onnx}: no such file; --onnx is the path of a .onnx model")
    store = _store(store_dir)
    model = _load(onnx)
    fields = {**_described(describe), **_columns(model, columns or []), **_score(model, score, threshold or [])}
    fields["name"] = name or fields.get("name", onnx.stem)
    fields["version"] = version or fields.get("version", store.next_version(str(fields["name"])))
    fields |= {"description": description} if description else {}
    fields |= {"allow_nonfinite": True} if allow_nonfinite else {}
    _check_many_rows(onnx, model, fields.get("score"))
    with TemporaryDirectory(prefix="vedette-") as scratch:
        folder = output or Path(scratch) / "bundle"
        cases: Any = () if no_golden else _golden(onnx, model, golden)
        bundle = build_bundle(folder, model=onnx, golden_inputs=cases, rule_files=_rules(rules), **fields)
        if output is None:
            bundle = store.read(store.add(bundle))
    _show(bundle, as_json=as_json)


def _rules(folder: Path | None) -> dict[str, bytes]:
    from serving.rules.files import find_rule_files

    found = {} if folder is None else find_rule_files(folder)
    if folder is not None and not found:
        raise CommandError(f"{folder}: has no rules; expected rules.yaml or SIGMA's *.yml in it or in its folders")
    return found


@app.command()
def verify(which: BundleArgument, store_dir: StoreDir = None, as_json: Json = False) -> None:
    """Check every file's digest, the graph, the rules, and that the golden cases reproduce."""
    from serving.models.bundle import check_golden, check_signature, check_triage
    from serving.models.onnx import OnnxModel
    from serving.models.parts.triage import TRIAGE_MODEL

    bundle = find_bundle(which, store_dir)
    model = OnnxModel(bundle.model_path)
    check_signature(bundle.manifest, model)
    cases = check_golden(bundle, model)
    if bundle.manifest.triage is not None:
        check_triage(bundle, OnnxModel(bundle.folder / TRIAGE_MODEL))
    rules = _rules_summary(bundle)
    if as_json:
        found = {"digest": bundle.digest, "files": len(bundle.manifest.files), "golden_cases": cases, "is_valid": True}
        print_json({**found, **({"rules": rules} if rules else {})})
    else:
        print(f"{bundle.digest}\nvalid: {len(bundle.manifest.files)} files, {cases} golden cases reproduce")
        _show_rules(rules)


@app.command()
def show(which: BundleArgument, store_dir: StoreDir = None, as_json: Json = False) -> None:
    """Show a bundle: its tensors, columns, operating points and rules."""
    _show(find_bundle(which, store_dir), as_json=as_json)


def _store(store_dir: Path | None) -> "BundleStore":
    from serving.models.store import BundleStore
    from serving.settings import ServingSettings

    return BundleStore(store_dir or ServingSettings().store_dir)


def find_bundle(which: str, store_dir: Path | None) -> "Bundle":
    """A model of the store (NAME or NAME/VERSION), or a bundle's folder; read and verified. Raises NoSuchModel, BundleError."""
    from serving.models.bundle import read_bundle

    if (Path(which) / "bundle.json").is_file() or which.startswith((".", "/")):
        return read_bundle(Path(which))
    name, _, version = which.partition("/")
    return _store(store_dir).resolve(name, version or None)


def _load(onnx: Path) -> "OnnxModel":
    """The model as it will be bundled: scikit-learn's ZipMap outputs as plain tensors."""
    from serving.models.graph import external_files, read_graph, without_zipmap
    from serving.models.onnx import OnnxModel

    graph = read_graph(onnx)
    return OnnxModel(onnx) if external_files(graph) else OnnxModel(without_zipmap(graph).SerializeToString())


def _described(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    from operators.cli.documents import read_document

    fields = read_document(path, "fields of bundle.json; docs/reference/bundle.md lists them")
    if given := sorted(DERIVED & fields.keys()):
        raise CommandError(f"{path}: {given} are derived from the model and cannot be given; remove them")
    return fields


def _columns(model: "OnnxModel", options: Sequence[str]) -> dict[str, Any]:
    """`--input TENSOR=a,b`: request fields, and how tensors are made of them."""
    if not options:
        return {}
    of_tensor: dict[str, list[str]] = {}
    for option in options:
        tensor, equals, names = option.partition("=")
        if not equals or not names:
            raise CommandError(f"--input {option!r}: write TENSOR=COLUMN,COLUMN,..., e.g. --input features=duration,bytes")
        of_tensor[tensor] = [n.strip() for n in names.split(",")]
    specs = {t.name: t for t in model.inputs}
    if set(of_tensor) != set(specs):
        raise CommandError(
            f"--input names the tensors {sorted(of_tensor)}; the model has {sorted(specs)}, and each needs one --input"
        )
    for tensor, given in of_tensor.items():
        width = _width(specs[tensor])
        if width not in (-1, len(given)):
            raise CommandError(f"--input {tensor}: {len(given)} columns given, the tensor takes {width}")
    return {
        "request_fields": [{"name": c, "datatype": specs[t].datatype} for t, names in of_tensor.items() for c in names],
        "assembly": [{"tensor": t.name, "columns": of_tensor[t.name]} for t in model.inputs],
    }


def _width(spec: "TensorSpec") -> int:
    return 1 if len(spec.shape) < 2 else spec.shape[1]


def _score(model: "OnnxModel", score: str | None, thresholds: Sequence[str]) -> dict[str, Any]:
    if score is None:
        if thresholds:
            raise CommandError("--threshold needs --score, the output that it is compared with")
        return {}
    output, colon, column = score.rpartition(":")
    named = {"output": output, "column": int(column)} if colon and column.isdecimal() else {"output": score}
    _check_score(model, str(named["output"]), named.get("column"))
    points = dict(_thresholds(thresholds or ["siem_alerting=0.5"]))
    default = "siem_alerting" if "siem_alerting" in points else next(iter(points))
    low = min(points.values())
    described = {n: {"threshold": t, "investigate": low, "requirement": "set by hand"} for n, t in points.items()}
    return {"score": named, "operating_points": described, "default_operating_point": default}


def _check_score(model: "OnnxModel", output: str, column: Any) -> None:
    spec = next((t for t in model.outputs if t.name == output), None)
    if spec is None:
        raise CommandError(f"--score {output}: the model has no such output; it has {[t.name for t in model.outputs]}")
    if spec.datatype == "BYTES":
        raise CommandError(f"--score {output}: is text; a score must be a number")
    width = _width(spec)
    if column is None and width > 1:
        raise CommandError(f"--score {output}: has {width} columns; say which, e.g. --score {output}:{width - 1}")
    if column is not None and width != -1 and column >= width:
        raise CommandError(f"--score {output}:{column}: has {width} columns, counted from 0")


def _thresholds(options: Sequence[str]) -> Iterator[tuple[str, float]]:
    for option in options:
        name, equals, value = option.partition("=")
        try:
            yield (name, finite(value)) if equals else ("siem_alerting", finite(option))
        except ValueError as problem:
            raise CommandError(
                f"--threshold {option!r}: write NAME=NUMBER, NUMBER finite, e.g. --threshold siem_alerting=0.5"
            ) from problem


def _golden(onnx: Path, model: "OnnxModel", file: Path | None) -> "Mapping[str, NDArray[Any]]":
    """Golden inputs from a request's body, or made up from the signature: the first shapes that the model takes."""
    from lifecycle.training.reference import made_up_inputs
    from serving.models.errors import RunError

    if file is not None:
        return _from_request(file)
    known = sorted({d for t in model.inputs for d in t.shape if d > 1})  # a variable dimension often equals a fixed one
    refusal: RunError | None = None
    for other in (*known, *GOLDEN_SIZES):
        for batch in (*GOLDEN_ROWS, *known):
            inputs = made_up_inputs(model.inputs, batch=batch, other=other)
            try:
                model.run(inputs)
            except RunError as problem:
                refusal = problem
            else:
                return inputs
    raise CommandError(
        f"{onnx}: no generated input fits this model ({refusal}); give one with --golden REQUEST.json, or go without: --no-golden"
    )


def _check_many_rows(onnx: Path, model: "OnnxModel", score: "Mapping[str, Any] | None") -> None:
    """Run many made-up rows, so that a graph that drops some is seen here and not by a client."""
    from lifecycle.training.reference import made_up_inputs
    from serving.models.bundle import check_scores
    from serving.models.errors import BundleError, RunError
    from serving.models.manifest import ScoreSpec

    if score is None:
        return
    try:
        spec = ScoreSpec.model_validate(score)
    except ValueError:
        return  # building the bundle says what is wrong with it
    known = sorted({d for t in model.inputs for d in t.shape if d > 1})  # a variable dimension often equals a fixed one
    for other in (*known, *GOLDEN_SIZES):
        inputs = made_up_inputs(model.inputs, batch=MANY_ROWS, other=other)
        try:
            check_scores(model.inputs, spec, inputs, model.run(inputs), model.non_row_inputs)
        except RunError:
            continue  # made-up values need not fit; the golden case says so where none does
        except BundleError as problem:
            raise CommandError(f"{onnx}: with {MANY_ROWS} generated rows: {problem}") from problem
        return


def _from_request(file: Path) -> "dict[str, NDArray[Any]]":
    import numpy as np

    from serving.messages import DTYPES

    try:
        tensors = json.loads(file.read_text(encoding="utf-8"))["inputs"]
        return {t["name"]: np.array(t["data"], dtype=DTYPES[t["datatype"]]).reshape(t["shape"]) for t in tensors}
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as problem:
        raise CommandError(
            f"{file}: is not an infer request ({type(problem).__name__}: {problem}); expected "
            '{"inputs": [{"name": ..., "datatype": "FP32", "shape": [1, 4], "data": [...]}]}'
        ) from problem


def _show(bundle: "Bundle", *, as_json: bool) -> None:
    manifest, rules = bundle.manifest, _rules_summary(bundle)
    if as_json:
        shown = {"digest": bundle.digest, "folder": str(bundle.folder), "manifest": manifest.model_dump(mode="json")}
        print_json({**shown, **({"rules": rules} if rules else {})})
        return
    print(plain(f"{manifest.name} version {manifest.version}\n{bundle.digest}\n{bundle.folder}"))
    tensors = [("input", t) for t in manifest.inputs] + [("output", t) for t in manifest.outputs]
    print_table(
        "tensors", ["", "name", "datatype", "shape"], [[kind, t.name, t.datatype, list(t.shape)] for kind, t in tensors]
    )
    fields = [["entity key", f.name, f.datatype] for f in manifest.entity_keys]
    fields += [["request field", f.name, f.datatype] for f in manifest.request_fields]
    if fields:
        print_table("columns", ["", "name", "datatype"], fields)
    _show_points(manifest)
    _show_triage(manifest)
    _show_rules(rules)


def _show_points(manifest: "Manifest") -> None:
    from lifecycle.training.operating_points.promise import promise, promise_in_full

    points = manifest.operating_points
    rows = [[n, f"{p.threshold:.4g}", f"{p.investigate:.4g}", p.requirement, promise(p)] for n, p in points.items()]
    if rows:
        columns = ["name", "threshold", "investigate", "requirement", "holds"]
        print_table("operating points", columns, rows, right=["threshold", "investigate"])
    for name, point in points.items():
        if promise_text := promise_in_full(point):
            print(plain(f"{name}: {promise_text}\n"))


def _show_triage(manifest: "Manifest") -> None:
    triage = manifest.triage
    if triage is None:
        return
    losses, name = triage.losses, plain(triage.name)
    print(
        f"triage {name}: off unless a revision switches it on. Rows with a score under {triage.bound:.4g} are benign without the "
        f"model: {triage.ended:.1%} of the benign validation rows and {losses.lost:,} of {losses.attacks:,} attacks, at most "
        f"{losses.upper:.3%} of all attacks with a confidence of {losses.confidence:.0%} ({losses.required:.3%} may be lost)\n"
    )


def _rules_summary(bundle: "Bundle") -> dict[str, Any] | None:
    """A summary of a bundle's rules; None if it has none. Raises BundleError."""
    from operators.cli.rules.view import record_of
    from serving.models.rules_model import rules_of

    rules = rules_of(bundle)
    return None if rules is None else record_of(rules)


def _show_rules(record: dict[str, Any] | None) -> None:
    from operators.cli.rules.view import print_rules

    if record is not None:
        print_rules(record)
