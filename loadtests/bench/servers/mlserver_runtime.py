"""MLServer with a runtime of one class, as its documentation has a custom one. Runs in a venv of its own; see bench.peers."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Bench(MLModel):  # type: ignore[misc]  # mlserver is not in this environment
    """The model, over MLServer's own request and response values."""

    async def load(self) -> bool:
        """Open the session: one thread, as the others have it."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = self.settings.parameters.uri
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        score = self.session.run(["score"], {"features": rows})[0]
        return InferenceResponse(
            id=payload.id, model_name=self.name, model_version="1", outputs=[NumpyCodec.encode_output("score", score)]
        )
