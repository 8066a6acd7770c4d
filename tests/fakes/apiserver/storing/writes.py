"""The order of every write: decode, admit, stamp or carry over, judge, admit again, store. 409 where someone was faster.

`Writer` holds the store, the kinds and admission; objects.py has the steps. Admission may wait for webhooks, so an update
reads again and tries anew when the object changed meanwhile, unless the client named a resourceVersion.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tests.fakes.apiserver.failures import (
    Cause,
    Refused,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    unsupported_media,
    wrong,
)
from tests.fakes.apiserver.storing import apply, patches
from tests.fakes.apiserver.storing.kinds import Registry
from tests.fakes.apiserver.storing.objects import (
    Call,
    carried_over,
    decoded,
    judged,
    named,
    now_text,
    reset_paths,
    stamped,
    typed_schema,
    undeclared,
)
from tests.fakes.apiserver.storing.store import Store, copied
from tests.fakes.apiserver.storing.views import at_version, stored_form

Json = dict[str, Any]
MERGE, JSON_PATCH, STRATEGIC = (
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
)
APPLY = "application/apply-patch+yaml"
TRIES = 5


class Admission(Protocol):
    """Webhooks: `mutate` answers the object to go on with; both raise Refused."""

    async def mutate(self, call: Call, operation: str, obj: Json | None, old: Json | None) -> Json | None: ...
    async def validate(self, call: Call, operation: str, obj: Json | None, old: Json | None) -> None: ...


class Writer:
    def __init__(self, store: Store, kinds: Registry, admission: Admission) -> None:
        self.store, self.kinds, self.admission = store, kinds, admission

    def live(self, call: Call) -> Json:
        """The stored object at the call's version; raises Refused (404)."""
        found = self.store.get(call.kind.resource, (call.namespace, call.name))
        if found is None:
            raise not_found(call.kind.group, call.kind.plural, call.name)
        return at_version(call.kind, found)

    async def create(self, call: Call, body: Any) -> Json:
        obj = decoded(call, body)
        named(call, obj)
        if obj["metadata"].get("resourceVersion"):
            raise Refused(500, "InternalError", "resourceVersion should not be set on objects to be created")
        return await self._create(call, obj, lambda new: self._tracked(call, None, new))

    async def _create(self, call: Call, obj: Json, account: Callable[[Json], Json]) -> Json:
        self._room_in_namespace(call, obj)
        kind, now = call.kind, now_text()
        obj = await self.admission.mutate(call, "CREATE", obj, None) or obj
        obj = account(stamped(call, obj, now))
        judged(call, None, obj)
        await self.admission.validate(call, "CREATE", obj, None)
        key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if self.store.get(kind.resource, key) is not None:
            raise already_exists(kind.group, kind.plural, key[1])
        if call.dry_run:
            return obj
        return at_version(kind, self.store.put(kind.resource, key, stored_form(kind, obj)))

    def _room_in_namespace(self, call: Call, obj: Json) -> None:
        if not call.kind.namespaced:
            return
        namespace = self.store.get(("", "namespaces"), ("", call.namespace))
        if namespace is None:
            raise not_found("", "namespaces", call.namespace)
        if namespace["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {call.namespace} because it is being terminated"
            cause = Cause("NamespaceTerminating", f"namespace {call.namespace} is being terminated", "metadata.namespace")
            raise forbidden(call.kind.group, call.kind.plural, obj["metadata"]["name"], why, [cause])

    def _tracked(self, call: Call, live: Json | None, new: Json) -> Json:
        by = apply.Manager(call.manager, "Update", call.kind.api_version, call.subresource)
        return apply.track(typed_schema(call.kind), live, new, by, now_text(), reset_paths(call))

    async def replace(self, call: Call, body: Any) -> tuple[int, Json]:
        """PUT: (200 or 201, object)."""
        obj = decoded(call, body)
        named(call, obj)
        exists = self.store.get(call.kind.resource, (call.namespace, call.name)) is not None
        if not exists and call.kind.create_on_update and not call.subresource:
            obj["metadata"].pop("resourceVersion", None)
            return 201, await self._create(call, obj, lambda new: self._tracked(call, None, new))
        return 200, await self._update(call, lambda _live: copied(obj), whole=True)

    async def patch(self, call: Call, media: str, patch: Any) -> tuple[int, Json]:
        """PATCH in one of the four patch languages: (200 or 201, object)."""
        if media == APPLY:
            return await self._apply(call, patch)
        accepted = [JSON_PATCH, MERGE, *([] if call.kind.custom else [STRATEGIC]), APPLY]
        if media not in accepted:
            raise unsupported_media(accepted)
        languages: Mapping[str, Callable[[Json], Json]] = {
            MERGE: lambda live: patches.merge_patch(live, patch),
            JSON_PATCH: lambda live: patches.json_patch(live, patch),
            STRATEGIC: lambda live: patches.strategic_patch(typed_schema(call.kind), live, patch),
        }
        return 200, await self._update(call, lambda live: languages[media](copied(live)))

    async def _apply(self, call: Call, config: Any) -> tuple[int, Json]:
        if not call.query.get("fieldManager"):
            raise bad_request(
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
            )
        if isinstance(config, dict) and (config.get("metadata") or {}).get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        by = apply.Manager(call.manager, "Apply", call.kind.api_version, call.subresource)

        def applied(live: Json | None) -> Json:
            wanted = copied(config)
            checked = decoded(_quiet(call), copied(config))
            named(call, checked)
            wanted = _only_known(wanted, checked)
            wanted["metadata"] |= {
                name: checked["metadata"][name] for name in ("name", "namespace") if name in checked["metadata"]
            }
            return apply.apply(
                typed_schema(call.kind), live, wanted, by, now_text(), force=call.flag("force"), ignored=reset_paths(call)
            )

        decoded(_quiet(call), copied(config))
        undeclared(call, config)
        if self.store.get(call.kind.resource, (call.namespace, call.name)) is None:
            if call.subresource:
                raise not_found(call.kind.group, call.kind.plural, call.name)
            fresh = applied(None)
            if (fresh["metadata"].get("uid")) is not None:
                raise conflict(
                    call.kind.group,
                    call.kind.plural,
                    call.name,
                    "uid mismatch: the provided object specified uid, and no existing object was found",
                )
            accounts = fresh["metadata"].get("managedFields")
            obj = decoded(_quiet(call), fresh)
            obj["metadata"].pop("resourceVersion", None)
            return 201, await self._create(
                call, obj, lambda new: new | {"metadata": new["metadata"] | ({"managedFields": accounts} if accounts else {})}
            )
        return 200, await self._update(call, applied, tracked=True)

    async def _update(
        self, call: Call, transform: Callable[[Json], Json], *, whole: bool = False, tracked: bool = False
    ) -> Json:
        kind = call.kind
        for _ in range(TRIES):
            live = self.live(call)
            new = decoded(call if whole else _quiet(call) if tracked else call, transform(live))
            named(call, new)
            pinned = self._version_checked(call, live, new, whole)
            if live["metadata"].get("uid") != new["metadata"].get("uid", live["metadata"].get("uid")):
                raise conflict(
                    kind.group,
                    kind.plural,
                    call.name,
                    f"Precondition failed: UID in precondition: {new['metadata']['uid']}, UID in object meta: {live['metadata']['uid']}",
                )
            new = await self.admission.mutate(call, "UPDATE", new, live) or new
            new = carried_over(call, live, new)
            new = new if tracked else self._tracked(call, live, new)
            new = _unless_only_times(live, new)
            judged(call, live, new)
            await self.admission.validate(call, "UPDATE", new, live)
            if (stored := self._commit(call, live, new)) is not None:
                return stored
            if pinned:
                break
        raise conflict(kind.group, kind.plural, call.name)

    def _version_checked(self, call: Call, live: Json, new: Json, whole: bool) -> bool:
        """Whether the client named the version it edits; raises Refused where that is no longer the live one."""
        kind, sent, is_ = call.kind, new["metadata"].get("resourceVersion"), live["metadata"]["resourceVersion"]
        if whole and not sent:
            if not kind.unconditional_update:
                raise invalid(
                    kind.group, kind.kind, call.name, [wrong("metadata.resourceVersion", 0, "must be specified for an update")]
                )
            new["metadata"]["resourceVersion"] = is_
            return False
        if sent not in (None, "", "0", is_):
            raise conflict(kind.group, kind.plural, call.name)
        new["metadata"]["resourceVersion"] = is_
        return whole

    def _commit(self, call: Call, live: Json, new: Json) -> Json | None:
        """Store, unless someone else did meanwhile (None). An object being deleted goes with its last finalizer."""
        kind, key = call.kind, (call.namespace, call.name)
        current = self.store.get(kind.resource, key)
        if current is None:
            raise not_found(kind.group, kind.plural, call.name)
        if current["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
            return None
        if new == live:
            return live
        if call.dry_run:
            return new
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers") and not _held(kind.kind, new):
            self.store.put(kind.resource, key, stored_form(kind, new))
            return at_version(kind, self.store.remove(kind.resource, key))
        return at_version(kind, self.store.put(kind.resource, key, stored_form(kind, new)))

    async def delete(self, call: Call, options: Mapping[str, Any]) -> tuple[Json, bool]:
        """(last state, whether it is gone now); with finalizers the object stays, marked."""
        kind, key = call.kind, (call.namespace, call.name)
        live = self.live(call)
        _preconditions(call, live, options.get("preconditions") or {})
        await self.admission.validate(call, "DELETE", None, live)
        live = self.live(call)
        meta = copied(live["metadata"])
        finalizers = list(meta.get("finalizers") or ())
        policy = options.get("propagationPolicy") or ("Orphan" if options.get("orphanDependents") else None)
        for policy_name, finalizer in (("Orphan", "orphan"), ("Foreground", "foregroundDeletion")):
            if policy == policy_name and finalizer not in finalizers:
                finalizers.append(finalizer)
            elif policy and policy != policy_name and finalizer in finalizers:
                finalizers.remove(finalizer)
        if kind.kind == "CustomResourceDefinition" and any(
            self.store.items((live["spec"]["group"], live["spec"]["names"]["plural"]))
        ):
            finalizers.append("customresourcecleanup.apiextensions.k8s.io")
        if not finalizers and not _held(kind.kind, live):
            if call.dry_run:
                return live, True
            return at_version(kind, self.store.remove(kind.resource, key)), True
        if finalizers != (meta.get("finalizers") or []) or not meta.get("deletionTimestamp"):
            meta["finalizers"] = finalizers
            if not meta.get("deletionTimestamp"):
                meta |= {"deletionTimestamp": now_text(), "deletionGracePeriodSeconds": 0}
                meta |= {"generation": meta["generation"] + 1} if "generation" in meta else {}
            if not finalizers:
                meta.pop("finalizers")
            marked = live | {"metadata": meta} | ({"status": {"phase": "Terminating"}} if kind.kind == "Namespace" else {})
            live = marked if call.dry_run else at_version(kind, self.store.put(kind.resource, key, stored_form(kind, marked)))
        return live, False


def _held(kind: str, obj: Json) -> bool:
    """A namespace goes only when the controller has emptied it."""
    return kind == "Namespace" and bool((obj.get("spec") or {}).get("finalizers"))


def _quiet(call: Call) -> Call:
    """The same call without field validation: its unknown fields were told already."""
    from dataclasses import replace

    return replace(call, query={**call.query, "fieldValidation": "Ignore"}, warnings=[])


def _only_known(config: Any, checked: Any) -> Any:
    """The configuration as the client wrote it, without unknown fields and without the defaults that decoding added."""
    if isinstance(config, dict) and isinstance(checked, dict):
        return {name: _only_known(item, checked[name]) for name, item in config.items() if name in checked}
    if isinstance(config, list) and isinstance(checked, list) and len(config) == len(checked):
        return [_only_known(item, other) for item, other in zip(config, checked, strict=True)]
    return checked


def _unless_only_times(live: Json, new: Json) -> Json:
    """The live object where nothing but the times of its accounts would change: such a write is none."""

    def bare(obj: Json) -> Json:
        entries = [{k: v for k, v in entry.items() if k != "time"} for entry in obj["metadata"].get("managedFields") or ()]
        return obj | {"metadata": obj["metadata"] | {"managedFields": sorted(entries, key=str)}}

    return live if bare(live) == bare(new) else new


def _preconditions(call: Call, live: Json, wanted: Mapping[str, Any]) -> None:
    for name, word in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(name) and wanted[name] != live["metadata"][name]:
            why = (
                f"Precondition failed: {word} in precondition: {wanted[name]}, {word} in object meta: {live['metadata'][name]}"
            )
            raise conflict(call.kind.group, call.kind.plural, call.name, why)
