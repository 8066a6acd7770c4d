"""`vedette rollout lint`: resources in files judged as the API server and the operator would judge them, before they are applied."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from operators.cli.console import CommandError, Json, plain, print_json

SUFFIXES = (".yaml", ".yml", ".json")


def lint(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="YAML files, folders of them, or - for standard input.")
    ],
    no_hints: Annotated[bool, typer.Option("--no-hints", help="Show only what would be refused.")] = False,
    as_json: Json = False,
) -> None:
    """Check ModelServices and RolloutPolicies in files: what would be refused, and what is likely a mistake.

    RayServices among the files are compared with the ModelServices that name them: whether their workers hold as many replicas as
    `scaling` may ask for. Exit code 1 if something would be refused. Documents of other kinds are skipped."""
    from operators.api.lint import lint as judge
    from operators.backends.checks.worker_room import idle_room, no_room

    report = judge(_texts(files), refused_beside=no_room, hints_beside=idle_room)
    notes = [n for n in report.notes if n.level == "error" or not no_hints]
    if as_json:
        counts = {"resources": report.resources, "skipped": report.skipped, "errors": report.errors}
        print_json(counts | {"notes": [dataclasses.asdict(n) for n in notes]})
    else:
        for note in notes:
            typer.echo(plain(note))
        typer.echo(_summary(report.resources, report.errors, len(notes) - report.errors, report.skipped), err=True)
    if report.errors or not report.resources:
        raise typer.Exit(1)


def _summary(resources: int, errors: int, hints: int, skipped: int) -> str:
    if not resources and not errors:
        return "nothing to check: no document is a ModelService or a RolloutPolicy of vedette.dev"
    passed_over = f"; {skipped} documents of other kinds skipped" if skipped else ""
    return f"{resources} resources: {errors} errors, {hints} hints{passed_over}"


def _texts(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name == "-":
            yield "-", sys.stdin.read()
            continue
        path = Path(name)
        if not path.exists():
            raise CommandError(f"{name}: no such file or folder; give YAML files, folders of them, or -")
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise CommandError(f"{name}: holds no {', '.join(SUFFIXES)} file")
        for file in inside:
            try:
                yield str(file), file.read_text(encoding="utf-8")
            except UnicodeDecodeError as problem:
                raise CommandError(f"{file}: is not UTF-8 text ({problem.reason} at byte {problem.start})") from problem
