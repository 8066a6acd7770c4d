"""The one user of onnxruntime: loads a graph, says its signature, runs it.

What a model may contain is serving.models.graph's to judge; what its outputs mean is the Scorer's."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at the import: else it reports its use to its maker
import onnxruntime as ort

from serving.models.errors import BundleError, RunError
from serving.models.manifest import TensorSpec
from serving.ports import StopSignal

RUNTIME: Final = f"onnxruntime {ort.__version__}"

_PREFIX: Final = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_SOURCE: Final = re.compile(r"\S+\.(?:cc|cpp|h|hpp):\d+\s*")
_DATATYPES: Final = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class OnnxModel:
    """A loaded ONNX graph. Thread-safe: onnxruntime sessions may be run from several threads.

    source: path of the model file, or its bytes (without external data). threads: of one run.
    Raises BundleError if the runtime cannot load it or its signature has a type the protocol cannot carry."""

    def __init__(self, source: Path | bytes, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4  # errors are raised, not printed as well
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(
                source if isinstance(source, bytes) else str(source), options, providers=["CPUExecutionProvider"]
            )
        except Exception as problem:  # onnxruntime raises bare pybind exceptions of many kinds
            where = "the model" if isinstance(source, bytes) else str(source)
            raise BundleError(f"{where}: {RUNTIME} cannot load it: {_first_line(problem)}") from problem
        # The session's own binding: `InferenceSession.run` looks over the names of the inputs again (5 of 30 us for one row through
        # 200 trees), which the caller has done, and which the binding does as well. An onnxruntime without it is asked as usual.
        self._run: Callable[..., list[Any]] = getattr(getattr(self._session, "_sess", None), "run", self._session.run)
        self._alone: str | None = None
        self._run_alone = self._run
        self._options = ort.RunOptions()
        self.inputs = tuple(_spec(i, "input") for i in self._session.get_inputs())
        self.outputs = tuple(_spec(o, "output") for o in self._session.get_outputs())
        self._output_names = [o.name for o in self.outputs]
        inputs = self._session.get_inputs()
        self.non_row_inputs = _not_rows(inputs, inputs)
        """Inputs whose first dimension the graph calls otherwise than that of the first input: no rows of a batch."""
        self.non_row_outputs = _not_rows(inputs, self._session.get_outputs())
        """Outputs of which the same is true: they need not have an entry for each row."""

    def answer_alone(self, output: str, part: "OnnxModel") -> None:
        """From now on runs that ask for this output only are `part`'s, a model of the same inputs that gives the same bits for it."""
        self._alone, self._run_alone = output, part._run

    def run(
        self, tensors: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None, stop: StopSignal | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run once; see ports.Model. Raises RunError if the runtime refuses the input, or if it was stopped.

        The runtime looks at `stop` between two nodes of the graph. A model of one node (trees) therefore runs to its end, and a
        stop only spares what has not begun."""
        names = self._output_names if outputs is None else outputs
        options = self._options
        if stop is not None:
            options = ort.RunOptions()
            stop.on_request(lambda: setattr(options, "terminate", True))
            if stop.is_requested:
                raise RunError("the run was stopped before it began")
        run = self._run_alone if len(names) == 1 and names[0] == self._alone else self._run
        try:
            values = run(names, tensors, options)
        except Exception as problem:
            raise RunError(f"the model refused this input: {_first_line(problem)}") from problem
        return dict(zip(names, values, strict=True))


def _spec(value: Any, kind: str) -> TensorSpec:
    datatype = _DATATYPES.get(value.type)
    if datatype is None:
        raise BundleError(
            f"{kind} {value.name!r} has type {value.type}, which the Open Inference Protocol cannot carry; export plain tensors "
            "(for scikit-learn: options={'zipmap': False})"
        )
    return TensorSpec(name=value.name, datatype=datatype, shape=tuple(d if isinstance(d, int) else -1 for d in value.shape))


def _not_rows(inputs: Sequence[Any], values: Sequence[Any]) -> frozenset[str]:
    named = [(value.name, value.shape[0]) for value in values if value.shape and isinstance(value.shape[0], str)]
    rows = next((value.shape[0] for value in inputs if value.shape and isinstance(value.shape[0], str)), None)
    return frozenset(name for name, dimension in named if dimension != rows)


def _first_line(problem: Exception) -> str:
    """What the runtime says, without its own name, error number and source files: a client may read it."""
    first = (str(problem).splitlines() or [type(problem).__name__])[0]
    return _SOURCE.sub("", _PREFIX.sub("", first))
