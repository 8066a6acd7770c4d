"""How the verbs of a pipeline open its project, and show that large files are being read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operators.cli.console import progress

if TYPE_CHECKING:
    from lifecycle.pipeline.project import Project

ProjectDir = Annotated[Path, typer.Option("--dir", help="Folder with the dvc.yaml (default: this folder).")]
Stages = Annotated[
    list[str] | None, typer.Argument(metavar="STAGE", help="Only these stages, and those that they depend on (default: all).")
]


@contextmanager
def opened(folder: Path) -> "Iterator[Project]":
    """The project of a folder, while files are hashed; what was learnt of them is remembered."""
    from lifecycle.pipeline.project import Project

    with progress() as display:
        task = display.add_task("looking", total=None)
        read = 0

        def tell(path: str, count: int) -> None:
            nonlocal read
            read += count
            display.update(task, description=f"reading {Path(path).name}: {read / 1e6:,.0f} MB read")

        project = Project(folder, tell)
        try:
            yield project
        finally:
            project.close()
