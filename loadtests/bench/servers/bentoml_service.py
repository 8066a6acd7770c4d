"""BentoML with one service and one API, as its documentation has it; the route is the protocol's. Runs in a venv of its own.

The API is async, so that no thread stands between; log and metrics of each request are off."""

import os
from typing import Any

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(  # type: ignore[untyped-decorator,unused-ignore]  # bentoml is not in this environment
    workers=1, traffic={"timeout": 60}, metrics={"enabled": False}, logging={"access": {"enabled": False}}
)
class Bench:
    """The model behind BentoML's own JSON."""

    def __init__(self) -> None:
        """Open the session: one thread, as the others have it."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])

    @bentoml.api(route="/v2/models/bench/infer")  # type: ignore[untyped-decorator,unused-ignore]
    async def infer(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Answer one request."""
        tensor = inputs[0]
        rows = np.asarray(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
        score = self.session.run(["score"], {"features": rows})[0]
        output = {"name": "score", "datatype": "FP32", "shape": list(score.shape), "data": score.ravel().tolist()}
        return {"model_name": "bench", "model_version": "1", "outputs": [output]}
