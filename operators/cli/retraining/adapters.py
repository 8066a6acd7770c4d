"""What retraining needs of this machine: the store's logs, labels and alarms, the control plane, and the detector's own data."""

import functools
import getpass
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from operators.cli.acts import now_us
from operators.cli.control_plane import ControlPlaneChoice
from operators.cli.store.store_option import store_to_use

if TYPE_CHECKING:
    from lifecycle.datasets.detector import Detector
    from lifecycle.evaluation.held_out import HeldOutRows
    from lifecycle.labels.label import Label
    from lifecycle.retraining.surroundings import Surroundings
    from lifecycle.training.features import FeatureStore
    from lifecycle.training.train import Prepared
    from serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class BaseData:
    """Where the detector's own rows are: a file, a folder, or neither, for rows that are generated. test: its test file."""

    data: Path | None = None
    data_dir: Path | None = None
    test: Path | None = None


def surroundings(
    choice: ControlPlaneChoice,
    service: str,
    base: BaseData,
    *,
    beside: Path = Path(),
    tell: Callable[[str, float], None] = lambda what, share: None,
) -> "Surroundings":
    """Of one service. Raises ControlError where the control plane cannot be read."""
    from lifecycle.governance.acts import ActsLog
    from lifecycle.labels.label_log import LabelLog
    from lifecycle.monitoring.alarm import AlarmLog
    from lifecycle.monitoring.windows.answered import read_answers
    from lifecycle.retraining.progress import folder_of
    from lifecycle.retraining.surroundings import Surroundings
    from operators.cli.audit.archive_options import archive_if_there
    from operators.cli.retraining.releases import ControlReleases
    from operators.control.port import NoSuchService
    from serving.audit.keys.keyring import Keyring
    from serving.settings import ServingSettings

    settings = ServingSettings(store_dir=store_to_use(choice.store_dir))
    store, control = settings.store_dir, choice.open()
    try:
        model = control.read(service).ref.model
    except NoSuchService:
        model = service
    keyring = Keyring.of(store, settings.audit_key, settings.audit_key_name)

    def labels() -> "Mapping[str, Label]":
        return LabelLog(store / "labels").current(model)

    return Surroundings(
        model=model,
        folder=folder_of(store, model),
        actor=getpass.getuser(),
        releases=ControlReleases(control, settings, service, beside),
        acts=ActsLog(store / "governance", signer=keyring.signer, now_us=now_us),
        base=functools.partial(_prepared, base, settings, tell),
        answers=lambda since_us: read_answers(store / "audit", model, since_us=since_us, archive=archive_if_there(store, None)),
        labels=labels,
        alarms=lambda: tuple(AlarmLog(store / "monitoring").read()),
        test=functools.partial(_tested, base, settings),
        tell=tell,
    )


def _tested(base: BaseData, settings: "ServingSettings", detector: "Detector") -> "HeldOutRows | None":
    """The detector's test file: as given, else that of the data folder."""
    from lifecycle.datasets.data import find_file, read_data
    from lifecycle.evaluation.held_out import held_out

    path = base.test
    if path is None and detector.source.test is not None and base.data_dir is not None:
        path = find_file(detector, base.data_dir, "test")
    if path is None:
        return None
    with _joining_store(detector, settings) as store:
        return held_out(detector, None, read_data(detector, path), store)


@contextmanager
def _joining_store(detector: "Detector", settings: "ServingSettings") -> "Iterator[FeatureStore]":
    """A feature store of its own, as in evaluation, so that what is served from stays as it is; the registered one where it is filled
    elsewhere."""
    from operators.cli.models.evaluate import scratch_store
    from operators.cli.models.train import feature_store

    with TemporaryDirectory(prefix="vedette-") as scratch:
        is_elsewhere = detector.features is not None and detector.features.service is not None
        yield feature_store(settings) if is_elsewhere else scratch_store(detector, Path(scratch))


def _prepared(
    base: BaseData, settings: "ServingSettings", tell: Callable[[str, float], None], detector: "Detector"
) -> "Prepared":
    """The detector's rows with their features, split."""
    from lifecycle.training.train import prepare
    from operators.cli.models.train import load

    rows = load(detector, base.data, base.data_dir, tell)
    with _joining_store(detector, settings) as store:
        return prepare(detector, rows, store, with_test=detector.source.test is None, progress=tell)
