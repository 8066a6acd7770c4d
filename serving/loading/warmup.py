"""Warm-up: made-up requests take the whole path of a real one before the first client does.

They go through decoding, features (of an unknown entity), model, verdict and encoding, on metrics of their own: no metric, evidence or
audit record of the replica counts them. Their answers are dropped. A made-up request that fails is logged at debug level and refuses no
bundle."""

import logging
from collections.abc import Iterator
from math import prod
from typing import Any, Final

import numpy as np
import orjson

from serving.clock import SystemClock
from serving.doors.oip import binary_codec, json_codec
from serving.doors.oip.envelope import Envelope
from serving.messages import DTYPES
from serving.models.errors import ModelError
from serving.models.manifest import Manifest, TensorSpec
from serving.ports import FeatureReader, Model
from serving.resilience.bulkhead import Bulkheads
from serving.scoring.loaded_revision import LoadedRevision
from serving.scoring.protection import unprotected
from serving.scoring.scorer import Scorer, ScorerLimits
from serving.scoring.variant_set import VariantSet
from serving.telemetry.metrics import ServingMetrics

_log = logging.getLogger("vedette.warmup")
_LIMITS: Final = ScorerLimits(default_deadline_s=5.0, feature_timeout_s=0.5, max_rows=64)
_REPEATS: Final = 3
_ROWS: Final = (1, 2)
_MAX_ELEMENTS: Final = 4_096
"""Larger made-up tensors would hold up the requests that other models are answering."""
_BATCHES: Final = (1, 2, 8, 32, 128)
_BATCH_BUDGET_US: Final = 50_000.0
"""A batch that is expected to run longer is left out."""


async def warm_up(revision: LoadedRevision, features: FeatureReader | None) -> None:
    """Answer made-up requests with this revision, as tensors and as columns, with one row and with two. Failures are only logged."""
    bulkheads = Bulkheads(threads=1, queue=1)
    protection = unprotected()
    protection.bulkheads = bulkheads
    try:
        scorer = Scorer(
            features=features,
            audit=None,
            clock=SystemClock(),
            metrics=ServingMetrics("warm-up"),
            limits=_LIMITS,
            identity="warm-up",
            protection=protection,
        )
        variants = VariantSet.only(revision)
        repeats = _REPEATS if revision.may_run_inline(max(_ROWS)) else 1
        for body in request_bodies(revision.manifest):
            for _ in range(repeats):
                await _answer(scorer, variants, revision, body)
    finally:
        bulkheads.close()


async def _answer(scorer: Scorer, variants: VariantSet, revision: LoadedRevision, body: bytes) -> None:
    """As a door does: JSON in, and out as JSON and as raw tensors."""
    try:
        request = json_codec.read_request(json_codec.parse_object(body), Envelope(revision.name, revision.version))
        answer = await scorer.score(variants, request)
        json_codec.write_answer(answer)
        binary_codec.write_answer(answer, request)
    except Exception as problem:  # whatever made-up rows do to a model, it says nothing about a client's
        _log.debug("%s does not accept the rows of the warm-up: %s", revision.name, problem)


def request_bodies(manifest: Manifest) -> Iterator[bytes]:
    """Requests of zeros and empty texts in each form a bundle takes."""
    for rows in _ROWS:
        shapes = [_shape(spec, rows) for spec in manifest.inputs]
        if sum(map(prod, shapes)) <= _MAX_ELEMENTS:
            yield _body([_input(spec.name, spec.datatype, shape) for spec, shape in zip(manifest.inputs, shapes, strict=True)])
        if manifest.assembly:
            columns = {f.name: f.datatype for f in (*manifest.entity_keys, *manifest.request_fields)}
            yield _body([_input(name, datatype, [rows]) for name, datatype in columns.items()])


def _body(inputs: list[dict[str, Any]]) -> bytes:
    return orjson.dumps({"inputs": inputs})


def _shape(spec: TensorSpec, rows: int) -> list[int]:
    return [rows if i == 0 and size == -1 else max(size, 1) for i, size in enumerate(spec.shape)]


def _input(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    zero: object = "" if datatype == "BYTES" else False if datatype == "BOOL" else 0
    return {"name": name, "datatype": datatype, "shape": shape, "data": [zero] * prod(shape)}


def warm_batches(manifest: Manifest, model: Model, run_us: float) -> None:
    """Run the model at a few batch sizes, so that the runtime has its memory for each. Blocks; call it where a load does."""
    if any(not spec.shape or spec.shape[0] != -1 for spec in manifest.inputs):
        return
    for rows in _BATCHES:
        if run_us * rows > _BATCH_BUDGET_US:
            return
        try:
            model.run({spec.name: _zeros(spec, rows) for spec in manifest.inputs})
        except ModelError as problem:
            _log.debug("%s does not accept %d rows of the warm-up: %s", manifest.name, rows, problem)
            return


def _zeros(spec: TensorSpec, rows: int) -> np.ndarray[Any, Any]:
    shape = (rows, *(max(s, 1) for s in spec.shape[1:]))
    return np.full(shape, "", dtype=object) if spec.datatype == "BYTES" else np.zeros(shape, dtype=DTYPES[spec.datatype])
