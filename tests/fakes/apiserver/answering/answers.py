"""What a call is answered: dispatches to reading, writing, reviews and scale. Knows nothing of HTTP but codes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.fakes.apiserver.admitting.access import Access
from tests.fakes.apiserver.failures import bad_request, forbidden, not_found, unsupported_media
from tests.fakes.apiserver.storing.kinds import RBAC, Registry, Scale
from tests.fakes.apiserver.storing.objects import Call, User
from tests.fakes.apiserver.storing.patches import json_patch, merge_patch
from tests.fakes.apiserver.storing.reads import Reader
from tests.fakes.apiserver.storing.store import copied
from tests.fakes.apiserver.storing.views import at_version, scale_of, scaled
from tests.fakes.apiserver.storing.writes import APPLY, JSON_PATCH, MERGE, Writer

Json = dict[str, Any]


class Answers:
    def __init__(self, kinds: Registry, reader: Reader, writer: Writer, access: Access) -> None:
        self.kinds, self.reader, self.writer, self.access = kinds, reader, writer, access

    async def answer(self, call: Call, media: str, body: Any) -> tuple[int, Json]:
        """(HTTP code, body); raises Refused. Watches are the server's to stream."""
        if call.subresource == "scale":
            return await self._scale(call, media, body)
        if call.subresource == "token":
            return 201, self._token(call, body)
        if not call.kind.shares and call.kind.verbs == ("create",):
            return 201, self._review(call, body)
        match call.verb:
            case "get":
                return 200, self._get(call)
            case "list":
                return 200, self.reader.list(call)
            case "create":
                self._no_escalation(call, body)
                return 201, await self.writer.create(call, body)
            case "update":
                self._no_escalation(call, body)
                if call.kind.create_on_update:
                    self._may_create(call)
                return await self.writer.replace(call, body)
            case "patch":
                if media == APPLY:
                    self._may_create(call)
                return await self.writer.patch(call, media, body)
            case "delete":
                return await self._delete(call, body or {})
        return 200, await self._delete_all(call, body or {})

    def _get(self, call: Call) -> Json:
        found = self.reader.get(call)
        if found is None:
            raise not_found(call.kind.group, call.kind.plural, call.name)
        return at_version(call.kind, found)

    def _may_create(self, call: Call) -> None:
        """A write that would bring the object into being needs the right to create it too."""
        if self.writer.store.get(call.kind.resource, (call.namespace, call.name)) is None:
            self.access.check(replace(call, verb="create"))

    async def _delete(self, call: Call, options: Mapping[str, Any]) -> tuple[int, Json]:
        options = dict(options) | {name: call.query[name] for name in ("propagationPolicy",) if name in call.query}
        obj, gone = await self.writer.delete(call, options)
        code = 202 if not gone and options.get("orphanDependents") is False else 200
        if not gone or call.kind.keeps_deleted:
            return code, obj
        details = {"name": call.name, "group": call.kind.group, "kind": call.kind.plural, "uid": obj["metadata"]["uid"]}
        return code, {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {name: value for name, value in details.items() if value},
        }

    async def _delete_all(self, call: Call, options: Mapping[str, Any]) -> Json:
        found = self.reader.list(call)
        for obj in found["items"]:
            one = replace(call, name=obj["metadata"]["name"], namespace=obj["metadata"].get("namespace", ""))
            await self._delete(one, options)
        return found

    async def _scale(self, call: Call, media: str, body: Any) -> tuple[int, Json]:
        kind = call.kind
        if call.verb == "get":
            return 200, scale_of(kind, self._get(call))
        if call.verb == "patch" and media not in (MERGE, JSON_PATCH, "application/strategic-merge-patch+json"):
            raise unsupported_media([JSON_PATCH, MERGE])
        live = self.writer.live(call)
        if call.verb == "update":
            wanted = body
        else:
            wanted = (json_patch if media == JSON_PATCH else merge_patch)(scale_of(kind, live), body)
            if isinstance(wanted, dict) and not (
                isinstance(body, dict) and (body.get("metadata") or {}).get("resourceVersion")
            ):
                wanted.get("metadata", {}).pop("resourceVersion", None)
        if not isinstance(wanted, dict):
            raise bad_request('Scale in version "v1" cannot be handled as a Scale: no object')
        changed = scaled(kind, copied(live), wanted)
        sent = (wanted.get("metadata") or {}).get("resourceVersion")
        patch = {
            "spec": _nested(kind.scale or Scale((), ()), changed),
            **({"metadata": {"resourceVersion": sent}} if sent else {}),
        }
        _, written = await self.writer.patch(call, MERGE, patch)
        return 200, scale_of(kind, written)

    def _token(self, call: Call, body: Any) -> Json:
        account = self.writer.live(call)
        user = self.access.service_account(call.namespace, call.name, account["metadata"]["uid"])
        spec = (body or {}).get("spec") or {}
        status = {"token": self.access.issue(user), "expirationTimestamp": "2100-01-01T00:00:00Z"}
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": call.name, "namespace": call.namespace},
            "spec": spec,
            "status": status,
        }

    def _review(self, call: Call, body: Any) -> Json:
        spec, kind = (body or {}).get("spec") or {}, call.kind
        made = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {"creationTimestamp": None}, "spec": spec}
        if kind.kind == "SelfSubjectReview":
            return made | {"status": {"userInfo": {"username": call.user.name, "groups": list(call.user.groups)}}}
        if kind.kind == "TokenReview":
            found = self.access.tokens.get(spec.get("token", ""))
            return made | {
                "status": {"authenticated": True, "user": {"username": found.name, "groups": list(found.groups)}}
                if found
                else {"error": "invalid bearer token"}
            }
        if kind.kind == "SelfSubjectRulesReview":
            rules = list(self.access._rules(call.user, spec.get("namespace", "")))
            return made | {
                "status": {
                    "resourceRules": [r for r in rules if "resources" in r],
                    "nonResourceRules": [r for r in rules if "nonResourceURLs" in r],
                    "incomplete": False,
                }
            }
        user = (
            call.user if kind.kind == "SelfSubjectAccessReview" else User(spec.get("user", ""), tuple(spec.get("groups") or ()))
        )
        asked = spec.get("resourceAttributes") or {}
        fields = (asked.get(name, "") for name in ("verb", "group", "resource", "namespace", "name", "subresource"))
        allowed = self.access.allows(user, *fields)
        return made | {"status": {"allowed": allowed} | ({} if allowed else {"reason": ""})}

    def _no_escalation(self, call: Call, body: Any) -> None:
        """Roles and bindings may not grant what their author lacks, unless allowed by the verbs escalate or bind."""
        kind = call.kind
        if kind.group != RBAC or not isinstance(body, dict):
            return
        if kind.kind in ("Role", "ClusterRole"):
            rules, verb, plural, name = (
                body.get("rules") or [],
                "escalate",
                kind.plural,
                (body.get("metadata") or {}).get("name", ""),
            )
        else:
            ref = body.get("roleRef") or {}
            rules = self.access._role(ref, call.namespace) if ref.get("kind") else []
            verb, plural, name = "bind", "clusterroles" if ref.get("kind") == "ClusterRole" else "roles", ref.get("name", "")
        if self.access.allows(call.user, verb, RBAC, plural, call.namespace, name):
            return
        beyond = self.access.covers(call.user, rules, call.namespace)
        if beyond is not None:
            who = f'user "{call.user.name}" (groups={list(call.user.groups)})'
            why = f"{who} is attempting to grant RBAC permissions not currently held:\n{_told(beyond)}"
            raise forbidden(kind.group, kind.plural, (body.get("metadata") or {}).get("name", ""), why)


def _told(rule: Mapping[str, Any]) -> str:
    parts = [
        f"{label}:{list(rule[name])}"
        for label, name in (("APIGroups", "apiGroups"), ("Resources", "resources"), ("Verbs", "verbs"))
        if rule.get(name)
    ]
    return "{" + ", ".join(parts) + "}"


def _nested(scale: Scale, obj: Json) -> Json:
    """The part of spec that leads to the replicas."""
    value: Any = obj
    for name in scale.spec:
        value = value[name]
    for name in reversed(scale.spec[1:]):
        value = {name: value}
    return value if isinstance(value, dict) else {}
