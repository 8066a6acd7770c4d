"""`vedette pipeline graph`: the order of the stages."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from operators.cli.console import CommandError, Json, plain, print_json
from operators.cli.pipeline.opening import ProjectDir, opened


def graph(
    folder: ProjectDir = Path(),
    dot: Annotated[bool, typer.Option("--dot", help="Print it for Graphviz.")] = False,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print it for Markdown pages that draw Mermaid.")] = False,
    as_json: Json = False,
) -> None:
    """Print the stages in the order in which they run, what each reads from outside, and what it makes."""
    from lifecycle.pipeline.drawing import as_dot, as_mermaid, graph_lines, graph_record

    if dot + mermaid + as_json > 1:
        raise CommandError("give one of --dot, --mermaid, --json")
    with opened(folder) as project:
        if as_json:
            print_json(graph_record(project.pipeline, project.graph))
        elif dot or mermaid:
            sys.stdout.write(as_dot(project.graph) if dot else as_mermaid(project.graph))
        else:
            print(plain("\n".join(graph_lines(project.pipeline, project.graph))))
