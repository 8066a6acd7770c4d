"""`vedette pipeline init`: a complete example project."""

from pathlib import Path
from typing import Annotated

import typer

from operators.cli.console import Json, print_json


def init(
    folder: Annotated[Path, typer.Option("--dir", help="Folder to write to (default: this folder).")] = Path(),
    as_json: Json = False,
) -> None:
    """Write an example: check of the data, training, evaluation and gate as stages of a dvc.yaml, with all files that they need."""
    from lifecycle.pipeline.example_project import write_example

    names = write_example(folder)
    if as_json:
        print_json({"folder": str(folder.absolute()), "files": list(names)})
        return
    print(f"written to {folder.absolute()}: {', '.join(names)}")
    print("next: vedette pipeline run" + ("" if folder == Path() else f" --dir {folder}"))
