"""The admission webhook of the manifests where nothing answers it: people cannot edit, and nothing that must go on hangs."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from operators.rollout.status import VerbRequest
from tests import quick_yaml as yaml
from tests.cluster.test_operator_rollouts import is_healthy
from tests.cluster.test_operator_under_rbac import give_rights, manifests
from tests.fakes.operator.operator_world import API, MERGE, QUICK, World
from tests.ports import free_port
from tests.waiting import until

HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@pytest.fixture
def unreachable(world: World, namespace: str) -> Iterator[Callable[[], None]]:
    """Once called, the webhook guards the namespace, and its address is one where nobody listens."""
    (found,) = [d for d in manifests("components/operator-webhook") if d["kind"] == "ValidatingWebhookConfiguration"]
    configuration = yaml.safe_load(yaml.safe_dump(found).replace("NAMESPACE", namespace))
    configuration["metadata"] = {"name": f"away-{namespace}"}
    (hook,) = configuration["webhooks"]
    hook["clientConfig"] = {"url": f"https://127.0.0.1:{free_port()}/validate"}
    hook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}

    def guard() -> None:
        world.create(HOOKS, configuration)
        until(lambda: not _edit(world, namespace).is_success, "the webhook is asked")

    yield guard
    world.http.delete(f"{HOOKS}/away-{namespace}")


def _edit(world: World, namespace: str):
    body = {"metadata": {"labels": {"edited": datetime.now(UTC).strftime("t%s%f")}}}
    return world.http.patch(f"{API}/namespaces/{namespace}/modelservices/ids", json=body, headers=MERGE)


def _operated(world, namespace, operators, **spec):
    """A service that an operator under its own account has brought to its first revision; starts one more such operator."""
    token = give_rights(world, namespace, cluster=False)
    kubeconfig = world.api.kubeconfig(token, f"operator-{namespace}", namespace)
    world.ray(namespace, "ids")
    world.service(namespace, "ids", **spec)
    running = operators.start(kubeconfig, NAMESPACES=namespace)
    world.until(namespace, "ids", is_healthy("1"), 180)
    return running, lambda: operators.start(kubeconfig, NAMESPACES=namespace)


def test_a_deletion_ends(world, namespace, operators, unreachable):
    _operated(world, namespace, operators)
    unreachable()
    refused = _edit(world, namespace)
    assert "failed calling webhook" in refused.json()["message"]
    where = f"{API}/namespaces/{namespace}/modelservices/ids"
    world.http.delete(where).raise_for_status()
    until(lambda: world.http.get(where).status_code == 404, "the service is gone")


def test_a_finalizer_that_nobody_takes_away_can_be_taken_away_by_hand(world, namespace, unreachable):
    world.service(namespace, "ids")
    where = f"{API}/namespaces/{namespace}/modelservices/ids"
    world.patch(namespace, "ids", {"metadata": {"finalizers": ["vedette.dev/release"]}})
    unreachable()
    world.http.delete(where).raise_for_status()
    answer = world.http.patch(where, json={"metadata": {"finalizers": None}}, headers=MERGE)
    assert answer.status_code == 200, answer.text
    until(lambda: world.http.get(where).status_code == 404, "the service is gone")


def test_a_rollout_goes_on_and_what_was_said_before_is_handled(world, namespace, operators, unreachable):
    """The operator's own writes are not asked about: it cannot wait for itself."""
    steps = [{"setWeight": 5}, {"pause": {}}]
    running, start = _operated(world, namespace, operators, rollout={"policy": {**QUICK, "steps": steps}})
    world.want(namespace, "ids", "b")
    world.until(namespace, "ids", lambda s: s["phase"] == "Paused", 180)
    running.kill()
    world.say(namespace, "ids", VerbRequest(id="r1", verb="promote", by="alice", at=datetime.now(UTC)))
    unreachable()
    start()
    world.until(namespace, "ids", is_healthy("2"), 180)
    until(lambda: '"r1"' not in str(world.get(namespace, "ids")["metadata"].get("annotations")), "the verb is cleared away")
