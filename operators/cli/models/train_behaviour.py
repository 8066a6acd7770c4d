"""`vedette train` of a detector file of kind `behaviour`."""

from pathlib import Path
from typing import TYPE_CHECKING

from operators.cli.console import CommandError, progress
from operators.cli.models.training_record import record_training

if TYPE_CHECKING:
    from lifecycle.training.behaviour.declaration import BehaviourDetector
    from serving.models.bundle import Bundle
    from serving.settings import ServingSettings


def train_windows(
    detector: "BehaviourDetector", data: Path | None, data_dir: Path | None, settings: "ServingSettings", seed: int | None
) -> "Bundle":
    """Count the windows of a file, a folder or generated rows, and fit the model. Raises CommandError, TrainingError."""
    from lifecycle.training.behaviour.train import generated_windows, read_windows, train_behaviour
    from serving.models.store import BundleStore

    if data is not None and data_dir is not None:
        raise CommandError("give --data FILE or --data-dir DIR, not both")
    if seed is not None:
        detector = detector.model_copy(update={"model": detector.model.model_copy(update={"seed": seed})})
    place = data if data is not None else None if data_dir is None else data_dir / (detector.train or "")
    if place is None and detector.generator is None:
        raise CommandError(f"detector {detector.name!r} needs data: give --data FILE (or a folder) or --data-dir DIR")
    with progress() as display:
        display.add_task("counting windows", total=None)
        windows = generated_windows(detector) if place is None else read_windows(detector, place)
        bundle = train_behaviour(detector, windows, BundleStore(settings.store_dir))
    record_training(bundle, settings)
    return bundle
