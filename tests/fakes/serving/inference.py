"""An InferenceService that keeps state: what the doors are tested against.

Models: `simple` (Triton's: INT32 [1,16] sum and difference), `echo` (answers its inputs, any datatype), `failing` (a defect of
ours), `busy` (refused early), `slow` (waits for `release`, or its deadline). `load` and `unload` change what is ready."""

import asyncio
from collections.abc import Callable

import numpy as np

from serving.errors import BadRequest, DeadlineExceeded, NotFound, Overloaded
from serving.messages import (
    InferAnswer,
    InferRequest,
    ModelMetadata,
    ModelStatistics,
    RepositoryEntry,
    ServerMetadata,
    Tensor,
    TensorMetadata,
)

SIMPLE = tuple(TensorMetadata(name, "INT32", (1, 16)) for name in ("INPUT0", "INPUT1"))
MODELS = {
    "simple": ModelMetadata(
        "simple",
        ("1", "2"),
        "onnx_onnxv1",
        SIMPLE,
        tuple(TensorMetadata(name, "INT32", (1, 16)) for name in ("OUTPUT0", "OUTPUT1")),
        {"revision": "sha256:00"},
    ),
    "echo": ModelMetadata("echo", ("1",), "onnx_onnxv1", (TensorMetadata("x", "FP32", (-1,)),), (), {}),
    "words": ModelMetadata("words", ("1",), "onnx_onnxv1", (TensorMetadata("text", "BYTES", (-1, 1)),), (), {}),
    "flows": ModelMetadata(
        "flows",
        ("1",),
        "onnx_onnxv1",
        (TensorMetadata("bytes", "FP32", (-1,)), TensorMetadata("proto", "BYTES", (-1,))),
        (),
        {"tensor_inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 2]}], "event_time_field": "when"},
    ),
    "failing": ModelMetadata("failing", ("1",), "onnx_onnxv1", (), (), {}),
    "busy": ModelMetadata("busy", ("1",), "onnx_onnxv1", (), (), {}),
    "slow": ModelMetadata("slow", ("1",), "onnx_onnxv1", (), (), {}),
    "a/b ü": ModelMetadata("a/b ü", ("1",), "onnx_onnxv1", (), (), {}),
}


class FakeInference:
    """See the module."""

    def __init__(self) -> None:
        self.unloaded: set[str] = set()
        self.seen: list[InferRequest] = []
        self._is_up = True
        self._to_tell: list[tuple[asyncio.AbstractEventLoop, Callable[[], None]]] = []
        self.release = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether it is ready, but for what is unloaded. Tests set it from their own thread."""
        return self._is_up

    @is_up.setter
    def is_up(self, value: bool) -> None:
        self._is_up = value
        self._tell()

    def on_change(self, tell: Callable[[], None]) -> None:
        self._to_tell.append((asyncio.get_running_loop(), tell))

    def _tell(self) -> None:
        for loop, tell in self._to_tell:
            loop.call_soon_threadsafe(tell)

    def server_metadata(self) -> ServerMetadata:
        return ServerMetadata("fake", "1.0", ("binary_tensor_data", "model_repository"))

    def is_live(self) -> bool:
        return True

    def is_ready(self) -> bool:
        return self.is_up and not self.unloaded

    def _find(self, name: str, version: str | None) -> ModelMetadata:
        model = MODELS.get(name)
        if model is None or (version is not None and version not in model.versions):
            raise NotFound(f"model {name[:80]!r} version {str(version)[:20]!r} is unknown")
        return model

    def is_model_ready(self, name: str, version: str | None) -> bool:
        return self._find(name, version).name not in self.unloaded

    def model_metadata(self, name: str, version: str | None) -> ModelMetadata:
        return self._find(name, version)

    def reads_features(self, name: str, version: str | None) -> bool:
        return "feature_service" in self._find(name, version).parameters

    async def infer(self, request: InferRequest) -> InferAnswer:
        model = self._find(request.model, request.version)
        self.seen = [*self.seen[-99:], request]
        if model.name == "failing":
            raise ZeroDivisionError("a defect")
        if model.name == "busy":
            raise Overloaded("too many requests are waiting", retry_after_s=2.5)
        if model.name == "slow":
            await self._wait(request.deadline_s)
        outputs = _sum_and_difference(request) if model.name == "simple" else request.inputs
        if request.outputs:
            known = {tensor.name: tensor for tensor in outputs}
            wrong = next((wanted.name for wanted in request.outputs if wanted.name not in known), None)
            if wrong is not None:
                raise BadRequest(f"model {model.name} has no output {wrong[:80]!r}; it has {', '.join(known)[:200]}")
            outputs = tuple(known[wanted.name] for wanted in request.outputs)
        if request.parameters.get("explain") is not None:
            rows = outputs[0].shape[0] if outputs and outputs[0].shape else 1
            lines = np.array([b'{"method": "none", "row": %d}' % row for row in range(rows)], dtype=object)
            outputs = (*outputs, Tensor("explanation", "BYTES", lines))
        return InferAnswer(
            model.name, request.version or model.versions[-1], outputs, request.id, {"variant": "stable", "age_ms": 1.5}
        )

    async def _wait(self, deadline_s: float | None) -> None:
        try:
            await asyncio.wait_for(self.release.wait(), deadline_s)
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed") from None

    def statistics(self, name: str | None, version: str | None) -> tuple[ModelStatistics, ...]:
        models = MODELS.values() if name is None else [self._find(name, version)]
        asked = [r.model for r in self.seen]
        return tuple(
            ModelStatistics(m.name, v, asked.count(m.name), 1000 * asked.count(m.name), last_ms=1)
            for m in models
            for v in m.versions
            if version in (None, v)
        )

    def repository_index(self, *, only_ready: bool) -> tuple[RepositoryEntry, ...]:
        entries = []
        for model in MODELS.values():
            state = "UNAVAILABLE" if model.name in self.unloaded else "READY"
            if state == "READY" or not only_ready:
                entries += [RepositoryEntry(model.name, version, state) for version in model.versions]
        return tuple(entries)

    async def load(self, name: str) -> None:
        self.unloaded.discard(self._find(name, None).name)
        self._tell()

    async def unload(self, name: str) -> None:
        self.unloaded.add(self._find(name, None).name)
        self._tell()


def _sum_and_difference(request: InferRequest) -> tuple[Tensor, ...]:
    given = {tensor.name: tensor for tensor in request.inputs}
    if given.keys() != {"INPUT0", "INPUT1"}:
        raise BadRequest("model simple takes INPUT0 and INPUT1")
    a, b = given["INPUT0"], given["INPUT1"]
    for tensor in (a, b):
        if tensor.datatype != "INT32" or tensor.shape != (1, 16):
            raise BadRequest(f"input {tensor.name} is {tensor.datatype} {list(tensor.shape)[:9]}, expected INT32 [1, 16]")
    with np.errstate(over="ignore"):
        return (Tensor("OUTPUT0", "INT32", a.data + b.data), Tensor("OUTPUT1", "INT32", a.data - b.data))
