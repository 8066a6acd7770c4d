"""A small detector, trained by the code that trains them all."""

from pathlib import Path

from lifecycle.datasets.data import check_data
from lifecycle.training.train import prepare, train, write_bundle
from serving.models.bundle import Bundle
from tests.unit.lifecycle.declared import detector, rows


def small_detector(folder: Path) -> Bundle:
    declared = detector()
    return write_bundle(
        train(prepare(declared, check_data(declared, rows(1500), where="x"), None, with_test=True), seed=1), folder
    )
