"""Admission webhooks: which configured ones a write meets, and asking them over HTTPS with their caBundle.

Follows k8s.io/apiserver/pkg/admission/plugin/webhook. A `service` reference is dialled where `services` says (by namespace
and name), for there is no cluster network here; without an entry the call fails, as it does on a bare kube-apiserver.
"""

import base64
import json
import ssl
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.fakes.apiserver.admitting import rules
from tests.fakes.apiserver.certificates import lenient
from tests.fakes.apiserver.failures import Refused, bad_request, internal
from tests.fakes.apiserver.storing.kinds import ADMISSION
from tests.fakes.apiserver.storing.objects import Call
from tests.fakes.apiserver.storing.patches import json_patch
from tests.fakes.apiserver.storing.selectors import selector_of
from tests.fakes.apiserver.storing.store import Store

Json = dict[str, Any]
MUTATING, VALIDATING = "mutatingwebhookconfigurations", "validatingwebhookconfigurations"
_NEVER = {(ADMISSION, MUTATING), (ADMISSION, VALIDATING)}  # no webhook may guard webhooks


@dataclass(frozen=True)
class _Asked:
    """One question: the object before and after, as both kinds of webhook see it."""

    call: Call
    operation: str
    obj: Json | None
    old: Json | None

    def matches(self, hook: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
        kind, call = self.call.kind, self.call
        if (kind.group, kind.plural) in _NEVER or kind.verbs == ("create",):
            return False
        if not any(self._ruled(rule) for rule in hook.get("rules") or ()):
            return False
        if not selector_of(hook.get("namespaceSelector") or {})(labels) and (kind.namespaced or kind.kind == "Namespace"):
            return False
        by_label = selector_of(hook.get("objectSelector") or {})
        if not any(by_label(obj["metadata"].get("labels") or {}) for obj in (self.obj, self.old) if obj):
            return False
        known = {"object": self.obj, "oldObject": self.old, "request": self.request(""), "namespace": call.namespace}
        return all(rules.evaluate(one["expression"], known) is True for one in hook.get("matchConditions") or ())

    def _ruled(self, rule: Mapping[str, Any]) -> bool:
        kind, sub = self.call.kind, self.call.subresource
        names = (
            {"*/*", f"{kind.plural}/{sub}", f"*/{sub}", f"{kind.plural}/*"}
            if sub
            else {"*", "*/*", kind.plural, f"{kind.plural}/*"}
        )
        return (
            bool({"*", self.operation} & set(rule.get("operations") or ()))
            and bool({"*", kind.group} & set(rule.get("apiGroups") or ()))
            and bool({"*", kind.version} & set(rule.get("apiVersions") or ()))
            and bool(names - ({f"{kind.plural}/*"} if not sub else set()) & set(rule.get("resources") or ()))
            and rule.get("scope", "*") in ("*", "Namespaced" if kind.namespaced else "Cluster")
        )

    def request(self, uid: str) -> Json:
        """The request of an AdmissionReview."""
        call, kind = self.call, self.call.kind
        name = call.name or (self.obj or {"metadata": {}})["metadata"].get("name", "")
        gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        gvr = {"group": kind.group, "version": kind.version, "resource": kind.plural}
        user = {"username": call.user.name, "groups": list(call.user.groups)} | (
            {"uid": call.user.uid} if call.user.uid else {}
        )
        request: Json = {
            "uid": uid, "kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr, "name": name,
            "operation": self.operation, "userInfo": user, "object": self.obj, "oldObject": self.old, "dryRun": call.dry_run,
            "options": {"kind": f"{self.operation.title()}Options", "apiVersion": "meta.k8s.io/v1"},
        }  # fmt: skip
        request |= {"namespace": call.namespace} if kind.namespaced else {}
        return request | ({"subResource": call.subresource, "requestSubResource": call.subresource} if call.subresource else {})


class Webhooks:
    """Asks the webhooks that the store's configurations name. `services`: (namespace, name) -> https://host:port."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.services: dict[tuple[str, str], str] = {}

    async def mutate(self, call: Call, operation: str, obj: Json | None, old: Json | None) -> Json | None:
        changed: set[str] = set()
        for reinvocation in (False, True):
            for hook in self._configured(MUTATING):
                if reinvocation and (not changed or changed == {hook["name"]} or hook.get("reinvocationPolicy") != "IfNeeded"):
                    continue
                before = obj
                obj = await self._ask(hook, _Asked(call, operation, obj, old), mutating=True)
                if obj != before:
                    changed.add(hook["name"])
        return obj

    async def validate(self, call: Call, operation: str, obj: Json | None, old: Json | None) -> None:
        for hook in self._configured(VALIDATING):
            await self._ask(hook, _Asked(call, operation, obj, old), mutating=False)

    def _configured(self, plural: str) -> Iterator[Json]:
        for _, configuration in list(self.store.items((ADMISSION, plural))):
            yield from configuration.get("webhooks") or ()

    def _labels(self, call: Call, obj: Json | None) -> Mapping[str, str]:
        if call.kind.kind == "Namespace" and obj:
            return obj["metadata"].get("labels") or {}
        found = self.store.get(("", "namespaces"), ("", call.namespace))
        return (found or {"metadata": {}})["metadata"].get("labels") or {}

    async def _ask(self, hook: Json, asked: _Asked, *, mutating: bool) -> Json | None:
        if not asked.matches(hook, self._labels(asked.call, asked.obj or asked.old)):
            return asked.obj
        if asked.call.dry_run and hook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise bad_request(f'admission webhook "{hook["name"]}" does not support dry run')
        try:
            response = await self._post(hook, asked)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            if hook.get("failurePolicy") == "Ignore":
                return asked.obj
            raise internal(
                f'failed calling webhook "{hook["name"]}": failed to call webhook: {error or type(error).__name__}'
            ) from error
        asked.call.warnings.extend(response.get("warnings") or ())
        if not response.get("allowed"):
            raise _denied(hook["name"], response.get("status") or {})
        if mutating and response.get("patch"):
            return json_patch(asked.obj, json.loads(base64.b64decode(response["patch"])))  # type: ignore[no-any-return]
        return asked.obj

    async def _post(self, hook: Json, asked: _Asked) -> Json:
        uid, target = str(uuid.uuid4()), hook["clientConfig"]
        review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": asked.request(uid)}
        context = ssl.create_default_context()
        if target.get("caBundle"):
            context = ssl.create_default_context(cadata=base64.b64decode(target["caBundle"]).decode())
        lenient(context)
        limit = aiohttp.ClientTimeout(total=hook.get("timeoutSeconds", 10))
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(self._url(target), json=review, ssl=context) as answer,
        ):
            if answer.status != 200:
                raise ValueError(f"the server answered {answer.status}")
            response = (await answer.json(content_type=None)).get("response") or {}
        if response.get("uid") != uid:
            raise ValueError(f"expected response.uid={uid!r}, got {response.get('uid')!r}")
        return dict(response)

    def _url(self, target: Mapping[str, Any]) -> str:
        if target.get("url"):
            return str(target["url"])
        service = target["service"]
        at = self.services.get((service["namespace"], service["name"]))
        if at is None:
            raise ValueError(f'service "{service["name"]}" not found')
        return f"{at}{service.get('path', '')}"


def _denied(name: str, status: Mapping[str, Any]) -> Refused:
    """A refusal as the API server words a webhook's: code and reason are the webhook's, where it gave any."""
    said = status.get("message") or status.get("reason")
    message = f'admission webhook "{name}" denied the request' + (f": {said}" if said else " without explanation")
    code = int(status.get("code") or 0)
    return Refused(code if code >= 400 else 400, str(status.get("reason") or ""), message, status.get("details"))
