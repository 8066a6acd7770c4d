"""Scaling on this machine: the loop decides and tells the backend; `vedette scale` says what, why, and sets the bounds."""

import json

import pytest
from typer.testing import CliRunner

from operators.backends.local import LocalBackend
from operators.cli.main import app
from operators.control.loop import Loop
from operators.control.scaling import read_view
from operators.rollout.status import Phase
from tests.fakes.operator.control_place import Place, document, put_in_store, revision

pytestmark = pytest.mark.heavy

SCALING = {"maxReplicas": 6, "targetOngoingRequests": 8, "lookBack": "1s", "startUp": "0s", "downWindow": "10s"}


class Scaled:
    """One loop over a place whose replicas do what they are told; `told` is what they were told."""

    def __init__(self, place: Place, most: int = 6) -> None:
        self.place, self.told = place, []
        backend = LocalBackend(
            place.store_dir,
            place.session,
            addresses=lambda: (place.page.address,),
            expected_replicas=lambda: place.replicas.count,
            scale=self.tell,
        )
        self.loop = Loop(place.folder, backend, most_replicas=most, now=lambda: place.now)

    def tell(self, count: int) -> None:
        self.told.append(count)
        self.place.replicas.count = count

    async def look(self, ongoing: float, seconds: float = 2.0, answers: int = 50) -> None:
        self.place.traffic(answers, seconds)
        first = f'vedette_ongoing_requests{{replica="{self.place.replicas._name(0)}"}}'
        self.place.page.text = self.place.page.text.replace(f"{first} 0", f"{first} {ongoing}")
        await self.loop.look_at_all()


def run(place: Place, *arguments: str):
    return CliRunner().invoke(app, ["scale", *arguments, "--store-dir", str(place.store_dir)])


async def begun(place: Place, **spec) -> Scaled:
    place.folder.change("ids", lambda _: document(revision(1), scaling=SCALING, **spec))
    scaled = Scaled(place)
    await scaled.look(0)
    return scaled


async def test_load_brings_replicas_and_patience_keeps_them(place: Place):
    scaled = await begun(place)
    await scaled.look(40)
    assert scaled.told == [5]
    await scaled.look(8)
    assert scaled.told == [5]
    await scaled.look(8, seconds=11)
    await scaled.look(8, seconds=61)
    assert scaled.told[1:] == sorted(scaled.told[1:], reverse=True)
    assert place.replicas.count < 5


async def test_a_look_at_a_scaled_service_asks_its_replicas_once(place: Place):
    scaled = await begun(place)
    asked = place.page.asked

    await scaled.look(40)

    assert place.page.asked == asked + 1
    assert scaled.told == [5], "by the load that the same answer gave"


async def test_a_new_process_goes_on_where_the_old_one_was(place: Place):
    scaled = await begun(place)
    await scaled.look(40)
    again = Scaled(place)
    await again.look(8)
    await again.look(8)
    assert place.replicas.count == 5, "patience outlives the process"


async def test_no_more_than_the_machine_was_started_for(place: Place):
    place.folder.change("ids", lambda _: document(revision(1), scaling=SCALING))
    scaled = Scaled(place, most=2)
    await scaled.look(0)
    await scaled.look(400)
    assert scaled.told == [2]
    view = read_view(place.folder, "ids")
    assert "at most 2 by what the backend can hold" in view.decision.reason


async def test_two_services_in_the_same_replicas_get_the_higher_count(place: Place):
    scaled = await begun(place)
    put_in_store(place.store_dir, "other", 1)
    other = document(revision(1), name="other", scaling={**SCALING, "minReplicas": 4})
    place.folder.change("other", lambda _: other)
    await scaled.look(16)
    await scaled.look(16)
    assert place.replicas.count == 4
    assert set(scaled.told) <= {2, 4}


async def test_a_mirror_begins_when_there_is_room_for_its_work(place: Place):
    scaled = await begun(place)
    for _ in range(3):
        await scaled.look(16)
    assert place.replicas.count == 2
    place.folder.change("ids", lambda _: document(revision(2), scaling=SCALING))
    mirrored = []
    for _ in range(4):
        before = place.replicas.count
        await scaled.look(16)
        mirrored.append((before, [v.mirror for v in place.replicas.entry().variants]))
    assert place.folder.status("ids").phase is Phase.PROGRESSING
    assert place.replicas.count == 4, "twice the work"
    assert all(mirror == [] or mirror == [0.0] for count, mirror in mirrored if count < 4)
    assert mirrored[-1][1] == [100.0]


async def test_a_count_that_nobody_scales_is_left_alone(place: Place):
    place.folder.change("ids", lambda _: document(revision(1)))
    scaled = Scaled(place)
    await scaled.look(400)
    await scaled.look(400)
    assert scaled.told == []


async def test_get_says_what_is_wanted_and_why(place: Place):
    scaled = await begun(place)
    await scaled.look(40)
    found = json.loads(run(place, "get", "ids", "--json").stdout)
    assert (found["wanted"], found["least"], found["most"]) == (5, 1, 6)
    assert "40 requests under way, 8 per replica" in found["why"]
    assert "the control loop has not looked since" in found["why"], "the loop of this test stands still in its own time"


async def test_set_bounds_and_says_who_and_why(place: Place):
    await begun(place)
    done = run(place, "set", "ids", "--min", "2", "--max", "3", "--why", "patch day", "--json")
    assert done.exit_code == 0, done.output
    spec = place.folder.service("ids").spec
    assert (spec.scaling.min_replicas, spec.scaling.max_replicas, spec.scaling.target_ongoing_requests) == (2, 3, 8)
    assert place.folder.service("ids").metadata.annotations["vedette.dev/change-cause"] == "patch day"


async def test_a_fixed_count_ends_scaling_by_load(place: Place):
    scaled = await begun(place)
    run(place, "set", "ids", "--replicas", "3")
    spec = place.folder.service("ids").spec
    assert (spec.scaling, spec.replicas) == (None, 3)
    await scaled.look(400)
    assert place.replicas.count == 3
    assert read_view(place.folder, "ids") is None
    assert "as spec.replicas says" in run(place, "get", "ids").output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param([], "give --min", id="nothing to set"),
        pytest.param(["--replicas", "2", "--max", "3"], "alone for a fixed count", id="both ways at once"),
        pytest.param(["--min", "9"], "minReplicas: is 9, above maxReplicas 6", id="bounds that hold no number"),
    ],
)
async def test_what_cannot_be_set_says_why_and_changes_nothing(place: Place, options, said):
    await begun(place)
    before = place.folder.service("ids")
    done = run(place, "set", "ids", *options)
    assert done.exit_code == 1
    assert said in str(done.exception)
    assert place.folder.service("ids") == before


async def test_schedule_lists_the_windows(place: Place):
    window = {"name": "day", "start": "0 8 * * MON-FRI", "duration": "10h", "timeZone": "Europe/Rome", "minReplicas": 3}
    place.folder.change("ids", lambda _: document(revision(1), scaling={**SCALING, "schedule": [window]}))
    (found,) = json.loads(run(place, "schedule", "ids", "--json").stdout)
    assert (found["window"], found["minReplicas"], found["maxReplicas"]) == ("day", 3, None)
    assert found["opens"][11:16] == "08:00"
    assert "has no windows" in run_without(place)


def run_without(place: Place) -> str:
    place.folder.change("ids", lambda _: document(revision(1), scaling=SCALING))
    return run(place, "schedule", "ids").output
