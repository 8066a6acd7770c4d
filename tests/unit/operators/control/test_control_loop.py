"""The loop of this machine: parse, observe, decide, record, act; whatever happens in between."""

import contextlib
import json

import pytest
import yaml

from operators.backends.local import served_at_start
from operators.control.files import held
from operators.ports import BackendError
from operators.rollout.status import Phase, VerbRequest
from serving.loading.served_file import ServedFile
from serving.spec import ModelSpec, ServingSpec
from tests.fakes.operator.control_place import QUICK, Place, document, put_in_store, revision
from tests.fakes.serving.replicas import Habits

pytestmark = pytest.mark.heavy


def said(verb: str, place: Place, by: str = "ana") -> VerbRequest:
    return VerbRequest(id=f"{verb}-1", verb=verb, by=by, why="because", at=place.now)


async def begun(place: Place, candidate: int = 2, **spec: object) -> None:
    place.folder.change("ids", lambda _: document(revision(candidate), **spec))
    await place.look()


def status(place: Place):
    found = place.folder.status("ids")
    assert found is not None
    return found


async def test_what_is_served_when_a_service_is_first_seen_is_its_stable(place: Place):
    await begun(place)
    assert status(place).stable == revision(1)
    assert status(place).candidate == revision(2)
    assert place.replicas.weights()["candidate"] == 0


async def test_a_good_candidate_goes_through_every_step_and_is_promoted(place: Place):
    await begun(place)
    met = []
    for _ in range(40):
        await place.look()
        met.append(place.replicas.weights().get("candidate"))
        if status(place).phase is Phase.HEALTHY:
            break
    assert status(place).stable == revision(2)
    assert [w for w in dict.fromkeys(met) if w is not None] == [0, 5, 25, 100]
    assert place.replicas.entry().version == "2"
    assert status(place).history[0].outcome == "promoted"


@pytest.mark.parametrize(
    "habits",
    [
        pytest.param(Habits(errors=0.2), id="errs"),
        pytest.param(Habits(latency=0.9), id="is slow"),
        pytest.param(Habits(alert_rate=0.4), id="floods"),
        pytest.param(
            Habits(alert_rate=0.0), marks=pytest.mark.heavy, id="is silent where the margin is smaller than stable's rate"
        ),
    ],
)
async def test_a_candidate_that_is_worse_is_aborted_in_the_dark(place: Place, habits: Habits):
    if habits.alert_rate == 0.0:
        place.replicas.habits[revision(1).bundle] = Habits(alert_rate=0.3)
    place.replicas.habits[revision(2).bundle] = habits
    await begun(place)
    for _ in range(20):
        await place.look()
    assert status(place).phase is Phase.ABORTED
    assert status(place).stable == revision(1)
    assert place.replicas.weights().get("candidate", 0) == 0
    assert all(m.weight in (None, 0) for m in status(place).history[0].moves), "nobody met it"


def with_policy(place: Place) -> None:
    path = place.folder.folder / "policies" / "careful.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    policy = {"apiVersion": "vedette.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "careful"}, "spec": QUICK}
    path.write_text(yaml.safe_dump(policy), encoding="utf-8")


async def at_5(place: Place) -> None:
    """A rollout by a policy in a file of its own; one in twenty meets the candidate."""
    with_policy(place)
    await begun(place, rollout={"policyRef": {"name": "careful"}})
    for _ in range(20):
        await place.look()
        if place.replicas.weights().get("candidate") == 5:
            return
    raise AssertionError("it never had a weight")


@pytest.mark.parametrize("goes", ["policies/careful.yaml", "services/ids.yaml"], ids=["the policy", "the spec"])
async def test_what_can_no_longer_be_read_takes_no_judgement_of_harm_from_a_rollout(place: Place, goes: str, caplog):
    await at_5(place)
    path = place.folder.folder / goes
    if goes.startswith("policies"):
        path.unlink()
    else:
        path.write_text(yaml.safe_dump({**document(revision(2)), "spec": {"revision": "2"}}), encoding="utf-8")
    place.replicas.habits[revision(2).bundle] = Habits(errors=0.5)

    await place.look(20)

    assert status(place).phase is Phase.ABORTED
    assert place.replicas.weights().get("candidate", 0) == 0
    assert "as it is written" in caplog.text, "what is wrong is said"
    record = place.folder.read("ids")
    assert record.status.phase is Phase.ABORTED, "people see where it stands"
    assert record.problem is not None


async def test_people_can_abort_a_rollout_whose_policy_is_gone(place: Place):
    await at_5(place)
    (place.folder.folder / "policies" / "careful.yaml").unlink()

    place.folder.ask("ids", said("abort", place))
    await place.look()

    assert status(place).phase is Phase.ABORTED
    assert place.replicas.weights().get("candidate", 0) == 0


async def test_a_damaged_request_holds_up_neither_harm_nor_another_request(place: Place, caplog):
    await at_5(place)
    (place.folder.folder / "ids.requests").mkdir(exist_ok=True)
    (place.folder.folder / "ids.requests" / "broken.json").write_bytes(b"\xff{")
    place.folder.ask("ids", said("abort", place))

    await place.look()

    assert status(place).phase is Phase.ABORTED
    assert "broken.json" in caplog.text
    assert "give the command again" in caplog.text


async def test_an_abort_is_recorded_and_told_before_traffic_is_taken_away(place: Place, monkeypatch, caplog):
    await at_5(place)
    place.folder.ask("ids", said("abort", place))
    loop, seen = place.loop(), []

    async def refuse(*_: object) -> None:
        seen.append((status(place).phase, "Aborted" in caplog.text))
        raise BackendError("served.json cannot be written")

    monkeypatch.setattr(loop._backend, "carry_out", refuse)
    caplog.set_level("INFO", "vedette.rollout")
    place.traffic(300)
    await loop.look_at_all()

    assert seen == [(Phase.ABORTED, True)]
    await place.look()
    assert place.replicas.weights().get("candidate", 0) == 0, "the next look does what was recorded"


async def test_traffic_is_taken_from_a_candidate_though_the_record_fails(place: Place, monkeypatch, caplog):
    await at_5(place)
    place.folder.ask("ids", said("abort", place))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(place.folder, "record", full)
    await place.look()
    monkeypatch.undo()

    assert status(place).phase is Phase.PROGRESSING, "nothing was recorded"
    assert place.replicas.weights().get("candidate", 0) == 0
    assert "No space left" in caplog.text


async def test_a_candidate_that_cannot_be_loaded_is_aborted_with_that_reason(place: Place):
    place.replicas.habits[revision(2).bundle] = Habits(refuses="golden case 0 does not reproduce")
    await begun(place)
    await place.look(2)
    assert status(place).phase is Phase.ABORTED
    assert "golden case 0 does not reproduce" in status(place).message


async def test_a_service_without_a_bundle_in_the_store_is_told_of_and_changes_nothing(place: Place, caplog):
    before = place.replicas.entry()
    await begun(place, candidate=9)
    assert "bundle" in caplog.text
    assert "vedette models" in caplog.text
    assert place.replicas.entry() == before


async def test_other_models_stay_as_they_are(place: Place):
    other = put_in_store(place.store_dir, "other", 4)
    served = ServedFile(place.store_dir)
    spec = served.read()
    entry = ModelSpec(name="other", version="4", revision=other.serving())
    served.write(ServingSpec(models=(*spec.models, entry)))
    await begun(place)
    await place.look(10)
    assert [m for m in served.read().models if m.name == "other"] == [entry]


async def test_a_newer_version_that_was_loaded_beside_stable_is_taken_down_again(place: Place):
    place.folder.change("ids", lambda _: document(revision(1)))
    await place.look(2)
    served = ServedFile(place.store_dir)
    beside = ModelSpec(name="ids", version="2", revision=revision(2).serving())
    served.write(ServingSpec(models=(*served.read().models, beside)))
    await place.loop().look_at_all()
    assert [m.version for m in served.read().models] == ["1"]


async def test_a_verb_is_handled_once_and_its_file_is_dropped(place: Place):
    await begun(place)
    place.folder.ask("ids", said("pause", place))
    await place.look()
    assert status(place).phase is Phase.PAUSED
    assert status(place).paused_by == "ana"
    assert place.folder.waiting("ids") == ()
    place.folder.ask("ids", said("pause", place))
    await place.look()
    assert [m.move for m in status(place).moves].count("pause") == 1
    assert place.folder.waiting("ids") == ()


async def test_a_document_that_is_taken_away_leaves_stable_and_takes_the_variants_down(place: Place):
    await begun(place)
    await place.look(2)
    loop = place.loop()
    await loop.look_at_all()
    place.folder.delete("ids")
    await loop.look_at_all()
    assert place.replicas.entry().version == "1"
    assert place.replicas.entry().variants == ()
    assert place.folder.orphans() == ()


async def test_of_two_services_of_one_model_the_one_that_is_followed_already_keeps_it(place: Place, caplog):
    """Else each writes its own revision over the other's, at every look."""
    place.folder.change("ids", lambda _: document(revision(1)))
    await place.look()
    place.folder.change("another", lambda _: document(revision(2), "another", model="ids"))
    for _ in range(2):
        await place.look()
        assert (place.replicas.entry().version, place.folder.is_observed("another")) == ("1", False)
    loop = place.loop()
    for _ in range(2):
        await loop.look_at_all()
    assert "another: model ids is served by service ids" in caplog.text

    place.folder.delete("ids")
    for _ in range(2):
        await loop.look_at_all()
    assert place.folder.is_observed("another")
    assert place.folder.status("another").stable == revision(1), "it takes the model over as it is served"


async def test_a_service_that_was_never_served_leaves_its_model_when_its_document_goes(place: Place):
    loop = place.loop()
    place.folder.change("a", lambda _: document(revision(9), "a", model="new"))
    place.folder.change("b", lambda _: document(put_in_store(place.store_dir, "new", 3), "b", model="new"))
    for _ in range(2):
        await loop.look_at_all()
    assert not place.folder.is_observed("b")
    (place.folder.folder / "a.status.json").unlink(missing_ok=True)
    place.folder.delete("a")
    await loop.look_at_all()
    assert place.folder.is_observed("b")


async def test_a_look_at_rest_writes_nothing(place: Place):
    place.folder.change("ids", lambda _: document(revision(1)))
    await place.look(3)
    path = place.folder.folder / "ids.status.json"
    before = path.stat().st_mtime_ns
    await place.look(3)
    assert path.stat().st_mtime_ns == before


async def test_a_status_that_a_newer_release_wrote_is_followed(place: Place):
    place.folder.change("ids", lambda _: document(revision(1)))
    await place.look(2)
    path = place.folder.folder / "ids.status.json"
    newer = json.loads(path.read_text())
    path.write_text(json.dumps({**newer, "newer": 1, "rollout": {**newer["rollout"], "newer": [2]}}))
    place.folder.change("ids", lambda before: {**before, "spec": document(revision(2))["spec"]})
    await place.look()
    assert status(place).candidate == revision(2)


async def test_a_damaged_document_holds_up_no_other(place: Place, caplog):
    (place.folder.folder / "services").mkdir(parents=True)
    (place.folder.folder / "services" / "bad.yaml").write_text("spec: {revision: 7")
    await begun(place)
    assert status(place).candidate == revision(2)
    assert "bad.yaml" in caplog.text


@pytest.mark.parametrize("dies", ["before recording", "after recording, before acting", "while acting"])
async def test_killed_at_any_point_of_a_look_it_ends_the_same(place: Place, dies: str, monkeypatch):
    class Killed(BaseException):
        pass

    async def look_and_die() -> None:
        loop = place.loop()

        def die(*_: object, **__: object) -> None:
            raise Killed

        if dies == "before recording":
            monkeypatch.setattr(place.folder, "record", die)
        elif dies == "after recording, before acting":
            monkeypatch.setattr(loop._backend, "carry_out", die)
        else:
            monkeypatch.setattr(loop._backend._served, "write", die)
        with contextlib.suppress(Killed):
            await loop.look_at_all()
        monkeypatch.undo()

    place.folder.change("ids", lambda _: document(revision(2)))
    for _ in range(40):
        place.traffic(300)
        await look_and_die()
        await place.look()
        if status(place).phase is Phase.HEALTHY and status(place).stable == revision(2):
            break
    weights = [m.weight for m in status(place).history[0].moves if m.move == "setWeight"]
    assert weights == [5, 25, 100], "no step lost, none doubled"
    assert place.replicas.entry().version == "2"


async def test_a_restart_of_the_replicas_in_mid_rollout_loses_no_evidence(place: Place):
    await begun(place)
    await place.look(3)
    place.replicas.restart()
    for _ in range(40):
        await place.look()
        if status(place).phase is Phase.HEALTHY:
            break
    assert status(place).stable == revision(2)


def test_only_one_process_acts_on_a_store(tmp_path):
    with held(tmp_path / "lock") as first, held(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    with held(tmp_path / "lock") as again:
        assert again


def entry(version: int, **more: object) -> ModelSpec:
    return ModelSpec(name="ids", version=str(version), revision=revision(version).serving(), **more)


@pytest.mark.parametrize(
    ("before", "managed", "version"),
    [
        pytest.param(None, {}, "3", id="a model nobody manages: its newest version"),
        pytest.param((entry(1),), {}, "3", id="the same after a restart"),
        pytest.param(
            (entry(1),), {"ids": revision(1)}, "1", id="a managed model: what it served, whatever is new in the store"
        ),
        pytest.param((entry(1),), {"ids": revision(2)}, "1", id="what was served counts, until the loop has looked"),
        pytest.param(None, {"ids": revision(2)}, "2", id="nothing was served: stable, or what the document says"),
    ],
)
def test_what_up_serves_first(before, managed, version):
    found = served_at_start(ServingSpec(models=(entry(3),)), None if before is None else ServingSpec(models=before), managed)
    assert [m.version for m in found.models] == [version]
