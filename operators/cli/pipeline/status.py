"""`vedette pipeline status`: which stages would run, and why. Exit code 0: none, 3: some, 1: unknown."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from operators.cli.console import Json, print_json, print_table
from operators.cli.pipeline.opening import ProjectDir, Stages, opened

if TYPE_CHECKING:
    from lifecycle.pipeline.project import StageState

TO_RUN = 3
"""Exit code where something has to be run."""


def status(stages: Stages = None, folder: ProjectDir = Path(), as_json: Json = False) -> None:
    """Show for each stage whether it is up to date, and what changed. Exit code 3 if a stage has to be run."""
    from lifecycle.pipeline.project import changed_sources

    with opened(folder) as project:
        states = project.look_at_all(tuple(stages or ()))
        data = changed_sources(project, states)
    is_up_to_date = all(state.is_up_to_date for state in states)
    if as_json:
        print_json({"up_to_date": is_up_to_date, "changed_data": data, "stages": [state_record(state) for state in states]})
    else:
        show_states(states)
    if not is_up_to_date:
        raise typer.Exit(TO_RUN)


def show_states(states: "list[StageState]") -> None:
    """As a table."""
    print_table("Stages", ["stage", "state", "why"], [[s.stage.name, state_words(s), why(s)] for s in states])


def state_words(state: "StageState") -> str:
    """What has to be done for a stage."""
    if state.is_up_to_date:
        return "up to date"
    return "to run" if state.changes else "may change"


def why(state: "StageState") -> str:
    """What changed, and which stages run before it."""
    words = [str(change) for change in state.changes]
    return "; ".join([*words, *([f"after {', '.join(state.after)}"] if state.after else [])])


def state_record(state: "StageState") -> dict[str, Any]:
    """For programs: with the digests that dvc.lock has and those that were found."""
    from lifecycle.pipeline.content.digests import ContentDigest

    def md5s(digests: dict[str, ContentDigest | None]) -> dict[str, str | None]:
        return {path: None if digest is None else digest.md5 for path, digest in digests.items()}

    entry = state.entry
    return {
        "stage": state.stage.name,
        "state": state_words(state),
        "changes": [{"of": c.of.value, "how": c.how.value, "subject": c.subject} for c in state.changes],
        "after": list(state.after),
        "deps": md5s(dict(state.found.deps)),
        "outs": md5s(dict(state.found.outs)),
        "recorded": None if entry is None else {"deps": md5s(dict(entry.deps)), "outs": md5s(dict(entry.outs))},
    }
