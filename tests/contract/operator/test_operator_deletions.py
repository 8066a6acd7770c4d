"""Whatever is deleted and comes back, in any order: within two looks the status tells the truth, and harm is aborted.

What goes: the ModelService, its policy, its RayService (a real object, read through the ray backend), the definitions of both kinds
with everything of them, the webhook's configuration, and the operator itself, which is under its own account."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from operators.api.columns import short
from operators.api.service_intent import CHANGE_CAUSE, CHANGED_BY
from operators.backends.kube import MODEL_SERVICES, Kube, KubeError
from operators.backends.kube_access import access
from operators.rollout.spec import Revision
from tests.cluster.test_operator_under_rbac import give_rights
from tests.fakes.apiserver import Handle
from tests.fakes.apiserver.fixtures import both_api_servers
from tests.fakes.operator.operator_cluster import ClusterDesk, Definitions, Webhook
from tests.fakes.operator.operator_desk import POLICY, condition
from tests.fakes.operator.operator_world import World
from tests.fakes.operator.serving_pods import ServingPods
from tests.laws import share

__all__ = ["both_api_servers"]

SPOILT = {"rollout": {"policyRef": {"name": "careful"}, "policy": {**POLICY, "steps": []}}}
SERVICES, POLICIES = "modelservices", "rolloutpolicies"
GOES = ("policy", "policies' definition", "webhook gone", "webhook silent", "webhook answers", "spec", "restart")
"""What may go or come back while a candidate does harm, and takes nothing from its being judged."""
ACTS = st.sampled_from([*GOES, "services' definition", "service", "ray", "restart", "edit", "lie"])
"""What has a name alone goes, or comes back."""
BEGINS = st.sampled_from(["under way", "at rest", "refused"])


@pytest.fixture(scope="module")
def cluster(api_server: Handle) -> Iterator[tuple[Handle, str, str]]:
    """The API server, the namespace that the operator is installed in, and its token. Our definitions are there again afterwards."""
    home = f"operator-{uuid.uuid4().hex[:8]}"
    with ServingPods() as pods, World(api_server, pods) as world:
        yield api_server, home, give_rights(world, home, cluster=True)


class Story:
    """What was done, and what is therefore true."""

    def __init__(self, desk: ClusterDesk, definitions: Definitions, webhook: Webhook, *, has_policy: bool) -> None:
        self.desk, self.definitions, self.webhook = desk, definitions, webhook
        self.has_policy, self.has_service, self.has_ray = has_policy, True, True
        self.defined = {SERVICES, POLICIES}
        self.lies = 0

    async def do(self, act: str) -> None:
        desk = self.desk
        if act.startswith("webhook"):
            await self.webhook.becomes(act.removeprefix("webhook "))
        elif act.endswith("definition"):
            await self._define(SERVICES if act.startswith("services") else POLICIES)
        elif act == "ray":
            await (desk.ray.delete() if self.has_ray else desk.ray.create())
            self.has_ray = not self.has_ray
        elif act == "policy" and self.has_policy:
            await desk.drop_policy()
            self.has_policy = False
        elif act == "policy" and POLICIES in self.defined:
            self.has_policy = await self._is_let_in(desk.policy())
        elif act == "service" and self.has_service:
            await desk.people.delete(MODEL_SERVICES, desk.namespace, desk.name)
            self.has_service = False
        elif act == "service" and SERVICES in self.defined:
            await self._is_gone()
            self.has_service = await self._is_let_in(desk.service())
        elif act == "spec":
            desk.spoils = {} if desk.spoils else SPOILT
        elif act == "restart":
            desk.restart()
        elif act == "edit" and self.has_service:
            await self._is_let_in(desk.change(annotations={CHANGE_CAUSE: "\U0001f600 \ud83d", "people.example/notes": act}))
        elif act == "lie" and self.has_service:
            paused = not ((await desk.found()) or {})["spec"].get("paused", False)
            self.lies += 1  # each a new claim: one that stands there already is no change
            told = desk.change({"paused": paused}, annotations={CHANGED_BY: f"somebody else {self.lies}"})
            await self._is_let_in(told, is_lie=True)

    async def _is_gone(self) -> None:
        """A service that was deleted goes when the operator has looked at it."""
        while await self.desk.found() is not None:
            await self.desk.look()

    async def _define(self, plural: str) -> None:
        if plural in self.defined:
            await self.definitions.delete(plural, but=self.desk.namespace)
            self.defined.discard(plural)
            self.has_service &= plural != SERVICES
            self.has_policy &= plural != POLICIES
        else:
            if plural == SERVICES:
                await self._is_gone()
            await self.definitions.add(plural)
            self.defined.add(plural)

    async def _is_let_in(self, change: Any, *, is_lie: bool = False) -> bool:
        """Whether the webhook let it in, which is what it should do."""
        refused = ""
        try:
            await change
        except KubeError as problem:
            refused = str(problem)
        if self.webhook.state == "silent":
            assert "failed calling webhook" in refused
        elif self.webhook.state == "answers" and is_lie:
            assert "but you are" in refused
        else:
            assert not refused
        return not refused

    async def tells_the_truth(self) -> dict[str, Any]:
        """After two looks. The status."""
        desk, found = self.desk, await self.desk.found()
        assert (found is not None) == self.has_service, "a deletion ends"
        if found is None:
            assert desk.ray.model() is None, "what is deleted is not served"
            return {}
        status = found.get("status") or {}
        said = {name: condition(status, name).get("status") for name in ("Valid", "Ready", "Measured", "Degraded")}
        is_valid = self.has_policy and not desk.spoils
        assert status["observedGeneration"] == found["metadata"]["generation"]
        assert said["Valid"] == str(is_valid), status
        is_followed = bool(status.get("rollout"))
        if not self.has_ray:
            assert said["Ready"] != "True", status
            assert said["Measured"] != "True", status
            assert said["Degraded"] != "False", status
        elif is_followed:
            assert (said["Ready"], said["Measured"], said["Degraded"]) == ("True", "True", "False"), status
            model = desk.ray.model()
            assert model is not None
            served = short(Revision(version=model.version, bundle=model.revision.bundle))
            assert (status["stable"], status["weight"]) == (served, desk.weight), status
        else:
            assert not is_valid, "what is valid and can be served is followed"
            assert said["Ready"] != "True", status
            assert "is not there" not in str(
                {**status, "conditions": [c for c in status["conditions"] if c["type"] != "Valid"]}
            )
        return status

    async def comes_to_harm(self, meanwhile: list[str]) -> None:
        """A candidate under way does harm, while other things happen."""
        desk, found = self.desk, await self.desk.found()
        if not self.has_ray:
            await self.do("ray")
            await desk.look(2)
        if found is None or not (found.get("status") or {}).get("weight"):
            await self._begin_anew()
        desk.fails()
        for act in meanwhile:
            await self.do(act)
        await desk.look(2)
        status = await self.tells_the_truth()
        assert (status["phase"], desk.weight) == ("Aborted", 0), status

    async def _begin_anew(self) -> None:
        """All is there again, and a candidate has weight."""
        await self.do("webhook gone")
        self.desk.spoils = {}
        for plural in {SERVICES, POLICIES} - self.defined:
            await self._define(plural)
        for act in ("service", "service") if self.has_service else ("service",):
            await self.do(act)
        if not self.has_policy:
            await self.do("policy")
        await self.desk.look(3)
        await self.desk.rolls_out()


@asynccontextmanager
async def begun(cluster: tuple[Handle, str, str], folder: Path, begins: str) -> AsyncIterator[Story]:
    """A story with a rollout under way, or a service at rest, or one that was never followed, as its policy is not there."""
    server, home, token = cluster
    namespace = f"gone-{uuid.uuid4().hex[:10]}"
    with server.http() as http:
        http.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
    async with (
        Kube(access(server.kubeconfig()), manager="kubectl") as people,
        Kube(access(server.kubeconfig(token, home, home)), manager="vedette-operator") as kube,
        Webhook(people, namespace, home, folder) as webhook,
    ):
        definitions, desk = Definitions(people), ClusterDesk(kube, namespace, people=people, by=(await people.who()).name)
        try:
            await desk.ray.create()
            if begins == "under way":
                await desk.at_25()
            elif begins == "at rest":
                await desk.policy()
            if begins != "under way":
                await desk.service()
                await desk.look(3)
            yield Story(desk, definitions, webhook, has_policy=begins != "refused")
        finally:
            await webhook.becomes("gone")
            await desk.leave()
            for plural in (SERVICES, POLICIES):
                await definitions.add(plural)
    with server.http() as http:
        http.delete(f"/api/v1/namespaces/{namespace}")


async def play(
    cluster: tuple[Handle, str, str], folder: Path, begins: str, steps: list[list[str]], meanwhile: list[str]
) -> None:
    async with begun(cluster, folder, begins) as story:
        for acts in steps:
            for act in acts:
                await story.do(act)
            await story.desk.look(2)
            await story.tells_the_truth()
        await story.comes_to_harm(meanwhile)


@pytest.mark.law
def test_the_status_tells_the_truth_within_two_looks_and_harm_is_aborted(cluster, tmp_path):
    is_real = cluster[0].real

    @settings(max_examples=share(40, 1) if is_real else share(300, 5), suppress_health_check=list(HealthCheck))
    @given(
        begins=BEGINS,
        steps=st.lists(st.lists(ACTS, min_size=1, max_size=3), max_size=4),
        meanwhile=st.lists(st.sampled_from(GOES), max_size=3),
    )
    @example(begins="at rest", steps=[["policy", "restart", "ray"], ["ray"]], meanwhile=[])
    def law(begins: str, steps: list[list[str]], meanwhile: list[str]) -> None:
        asyncio.run(play(cluster, tmp_path, begins, steps, meanwhile))

    law()
