"""Checks whether a graph is safe and reproducible. Only this module of the data plane uses the onnx package.

Reads the protobuf only: nothing of the model runs here."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import onnx
import onnx.numpy_helper
from numpy.typing import NDArray

from serving.models.errors import BundleError

ALLOWED_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
REFUSED_OPS: Final = frozenset(
    {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
        "PyOp",
        "PythonOp",
        "ATen",
    }
)
"""Random operators make an answer impossible to replay; the others leave the runtime."""


def read_graph(path: Path) -> Any:
    """Parse model.onnx without its external data. Raises BundleError if it is not an ONNX model."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as problem:
        raise BundleError(f"{path}: this is not an ONNX model ({type(problem).__name__}: {problem})") from problem
    if not model.graph.node and not model.graph.output:
        raise BundleError(f"{path}: this is not an ONNX model (the graph is empty)")
    return model


def check_ops(model: Any) -> None:
    """Refuse custom domains, random operators and operators that leave the runtime. Raises BundleError."""
    local = {(f.domain, f.name) for f in model.functions}
    for where, node in located_nodes(model):
        name = f"{node.domain or 'ai.onnx'}.{node.op_type}"
        if (node.domain, node.op_type) in local:
            continue
        if node.domain not in ALLOWED_DOMAINS:
            raise BundleError(
                f"operator {name} ({where}) is not allowed: its domain is not one of {sorted(d or 'ai.onnx' for d in ALLOWED_DOMAINS)}; "
                "export the model with standard operators"
            )
        if node.op_type in REFUSED_OPS:
            raise BundleError(
                f"operator {name} ({where}) is not allowed: its answers could not be replayed; export the model without it"
            )


def external_files(model: Any) -> tuple[str, ...]:
    """Paths of the external data files, relative to the model. Raises BundleError for one that points outside the folder."""
    found: dict[str, None] = {}
    for tensor in _tensors(model):
        for entry in tensor.external_data:
            if entry.key == "location":
                found[_inside(entry.value, tensor.name)] = None
    return tuple(found)


def without_zipmap(model: Any) -> Any:
    """The same graph with scikit-learn's ZipMap outputs (a sequence of maps) replaced by the plain tensors they wrap."""
    zipmaps = {node.output[0]: node for node in model.graph.node if node.op_type == "ZipMap"}
    wrapped = {o.name: zipmaps[o.name] for o in model.graph.output if o.name in zipmaps}
    if not wrapped:
        return model
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    for name, zipmap in wrapped.items():
        source = zipmap.input[0]
        plain.graph.node.remove(zipmap)
        plain.graph.node.append(onnx.helper.make_node("Identity", [source], [name], name=f"plain_{name}"))
        output = next(o for o in plain.graph.output if o.name == name)
        output.CopyFrom(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, None]))
    return plain


def attributes_of(node: Any) -> dict[str, Any]:
    """A node's attributes by name: numbers, str, lists of them, and arrays for tensors. Tensors kept outside the file are left out."""
    return {a.name: _plain(onnx.helper.get_attribute_value(a)) for a in node.attribute if not _is_outside(a.t)}


def constants_of(model: Any) -> dict[str, NDArray[Any]]:
    """The graph's initializers by name, strings as objects. Those kept outside the file are left out."""
    return {t.name: _plain(t) for t in model.graph.initializer if not _is_outside(t)}


def cut_at(model: Any, value: str) -> bytes:
    """The part of the graph that computes one value from the graph's inputs, as a model whose only output is that value."""
    needed, kept = {value}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
            needed |= {name for a in node.attribute for g in (a.g, *a.graphs) for inner in g.node for name in inner.input}
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:], part.graph.initializer[:]
    part.graph.node.extend(reversed(kept))
    part.graph.initializer.extend(t for t in model.graph.initializer if t.name in needed)
    inputs = [i for i in model.graph.input if i.name in needed]
    del part.graph.input[:]
    part.graph.input.extend(inputs)
    part.graph.output.append(onnx.ValueInfoProto(name=value))
    return bytes(part.SerializeToString(deterministic=True))


def _is_outside(tensor: Any) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _plain(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        array = onnx.numpy_helper.to_array(value)
        if array.dtype.kind not in "OSU":
            return array
        value = array.ravel().tolist()
        return np.array([_plain(v) for v in value], dtype=object).reshape(array.shape)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (str, int, float)) or not hasattr(value, "__iter__"):
        return value
    return [v.decode(errors="replace") if isinstance(v, bytes) else v for v in value]


def _inside(location: str, tensor: str) -> str:
    path = PurePosixPath(location.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not location or ":" in location:
        raise BundleError(
            f"tensor {tensor!r} keeps its data in {location!r}, outside the bundle's folder; save the external data beside model.onnx"
        )
    return str(path)


def located_nodes(model: Any) -> Iterator[tuple[str, Any]]:
    """Every node of the graph, its subgraphs and functions, and where it stands in words."""
    pending = [("graph", model.graph.node), *((f"function {f.name}", f.node) for f in model.functions)]
    while pending:
        where, nodes = pending.pop()
        for index, node in enumerate(nodes):
            at = f"{where}, node {index}{' ' + repr(node.name) if node.name else ''}"
            yield at, node
            for attribute in node.attribute:
                subgraphs = [attribute.g] if attribute.HasField("g") else []
                pending += [(f"{at}, {attribute.name}", g.node) for g in [*subgraphs, *attribute.graphs]]


def _tensors(model: Any) -> Iterator[Any]:
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield sparse.values
            yield sparse.indices
        yield from _attribute_tensors(graph.node, pending)
    for function in model.functions:
        yield from _attribute_tensors(function.node, pending)


def _attribute_tensors(nodes: Any, graphs: list[Any]) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                graphs.append(attribute.g)
            graphs.extend(attribute.graphs)
