"""The pages Models, Drift and Service through a real console: what is there, what is not, what is hostile, and five hundred of it."""

import re

import pytest

from lifecycle.governance.acts import ActsLog
from lifecycle.governance.registry.object_store import ObjectStore
from lifecycle.governance.registry.registry import Registry
from operators.backends.exposition import ReplicaPage
from operators.console.drift.findings import watched_models
from operators.console.models.inventory import ModelInventory
from operators.console.roles import ConsoleRole
from operators.control.folder import ControlFolder
from serving.loading.served_file import ServedFile
from serving.models.build import build_bundle
from serving.models.manifest import Expected, OperatingPoint
from serving.models.store import BundleStore
from serving.spec import ModelSpec, RevisionSpec, ServingSpec
from tests.fakes.console.served import served_console
from tests.fakes.operator.control_place import put_in_store
from tests.fakes.operator.metrics_page import page as metrics
from tests.unit.serving.scoring.variants import graph

HOSTILE = "<script>alert(1)</script>"
POINT = OperatingPoint(
    threshold=0.8, investigate=0.5, requirement="recall >= 0.98",
    expected=Expected(precision=0.93, recall=0.985, f1=0.957, false_alarm_rate=0.004, attack_share=0.05, rows=20_000),
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    bundle = build_bundle(
        folder / "bundle", model=graph(1.0), name="ids", version="1", score={"output": "risk"}, description=HOSTILE,
        operating_points={"siem_alerting": POINT}, default_operating_point="siem_alerting",
    )  # fmt: skip
    store = folder / "store"
    BundleStore(store).add(bundle)
    served = ModelSpec(name="ids", version="1", revision=RevisionSpec(bundle=bundle.digest))
    ServedFile(store).write(ServingSpec(models=(served,)))
    return store


class Replicas(ControlFolder):
    """The folder, with replicas that always answer the same."""

    def replica_pages(self):
        return (ReplicaPage("here", metrics("r")), ReplicaPage("there", problem=f"there did not answer {HOSTILE}"))


@pytest.fixture(scope="module")
def console(store):
    with served_console(store, control=Replicas(store)) as served:
        yield served


@pytest.fixture
def vic(console):
    with console.client(console.session("vic", frozenset({ConsoleRole.VIEWER}))) as client:
        yield client


@pytest.mark.parametrize("path", ["/models", "/models/ids", "/models/ids/1"])
def test_a_model_is_shown_and_its_words_are_text(vic, path):
    page = vic.get(path)
    assert page.status_code == 200
    assert "stable" in page.text
    assert HOSTILE not in page.text
    assert "&lt;script&gt;" in page.text


def test_a_change_at_a_time_that_no_calendar_has_does_not_take_the_page(vic, store):
    acts = ActsLog(store / "governance", signer=lambda: None, now_us=lambda: 0)
    registry = Registry(ObjectStore(str(store / "registry")), acts=acts, actor="mallory", now_us=lambda: 10**18)
    registry.push(BundleStore(store).resolve("ids", "1"), [], "it is late")
    page = vic.get("/models/ids/1")
    assert page.status_code == 200
    assert "it is late" in page.text
    assert "9999-12-31" in page.text


def test_a_version_has_its_figures_and_its_card(vic, store):
    detail = ModelInventory(store).detail("ids", "1")
    assert detail is not None
    assert detail.version.served == ("stable",)
    page = vic.get("/models/ids/1").text
    assert re.search(r"98\.5\d* %", page)
    assert "Model card: ids 1" in page
    assert "This bundle was never rolled out here." in page


@pytest.mark.parametrize(
    "path", ["/models/nobody", "/models/ids/7", "/models/..%2f..%2fetc/1", "/drift/nobody", "/drift/..%2f..%2fetc%2fpasswd"]
)
def test_what_is_not_there_is_not_found(vic, path):
    assert vic.get(path).status_code == 404


def test_without_a_monitor_the_page_says_how_to_start_one(vic, store):
    assert watched_models(store) == ()
    page = vic.get("/drift").text
    assert 'id="drift-empty"' in page
    assert "vedette monitor" in page


def test_the_service_page_has_figures_at_once_and_by_events(vic):
    def look():
        page = vic.get("/service?model=ids")
        assert page.status_code == 200
        assert HOSTILE not in page.text
        return page.text

    while "The replicas are being asked" in look():  # the first look may take longer than a page waits
        pass
    assert "there did not answer" in look()
    with vic.stream("GET", "/events", params={"topic": "service", "key": "ids"}) as answer:
        data = next(line for line in answer.iter_lines() if line.startswith("data: "))
    assert "service-models" in data
    assert HOSTILE not in data


def test_five_hundred_models_are_pages_of_bounded_weight(tmp_path):
    for number in range(500):
        put_in_store(tmp_path, f"model-{number:03}", number + 1)  # none of them can be read: that is told in its row
    with served_console(tmp_path) as served, served.client(served.session()) as client:
        page = client.get("/models")
        assert page.status_code == 200
        assert len(page.content) < 300_000
        assert "of 500" in page.text
        assert "cannot be read" in page.text
        assert "model-499" in client.get("/models?q=499").text
        assert len(client.get("/service").content) < 300_000
