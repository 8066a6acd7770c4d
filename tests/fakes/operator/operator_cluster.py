"""A desk (tests.fakes.operator.operator_desk) where everything is real objects of the API server and can be deleted: the RayService, the
definitions of our two kinds, and the webhook's configuration. The operator acts under its own service account."""

import asyncio
import base64
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from operators.api.service_intent import CHANGED_BY
from operators.api.types import RayBackend
from operators.backends.kube import MODEL_SERVICES, ROLLOUT_POLICIES, Kind, Kube, KubeError, KubeObject, NotFound
from operators.backends.load import LoadMeter
from operators.backends.ray import RayServeBackend
from operators.handlers.looking.backends import Backends
from operators.handlers.webhook import application, listen
from tests import quick_yaml as yaml
from tests.fakes.apiserver.certificates import issue
from tests.fakes.operator.kuberay import PORT, KubeRay
from tests.fakes.operator.operator_desk import POLICY, Desk
from tests.fakes.operator.operator_world import ROOT
from tests.ports import free_port

Json = dict[str, Any]
DEFINITIONS = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
HOOKS = Kind("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations")
_OURS: dict[str, Json] = {
    crd["spec"]["names"]["plural"]: crd
    for crd in (yaml.safe_load(p.read_text(encoding="utf-8")) for p in sorted((ROOT / "manifests/crds").glob("*s.yaml")))
}
_CONFIGURED: Json = next(
    d
    for d in yaml.safe_load_all((ROOT / "manifests/components/operator-webhook/admission.yaml").read_text(encoding="utf-8"))
    if d["kind"] == HOOKS.kind
)


async def eventually(holds: Any, what: str, within_s: float = 60.0) -> None:
    """A real API server takes a moment for what is not of one object."""
    until = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < until, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.02)


class ClusterDesk(Desk):
    """people: an administrator's client; by: their name. kube: the operator's client."""

    def __init__(self, kube: Kube, namespace: str, *, people: Kube, by: str) -> None:
        self.ray = KubeRay(people, namespace, lambda: self.now)
        super().__init__(kube, namespace, people=people, by=by)

    def backends(self) -> Backends:
        return _RayBackends(self.kube, self.ray)  # type: ignore[return-value]

    async def look(self, times: int = 1) -> Json:
        for _ in range(times):
            await self.ray.catch_up()
            await super().look()
        await self.ray.catch_up()
        return await self.status()

    async def found(self) -> KubeObject | None:
        """The ModelService, as people see it; None: it is not there."""
        with suppress(NotFound):
            return await self.people.get(MODEL_SERVICES, self.namespace, self.name)
        return None

    def fails(self, requests: int = 4000, bad: int | None = None) -> None:
        """From now on half of the candidate's requests are errors."""
        model = self.ray.model()
        assert model is not None
        self.ray.bad |= {v.revision.bundle for v in model.variants}

    @property
    def weight(self) -> float:
        model = self.ray.model()
        return max((v.weight for v in model.variants), default=0.0) if model is not None else 0.0


class _RayBackends:
    labels = None

    def __init__(self, kube: Kube, ray: KubeRay) -> None:
        self._kube, self._ray = kube, ray

    def of(self, service: Any, document: object) -> RayServeBackend:
        place: RayBackend = service.spec.backend.ray.model_copy(update={"metrics_port": PORT})
        return RayServeBackend(self._kube, place, self._ray.read, LoadMeter())

    def forget(self, service: object) -> None:
        del service


class Definitions:
    """Our two definitions on one API server, which has no other ModelServices that matter to anybody."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def add(self, plural: str) -> None:
        """Apply one, unless it is there; served when this returns."""
        await eventually(lambda: self._has_gone_or_stays(plural), f"the old definition of {plural} is gone")
        with suppress(KubeError):
            await self._kube.create(DEFINITIONS, None, _OURS[plural])
        await eventually(lambda: self._is_served(plural), f"{plural} are served")

    async def delete(self, plural: str, but: str) -> None:
        """Delete one with all objects of its kind. What waits for an operator in other namespaces than `but` waits no more."""
        kind = _KINDS[plural]
        with suppress(NotFound):
            for item in await self._kube.list(kind, None):
                if item["metadata"]["namespace"] != but and item["metadata"].get("finalizers"):
                    where = item["metadata"]["namespace"], item["metadata"]["name"]
                    await self._kube.patch(kind, *where, {"metadata": {"finalizers": None}})
        await self._kube.delete(DEFINITIONS, None, _name(plural))
        await eventually(lambda: self._is_emptied(plural), f"the objects of {plural} are deleted")

    async def is_there(self, plural: str) -> bool:
        """Also while its deletion is under way."""
        try:
            await self._kube.get(DEFINITIONS, None, _name(plural))
        except NotFound:
            return False
        return True

    async def _has_gone_or_stays(self, plural: str) -> bool:
        try:
            return not (await self._kube.get(DEFINITIONS, None, _name(plural)))["metadata"].get("deletionTimestamp")
        except NotFound:
            return True

    async def _is_served(self, plural: str) -> bool:
        try:
            await self._kube.list(_KINDS[plural], None)
        except KubeError:
            return False
        return True

    async def _is_emptied(self, plural: str) -> bool:
        try:
            items = await self._kube.list(_KINDS[plural], None)
        except KubeError:
            return not await self.is_there(plural)
        return all(i["metadata"].get("deletionTimestamp") for i in items)


class Webhook:
    """The operator's webhook over TLS, and its configuration for one namespace, which comes and goes.

    home: the namespace that the operator is installed in. state: `gone`, `answers`, `silent` (configured, and nobody listens)."""

    def __init__(self, people: Kube, namespace: str, home: str, folder: Path) -> None:
        self._people, self._namespace, self._home, self._folder = people, namespace, home, folder
        self.state = "gone"

    async def __aenter__(self) -> "Webhook":
        files = issue(self._folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)
        self._bundle = base64.b64encode(files.authority.read_bytes()).decode()
        door = application(f"system:serviceaccount:{self._home}:vedette-operator")
        self._runner, self._port = await listen("127.0.0.1", 0, context, door)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._people.delete(HOOKS, None, self._named)
        await self._runner.cleanup()

    @property
    def _named(self) -> str:
        return f"truth-{self._namespace}"

    async def becomes(self, state: str) -> None:
        """Configure it so; in force when this returns."""
        if state == self.state:
            return
        await self._people.delete(HOOKS, None, self._named)
        if state != "gone":
            body: Json = yaml.safe_load(yaml.safe_dump(_CONFIGURED).replace("NAMESPACE", self._home))
            (hook,) = body["webhooks"]
            port = self._port if state == "answers" else free_port()
            hook["clientConfig"] = {"url": f"https://127.0.0.1:{port}/validate", "caBundle": self._bundle}
            hook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": self._namespace}}
            await self._people.create(HOOKS, None, {"metadata": {"name": self._named}, "webhooks": body["webhooks"]})
        self.state = state
        await eventually(self._is_in_force, f"the webhook {state}")

    async def _is_in_force(self) -> bool:
        """By a lie, which is told and withdrawn."""
        for kind, spec in (
            (MODEL_SERVICES, {"revision": {"version": "1", "bundle": f"sha256:{'0' * 64}"}}),
            (ROLLOUT_POLICIES, POLICY),
        ):
            metadata = {"name": "probe", "annotations": {CHANGED_BY: "nobody"}}
            try:
                await self._people.create(kind, self._namespace, {"metadata": metadata, "spec": spec})
            except NotFound:
                continue  # its definition is gone
            except KubeError as problem:
                return self.state == _why(problem)
            await self._people.delete(kind, self._namespace, "probe")
            return self.state == "gone" or (self.state == "answers" and kind is ROLLOUT_POLICIES)
        return True


def _why(problem: KubeError) -> str:
    """What a refusal says of the webhook."""
    return (
        "silent" if "failed calling webhook" in str(problem) else "answers" if "but you are" in str(problem) else str(problem)
    )


def _name(plural: str) -> str:
    name: str = _OURS[plural]["metadata"]["name"]
    return name


_KINDS: Mapping[str, Kind] = {k.plural: k for k in (MODEL_SERVICES, ROLLOUT_POLICIES)}
