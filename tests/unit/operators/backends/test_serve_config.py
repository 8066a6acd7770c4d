"""serveConfigV2 is edited in our part only."""

import pytest
import yaml

from operators.backends.serve_config import RayServicePlace, replicas_of, served_revision, with_model, without_model
from operators.ports import BackendError
from operators.rollout.status import Target, TargetVariant
from tests.fakes.operator.rollouts import A, B

PLACE = RayServicePlace("RayService soc/vedette", "vedette", "Replica")
BARE = """proxy_location: Disabled
applications:
- name: other
  import_path: x:y
- name: vedette
  import_path: serving.app:build
  deployments:
  - name: Replica
    num_replicas: 2
    max_replicas_per_node: 1
"""


def told(weight: float = 5.0) -> Target:
    return Target(stable=A, variants=(TargetVariant(name="candidate", revision=B, weight=weight, mirror=10),))


def deployment(text: str):
    return yaml.safe_load(text)["applications"][1]["deployments"][0]


def test_only_our_part_changes():
    after = with_model(BARE, PLACE, told().serving("ids"), None)
    expected = yaml.safe_load(BARE)
    expected["applications"][1]["deployments"][0]["user_config"] = {"models": [told().serving("ids").model_dump(mode="json")]}
    assert yaml.safe_load(after) == expected
    assert deployment(after)["user_config"]["models"][0]["variants"][0]["weight"] == 5


def test_what_is_so_already_is_not_written_again():
    once = with_model(BARE, PLACE, told().serving("ids"), 2)
    assert with_model(once, PLACE, told().serving("ids"), 2) == once


def test_models_of_others_stay_and_keep_their_order():
    two = with_model(with_model(BARE, PLACE, told().serving("ids"), None), PLACE, told().serving("dns"), None)
    again = with_model(two, PLACE, told(25).serving("ids"), None)
    models = deployment(again)["user_config"]["models"]
    assert [m["name"] for m in models] == ["ids", "dns"]
    assert models[0]["variants"][0]["weight"] == 25
    left = without_model(again, PLACE, "ids")
    assert [m["name"] for m in deployment(left)["user_config"]["models"]] == ["dns"]
    assert "user_config" not in deployment(without_model(left, PLACE, "dns"))
    assert without_model(BARE, PLACE, "ids") == BARE


def test_the_count_is_ours_only_when_it_is_said():
    assert replicas_of(with_model(BARE, PLACE, told().serving("ids"), None), PLACE) == 2
    assert replicas_of(with_model(BARE, PLACE, told().serving("ids"), 5), PLACE) == 5


def test_a_deployment_left_to_its_defaults_is_added():
    text = "applications: [{name: vedette, import_path: 'serving.app:build'}]"
    after = yaml.safe_load(with_model(text, PLACE, told().serving("ids"), None))
    assert after["applications"][0]["deployments"][0]["name"] == "Replica"


def test_what_is_served_already_is_known():
    assert served_revision(BARE, PLACE, "ids") is None
    assert served_revision(with_model(BARE, PLACE, told().serving("ids"), None), PLACE, "ids") == A


def test_what_a_newer_operator_wrote_there_is_known_as_well():
    text = with_model(BARE, PLACE, told().serving("ids"), None).replace(
        "latency_objective_ms", "newer: 1\n      latency_objective_ms"
    )
    assert "newer: 1" in text
    assert served_revision(text, PLACE, "ids") == A


@pytest.mark.parametrize(
    ("text", "replicas", "expected"),
    [
        pytest.param("a: [", None, "is not YAML", id="no YAML"),
        pytest.param(
            "[" * 200_000, None, "nested deeper than 100", id="YAML that is nested without end does not end the process"
        ),
        pytest.param("- " * 100_000, None, "nested deeper than 100", id="nor do lists on one line"),
        pytest.param("", None, "is empty", id="empty"),
        pytest.param("applications: [{name: other}]", None, r"has the applications \['other'\], not 'vedette'", id="not there"),
        pytest.param(
            BARE.replace("num_replicas: 2", "autoscaling_config: {min_replicas: 1}"),
            3,
            "and only one may",
            id="two owners",
        ),
    ],
)
def test_refusals_name_the_resource_and_the_way_out(text, replicas, expected):
    with pytest.raises(BackendError, match=expected) as refused:
        with_model(text, PLACE, told().serving("ids"), replicas)
    assert "RayService soc/vedette" in str(refused.value)
    assert not refused.value.can_retry


@pytest.mark.parametrize(
    "text",
    [
        "applications: 5",
        "applications: [x]",
        "applications: {name: vedette}",
        "applications: [{name: vedette, deployments: 5}]",
        "applications: [{name: vedette, deployments: [x]}]",
        "applications: [{name: vedette, deployments: [{name: Replica, user_config: 5}]}]",
        "applications: [{name: vedette, deployments: [{name: Replica, user_config: {models: 5}}]}]",
        "applications: [{name: vedette, deployments: [{name: Replica, user_config: {models: [5]}}]}]",
        "applications: [{name: vedette, deployments: [{name: Replica, ray_actor_options: 5}]}]",
        "since: 2026-99-99",
    ],
)
def test_what_people_wrote_in_another_shape_is_refused_in_words(text: str):
    for read in (
        lambda: with_model(text, PLACE, told().serving("ids"), None),
        lambda: replicas_of(text, PLACE),
        lambda: served_revision(text, PLACE, "ids"),
    ):
        with pytest.raises(BackendError, match=r"RayService soc/vedette: .*spec.serveConfigV2"):
            read()
    assert without_model(text, PLACE, "ids") == text, "a deletion does not wait for it"


def test_an_application_may_leave_its_deployments_empty():
    text = "applications: [{name: vedette, deployments: null}]"
    assert (
        yaml.safe_load(with_model(text, PLACE, told().serving("ids"), 2))["applications"][0]["deployments"][0]["num_replicas"]
        == 2
    )
