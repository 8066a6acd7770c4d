"""Laws of access: who is asked, what roles allow, and that nobody gives away what is not theirs."""

from typing import Any

import pytest

from tests.contract.api_server.api_server_kind import MERGE, definition, eventually, install, new_group, refused, uninstall

Json = dict[str, Any]
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def account(http, namespace: str, name: str) -> str:
    """A service account; answers its token."""
    http.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", json={"metadata": {"name": name}}).raise_for_status()
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = http.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", json=asked)
    assert answer.status_code == 201, answer.text
    return answer.json()["status"]["token"]


def grant(http, namespace: str, name: str, *rules: Json) -> None:
    """A role and its binding to a service account of that name."""
    http.post(
        f"{RBAC}/namespaces/{namespace}/roles", json={"metadata": {"name": name}, "rules": list(rules)}
    ).raise_for_status()
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": ref, "subjects": [subject]}
    http.post(f"{RBAC}/namespaces/{namespace}/rolebindings", json=binding).raise_for_status()


@pytest.fixture
def reader(api_server, http, namespace):
    """A client that may read config maps and change one named "mine", and no more."""
    grant(
        http,
        namespace,
        "reader",
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"], "resourceNames": ["mine"]},
    )
    with api_server.http(account(http, namespace, "reader")) as client:
        yield client


def test_a_wrong_token_is_401(api_server):
    with api_server.http("nobody's") as client:
        body = refused(client.get("/api/v1/namespaces/default"), 401, "Unauthorized")
        assert body["message"] == "Unauthorized"


def test_without_a_role_everything_is_403_and_says_what_was_missing(api_server, http, namespace, maps):
    with api_server.http(account(http, namespace, "nobody")) as client:
        body = refused(client.get(maps), 403, "Forbidden")
        who = f"system:serviceaccount:{namespace}:nobody"
        assert body["message"] == (
            f'configmaps is forbidden: User "{who}" cannot list resource "configmaps" in API group "" in the namespace "{namespace}"'
        )
        named = refused(client.delete("/api/v1/nodes/n"), 403, "Forbidden")
        assert (
            named["message"]
            == f'nodes "n" is forbidden: User "{who}" cannot delete resource "nodes" in API group "" at the cluster scope'
        )


def test_a_role_allows_what_it_says(http, reader, maps):
    http.post(maps, json={"metadata": {"name": "a"}})
    assert reader.get(f"{maps}/a").status_code == 200
    assert reader.get(maps).status_code == 200
    assert reader.get(maps, params={"watch": "1", "timeoutSeconds": "1"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", "{maps}", id="create"),
        pytest.param("PUT", "{maps}/a", id="replace"),
        pytest.param("DELETE", "{maps}/a", id="delete"),
        pytest.param("DELETE", "{maps}", id="delete all"),
        pytest.param("GET", "/api/v1/configmaps", id="in all namespaces"),
        pytest.param("GET", "/api/v1/namespaces/default/configmaps", id="in another namespace"),
        pytest.param("GET", "{namespace}/secrets", id="another resource"),
        pytest.param("GET", "/apis/apps/v1/namespaces/default/deployments", id="another group"),
    ],
)
def test_and_nothing_else(reader, maps, method, path):
    path = path.format(maps=maps, namespace=maps.rpartition("/")[0])
    refused(reader.request(method, path, json={"metadata": {"name": "a"}}), 403, "Forbidden")


def test_a_rule_can_name_its_objects(http, reader, maps):
    for name in ("mine", "other"):
        http.post(maps, json={"metadata": {"name": name}})
    assert reader.patch(f"{maps}/mine", json={"data": {"k": "v"}}, headers=MERGE).status_code == 200
    refused(reader.patch(f"{maps}/other", json={"data": {"k": "v"}}, headers=MERGE), 403, "Forbidden")


def test_a_subresource_is_a_right_of_its_own(api_server, http, namespace):
    body = definition(new_group())
    at = f"{install(http, body)}/namespaces/{namespace}/widgets"
    group = body["spec"]["group"]
    kind = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"model": "m"}}
    http.post(at, json=kind).raise_for_status()
    grant(http, namespace, "status", {"apiGroups": [group], "resources": ["widgets/status"], "verbs": ["get", "patch"]})
    with api_server.http(account(http, namespace, "status")) as client:
        assert client.patch(f"{at}/w/status", json={"status": {"phase": "x"}}, headers=MERGE).status_code == 200
        refused(client.patch(f"{at}/w", json={"spec": {"low": 1}}, headers=MERGE), 403, "Forbidden")
        denied = refused(client.patch(f"{at}/w/scale", json={"spec": {"replicas": 1}}, headers=MERGE), 403, "Forbidden")
        assert 'cannot patch resource "widgets/scale" in API group' in denied["message"]
    uninstall(http, body)


def test_applying_what_is_not_there_needs_the_right_to_create(api_server, http, namespace, maps):
    grant(http, namespace, "patcher", {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]})
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    with api_server.http(account(http, namespace, "patcher")) as client:
        answer = client.patch(f"{maps}/a", params={"fieldManager": "p"}, json=config, headers=headers)
        assert "cannot create resource" in refused(answer, 403, "Forbidden")["message"]
        http.post(maps, json={"metadata": {"name": "a"}})
        assert client.patch(f"{maps}/a", params={"fieldManager": "p"}, json=config, headers=headers).status_code == 200


def test_one_may_ask_what_one_may(reader, namespace):
    def may(verb: str, resource: str) -> bool:
        spec = {"resourceAttributes": {"verb": verb, "resource": resource, "namespace": namespace}}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        answer = reader.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review)
        assert answer.status_code == 201, answer.text
        return answer.json()["status"]["allowed"]

    assert (may("list", "configmaps"), may("create", "configmaps"), may("list", "secrets")) == (True, False, False)


def test_another_may_be_asked_about_by_who_may_ask(http, reader, namespace):
    spec = {
        "user": f"system:serviceaccount:{namespace}:reader",
        "resourceAttributes": {"verb": "get", "resource": "configmaps", "namespace": namespace},
    }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    assert http.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review).json()["status"]["allowed"] is True
    refused(reader.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review), 403, "Forbidden")


def test_an_administrator_may_act_as_another(api_server, reader, namespace, maps):
    with api_server.http(**{"Impersonate-User": f"system:serviceaccount:{namespace}:reader"}) as client:
        assert client.get(maps).status_code == 200
        refused(client.post(maps, json={"metadata": {"name": "a"}}), 403, "Forbidden")
    refused(reader.get(maps, headers={"Impersonate-User": "admin"}), 403, "Forbidden")


def test_nobody_grants_more_than_they_have(api_server, http, namespace):
    rules = ({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create", "update"]},)
    grant(http, namespace, "keeper", *rules, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]})
    with api_server.http(account(http, namespace, "keeper")) as client:
        at = f"{RBAC}/namespaces/{namespace}/roles"
        own = {"metadata": {"name": "own"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}
        assert client.post(at, json=own).status_code == 201
        more = {"metadata": {"name": "more"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}
        refused(client.post(at, json=more), 403, "Forbidden")


def test_roles_are_gathered_by_their_labels_and_edit_sees_what_view_sees(api_server, http, namespace):
    if not api_server.collects_garbage:
        pytest.skip("no kube-controller-manager beside this server")
    body = definition(new_group())
    group = body["spec"]["group"]
    at = f"{install(http, body)}/namespaces/{namespace}/widgets"
    for to, verbs in (("view", ["get", "list"]), ("edit", ["create"])):
        labels = {f"rbac.authorization.k8s.io/aggregate-to-{to}": "true"}
        rules = [{"apiGroups": [group], "resources": ["widgets"], "verbs": verbs}]
        role = {"metadata": {"name": f"{to}-{namespace}", "labels": labels}, "rules": rules}
        http.post(f"{RBAC}/clusterroles", json=role).raise_for_status()
    clients = {}
    for role in ("view", "edit", "admin"):
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        subject = {"kind": "ServiceAccount", "name": role, "namespace": namespace}
        binding = {"metadata": {"name": role}, "roleRef": ref, "subjects": [subject]}
        http.post(f"{RBAC}/namespaces/{namespace}/rolebindings", json=binding).raise_for_status()
        clients[role] = api_server.http(account(http, namespace, role))
    kind = {"apiVersion": f"{group}/v1", "kind": "Widget", "spec": {"model": "m"}}
    eventually(lambda: all(client.get(at).status_code == 200 for client in clients.values()))
    for role in ("edit", "admin"):
        named = {**kind, "metadata": {"name": role}}
        eventually(lambda who=clients[role], what=named: who.post(at, json=what).status_code == 201)
    refused(clients["view"].post(at, json={**kind, "metadata": {"name": "view"}}), 403, "Forbidden")
    refused(clients["admin"].delete(f"{at}/edit"), 403, "Forbidden")
    for client in clients.values():
        client.close()
    for to in ("view", "edit"):
        http.delete(f"{RBAC}/clusterroles/{to}-{namespace}")
    uninstall(http, body)


def test_a_binding_keeps_its_role(http, namespace):
    grant(http, namespace, "fixed", {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]})
    path = f"{RBAC}/namespaces/{namespace}/rolebindings/fixed"
    body = refused(http.patch(path, json={"roleRef": {"name": "other"}}, headers=MERGE), 422, "Invalid")
    assert "cannot change roleRef" in body["message"]


def test_discovery_is_for_everybody_who_is_somebody(reader):
    for path in ("/version", "/api", "/apis", "/apis/apps/v1", "/openapi/v3"):
        assert reader.get(path).status_code == 200, path
    refused(reader.get("/metrics"), 403, "Forbidden")
