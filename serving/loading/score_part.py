"""A session for the score alone, for a graph that computes more than the score. The runtime runs every node of a session, whatever output
is requested."""

from typing import Final

from serving.models.bundle import Bundle
from serving.models.errors import BundleError, RunError
from serving.models.golden import decode_golden
from serving.models.graph import cut_at, external_files, read_graph
from serving.models.onnx import OnnxModel

WORTH: Final = 0.1
"""Share of the graph's bytes that a session of its own must spare: it takes memory for what both compute."""


def score_part(bundle: Bundle, whole: OnnxModel, threads: int = 1) -> OnnxModel | None:
    """The part of the graph that the score needs, loaded; None where it spares little, or is not seen to give the same bits.

    The same bits: on every golden case. A runtime may fuse the operators of a smaller graph otherwise."""
    manifest = bundle.manifest
    if manifest.score is None or manifest.golden is None or len(manifest.outputs) < 2:
        return None
    graph = read_graph(bundle.model_path)
    if external_files(graph):
        return None
    output = manifest.score.output
    cut = cut_at(graph, output)
    if len(cut) > (1 - WORTH) * bundle.model_path.stat().st_size:
        return None
    try:
        part = OnnxModel(cut, threads)
        if [i.name for i in part.inputs] != [i.name for i in whole.inputs]:
            return None
        for case in decode_golden((bundle.folder / manifest.golden.file).read_bytes()):
            if part.run(case.inputs)[output].tobytes() != whole.run(case.inputs, [output])[output].tobytes():
                return None
    except (BundleError, RunError):
        return None
    return part
