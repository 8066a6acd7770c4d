"""The components `access` and `operator-access`: every replica has the policy and what it names, and the operator has a token for it."""

from pathlib import Path

import pytest

from serving.access.followed_files import read_policy
from serving.access.policy import Rights, binding_of_claims
from serving.access.policy_file import policy_warnings
from serving.access.verbs import Verb
from tests.manifests.conftest import MANIFESTS, rendered_with

POLICY = MANIFESTS / "components" / "access" / "access.yaml"


def pods(resource):
    if resource["kind"] == "ServingRuntime":
        return [resource["spec"]]
    return [group["template"]["spec"] for group in resource["spec"]["rayClusterConfig"]["workerGroupSpecs"]]


@pytest.mark.parametrize(
    ("overlay", "kind"), [("production", "RayService"), ("local", "RayService"), ("kserve", "ServingRuntime")]
)
def test_every_replica_has_the_policy_and_what_it_names(tmp_path, overlay, kind):
    resources = rendered_with(tmp_path, overlay, "access")
    (settings,) = (r["data"] for r in resources if r["kind"] == "ConfigMap" and "VEDETTE_STORE_DIR" in r["data"])
    (policy_map,) = (r for r in resources if r["kind"] == "ConfigMap" and r["metadata"]["name"] == "vedette-access")
    policy = read_policy(POLICY)
    (serving,) = (r for r in resources if r["kind"] == kind)
    for spec in pods(serving):
        (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "access")
        assert "subPath" not in mount, "a file mounted by itself never changes in a pod that runs"
        folder = Path(settings["VEDETTE_ACCESS"]).parent
        assert str(folder) == mount["mountPath"]
        (volume,) = (v["projected"] for v in spec["volumes"] if v["name"] == "access")
        assert volume["defaultMode"] & 0o022 == 0, "a policy that others may write is refused"
        files = set(policy_map["data"])
        for source in volume["sources"]:
            files |= {item["path"] for item in source.get("secret", {}).get("items", [])}
            files |= {source["serviceAccountToken"]["path"]} if "serviceAccountToken" in source else set()
            files |= {"ca.crt"} if source.get("configMap", {}).get("name") == "kube-root-ca.crt" else set()
        wanted = [policy.keys_file, *(path for issuer in policy.issuers for path in (issuer.ca, issuer.bearer))]
        assert {str(Path(path).relative_to(POLICY.parent)) for path in wanted} <= files


def test_the_operator_has_a_token_that_the_policy_knows_and_may_read_metrics_only(tmp_path):
    resources = rendered_with(tmp_path, "operator", "operator-access")
    (deployment,) = (r for r in resources if r["kind"] == "Deployment" and r["metadata"]["name"] == "vedette-operator")
    spec, policy = deployment["spec"]["template"]["spec"], read_policy(POLICY)
    (volume,) = (v["projected"] for v in spec["volumes"] if v["name"] == "replica-token")
    (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "replica-token")
    (setting,) = (e for e in spec["containers"][0]["env"] if e["name"] == "VEDETTE_OPERATOR_REPLICA_TOKEN_FILE")
    token = volume["sources"][0]["serviceAccountToken"]
    assert setting["value"] == f"{mount['mountPath']}/{token['path']}"
    (issuer,) = policy.issuers
    assert token["audience"] in issuer.audiences
    subject = f"system:serviceaccount:{deployment['metadata']['namespace']}:{spec['serviceAccountName']}"
    rights = Rights(policy, binding_of_claims(issuer, {"sub": subject}))
    assert {verb for verb in Verb if rights.may(verb)} == {Verb.HEALTH, Verb.METRICS}


def test_nothing_is_probably_not_meant():
    assert policy_warnings(read_policy(POLICY)) == []
