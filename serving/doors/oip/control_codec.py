"""The JSON of everything but inference: metadata, statistics, the repository. Pure; inference is serving.doors.oip.json_codec's."""

from collections.abc import Sequence

from serving.doors.oip.json_codec import Json, dump, parse_object, read_parameters
from serving.doors.oip.tensors import brief
from serving.errors import BadRequest, Unsupported
from serving.messages import NO_PARAMETERS, ModelMetadata, ModelStatistics


def write_metadata(metadata: ModelMetadata) -> bytes:
    """A model's metadata as JSON. Our own additions travel in `parameters`."""
    document: Json = {
        "name": metadata.name,
        "versions": metadata.versions,
        "platform": metadata.platform,
        "inputs": [{"name": t.name, "datatype": t.datatype, "shape": t.shape} for t in metadata.inputs],
        "outputs": [{"name": t.name, "datatype": t.datatype, "shape": t.shape} for t in metadata.outputs],
    }
    if metadata.parameters:
        document["parameters"] = dict(metadata.parameters)
    return dump(document)


def write_statistics(statistics: Sequence[ModelStatistics]) -> bytes:
    """Triton's statistics extension. One request is one inference and one execution here: nothing is batched or cached."""
    nothing = {"count": 0, "ns": 0}
    idle = ("queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
    return dump(
        {
            "model_stats": [
                {
                    "name": s.name,
                    "version": s.version,
                    "last_inference": s.last_ms,
                    "inference_count": s.successes,
                    "execution_count": s.successes,
                    "inference_stats": {
                        "success": {"count": s.successes, "ns": s.success_ns},
                        "fail": {"count": s.failures, "ns": s.failure_ns},
                        **dict.fromkeys(idle, nothing),
                    },
                    "batch_stats": [],
                }
                for s in statistics
            ]
        }
    )


def read_index_request(body: bytes) -> bool:
    """Whether only ready models are asked for. An empty body asks for all. Raises BadRequest."""
    only_ready = parse_object(body).get("ready", False) if body else False
    if type(only_ready) is not bool:
        raise BadRequest(f"ready is {brief(only_ready)}, expected true or false")
    return only_ready


def check_load_request(body: bytes) -> None:
    """A load or unload request may carry parameters, but none that override files. Raises BadRequest or Unsupported."""
    document = parse_object(body) if body else {}
    given = document.get("parameters")
    parameters = NO_PARAMETERS if given is None else read_parameters(given, "parameters")
    override = next((key for key in parameters if key == "config" or key.startswith("file:")), None)
    if override is not None:
        raise Unsupported(f"parameters: {brief(override)} is not offered; the bundle alone says how a model is loaded")
