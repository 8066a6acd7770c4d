"""Argo CD's health checks of our resources, run as Argo CD runs them: Lua that gets `obj` and answers with a status and a message."""

import lupa
import pytest

from tests.manifests.platform.rendering import whole

KEYS = "resource.customizations.health.vedette.dev_"


def health(kind, document):
    (config,) = whole("argocd")
    lua = lupa.LuaRuntime(unpack_returned_tuples=True)
    lua.globals().obj = lua.table_from(document, recursive=True)
    answer = lua.execute(config["data"][KEYS + kind])
    assert answer["message"]
    return answer["status"]


def conditions(**states):
    """Conditions at rest, with some of them otherwise: a status, or (status, reason)."""
    at_rest = {
        "Valid": "True",
        "Ready": "True",
        "Progressing": "False",
        "Paused": "False",
        "Measured": "True",
        "Degraded": "False",
    }
    found = []
    for name, state in (at_rest | states).items():
        status, reason = state if isinstance(state, tuple) else (state, "Reason")
        found.append({"type": name, "status": status, "reason": reason, "message": f"why {name}"})
    return found


def service(phase="Healthy", generation=3, observed=3, **states):
    status = {"observedGeneration": observed, "phase": phase, "conditions": conditions(**states)}
    return {"metadata": {"name": "flows", "generation": generation}, "spec": {}, "status": status}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param({"metadata": {"generation": 1}}, "Progressing", id="no operator has looked yet"),
        pytest.param(service(), "Healthy", id="it serves"),
        pytest.param(service(observed=2), "Progressing", id="the spec is newer than the status"),
        pytest.param(service(Ready="False"), "Progressing", id="replicas are missing"),
        pytest.param(service(Ready="Unknown"), "Progressing", id="nobody knows whether it serves"),
        pytest.param(service("Progressing", Progressing="True"), "Progressing", id="a rollout is under way"),
        pytest.param(service("Paused", Paused="True"), "Suspended", id="it waits for people"),
        pytest.param(service("Aborted"), "Degraded", id="the revision of the spec is not what serves"),
        pytest.param(service(Valid="False", observed=2), "Degraded", id="a refused spec, whatever generation"),
        pytest.param(service(Degraded="True", Paused="True"), "Degraded", id="what was decided cannot be carried out"),
        pytest.param(service("Progressing", Progressing=("False", "ProgressDeadlineExceeded")), "Degraded", id="overdue"),
    ],
)
def test_health_of_a_model_service(document, expected):
    assert health("ModelService", document) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param({"metadata": {}}, "Progressing", id="no operator has looked yet"),
        pytest.param({"status": {"conditions": conditions()[:1]}}, "Healthy", id="services can follow it"),
        pytest.param({"status": {"conditions": conditions(Valid="False")[:1]}}, "Degraded", id="they cannot"),
    ],
)
def test_health_of_a_rollout_policy(document, expected):
    assert health("RolloutPolicy", document) == expected
