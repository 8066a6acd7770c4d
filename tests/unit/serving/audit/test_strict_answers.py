"""A strict prediction log: no answer leaves before its records are kept, and none without them."""

import asyncio

import pytest
from msgspec.structs import replace

from serving.audit.durability.modes import AuditMode, AuditModes
from serving.audit.record import NotRecorded
from serving.errors import DeadlineExceeded, Internal
from tests.unit.serving.scoring.variants import World, host, request, spec, threat, variant
from tests.waiting import HANG_S, pass_time, until_so


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return threat(folder / "1", "1"), threat(folder / "2", "2", 2.0)


@pytest.fixture
def world(tmp_path, bundles):
    """Everything strict; `world.audit` keeps, holds or refuses."""
    made = World(tmp_path)
    for bundle in bundles:
        made.store.add(bundle)
    set_modes(made, AuditModes(AuditMode.STRICT))
    return made


def set_modes(world, modes):
    world.scorer._audit_mode, world.scorer._audit_mode_of = modes.default, modes.models


def counted(world, outcome):
    series = world.series().get("vedette_requests_total", {})
    return sum(value for labels, value in series.items() if outcome in labels)


async def test_the_answer_waits_for_its_record(world, bundles):
    await world.service.apply(spec(bundles[0]))
    world.audit.is_holding = True
    asking = asyncio.create_task(world.service.infer(request("a")))
    await until_so(lambda: world.audit.held == 1)
    assert not asking.done()
    assert counted(world, "ok") == 0
    world.audit.release()
    answer = await asking
    assert [r.receipt for r in world.audit.records] == [answer.parameters["receipt"]]
    assert counted(world, "ok") == 1


async def test_an_answer_of_several_variants_waits_for_all_of_its_records_at_once(world, bundles):
    await world.service.apply(spec(bundles[0], variant(bundles[1], weight=50)))
    world.audit.is_holding = True
    asking = asyncio.create_task(world.service.infer(request(*(host(i) for i in range(40)))))
    await until_so(lambda: world.audit.held == 1)
    world.audit.release()
    receipt = (await asking).parameters["receipt"]
    assert {(r.receipt, r.variant) for r in world.audit.records} == {(receipt, "stable"), (receipt, "candidate")}


async def test_without_a_record_there_is_no_answer(world, bundles):
    await world.service.apply(spec(bundles[0], variant(bundles[1], weight=50)))
    world.audit.problem = "No space left on device"
    with pytest.raises(NotRecorded, match="No space left") as refused:
        await world.service.infer(request(*(host(i) for i in range(40))))
    assert refused.value.retry_after_s == 1.0
    assert world.audit.records == []
    assert (counted(world, "ok"), counted(world, "refused")) == (0, 1)
    assert world.scorer._protection.refused_unrecorded == 1
    assert world.evidence("candidate").get("error", 0) == 0, "the log is nobody's fault among the variants"
    world.audit.problem = None
    await world.service.infer(request("a"))


async def test_a_deadline_that_passes_while_the_record_waits_is_said_and_withdraws_it(world, bundles):
    await world.service.apply(spec(bundles[0]))
    world.audit.is_holding = True
    asking = asyncio.create_task(world.service.infer(replace(request("a"), deadline_s=HANG_S)))
    await until_so(lambda: world.audit.held == 1)
    pass_time(HANG_S)
    with pytest.raises(DeadlineExceeded, match="record was not on the disk"):
        await asking
    world.audit.release()
    assert world.audit.records == []
    assert (counted(world, "ok"), counted(world, "refused")) == (0, 1)


async def test_a_client_that_leaves_while_the_record_waits_withdraws_it(world, bundles):
    await world.service.apply(spec(bundles[0]))
    world.audit.is_holding = True
    asking = asyncio.create_task(world.service.infer(request("a")))
    await until_so(lambda: world.audit.held == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    world.audit.release()
    assert world.audit.records == []
    assert world.metrics.ongoing == 0


async def test_a_record_without_a_form_is_a_defect(world, bundles, monkeypatch):
    await world.service.apply(spec(bundles[0]))
    monkeypatch.setattr("tests.fakes.serving.audit.encode_record", lambda _: (_ for _ in ()).throw(TypeError("no form")))
    with pytest.raises(Internal):
        await world.service.infer(request("a"))
    assert counted(world, "failed") == 1


@pytest.mark.parametrize(
    ("modes", "records", "waits"),
    [
        pytest.param(AuditModes(AuditMode.ASYNC, {"threat": AuditMode.STRICT}), 1, True, id="strict for this model alone"),
        pytest.param(AuditModes(AuditMode.STRICT, {"threat": AuditMode.ASYNC}), 1, False, id="strict for the others"),
        pytest.param(AuditModes(AuditMode.STRICT, {"threat": AuditMode.OFF}), 0, False, id="no record for this model"),
        pytest.param(AuditModes(AuditMode.OFF, {"other": AuditMode.STRICT}), 0, False, id="records for others only"),
        pytest.param(AuditModes(), 1, False, id="nothing said: the answer does not wait"),
    ],
)
async def test_modes_by_model(world, bundles, modes, records, waits):
    await world.service.apply(spec(bundles[0]))
    set_modes(world, modes)
    world.audit.is_holding = True
    asking = asyncio.create_task(world.service.infer(request("a")))
    await until_so(lambda: world.audit.held == 1 if waits else asking.done())
    world.audit.release()
    await asking
    assert len(world.audit.records) == records
