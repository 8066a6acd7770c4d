"""Finds the parts of a graph that may grow or run without bound: operators whose output size or number of turns follows values of an
input.

The shapes of a request are bounded by the doors, so sizes that come from shapes are bounded too. A size that comes from a value is not: one
number in a small request could ask for all memory, or for turns without end. Reads the protobuf only; nothing of the model runs here."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import onnx.inliner

from serving.models.errors import BundleError
from serving.models.graph import located_nodes

ControlFlow = Literal["none", "bounded", "any"]
"""Which loops and branches a graph may have: none; only those whose turns are a constant or follow shapes; any."""
CONTROL_FLOW: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
GENERATION: Final = frozenset({"BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"})
"""Operators of com.microsoft that run a graph until it says to stop."""
SIZED: Final[Mapping[str, tuple[int, ...]]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Tile": (1, 2),
    "Range": (0, 1, 2),
    "OneHot": (1,),
    "Pad": (1,),
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "DFT": (1,),
    "BlackmanWindow": (0,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MelWeightMatrix": (0, 1),
    "Loop": (0,),
    "AffineGrid": (1,),
    "MaxUnpool": (2,),
    "STFT": (1, 3),
    "CropAndResize": (3,),
}
"""By operator: its inputs that say how large its output is, or how many turns it makes."""
_BOUNDED: Final = frozenset({"Shape", "Size"})
"""Their outputs are as bounded as the shapes of the inputs."""


def check_growth(model: Any, control_flow: ControlFlow) -> None:
    """Refuse control flow that is not allowed, and sizes that follow values. Raises BundleError."""
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    found = list(located_nodes(model))
    producers = {name: node for _, node in found for name in node.output if name}
    values = set(_outside_values(model, found))
    for where, node in found:
        name = f"{node.domain or 'ai.onnx'}.{node.op_type}"
        is_loop = node.op_type in CONTROL_FLOW
        if (is_loop and control_flow == "none") or (node.op_type in GENERATION and control_flow != "any"):
            raise BundleError(
                f"operator {name} ({where}) is not allowed by VEDETTE_MODEL_CONTROL_FLOW={control_flow}; export the model without it"
            )
        if is_loop and control_flow == "any":
            continue
        for index in SIZED.get(node.op_type, ()):
            operand = node.input[index] if index < len(node.input) else ""
            if not operand and node.op_type == "Loop":
                source: str | None = "a condition"
            else:
                source = _value_behind(operand, producers, values)
            if source is not None:
                what = "how often it repeats" if is_loop else "the size of its output"
                raise BundleError(
                    f"operator {name} ({where}) is not allowed: {what} follows {source}, so that one request could take all "
                    "memory or time of a replica; export the model with a constant there, or with one that follows the input's shape"
                )


def _outside_values(model: Any, found: list[tuple[str, Any]]) -> Iterator[str]:
    """Names of values that come with a request, also as inputs of subgraphs, whose values nobody knows here."""
    constants = {tensor.name for tensor in model.graph.initializer}
    yield from (value.name for value in model.graph.input if value.name not in constants)
    for _, node in found:
        for graph in _graphs_of(node):
            yield from (value.name for value in graph.input)


def _graphs_of(node: Any) -> Iterator[Any]:
    """Its subgraphs. They also read values of the graphs around them, which are no inputs of the node."""
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)


def _value_behind(name: str, producers: Mapping[str, Any], values: set[str]) -> str | None:
    """The value of a request that this one is computed from, in words; None if it follows constants and shapes only."""
    pending, seen = [name], set[str]()
    while pending:
        name = pending.pop()
        if name in values:
            return f"the value {name!r}"
        node = producers.get(name)
        if not name or name in seen or node is None or node.op_type in _BOUNDED:
            continue
        seen.add(name)
        pending.extend(node.input)
        pending.extend(value.name for graph in _graphs_of(node) for value in graph.output)
    return None
