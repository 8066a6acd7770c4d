"""docs/reference/reason-codes.md: the reasons of 20 real flows and 20 connections of NSL-KDD, as an analyst reads them.

`VEDETTE_DATA_DIR=... python -m tests.docs.reason_codes` trains both detectors on the real data (about a minute) and writes the page. The
rows are drawn with a fixed seed from those that the models were not trained on: some of each verdict, right and wrong ones, of as many
kinds as there are (attack types, else protocols and states)."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from lifecycle.datasets.data import Dataset, find_file, read_data
from lifecycle.datasets.declarations import read_detector
from lifecycle.training.export import tensors_of
from lifecycle.training.feast_store import FeastStore
from lifecycle.training.train import Trained, prepare, train, write_bundle
from serving.explanations.answering import BundleExplainer
from serving.explanations.words.reasons import history_words
from serving.models.bundle import Bundle
from serving.models.onnx import OnnxModel
from serving.models.verdicts import VERDICTS, VerdictThresholds, verdict_codes
from serving.ports import JudgedRows
from tests.docs.pages import ROOT, generated_part

PAGE = ROOT / "docs" / "reference" / "reason-codes.md"
DETECTORS = ("flows", "nsl-kdd")
ROWS = 20
SEED = 12
SHARES = {"alert, rightly": 9, "alert, wrongly": 3, "investigate": 3, "benign, rightly": 3, "benign, wrongly": 2}
"""How many rows of each kind; where there are too few, the first kind fills up."""
WHOLE_S = 600.0
"""Enough for any search: what is found must not depend on the machine."""


def part_of(name: str, data_dir: Path) -> str:
    """The generated part of one detector."""
    detector = read_detector(name)
    with tempfile.TemporaryDirectory() as scratch:
        rows = read_data(detector, find_file(detector, data_dir / name, "train"))
        store = FeastStore(Path(scratch) / "feast") if detector.features is not None else None
        has_test_file = detector.source.test is not None
        prepared = prepare(detector, rows, store, with_test=not has_test_file)
        trained = train(prepared)
        bundle = write_bundle(trained, Path(scratch) / "bundle")
        data, frame = rows, prepared.frame
        if has_test_file:
            data = read_data(detector, find_file(detector, data_dir / name, "test"))
            frame, unseen = data.frame, np.arange(len(data.frame))
        else:
            unseen = np.flatnonzero(prepared.parts.test)
        return "".join(_lines(bundle, trained, frame, data, unseen))


def _lines(bundle: Bundle, trained: Trained, frame: Any, data: Dataset, unseen: Any) -> Iterator[str]:
    model = OnnxModel(bundle.model_path)
    name = str(bundle.manifest.default_operating_point)
    point = bundle.manifest.operating_points[name]
    tensors = tensors_of(trained.encoding, frame.iloc[unseen])
    scores = np.ascontiguousarray(model.run(tensors, ["probabilities"])["probabilities"][:, 1])
    codes, attack = verdict_codes(scores, point), data.attack[unseen]
    chosen = _chosen(codes, attack, _kinds(data, frame)[unseen], frame.iloc[unseen])
    thresholds = VerdictThresholds.of(point)
    rows = JudgedRows(
        {tensor: values[chosen] for tensor, values in tensors.items()},
        scores[chosen],
        [VERDICTS[code] for code in codes[chosen]],
        name,
        thresholds.investigate,
        thresholds.alert,
    )
    explainer = BundleExplainer(bundle, model)
    reasons = [orjson.loads(line) for line in explainer.explain("shap", rows, WHOLE_S)]
    changes = [orjson.loads(line) for line in explainer.explain("counterfactual", rows, WHOLE_S)]
    for number, (at, why, change) in enumerate(zip(chosen, reasons, changes, strict=True), 1):
        truth = "attack" if attack[at] else "benign"
        if data.kind is not None and attack[at]:
            truth = f"attack ({data.kind[unseen][at]})"
        yield f"**{number}. {why['verdict']}**, score {why['score']:.3f}; in truth: {truth}\n\n"
        for reason in why["reasons"]:
            yield f"- `{reason['code']}` {reason['share']:.0%}: {reason['sentence']}{_history(bundle, reason)}\n"
        if change["counterfactuals"]:
            yield f"- {change['counterfactuals'][0]['sentence']}\n"
        yield "\n"


def _history(bundle: Bundle, reason: Any) -> str:
    from serving.explanations.words.reasons import WindowValue

    words = bundle.manifest.explain
    if not reason["history"] or words is None:
        return ""
    told = history_words([WindowValue(**one) for one in reason["history"]], words.reasons[reason["column"]])
    return f" Over {told}."


def _kinds(data: Dataset, frame: Any) -> Any:
    """What kind of row each is: its attack type, else its protocol and state."""
    if data.kind is not None:
        return data.kind
    return (frame["proto"].astype(str) + " " + frame["state"].astype(str)).to_numpy()


def _chosen(codes: Any, attack: Any, kind: Any, frame: Any) -> list[int]:
    """Rows of every kind of verdict, as different as their kinds allow. No two of them have the same fields."""
    is_right = np.where(codes == 0, ~attack, attack)
    groups = {
        "alert, rightly": (codes == 2) & is_right,
        "alert, wrongly": (codes == 2) & ~is_right,
        "investigate": codes == 1,
        "benign, rightly": (codes == 0) & is_right,
        "benign, wrongly": (codes == 0) & ~is_right,
    }
    different = ~frame.drop(columns=[c for c in ("start", "sport", "difficulty") if c in frame]).duplicated().to_numpy()
    rng = np.random.default_rng(SEED)
    chosen: list[int] = []
    for group, count in SHARES.items():
        places = rng.permutation(np.flatnonzero(groups[group] & different))
        chosen += _spread(places, kind, count)
    fill = [int(at) for at in rng.permutation(np.flatnonzero(groups["alert, rightly"])) if int(at) not in chosen]
    return chosen + fill[: ROWS - len(chosen)]


def _spread(places: Any, kind: Any, count: int) -> list[int]:
    """So many of the places, one of each kind before a second of any."""
    seen: dict[Any, int] = {}
    ranked = []
    for place in places.tolist():
        own = kind[place]
        ranked.append((seen.get(own, 0), len(ranked), place))
        seen[own] = seen.get(own, 0) + 1
    return [place for _, _, place in sorted(ranked)[:count]]


def write(data_dir: Path) -> None:
    """Write both parts into the page."""
    for name in DETECTORS:
        text = PAGE.read_text(encoding="utf-8")
        found = generated_part(text, name)
        if found is None:
            raise SystemExit(f"{PAGE}: has no `<!-- generated: {name} -->`")
        PAGE.write_text(text[: found.start()] + part_of(name, data_dir) + text[found.end() :], encoding="utf-8")


if __name__ == "__main__":
    if not os.environ.get("VEDETTE_DATA_DIR"):
        raise SystemExit("set VEDETTE_DATA_DIR to the folder with flows/ and nsl-kdd/")
    write(Path(os.environ["VEDETTE_DATA_DIR"]))
