"""`vedette train`: from a detector's declaration and its data to a bundle in the store."""

import dataclasses
import hashlib
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import CommandError, Json, errors, plain, print_json, print_table, progress
from operators.cli.models.training_record import record_training
from operators.cli.store.store_option import StoreDir

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lifecycle.datasets.data import Dataset
    from lifecycle.datasets.detector import Detector
    from lifecycle.training.feast_store import FeastStore
    from lifecycle.training.train import Progress
    from serving.models.bundle import Bundle
    from serving.settings import ServingSettings

DataFile = Annotated[Path | None, typer.Option("--data", help="File with the rows; format and columns are the detector's.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder with the detector's own files.")]
DetectorArgument = Annotated[str, typer.Argument(metavar="DETECTOR", help="flows, nsl-kdd or a detector file (.yaml).")]


def train(
    detector: DetectorArgument,
    data: DataFile = None,
    data_dir: DataDir = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the fit (default: the detector's).")] = None,
    bundle_dir: Annotated[
        Path | None, typer.Option(help="Copy the bundle to this folder too, which must be new: an output of a pipeline.")
    ] = None,
    store_dir: StoreDir = None,
    as_json: Json = False,
) -> None:
    """Train a detector and put its bundle into the store."""
    from lifecycle.datasets.declarations import read_detector
    from lifecycle.training.behaviour.declaration import read_behaviour
    from operators.cli.models.train_behaviour import train_windows
    from operators.cli.registry.signing import sign_trained
    from serving.settings import ServingSettings

    settings = ServingSettings() if store_dir is None else ServingSettings(store_dir=store_dir)
    if bundle_dir is not None and bundle_dir.exists():
        raise CommandError(f"--bundle-dir {bundle_dir}: is there already; remove it, or give another folder")
    behaviour = read_behaviour(detector)
    if behaviour is not None:
        bundle = train_windows(behaviour, data, data_dir, settings, seed)
    else:
        bundle = _train(read_detector(detector), data, data_dir, settings, seed)
    sign_trained(bundle, settings)
    if bundle_dir is not None:
        shutil.copytree(bundle.folder, bundle_dir)
    _show(bundle, as_json=as_json)


def ensure_trained(detector: str, data_dir: Path | None, settings: "ServingSettings", *, retrain: bool) -> "Bundle":
    """The store's bundle of this detector and data; trained now if there is none, or if asked to."""
    from lifecycle.datasets.declarations import read_detector
    from serving.models.errors import ModelError
    from serving.models.store import BundleStore

    declared = read_detector(detector)
    memo = settings.store_dir / "trained" / f"{_identity(declared, data_dir)}.json"
    if memo.is_file() and not retrain:
        try:
            return BundleStore(settings.store_dir).read(_digest_in(memo))
        except (ModelError, ValueError, OSError) as problem:
            errors.print(f"training again: {problem}", markup=False)
    bundle = _train(declared, None, data_dir, settings, None)
    memo.parent.mkdir(parents=True, exist_ok=True)
    memo.write_text(json.dumps({"digest": bundle.digest}) + "\n", encoding="utf-8")
    return bundle


def _digest_in(memo: Path) -> str:
    """The digest in the file that remembers a training. Raises OSError, ValueError."""
    content = json.loads(memo.read_text(encoding="utf-8"))
    digest = content.get("digest") if isinstance(content, dict) else None
    if not isinstance(digest, str):
        raise ValueError(f"{memo} does not hold the digest of a bundle")
    return digest


def load(detector: "Detector", data: Path | None, data_dir: Path | None, tell: "Progress") -> "Dataset":
    """The detector's rows: a file, the detector's own file in a folder, or generated ones. Raises TrainingError."""
    from lifecycle.datasets.data import check_data, find_file, read_data
    from lifecycle.datasets.synthetic_flows import generate_flows

    if data is not None and data_dir is not None:
        raise CommandError("give --data FILE or --data-dir DIR, not both")
    if data is not None or data_dir is not None:
        path = data if data is not None else find_file(detector, data_dir or Path())
        tell(f"reading {path.name}", 0.0)
        return read_data(detector, path)
    if detector.source.generator is None:
        raise CommandError(
            f"detector {detector.name!r} needs data: give --data-dir DIR (with {detector.source.train}) or --data FILE"
        )
    tell("generating flows", 0.0)
    rows = check_data(detector, generate_flows(detector.model.seed), where="generated flows")
    return dataclasses.replace(rows, is_generated=True)


def feature_store(settings: "ServingSettings") -> "FeastStore":
    """The feature store of this machine, the one that is served from: training joins from it, materializing fills it."""
    from lifecycle.training.feast_store import FeastStore
    from serving.store_layout import say_layout

    if settings.feature_repo is None:  # one of somebody's own is no part of the store
        say_layout(settings.store_dir)
    return FeastStore(settings.feast_dir, settings.redis_url, is_given=settings.feature_repo is not None)


def _train(
    detector: "Detector", data: Path | None, data_dir: Path | None, settings: "ServingSettings", seed: int | None
) -> "Bundle":
    from lifecycle.training.train import add_to_store, prepare, train
    from serving.models.store import BundleStore

    with progress() as display:
        task = display.add_task("reading", total=100)

        def tell(what: str, share: float) -> None:
            display.update(task, description=what, completed=round(share * 100))

        rows = load(detector, data, data_dir, tell)
        store = feature_store(settings)
        prepared = prepare(
            detector,
            rows,
            store,
            with_test=detector.source.test is None,
            progress=tell,
        )
        trained = train(prepared, seed=seed, progress=tell)
        bundle = add_to_store(trained, BundleStore(settings.store_dir))
        record_training(bundle, settings)
        if prepared.service is not None and rows.at_us is not None:
            materialize(store, rows.at_us, prepared.service.name, tell)
    for note in rows.notes:
        errors.print(f"note: {note}", markup=False)
    return bundle


def materialize(store: "FeastStore", at_us: "NDArray[np.int64]", service: str, tell: "Progress") -> None:
    """Put each entity's newest features into the online store, so that the bundle can be served at once."""
    first, last = (datetime.fromtimestamp(int(t) / 1e6, tz=UTC) for t in (at_us.min(), at_us.max()))
    minute = timedelta(minutes=1)
    store.materialize(
        first - minute, last + minute, lambda m: tell(f"materializing {m.view}", m.done / m.total), service=service
    )


def _identity(detector: "Detector", data_dir: Path | None) -> str:
    """A digest of the inputs of training, without reading the data: the declaration, and the file's name, size and time."""
    from lifecycle.datasets.data import find_file

    known: dict[str, Any] = {"detector": detector.model_dump(mode="json")}
    if data_dir is not None:
        path = find_file(detector, data_dir)
        known["file"] = [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:32]


def _show(bundle: "Bundle", *, as_json: bool) -> None:
    manifest = bundle.manifest
    if as_json:
        points = {name: p.model_dump(mode="json") for name, p in manifest.operating_points.items()}
        metrics = dict(manifest.lineage.metrics) if manifest.lineage else {}
        print_json(
            {
                "name": manifest.name, "version": manifest.version, "digest": bundle.digest, "folder": str(bundle.folder),
                "data_digest": manifest.lineage.data_digest if manifest.lineage else None,
                "operating_points": points, "metrics": metrics,
            }
        )  # fmt: skip
        return
    from lifecycle.training.operating_points.promise import promise

    rows = []
    for name, point in manifest.operating_points.items():
        e = point.expected
        if e is None:
            rows.append([name, point.requirement, "", f"{point.threshold:.4g}", *[""] * 5])
        else:
            figures = [f"{v:.3f}" for v in (e.precision, e.recall, e.f1)]
            rows.append([name, point.requirement, promise(point), f"{point.threshold:.4g}", *figures,
                         f"{e.false_alarm_rate:.2%}", f"{e.attack_share:.1%}"])  # fmt: skip
    columns = [
        "operating point",
        "requirement",
        "holds",
        "threshold",
        "precision",
        "recall",
        "F1",
        "false alarms",
        "attack share",
    ]
    print_table(f"{manifest.name} version {manifest.version}: expected, from validation data", columns, rows, right=columns[3:])
    for name, point in manifest.operating_points.items():
        if point.shortfall:
            print(plain(f"{name}: {point.shortfall}\n"))
    print(f"bundle {bundle.digest}\nin {bundle.folder}")
