"""`vedette pipeline run`: runs the stages that changed, and records each run that changed something.

Exit code 0: everything is up to date, or was before; 1: a stage failed; 128 and the signal's number: a signal ended the run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.console import Json, errors, plain, print_json, print_table
from operators.cli.pipeline.opening import ProjectDir, Stages, opened
from operators.cli.pipeline.status import show_states, state_record, why
from operators.cli.store.store_option import store_to_use

if TYPE_CHECKING:
    from lifecycle.pipeline.project import Project, StageState
    from lifecycle.pipeline.running.run import PipelineRun, StageResult


def run(
    stages: Stages = None,
    folder: ProjectDir = Path(),
    force: Annotated[bool, typer.Option("--force", help="Run the stages even if nothing changed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would run; run nothing.")] = False,
    if_data_changed: Annotated[
        bool,
        typer.Option(
            "--if-data-changed",
            help="Run only if the data changed: a file that no stage produces. Changed parameters do not count.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the stages that changed, in order, up to the first that fails. Exit code 1 if a stage fails."""
    from lifecycle.pipeline.project import Project, changed_sources
    from lifecycle.pipeline.running.dvc_folder import prepare_dvc_folder
    from lifecycle.pipeline.running.run import run_pipeline
    from lifecycle.pipeline.running.run_lock import run_lock

    targets = tuple(stages or ())
    if dry_run:
        _tell_plan(folder, targets, as_json=as_json)
        return
    root = Project.root_of(folder)
    with run_lock(prepare_dvc_folder(root)) as lock, opened(folder) as project:
        if lock.left_by:
            errors.print(f"note: {lock.left_by}", markup=False)
        data = changed_sources(project, project.look_at_all(targets)) if if_data_changed else None
        if data == {}:
            _tell_no_data(as_json=as_json)
            return
        done = run_pipeline(project, lock, targets, is_forced=force, started=_say_started)
        if done.changed_something:
            record_run(project, done)
    if as_json:
        print_json(run_record(done, data))
    else:
        _show(done)
    _exit(done)


def _tell_plan(folder: Path, targets: tuple[str, ...], *, as_json: bool) -> None:
    with opened(folder) as project:
        states = project.look_at_all(targets)
    if as_json:
        print_json({"outcome": "dry_run", "stages": [state_record(state) for state in states]})
    else:
        show_states(states)


def _tell_no_data(*, as_json: bool) -> None:
    if as_json:
        print_json({"outcome": "no_new_data", "changed_data": {}, "stages": [], "not_reached": []})
    else:
        print("no new data: nothing was run")


def _say_started(state: "StageState") -> None:
    errors.print(f"{plain(state.stage.name)}: {plain(why(state) or 'forced')}", markup=False)


def outcome_of(done: "PipelineRun") -> str:
    """One word for programs."""
    from lifecycle.pipeline.errors import StageStopped

    if done.problem is not None:
        return "stopped" if isinstance(done.problem, StageStopped) else "failed"
    return "ran" if done.changed_something else "up_to_date"


def run_record(done: "PipelineRun", data: dict[str, str] | None = None) -> dict[str, Any]:
    """For programs, and for the log of acts."""
    return {
        "outcome": outcome_of(done),
        "run": done.id,
        "changed_data": data,
        "stages": [_stage_record(result) for result in done.results],
        "not_reached": list(done.not_reached),
        "problem": None if done.problem is None else str(done.problem),
    }


def _stage_record(result: "StageResult") -> dict[str, Any]:
    entry = result.entry
    return {
        "stage": result.name,
        "outcome": result.outcome.value,
        "changes": [str(change) for change in result.changes],
        "seconds": round(result.seconds, 3),
        "deps": {} if entry is None else {path: digest.md5 for path, digest in entry.deps.items()},
        "params": {} if entry is None else {name: dict(values) for name, values in entry.params.items()},
        "outs": {} if entry is None else {path: digest.md5 for path, digest in entry.outs.items()},
    }


def record_run(project: "Project", done: "PipelineRun") -> None:
    """Put the run into the log of acts of the store that the stages use."""
    from operators.cli.acts import record_act
    from serving.settings import ServingSettings

    settings = ServingSettings()
    settings = settings.model_copy(update={"store_dir": store_to_use(project.folder / settings.store_dir)})
    record = run_record(done)
    changed = [stage for stage in record["stages"] if stage["outcome"] != "unchanged"]
    words = "; ".join(f"{stage['stage']} {stage['outcome']}" for stage in changed)
    reason = words if done.problem is None else f"{words}: {done.problem}"
    evidence = {"run": done.id, "folder": str(project.folder), "stages": changed, "not_reached": record["not_reached"]}
    outcome = "accepted" if done.problem is None else "refused"
    record_act(settings, "pipeline.run", f"pipeline/{project.folder.name}", reason, evidence, outcome=outcome)


def _show(done: "PipelineRun") -> None:
    rows = [[r.name, r.outcome.value, f"{r.seconds:.1f} s", "; ".join(map(str, r.changes))] for r in done.results]
    rows += [[name, "not reached", "", ""] for name in done.not_reached]
    print_table("Stages", ["stage", "outcome", "time", "why"], rows, right=["time"])


def _exit(done: "PipelineRun") -> None:
    from lifecycle.pipeline.errors import StageStopped

    if done.problem is None:
        return
    errors.print(f"vedette: {plain(done.problem)}", markup=False, soft_wrap=True)
    raise typer.Exit(128 + done.problem.signal_number if isinstance(done.problem, StageStopped) else 1)
