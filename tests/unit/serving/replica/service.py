"""A service over a store that holds the bundle `simple`, without doors."""

import numpy as np

from serving.messages import InferRequest, RequestedOutput, Tensor
from serving.models.build import build_bundle
from serving.models.store import BundleStore
from serving.replica.inference_service import ModelServer
from serving.scoring.scorer import Scorer, ScorerLimits
from serving.spec import ModelSpec, RevisionSpec
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.clock import ManualClock
from tests.fakes.serving.audit import MemoryAudit

ROW = np.arange(16, dtype=np.int32).reshape(1, 16)
GONE = ModelSpec(name="gone", version="1", revision=RevisionSpec(bundle="sha256:" + "0" * 64))


class World:
    def __init__(self, tmp_path, simple, *, may_control=True, tracer=None, wrap=lambda scorer: scorer):
        self.store = BundleStore(tmp_path / "store")
        self.store.add(simple)
        self.simple = simple
        self.clock, self.audit, self.metrics, self.told = ManualClock(), MemoryAudit(), ServingMetrics("r"), []
        scorer = Scorer(
            features=None,
            audit=self.audit,
            clock=self.clock,
            metrics=self.metrics,
            limits=ScorerLimits(1.0, 0.05, 100),
            identity="r",
        )
        self.scorer = wrap(scorer)
        self.service = ModelServer(
            store=self.store,
            scorer=self.scorer,
            features=None,
            metrics=self.metrics,
            tracer=tracer or Tracer(0.0, None),
            probe_timeout_s=60,
            model_threads=1,
            may_control=may_control,
            record=lambda change: self.told.append(change(self.service._owner.spec)),
        )

    def add_version(self, tmp_path, version):
        model = (self.simple.folder / "model.onnx").read_bytes()
        self.store.add(build_bundle(tmp_path / version, model=model, name="simple", version=version))


def ask(version=None, outputs=(), **parameters):
    inputs = (Tensor("INPUT0", "INT32", ROW), Tensor("INPUT1", "INT32", np.ones_like(ROW)))
    wanted = tuple(RequestedOutput(o) for o in outputs)
    return InferRequest("simple", version, inputs, id="7", parameters=parameters, outputs=wanted)
