"""golden.json: inputs with the outputs they must give, and the comparison.

Pure over arrays: the caller runs the model. Numbers are kept as raw little-endian bytes, so that equal means equal to the bit."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.messages import DATATYPES, DTYPES
from serving.models.errors import BundleError

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """One run of the model: tensors in, tensors out (strings as object arrays of str)."""

    inputs: Arrays
    outputs: Arrays


def encode_golden(cases: tuple[GoldenCase, ...]) -> bytes:
    """Canonical JSON of the cases."""
    body = {"cases": [{"inputs": _encode(c.inputs), "outputs": _encode(c.outputs)} for c in cases]}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def decode_golden(body: bytes) -> tuple[GoldenCase, ...]:
    """Raises BundleError if the file is not a golden.json or holds no case."""
    try:
        cases = tuple(GoldenCase(_decode(c["inputs"]), _decode(c["outputs"])) for c in json.loads(body)["cases"])
    except (ValueError, KeyError, TypeError) as problem:
        raise BundleError(
            f"golden.json cannot be read ({type(problem).__name__}: {problem}); build the bundle again"
        ) from problem
    if not cases:
        raise BundleError("golden.json holds no case; build the bundle again, with golden inputs or without the file")
    return cases


def differences(expected: Arrays, got: Arrays, *, tolerance: float | None) -> list[str]:
    """What differs, in words; empty if nothing does.

    tolerance: largest absolute difference of a float (relative for values over 1); None: every bit must agree."""
    problems = []
    for name, want in expected.items():
        have = got.get(name)
        if have is None:
            problems.append(f"output {name!r} is missing")
        elif have.shape != want.shape or have.dtype != want.dtype:
            problems.append(f"output {name!r} is {have.dtype}{list(have.shape)}, expected {want.dtype}{list(want.shape)}")
        elif not _same(want, have, tolerance):
            problems.append(f"output {name!r} differs{_by(want, have)}")
    return problems


def _same(want: NDArray[Any], have: NDArray[Any], tolerance: float | None) -> bool:
    if want.dtype == object:
        return bool((want == have).all())
    if tolerance is None or want.dtype.kind != "f":
        return want.tobytes() == have.tobytes()
    return bool(np.allclose(have, want, rtol=tolerance, atol=tolerance, equal_nan=True))


def _by(want: NDArray[Any], have: NDArray[Any]) -> str:
    if want.dtype.kind != "f" or want.size == 0:
        return ""
    worst = float(np.nanmax(np.abs(have.astype(np.float64) - want.astype(np.float64))))
    return f" by up to {worst:.3g}"


def _encode(arrays: Arrays) -> dict[str, Any]:
    return {name: _encode_one(np.asarray(a)) for name, a in arrays.items()}


def _encode_one(array: NDArray[Any]) -> dict[str, Any]:
    datatype = DATATYPES[array.dtype]
    shape = list(array.shape)
    if datatype == "BYTES":
        return {"datatype": datatype, "shape": shape, "strings": [str(v) for v in array.ravel().tolist()]}
    raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return {"datatype": datatype, "shape": shape, "base64": base64.b64encode(raw).decode()}


def _decode(arrays: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: _decode_one(a) for name, a in arrays.items()}


def _decode_one(body: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape = DTYPES[body["datatype"]], tuple(body["shape"])
    if body["datatype"] == "BYTES":
        strings = np.empty(len(body["strings"]), dtype=object)
        strings[:] = body["strings"]
        return strings.reshape(shape)
    raw = base64.b64decode(body["base64"], validate=True)
    return np.frombuffer(raw, dtype=dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(shape)
