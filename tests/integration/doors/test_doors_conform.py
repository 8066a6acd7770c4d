"""The conformance kit against the real service behind both real doors, without Ray: `simple`, a detector, and strings."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from operators.conformance.checks.catalogue import ALL
from operators.conformance.discovery import model_facts, model_names, server_facts
from operators.conformance.run import broken, plan, run
from operators.conformance.transport import Transport
from operators.conformance.values import Status
from operators.labs.simple_model import build_simple
from serving.doors.listener import DoorBackend, Listener
from serving.models.build import build_bundle
from serving.models.store import BundleStore
from serving.replica.inference_service import ModelServer
from serving.scoring.scorer import Scorer, ScorerLimits
from serving.spec import ModelSpec, RevisionSpec, ServingSpec
from serving.telemetry.metrics import ServingMetrics
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.clock import ManualClock
from tests.fakes.serving.audit import MemoryAudit

pytestmark = pytest.mark.integration


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def save(nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "m", inputs, outputs, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString(
        deterministic=True
    )


def detector(folder):
    """Columns in (a word that is not used, and two numbers), a verdict out."""
    model = save(
        [helper.make_node("ReduceMean", ["numbers"], ["score"], axes=[1], keepdims=0)],
        [value("numbers", TensorProto.FLOAT, [None, 2])],
        [value("score", TensorProto.FLOAT, [None])],
    )
    return build_bundle(
        folder,
        model=model,
        golden_inputs={"numbers": np.array([[0.2, 0.4]], np.float32)},
        name="detector",
        version="3",
        request_fields=[{"name": name, "datatype": kind} for name, kind in (("bytes", "FP32"), ("packets", "INT64"))],
        assembly=[{"tensor": "numbers", "columns": ["bytes", "packets"]}],
        score={"output": "score"},
        operating_points={"siem_alerting": {"threshold": 0.5, "investigate": 0.4, "requirement": "test"}},
        default_operating_point="siem_alerting",
    )


def words(folder):
    """Two string inputs and small integers; a string and every other kind of tensor out."""
    model = save(
        [
            helper.make_node("Identity", ["user"], ["user_out"]),
            helper.make_node("Identity", ["verb"], ["verb_out"]),
            helper.make_node("Cast", ["small"], ["wide"], to=TensorProto.DOUBLE),
            helper.make_node("Cast", ["small"], ["half"], to=TensorProto.FLOAT16),
        ],
        [
            value("user", TensorProto.STRING, [None]),
            value("verb", TensorProto.STRING, [None, 1]),
            value("small", TensorProto.INT8, [None, 3]),
        ],
        [
            value("user_out", TensorProto.STRING, [None]),
            value("verb_out", TensorProto.STRING, [None, 1]),
            value("wide", TensorProto.DOUBLE, [None, 3]),
            value("half", TensorProto.FLOAT16, [None, 3]),
        ],
    )
    golden = {
        "user": np.array(["root"], object),
        "verb": np.array([["GET"]], object),
        "small": np.array([[1, 2, 3]], np.int8),
    }
    return build_bundle(folder, model=model, golden_inputs=golden, name="words", version="1")


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """HTTP and gRPC addresses of a service with these three models."""
    scratch = tmp_path_factory.mktemp("bundles")
    store = BundleStore(scratch / "store")
    bundles = [build_simple(scratch / "simple"), detector(scratch / "detector"), words(scratch / "words")]
    for bundle in bundles:
        store.add(bundle)
    metrics = ServingMetrics("r")
    scorer = Scorer(
        features=None, audit=MemoryAudit(), clock=ManualClock(), metrics=metrics, limits=ScorerLimits(2.0, 0.05, 1000),
        identity="test",
    )  # fmt: skip
    service = ModelServer(
        store=store, scorer=scorer, features=None, metrics=metrics, tracer=Tracer(0.0, None), probe_timeout_s=30,
        model_threads=1, may_control=True,
    )  # fmt: skip
    spec = ServingSpec(
        models=tuple(
            ModelSpec(name=b.manifest.name, version=b.manifest.version, revision=RevisionSpec(bundle=b.digest)) for b in bundles
        )
    )

    async def startup():
        await service.apply(spec)
        return DoorBackend(service, metrics.render)

    async def shutdown():
        return None

    listener = Listener(startup, shutdown, host="127.0.0.1", http_port=0, grpc_port=0, max_body_bytes=1 << 20)
    ports = listener.start(60)
    yield f"http://127.0.0.1:{ports.http}", f"127.0.0.1:{ports.grpc}"
    listener.stop(1)


def test_every_model_conforms(doors):
    with Transport(*doors, 20) as transport:
        server = server_facts(transport.send, has_http=True, has_grpc=True, may_change=True)
        models = [model_facts(transport.send, server, name) for name in model_names(transport.send, server, ())]
        results = list(run(plan(ALL, server, models), server, transport.exchange))
    assert {m.name for m in models if m.baseline is not None} == {"simple", "detector", "words"}
    assert [f"{r.check.id} ({r.model}): {r.detail}" for r in broken(results)] == []
    passed = {r.check.id for r in results if r.status is Status.PASS}
    skipped_everywhere = {c.id for c in ALL} - passed
    assert skipped_everywhere == set(), "a check that never applies checks nothing"
