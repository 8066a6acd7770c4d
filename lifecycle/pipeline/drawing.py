"""The graph of a pipeline as text, Graphviz's DOT, Mermaid, or a record. Pure."""

from typing import Any

from lifecycle.pipeline.declaration.graph import StageGraph
from lifecycle.pipeline.declaration.stages import Pipeline


def graph_lines(pipeline: Pipeline, graph: StageGraph) -> list[str]:
    """For people: each stage in the order in which they run, with what comes before it, what comes from outside, what it makes."""
    lines: list[str] = []
    for name in graph.order:
        stage = pipeline.stages[name]
        lines.append(name + (" (frozen)" if stage.is_frozen else ""))
        parts = {
            "after": _in_order(graph, name),
            "from outside": [dep.written for dep in graph.sources[name]],
            "parameters": [key for spec in stage.params for key in (spec.keys or (spec.path.written,))],
            "makes": [out.path.written for out in stage.outs],
        }
        lines += [f"  {what}: {', '.join(values)}" for what, values in parts.items() if values]
    return lines


def graph_record(pipeline: Pipeline, graph: StageGraph) -> dict[str, Any]:
    """For programs."""
    return {
        "stages": [
            {
                "name": name,
                "after": _in_order(graph, name),
                "deps": [dep.written for dep in pipeline.stages[name].deps],
                "sources": [dep.written for dep in graph.sources[name]],
                "params": {spec.path.written: list(spec.keys) for spec in pipeline.stages[name].params},
                "outs": [out.path.written for out in pipeline.stages[name].outs],
                "frozen": pipeline.stages[name].is_frozen,
                "description": pipeline.stages[name].description,
            }
            for name in graph.order
        ]
    }


def as_dot(graph: StageGraph) -> str:
    """For Graphviz: `dot -Tsvg`."""
    nodes = [f'  "{_quoted(name)}";' for name in graph.order]
    edges = [f'  "{_quoted(before)}" -> "{_quoted(name)}";' for name in graph.order for before in _in_order(graph, name)]
    return "\n".join(["digraph pipeline {", "  rankdir=LR; node [shape=box];", *nodes, *edges, "}"]) + "\n"


def as_mermaid(graph: StageGraph) -> str:
    """For Markdown pages that draw Mermaid."""
    number = {name: f"s{place}" for place, name in enumerate(graph.order)}
    nodes = [f'  {number[name]}["{name}"]' for name in graph.order]
    edges = [f"  {number[before]} --> {number[name]}" for name in graph.order for before in _in_order(graph, name)]
    return "\n".join(["flowchart LR", *nodes, *edges]) + "\n"


def _in_order(graph: StageGraph, name: str) -> list[str]:
    return [other for other in graph.order if other in graph.before[name]]


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
