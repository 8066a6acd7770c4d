"""The model of the simulated year: its declaration, the rows that it is first trained on, and its answers."""

from dataclasses import dataclass
from typing import Final, Self, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lifecycle.arrays import Mask
from lifecycle.datasets.data import check_data
from lifecycle.datasets.declarations import parse_detector
from lifecycle.datasets.detector import Detector
from lifecycle.evaluation.scoring import tensors_of_rows
from lifecycle.monitoring.windows.answered import AnsweredRows
from lifecycle.training.features import FeatureStore
from lifecycle.training.train import Prepared, prepare
from loadtests.bench.worlds.year.events import COLUMNS, NUMBERS, TEXTS, Events
from serving.models.bundle import Bundle
from serving.models.manifest import OperatingPoint
from serving.models.onnx import OnnxModel
from serving.models.verdicts import VERDICTS, verdict_codes
from serving.spec import RevisionSpec

MODEL: Final = "year"
POINT: Final = "siem_alerting"
_ALERT: Final = VERDICTS.index("alert")


def declaration(trees: int, attack_share: float) -> Detector:
    """The detector file. Hosts of the test part are never trained on. attack_share: share of attacks for which a precision is required."""
    return parse_detector(
        {
            "name": MODEL,
            "source": {
                "format": "parquet",
                "columns": {
                    **dict.fromkeys(NUMBERS, "float"), **dict.fromkeys(TEXTS, "string"),
                    "host": "string", "time": "timestamp", "family": "string", "truth": "string",
                },
            },
            "entity": {"key": "host"},
            "event_time": {"column": "time"},
            "label": {"column": "truth", "positive": {"equals": ["attack"]}, "type_column": "family"},
            "request_fields": list(COLUMNS),
            "model": {
                "trees": trees, "seed": 1,
                "parameters": {
                    "num_leaves": 15, "learning_rate": 0.12, "min_data_in_leaf": 10, "feature_fraction": 0.7, "lambda_l2": 5.0,
                },
            },
            "split": {"by": "entity", "validation": 0.2, "test": 0.2},
            "operating_points": {POINT: {"require": "precision >= 0.75", "attack_share": attack_share}},
        },
        where="the simulated year",
    )  # fmt: skip


def base_rows(events: Events, trees: int, attack_share: float) -> Prepared:
    """The rows that the first model is trained on, split."""
    raw = pd.DataFrame(
        {
            **events.columns, "host": events.host, "time": pd.to_datetime(events.times_us, unit="us", utc=True),
            "family": events.family, "truth": np.where(events.attack, "attack", "benign"),
        }
    )  # fmt: skip
    detector = declaration(trees, attack_share)
    no_store = cast(FeatureStore, None)  # it declares no features
    return prepare(detector, check_data(detector, raw, where="the simulated year"), no_store, with_test=True)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A bundle that answers. revision: digest of everything that can change an answer."""

    bundle: Bundle
    session: OnnxModel
    revision: str

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """The model of a bundle, ready to answer."""
        return cls(bundle, OnnxModel(bundle.model_path), RevisionSpec(bundle=bundle.digest).digest)

    @property
    def point(self) -> OperatingPoint:
        """The operating point that decides which rows alert."""
        return self.bundle.manifest.operating_points[POINT]

    def answer(self, events: Events, names: NDArray[np.object_]) -> AnsweredRows:
        """Answer by the graph that is served, as the prediction log would hold it. names: of the events."""
        manifest, n = self.bundle.manifest, len(events)
        tensors = tensors_of_rows(manifest, pd.DataFrame(dict(events.columns)))
        scores = np.ascontiguousarray(self.session.run(tensors, ["probabilities"])["probabilities"][:, 1])
        return AnsweredRows(
            model=MODEL, receipts=names, rows=np.zeros(n, dtype=np.int64), events=names, times_us=events.times_us,
            versions=_all(manifest.version, n), revisions=_all(self.revision, n), variants=_all("stable", n),
            columns={**events.columns, "host": events.host}, scores=scores.astype(np.float64),
            verdicts=verdict_codes(scores, self.point).astype(np.int8), degraded=np.zeros(n, dtype=bool),
        )  # fmt: skip


def _all(value: str, n: int) -> NDArray[np.object_]:
    return np.full(n, value, dtype=object)


def alerts_of(answers: AnsweredRows) -> Mask:
    """Which rows alerted."""
    return np.asarray(answers.verdicts == _ALERT)
