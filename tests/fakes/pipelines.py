"""Small pipelines in a folder: stages of shell commands, and what a run of them comes to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifecycle.pipeline.project import Project
from lifecycle.pipeline.running.dvc_folder import prepare_dvc_folder
from lifecycle.pipeline.running.run import PipelineRun, StageOutcome, run_pipeline
from lifecycle.pipeline.running.run_lock import run_lock
from tests import quick_yaml as yaml


class PipelineFolder:
    """A folder with a dvc.yaml, as its owner works in it."""

    def __init__(self, path: Path, stages: Mapping[str, Any] | None = None, **more: Any) -> None:
        self.path = path
        if stages is not None:
            self.declare(stages, **more)

    def declare(self, stages: Mapping[str, Any], **more: Any) -> None:
        self.write("dvc.yaml", yaml.safe_dump({**more, "stages": dict(stages)}, sort_keys=False))

    def write(self, name: str, text: str = "") -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def read(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")

    def runs(self, *targets: str, is_forced: bool = False) -> PipelineRun:
        with run_lock(prepare_dvc_folder(self.path)) as lock:
            project = Project(self.path)
            try:
                return run_pipeline(project, lock, targets, is_forced=is_forced)
            finally:
                project.close()

    def outcomes(self, *targets: str, is_forced: bool = False) -> dict[str, str]:
        """Stage -> what became of it, of those that something became of."""
        done = self.runs(*targets, is_forced=is_forced)
        return {r.name: r.outcome.value for r in done.results if r.outcome is not StageOutcome.UNCHANGED}

    def fails(self, *targets: str) -> str:
        """Why a run stopped."""
        done = self.runs(*targets)
        assert done.problem is not None, done
        return str(done.problem)

    def why(self) -> dict[str, str]:
        """Stage -> what changed or what it waits for, of those that are not up to date."""
        project = Project(self.path)
        try:
            states = project.look_at_all()
        finally:
            project.close()
        return {
            s.stage.name: "; ".join([*map(str, s.changes), *(f"after {name}" for name in s.after)])
            for s in states
            if not s.is_up_to_date
        }


COPIES: Mapping[str, Any] = {
    "first": {"cmd": "cat in.txt > first.txt", "deps": ["in.txt"], "outs": ["first.txt"]},
    "second": {"cmd": "cat first.txt > second.txt", "deps": ["first.txt"], "outs": ["second.txt"]},
}
"""Two stages, one after the other."""


def copies(path: Path) -> PipelineFolder:
    """A folder with two stages that copy `in.txt`."""
    folder = PipelineFolder(path, COPIES)
    folder.write("in.txt", "one\n")
    return folder
