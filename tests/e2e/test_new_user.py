"""The documentation's own commands, typed as they stand: a first verdict, and a detector of one's own in under ten commands."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, commands
from tests.e2e.vedette import Vedette, environment, up

pytestmark = pytest.mark.e2e
OWN_DETECTOR = ROOT / "docs" / "how-to" / "serve-your-own-detector.md"
ANY_MODEL = ROOT / "docs" / "how-to" / "serve-any-onnx-model.md"
DEFAULT_URL = "http://127.0.0.1:8080"


def run(command: str, cwd: Path) -> str:
    """One command line; `vedette` and `python` are this environment's."""
    programs = {"vedette": [sys.executable, "-m", "operators.cli.main"], "python": [sys.executable]}
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [*programs.get(program, [program]), *arguments],
        capture_output=True, text=True, cwd=cwd, env=environment(), timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def outputs(text: str) -> dict[str, list]:
    return {output["name"]: output["data"] for output in json.loads(text)["outputs"]}


def test_the_curl_of_the_readme_gives_a_verdict(vedette: Vedette):
    (curl,) = [command for command in commands(ROOT / "README.md") if command.startswith("curl")]
    assert DEFAULT_URL in curl
    answered = outputs(run(curl.replace(DEFAULT_URL, vedette.http).replace(".vedette/", f"{vedette.store}/"), ROOT))
    assert set(answered["verdict"]) <= {"benign", "investigate", "alert"}


def test_a_detector_of_ones_own_by_the_how_to(tmp_path: Path):
    page = {block.language: block.text for block in blocks(OWN_DETECTOR)}
    (tmp_path / "make_logins.py").write_text(page["python"])
    (tmp_path / "logins.yaml").write_text(page["yaml"])
    steps = list(commands(OWN_DETECTOR))
    assert len(steps) < 10
    serve = next(i for i, step in enumerate(steps) if step.startswith("vedette up"))
    for step in steps[:serve]:
        run(step, tmp_path)
    verdicts = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert len(verdicts) > 100
    assert not [line for line in verdicts if "error" in line]
    assert {"alert", "benign"} <= {line["verdict"] for line in verdicts}

    with up(tmp_path / ".vedette", *shlex.split(steps[serve])[2:], timeout_s=180) as served:
        asked = steps[serve + 1 :]
        assert asked
        for step in asked:
            assert DEFAULT_URL in step
            answered = outputs(run(step.replace(DEFAULT_URL, served.http), tmp_path))
            assert answered["verdict"] == ["alert"], "one.json is a guesser's login"
            assert answered["degraded"] == [False]


def test_a_model_made_elsewhere_by_the_how_to(tmp_path: Path):
    (tmp_path / "export.py").write_text(next(block.text for block in blocks(ANY_MODEL) if block.language == "python"))
    steps = list(commands(ANY_MODEL))
    serve = next(i for i, step in enumerate(steps) if step.startswith("vedette up"))
    for step in steps[:serve]:
        run(step, tmp_path)
    with up(tmp_path / ".vedette", *shlex.split(steps[serve])[2:], timeout_s=180) as served:
        verdict, metadata = (run(step.replace(DEFAULT_URL, served.http), tmp_path) for step in steps[serve + 1 :])
        assert outputs(verdict)["verdict"] == ["benign", "alert"]
        assert {t["name"] for t in json.loads(metadata)["inputs"]} == {"country", "attempts"}
