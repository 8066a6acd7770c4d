"""What a service answers, and what it says of itself: by real bundles and real probes, without doors."""

import asyncio
import shutil
from pathlib import Path

import pytest

from serving.doors.grpc.health import Health
from serving.errors import BadRequest, DeadlineExceeded, NotFound, ServingError, Unavailable, Unsupported
from serving.loading.served_file import ServedFile, newest_of_each
from serving.messages import InferRequest
from serving.models.errors import ModelError, message_for_clients
from serving.models.store import BundleStore
from serving.scoring.scorer import Scorer
from serving.settings import ServingSettings
from serving.spec import ServingSpec
from serving.telemetry.tracing.tracer import Tracer
from tests.fakes.tracing.memory_spans import MemorySpans
from tests.unit.serving.replica.service import GONE, ROW, World, ask
from tests.unit.serving.scoring.variants import serve_with
from tests.waiting import until_so as until

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
"""Of grpc.health.v1."""


async def test_before_a_specification_the_server_lives_and_is_not_ready(world):
    assert world.service.is_live()
    assert not world.service.is_ready()


async def test_while_a_replica_starts_no_model_is_unknown(world):
    with pytest.raises(Unavailable, match="the server is starting; try again soon"):
        await world.service.infer(ask())
    await world.service.apply(newest_of_each(world.store))
    with pytest.raises(NotFound, match="'simple' version '9' is not loaded"):
        await world.service.infer(ask("9"))


async def test_an_answer_carries_where_it_came_from(world):
    await world.service.apply(newest_of_each(world.store))
    assert world.service.is_ready()
    answer = await world.service.infer(ask())
    assert [o.data.tolist() for o in answer.outputs] == [(ROW + 1).tolist(), (ROW - 1).tolist()]
    assert answer.id == "7"
    assert answer.version == "1"
    assert answer.parameters["source"] == "model"
    assert answer.parameters["revision"].startswith("sha256:")
    (record,) = world.audit.records
    assert record.receipt == answer.parameters["receipt"]
    assert record.inputs["INPUT0"]["shape"] == [1, 16]
    assert (
        b'vedette_requests_total{door="http",model="simple",outcome="ok",replica="r",variant="stable",version="1"} 1.0'
        in world.metrics.render()
    )


async def test_outputs_come_as_asked_for(world):
    await world.service.apply(newest_of_each(world.store))
    answer = await world.service.infer(ask(outputs=["OUTPUT1"]))
    assert [o.name for o in answer.outputs] == ["OUTPUT1"]


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        pytest.param(
            ask(version="9"), NotFound, r"version '9' is not loaded; loaded versions are \('1',\)", id="an unknown version"
        ),
        pytest.param(ask(outputs=["NO"]), BadRequest, "outputs .'NO'. are unknown", id="an unknown output"),
        pytest.param(ask(outputs=["OUTPUT0"] * 2), BadRequest, "more than once", id="an output twice"),
        pytest.param(ask(scenario="x"), BadRequest, "has none", id="a scenario for a model without"),
        pytest.param(InferRequest("nope", None, ()), NotFound, "'nope' is not found", id="an unknown model"),
    ],
)
async def test_a_wrong_request_is_told_so_and_counted(world, request_, error, says):
    await world.service.apply(newest_of_each(world.store))
    with pytest.raises(error, match=says):
        await world.service.infer(request_)
    assert b'outcome="client_error"' in world.metrics.render()
    assert world.audit.records == []


async def test_an_answer_after_the_deadline_is_none(world):
    await world.service.apply(newest_of_each(world.store))
    served = world.service._snapshot.find("simple", None).stable.revision

    class Slow:
        def __init__(self, model):
            self.model = model

        def run(self, tensors, outputs=None, stop=None):
            world.clock.advance(2.0)
            return self.model.run(tensors, outputs)

    serve_with(world.service, "stable", "simple", model=Slow(served.model))
    with pytest.raises(DeadlineExceeded, match="after the deadline"):
        await world.service.infer(ask())


async def test_what_clients_are_told_names_no_place_on_disk(world, tmp_path):
    await world.service.apply(ServingSpec(models=(*newest_of_each(world.store).models, GONE)))
    world.add_version(tmp_path, "2")
    (world.store.resolve("simple", "2").folder / "model.onnx").write_bytes(b"broken")
    told = [entry.reason for entry in world.service.repository_index(only_ready=False)] + [world.metrics.render().decode()]
    for call in (world.service.load("simple"), world.service.load("nope"), world.service.infer(InferRequest("gone", None, ()))):
        with pytest.raises(ServingError) as refused:
            await call
        told.append(refused.value.message)
    assert "bundles/" in "".join(told)
    assert [text for text in told if str(tmp_path) in text] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/var/lib/x y/store/bundles/ab/model.onnx: the file was changed", "bundles/ab/model.onnx: the file was changed"),
        ("bundles/ab/model.onnx: onnxruntime 1.31.1 cannot load it", "bundles/ab/model.onnx: onnxruntime cannot load it"),
        ("Load model from /tmp/scratch/model.onnx failed", "Load model from model.onnx failed"),
        ("no bundle in /var/lib/x y/store", "no bundle in the store"),
        ("12/13 cases, GET http://host/v2/models", "12/13 cases, GET http://host/v2/models"),
    ],
)
def test_places_on_this_machine_are_not_told_to_clients(text, told):
    assert message_for_clients(ModelError(text), Path("/var/lib/x y/store")) == told


async def test_whoever_watches_is_told_of_every_change_of_what_is_ready(world, tmp_path):
    """Of the server, of a model, and of one that is in the store only."""
    health, told = Health(world.service), {"": [], "simple": []}

    async def watch(name):
        async for state in health.changes(name):
            told[name].append(state)

    watching = [asyncio.create_task(watch(name)) for name in told]
    await until(lambda: told == {"": [NOT_SERVING], "simple": [NOT_SERVING]})
    await world.service.apply(newest_of_each(world.store))
    await until(lambda: told == {"": [NOT_SERVING, SERVING], "simple": [NOT_SERVING, SERVING]})
    await world.service.apply(ServingSpec())
    await until(lambda: told["simple"][2:] == [NOT_SERVING])
    shutil.rmtree(world.store.root)
    await world.service._refresh_store()
    await until(lambda: told["simple"][3:] == [SERVICE_UNKNOWN])
    assert told[""] == [NOT_SERVING, SERVING]
    for task in watching:
        task.cancel()


async def test_the_index_is_answered_without_the_disk(world, tmp_path):
    await world.service.apply(newest_of_each(world.store))
    world.add_version(tmp_path, "2")
    shown = [(e.version, e.state) for e in world.service.repository_index(only_ready=False)]
    await world.service._refresh_store()
    assert shown == [("1", "READY")]
    assert [(e.version, e.state) for e in world.service.repository_index(only_ready=False)] == [
        ("1", "READY"),
        ("2", "UNAVAILABLE"),
    ]


async def test_control_can_be_switched_off(tmp_path, simple):
    service = World(tmp_path, simple, may_control=False).service
    with pytest.raises(Unsupported, match="VEDETTE_REPOSITORY_CONTROL"):
        await service.load("simple")


async def test_an_unknown_model_cannot_be_loaded(world):
    await world.service.apply(newest_of_each(world.store))
    with pytest.raises(NotFound, match="no model 'nope'"):
        await world.service.load("nope")
    with pytest.raises(NotFound):
        world.service.is_model_ready("nope", None)


def test_settings_leave_repository_control_off():
    assert ServingSettings.model_fields["repository_control"].default is False


def test_the_served_file_is_followed_but_not_by_its_writer(tmp_path, simple):
    store = BundleStore(tmp_path)
    store.add(simple)
    writer, follower = ServedFile(tmp_path), ServedFile(tmp_path)
    assert writer.read() is None
    writer.write(newest_of_each(store))
    assert not writer.changed()
    assert follower.changed()
    assert not follower.changed()
    assert follower.read() == newest_of_each(store)


async def test_a_file_in_the_store_that_cannot_be_read_keeps_nothing_from_being_served(world):
    wanted = newest_of_each(world.store)
    (world.store.root / "models" / "simple" / "2.json").write_text("[" * 100_000)
    await world.service.apply(wanted)
    assert world.service.is_ready()
    assert (await world.service.infer(ask())).version == "1"


class StuckScorer(Scorer):
    """Scores nothing until the client is gone."""

    def __init__(self, inner):
        self.begun, self._inner = asyncio.Event(), inner

    def keep(self, revisions):
        self._inner.keep(revisions)

    async def score(self, variants, request, trace):
        self.begun.set()
        await asyncio.Event().wait()


async def test_the_trace_of_a_request_whose_client_is_gone_ends(tmp_path, simple):
    spans = MemorySpans()
    world = World(tmp_path, simple, tracer=Tracer(1.0, None, exporter=spans.exporter), wrap=StuckScorer)
    await world.service.load("simple")
    asking = asyncio.ensure_future(world.service.infer(ask()))
    await world.scorer.begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    (span,) = spans.finished()
    assert (span.status.status_code.name, span.status.description) == ("ERROR", "the client disconnected")
    assert world.metrics.ongoing == 0
