"""Who asks, and whether they may: bearer tokens, impersonation, and RBAC rules read from the store."""

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes.apiserver.failures import Refused, forbidden, unauthorized
from tests.fakes.apiserver.storing.kinds import RBAC
from tests.fakes.apiserver.storing.objects import Call, User
from tests.fakes.apiserver.storing.selectors import selector_of
from tests.fakes.apiserver.storing.store import Store

Json = dict[str, Any]
ADMIN = User("admin", ("system:masters", "system:authenticated"))
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
_READ_PATHS = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
]

BOOTSTRAP: tuple[tuple[str, list[Json], list[str]], ...] = (
    ("cluster-admin", [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}],
     ["system:masters"]),
    ("system:discovery", [{"nonResourceURLs": _READ_PATHS, "verbs": ["get"]}], ["system:authenticated"]),
    ("system:public-info-viewer", [{"nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"], "verbs": ["get"]}],
     ["system:authenticated", "system:unauthenticated"]),
    ("system:basic-user", [
        {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], "verbs": ["create"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]}], ["system:authenticated"]),
)  # fmt: skip


AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
GATHERED: tuple[tuple[str, tuple[str, ...]], ...] = (("view", ("edit",)), ("edit", ("admin",)), ("admin", ()))
"""Roles for people that every cluster starts with, and those that gather them in turn. Their rules on built-in kinds are left out."""


class Access:
    """Tokens and rules of one server."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tokens: dict[str, User] = {}

    def issue(self, user: User) -> str:
        token = secrets.token_urlsafe(24)
        self.tokens[token] = user
        return token

    def service_account(self, namespace: str, name: str, uid: str = "") -> User:
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return User(f"system:serviceaccount:{namespace}:{name}", groups, uid)

    def user_of(self, headers: Mapping[str, str], impersonated_groups: list[str]) -> User:
        """The user of a request; raises Refused (401, 403)."""
        written = headers.get("Authorization", "")
        user = ANONYMOUS
        if written:
            found = self.tokens.get(written.removeprefix("Bearer "))
            if found is None:
                raise unauthorized()
            user = found
        wanted = headers.get("Impersonate-User")
        if not wanted:
            return user
        if not self.allows(user, "impersonate", "", "users", "", wanted):
            raise forbidden(
                "",
                "users",
                wanted,
                f'User "{user.name}" cannot impersonate resource "users" in API group "" at the cluster scope',
            )
        groups = (*impersonated_groups, "system:authenticated")
        if wanted.startswith("system:serviceaccount:") and not impersonated_groups:
            _, _, namespace, name = wanted.split(":", 3)
            return self.service_account(namespace, name)
        return User(wanted, groups)

    def check(self, call: Call) -> None:
        """Raises Refused (403) unless the user's roles allow the call."""
        kind = call.kind
        if self.allows(call.user, call.verb, kind.group, kind.plural, call.namespace, call.name, call.subresource):
            return
        resource = f"{kind.plural}/{call.subresource}" if call.subresource else kind.plural
        where = f'in the namespace "{call.namespace}"' if call.namespace else "at the cluster scope"
        why = f'User "{call.user.name}" cannot {call.verb} resource "{resource}" in API group "{kind.group}" {where}'
        raise forbidden(kind.group, kind.plural, call.name, why)

    def check_path(self, user: User, verb: str, path: str) -> None:
        if not any(_path_allowed(rule, verb, path) for rule in self._rules(user, "")):
            raise Refused(403, "Forbidden", f'forbidden: User "{user.name}" cannot {verb} path "{path}"')

    def allows(self, user: User, verb: str, group: str, plural: str, namespace: str, name: str, subresource: str = "") -> bool:
        return any(_allowed(rule, verb, group, plural, name, subresource) for rule in self._rules(user, namespace))

    def _rules(self, user: User, namespace: str) -> Iterator[Json]:
        for _, binding in self.store.items((RBAC, "clusterrolebindings")):
            if _bound(binding, user):
                yield from self._role(binding["roleRef"], "")
        if namespace:
            for _, binding in self.store.items((RBAC, "rolebindings"), namespace):
                if _bound(binding, user):
                    yield from self._role(binding["roleRef"], namespace)

    def _role(self, ref: Mapping[str, Any], namespace: str) -> list[Json]:
        plural, where = ("clusterroles", "") if ref["kind"] == "ClusterRole" else ("roles", namespace)
        found = self.store.get((RBAC, plural), (where, ref["name"]))
        return self._gathered(found or {}, {ref["name"]})

    def _gathered(self, role: Mapping[str, Any], seen: set[str]) -> list[Json]:
        """A role's rules: its own, or those of the ClusterRoles that its aggregationRule selects."""
        if "aggregationRule" not in role:
            return role.get("rules") or []
        selected = [selector_of(one) for one in role["aggregationRule"].get("clusterRoleSelectors") or ()]
        rules: list[Json] = []
        for (_, name), other in self.store.items((RBAC, "clusterroles")):
            if name not in seen and any(matches(other["metadata"].get("labels") or {}) for matches in selected):
                rules += self._gathered(other, seen | {name})
        return rules

    def covers(self, user: User, rules: list[Json], namespace: str) -> Json | None:
        """The first rule that grants more than the user has, or None: nobody may give away what is not theirs."""
        own = list(self._rules(user, namespace))
        for rule in rules:
            for verb in rule.get("verbs", []):
                for path in rule.get("nonResourceURLs", []):
                    if not any(_path_allowed(one, verb, path) for one in own):
                        return rule
                for group in rule.get("apiGroups", []):
                    for resource in rule.get("resources", []):
                        plural, _, sub = resource.partition("/")
                        for name in rule.get("resourceNames") or [""]:
                            if not any(_allowed(one, verb, group, plural, name, sub) for one in own):
                                return rule
        return None


def _bound(binding: Mapping[str, Any], user: User) -> bool:
    for subject in binding.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "ServiceAccount":
            kind, name = (
                "User",
                f"system:serviceaccount:{subject.get('namespace') or binding['metadata'].get('namespace', '')}:{name}",
            )
        if (kind == "User" and name == user.name) or (kind == "Group" and name in user.groups):
            return True
    return False


def _allowed(rule: Mapping[str, Any], verb: str, group: str, plural: str, name: str, subresource: str) -> bool:
    resources = rule.get("resources") or ()
    wanted = {"*", f"{plural}/{subresource}", f"*/{subresource}"} if subresource else {"*", plural}
    return (
        bool({"*", verb} & set(rule.get("verbs") or ()))
        and bool({"*", group} & set(rule.get("apiGroups") or ()))
        and bool(wanted & set(resources))
        and (not rule.get("resourceNames") or name in rule["resourceNames"])
    )


def _path_allowed(rule: Mapping[str, Any], verb: str, path: str) -> bool:
    if not {"*", verb} & set(rule.get("verbs") or ()):
        return False
    return any(
        one in ("*", path) or (one.endswith("*") and path.startswith(one[:-1])) for one in rule.get("nonResourceURLs") or ()
    )


def bootstrap_objects() -> Iterator[tuple[str, Json]]:
    """(plural, object) of the roles and bindings that every cluster starts with."""
    for name, gathered_by in GATHERED:
        labels = {"kubernetes.io/bootstrapping": "rbac-defaults", **{AGGREGATE + other: "true" for other in gathered_by}}
        selector = {"matchLabels": {AGGREGATE + name: "true"}}
        role = {"metadata": {"name": name, "labels": labels}, "aggregationRule": {"clusterRoleSelectors": [selector]}}
        yield "clusterroles", {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", **role}
    for name, rules, groups in BOOTSTRAP:
        meta = {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}
        yield "clusterroles", {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": dict(meta), "rules": rules}
        yield (
            "clusterrolebindings",
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": dict(meta),
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "Group", "apiGroup": RBAC, "name": group} for group in groups],
            },
        )
