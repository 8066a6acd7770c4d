"""KServe's own Python server (kserve.ModelServer), one worker, as its documentation has a custom model."""

from typing import Any

import kserve
import numpy as np

from loadtests.bench.servers.arguments import parse
from loadtests.bench.servers.bare import open_session


class Bench(kserve.Model):  # type: ignore[misc]  # kserve has no types
    """The model, over KServe's own request and response values."""

    def __init__(self, path: str) -> None:
        super().__init__("bench")
        self.session = open_session(path)
        self.ready = True

    async def predict(self, payload: Any, _headers: Any = None, _response_headers: Any = None) -> Any:
        """Answer one request."""
        rows = np.asarray(payload.inputs[0].as_numpy(), dtype=np.float32)
        score = self.session.run(["score"], {"features": rows})[0]
        output = kserve.InferOutput(name="score", shape=list(score.shape), datatype="FP32")
        output.set_data_from_numpy(score, binary_data=bool(payload.from_grpc))
        return kserve.InferResponse(response_id=payload.id or "0", model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    arguments = parse()
    server = kserve.ModelServer(http_port=arguments.http_port, grpc_port=arguments.grpc_port, workers=1)
    server.start([Bench(str(arguments.model))])
