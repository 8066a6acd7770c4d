"""Detectors that differ on purpose, and a service that has them beside each other: what the tests of variants stand on.

`threat` takes host (its entity) and level; the score is sigmoid(gain * level), so that a test can say which verdict is right."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from prometheus_client.parser import text_string_to_metric_families

from serving.messages import InferRequest, RequestedOutput, Tensor
from serving.models.build import build_bundle
from serving.models.bundle import Bundle
from serving.models.store import BundleStore
from serving.replica.inference_service import ModelServer
from serving.scoring.mirror import Mirror
from serving.scoring.scorer import Scorer, ScorerLimits
from serving.scoring.variant_set import Variant, VariantSet
from serving.segments.mapping import SegmentMap
from serving.spec import ModelSpec, RevisionSpec, ServingSpec, VariantSpec
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.clock import ManualClock
from tests.fakes.serving.audit import MemoryAudit
from tests.fakes.tracing.memory_spans import MemorySpans
from tests.waiting import HANG_S

POINT = {"threshold": 0.8, "investigate": 0.5, "requirement": "by hand"}


def graph(gain: float, *, fails_above: float | None = None, sleep_size: int = 0) -> bytes:
    """sigmoid(gain * level). fails_above: the runtime refuses larger levels (an index out of bounds)."""
    nodes = [
        helper.make_node("Mul", ["level", "gain"], ["scaled"]),
        helper.make_node("Sigmoid", ["scaled"], ["risk"]),
    ]
    tensors = [numpy_helper.from_array(np.array([[gain]], np.float32), "gain")]
    if fails_above is not None:
        nodes = [
            helper.make_node("Greater", ["level", "limit"], ["is_over"]),
            helper.make_node("Cast", ["is_over"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["gain", "index"], ["picked"], axis=0),
            helper.make_node("Reshape", ["picked", "column"], ["gains"]),
            helper.make_node("Mul", ["level", "gains"], ["scaled"]),
            nodes[1],
        ]
        tensors += [
            numpy_helper.from_array(np.array([[fails_above]], np.float32), "limit"),
            numpy_helper.from_array(np.array([-1, 1], np.int64), "column"),
        ]
    made = helper.make_graph(
        nodes,
        "threat",
        [helper.make_tensor_value_info("level", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("risk", TensorProto.FLOAT, [None, 1])],
        tensors,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def threat(
    folder: Path,
    version: str,
    gain: float = 1.0,
    *,
    fails_above: float | None = None,
    cheap: bytes | None = None,
    **fields: Any,
) -> Bundle:
    """cheap: the graph of its triage, which the field `triage` describes."""
    described: dict[str, Any] = {
        "entity_keys": [{"name": "host", "datatype": "BYTES"}],
        "request_fields": [{"name": "level", "datatype": "FP32"}],
        "assembly": [{"tensor": "level", "columns": ["level"]}],
        "score": {"output": "risk"},
        "operating_points": {"siem_alerting": POINT},
        "default_operating_point": "siem_alerting",
        **fields,
    }
    golden = {"level": np.array([[0.5], [-1.0]], np.float32)}
    model = graph(gain, fails_above=fails_above)
    return build_bundle(folder, model=model, golden_inputs=golden, name="threat", version=version, cheap=cheap, **described)


def host(index: int) -> str:
    return f"10.{index // 62500 % 250}.{index // 250 % 250}.{index % 250}"


def request(*hosts: str, level: float | list[float] = 2.0, version=None, outputs=(), variant=None, door="http", **parameters):
    levels = level if isinstance(level, list) else [level] * len(hosts)
    inputs = (
        Tensor("host", "BYTES", np.array([h.encode() for h in hosts], dtype=object)),
        Tensor("level", "FP32", np.array(levels, np.float32)),
    )
    wanted = tuple(RequestedOutput(o) for o in outputs)
    return InferRequest("threat", version, inputs, parameters=parameters, outputs=wanted, variant=variant, door=door)


def tensors(*levels: float, **parameters) -> InferRequest:
    return InferRequest(
        "threat", None, (Tensor("level", "FP32", np.array(levels, np.float32)[:, None]),), parameters=parameters
    )


class World:
    """A service over a store in a folder, with everything it tells kept."""

    def __init__(
        self,
        folder: Path,
        *,
        features: Any = None,
        executor: Any = None,
        queue: int = 100,
        protection: Any = None,
        segments: SegmentMap | None = None,
    ) -> None:
        self.store = BundleStore(folder / "store")
        self.clock, self.audit, self.spans = ManualClock(), MemoryAudit(), MemorySpans()
        self.metrics = ServingMetrics("r", segments=segments)
        self.mirror = Mirror(
            features,
            self.clock,
            self.metrics,
            executor=executor,
            max_copies=queue,
            max_rows=20_000,
            deadline_s=HANG_S,
            feature_timeout_s=0.05,
            segments=segments,
        )
        self.scorer = Scorer(
            features=features,
            audit=self.audit,
            clock=self.clock,
            metrics=self.metrics,
            limits=ScorerLimits(HANG_S, 0.05, 20_000),
            identity="r",
            mirror=self.mirror,
            protection=protection,
            segments=segments,
        )
        self.service = ModelServer(
            store=self.store,
            scorer=self.scorer,
            features=features,
            metrics=self.metrics,
            tracer=Tracer(0.0, None, exporter=self.spans.exporter),
            probe_timeout_s=60,
            model_threads=1,
            may_control=True,
        )

    @property
    def variants(self) -> VariantSet:
        """What `threat` answers with."""
        return self.service._snapshot.find("threat", None)

    def serve(self, variant: str, **fields: Any) -> None:
        """Serve a variant of `threat` with other fields of its revision, e.g. `model`: a fake."""
        serve_with(self.service, variant, **fields)

    def series(self) -> dict[str, dict[tuple[str, ...], float]]:
        """name -> label values (without replica, in the order of their names) -> value."""
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(self.metrics.render().decode()):
            for s in family.samples:
                labels = tuple(v for k, v in sorted(s.labels.items()) if k != "replica")
                found.setdefault(s.name, {})[labels] = s.value
        return found

    def evidence(self, variant: str, route: str = "live") -> dict[str, int]:
        """What is counted of one variant, over its revisions."""
        series, out = self.series(), {}
        for short in ("requests", "rows"):
            samples = series.get(f"vedette_evidence_{short}_total", {})
            out[short] = int(sum(v for (_, _, r, name), v in samples.items() if (r, name) == (route, variant)))
        for (gate, _, _, r, name), v in series.get("vedette_evidence_bad_total", {}).items():
            if (r, name) == (route, variant):
                out[gate] = out.get(gate, 0) + int(v)
        return out

    def entities(self, variant: str) -> dict[str, int]:
        series = self.series()
        out = {"entities": int(sum(v for (_, _, n), v in series["vedette_evidence_entities_total"].items() if n == variant))}
        for (gate, _, _, name), v in series["vedette_evidence_entities_bad_total"].items():
            if name == variant:
                out[gate] = out.get(gate, 0) + int(v)
        return out


def serve_with(service: ModelServer, variant: str, name: str = "threat", **fields: Any) -> None:
    """Put a revision with other fields in the place of one that is served. What is served is replaced whole, as after a change."""
    made: dict[int, Variant] = {}

    def put(one: Variant) -> Variant:
        if (one.revision.name, one.revision.variant) != (name, variant):
            return one
        return made.setdefault(id(one), replace(one, revision=replace(one.revision, **fields)))

    def sets(found: Mapping[Any, VariantSet]) -> Mapping[Any, VariantSet]:
        return {
            key: VariantSet(put(s.stable), tuple(map(put, s.others)), s.split, tuple(map(put, s.ranges)), s.objective_s)
            for key, s in found.items()
        }

    served = service._snapshot
    changed = {part: sets(getattr(served, part)) for part in ("variant_sets", "by_version", "current")}
    service._snapshot = replace(served, **changed)
    assert made, f"{name} has no variant {variant}"


def spec(stable: Bundle, *variants: VariantSpec, **fields: Any) -> ServingSpec:
    manifest = stable.manifest
    revision = fields.pop("revision", RevisionSpec(bundle=stable.digest))
    model = ModelSpec(name=manifest.name, version=manifest.version, revision=revision, variants=variants, **fields)
    return ServingSpec(models=(model,))


def variant(bundle: Bundle, weight: float = 0.0, mirror: float = 0.0, name: str = "candidate", **revision: Any) -> VariantSpec:
    return VariantSpec(
        name=name,
        version=bundle.manifest.version,
        revision=RevisionSpec(bundle=bundle.digest, **revision),
        weight=weight,
        mirror=mirror,
    )
