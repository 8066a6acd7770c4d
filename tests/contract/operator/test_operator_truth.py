"""Whatever people write, delete or restart, in any order: within two looks the status tells the truth, and harm is aborted."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.api.service_intent import CHANGE_CAUSE
from operators.backends.kube import MODEL_SERVICES, Kube, NotFound
from operators.backends.kube_access import access
from tests import quick_yaml as yaml
from tests.contract.api_server.api_server_kind import eventually
from tests.fakes.apiserver import Handle
from tests.fakes.operator.operator_desk import POLICY, Desk, condition

SPOILT = {"rollout": {"policyRef": {"name": "careful"}, "policy": {**POLICY, "steps": []}}}
TEXT = st.text(max_size=60) | st.sampled_from(
    ["\U0001f600", "\ud83d", "\x7f\x85\u2028\ufeff\uffff", "\x00", "'\"\\ud83d", "~", "=", "y" * 900]
)
ACTS = st.sampled_from(
    ["policy gone", "policy back", "spec spoilt", "spec mended", "backend gone", "backend back", "restart", "cause", "label"]
)


@pytest.fixture(scope="module")
def server(api_server: Handle) -> Handle:
    with api_server.http() as http:
        for path in sorted((Path(__file__).parents[3] / "manifests/crds").glob("*s.yaml")):
            document = yaml.safe_load(path.read_text())
            if document["kind"] == "CustomResourceDefinition":
                http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=document)
        for plural in ("modelservices", "rolloutpolicies"):
            eventually(lambda plural=plural: http.get(f"/apis/vedette.dev/v1alpha1/{plural}").status_code == 200)
    return api_server


class Story:
    """What was done to one rollout, and what is therefore true of it."""

    def __init__(self, desk: Desk) -> None:
        self.desk, self.has_policy = desk, True

    async def do(self, act: str, text: str) -> None:
        desk = self.desk
        if act == "policy gone":
            await desk.drop_policy()
            self.has_policy = False
        elif act == "policy back" and not self.has_policy:
            await desk.policy()
            self.has_policy = True
        elif act in ("spec spoilt", "spec mended"):
            desk.spoils = SPOILT if act == "spec spoilt" else {}
        elif act in ("backend gone", "backend back"):
            desk.backend.silent = desk.backend.refuses = f"RayService flows is gone {text}" if act == "backend gone" else None
        elif act == "restart":
            desk.restart()
        elif act == "cause":
            await desk.change(annotations={CHANGE_CAUSE: text, "people.example/notes": text})
        elif act == "label":
            await desk.change({"paused": True}, labels={"team": "soc"})

    async def tells_the_truth(self, status: dict[str, Any]) -> None:
        desk = self.desk
        document = await desk.kube.get(MODEL_SERVICES, desk.namespace, desk.name)
        is_valid = self.has_policy and not desk.spoils
        assert status["observedGeneration"] == document["metadata"]["generation"]
        assert condition(status, "Valid")["status"] == str(is_valid), condition(status, "Valid")
        assert condition(status, "Measured")["status"] == str(desk.backend.silent is None), condition(status, "Measured")
        assert status["weight"] == desk.weight


async def play(server: Handle, acts: list[tuple[str, str]], why: str, is_deleted: bool) -> None:
    namespace = f"truth-{uuid.uuid4().hex[:10]}"
    with server.http() as http:
        http.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
    async with Kube(access(server.kubeconfig()), manager="vedette-operator") as kube:
        desk = Desk(kube, namespace)
        await desk.at_25()
        story = Story(desk)
        for act, text in acts:
            await story.do(act, text)
            await story.tells_the_truth(await desk.look(2))
        desk.backend.silent = desk.backend.refuses = None
        await desk.look()
        desk.fails()
        status = await desk.look(2)
        assert (status["phase"], desk.weight) == ("Aborted", 0), status
        await story.tells_the_truth(status)
        await desk.say("retry", why)
        await desk.look(2)
        assert desk.problem is None
        if is_deleted:
            await kube.delete(MODEL_SERVICES, namespace, desk.name)
            await desk.look(2)
            with pytest.raises(NotFound):
                await kube.get(MODEL_SERVICES, namespace, desk.name)
            assert not desk.backend.told
        await desk.leave()
    with server.http() as http:
        http.delete(f"/api/v1/namespaces/{namespace}")


def _law(examples: int) -> Any:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(acts=st.lists(st.tuples(ACTS, TEXT), max_size=5), why=TEXT, is_deleted=st.booleans())
    def law(server: Handle, acts: list[tuple[str, str]], why: str, is_deleted: bool) -> None:
        asyncio.run(play(server, acts, why, is_deleted))

    return law


test_the_status_tells_the_truth_within_two_looks_and_harm_is_aborted = _law(3)
test_the_same_over_many_stories = pytest.mark.soak(_law(150))
