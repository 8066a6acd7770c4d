"""The how-to of the pipeline, followed to the letter: the example runs whole, and then only what changed."""

import json
from pathlib import Path

import pytest
import yaml

from lifecycle.governance.acts import ActsLog
from tests.docs.pages import files
from tests.e2e.running.how_to import HOW_TO, Reader, played

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
PAGE = "run-the-pipeline.md"


def test_run_the_pipeline(tmp_path: Path):
    init, graph, first, clean, nothing, changed, again = played(PAGE)
    reader = Reader(tmp_path)
    reader.types(PAGE, init)
    assert "gate" in reader.types(PAGE, graph)
    reader.types(PAGE, first)
    assert (tmp_path / "gate.md").read_text(encoding="utf-8").startswith("# flows-example 1: passed")
    reader.types(PAGE, clean)
    assert " ran " not in reader.types(PAGE, nothing)
    for name, text in files(HOW_TO / PAGE).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert "floors.yaml modified" in reader.types(PAGE, changed, ends_with=(3,))
    reader.types(PAGE, again)

    log = ActsLog(tmp_path / ".vedette" / "governance", signer=lambda: None, now_us=lambda: 0)
    runs = [act for act in log.read() if act.action == "pipeline.run"]
    assert [[stage["stage"] for stage in act.evidence["stages"]] for act in runs] == [
        ["check", "train", "evaluate", "gate"],
        ["gate"],
    ]
    bundle = json.loads((tmp_path / "model" / "bundle.json").read_text(encoding="utf-8"))
    assert (
        bundle["lineage"]["seed"]
        == yaml.safe_load((tmp_path / "dvc.lock").read_text(encoding="utf-8"))["stages"]["train"]["params"]["params.yaml"][
            "train.seed"
        ]
    )
