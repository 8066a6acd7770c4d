"""The positive control: a plain KServe server with the public example model `simple`, written as KServe's documentation does.

    python kserve_simple.py HTTP_PORT GRPC_PORT

Run as a program of its own: KServe's stubs collide with those of other clients in one process."""

import sys

import numpy as np
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import generate_uuid


class Simple(Model):
    """INT32 [1, 16] INPUT0 and INPUT1 -> OUTPUT0 (sum) and OUTPUT1 (difference)."""

    def __init__(self) -> None:
        super().__init__("simple")
        self.ready = True

    async def get_input_types(self):
        return [{"name": name, "datatype": "INT32", "shape": [1, 16]} for name in ("INPUT0", "INPUT1")]

    async def get_output_types(self):
        return [{"name": name, "datatype": "INT32", "shape": [1, 16]} for name in ("OUTPUT0", "OUTPUT1")]

    async def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        first, second = (payload.get_input_by_name(name).as_numpy() for name in ("INPUT0", "INPUT1"))
        outputs = []
        for name, values in (("OUTPUT0", first + second), ("OUTPUT1", first - second)):
            output = InferOutput(name, list(values.shape), "INT32")
            output.set_data_from_numpy(values.astype(np.int32), binary_data=False)
            outputs.append(output)
        return InferResponse(payload.id or generate_uuid(), self.name, outputs, requested_outputs=payload.request_outputs)


if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[1:])
    ModelServer(http_port=http_port, grpc_port=grpc_port, workers=1, enable_docs_url=False).start([Simple()])
