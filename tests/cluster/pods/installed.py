"""What a platform team installs on a `Cluster`, as they would type it: KubeRay's operator, and Vedette out of manifests/."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests import quick_yaml as yaml
from tests.cluster import kuberay
from tests.cluster.kubelet.images import ROOT
from tests.cluster.pods.cluster import Cluster

Json = dict[str, Any]
KUBERAY: Final = "kuberay-system"
HOME: Final = "vedette-system"
_CONFINED: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def kubectl(cluster: Cluster, *words: str, stdin: str | None = None) -> str:
    """Its output. Raises RuntimeError with what it said."""
    command = [str(Path(sys.executable).with_name("kubectl")), f"--kubeconfig={cluster.kubeconfig()}", *words]
    done = subprocess.run(command, input=stdin, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def apply(cluster: Cluster, documents: Sequence[Json], *words: str) -> str:
    return kubectl(cluster, "apply", "--server-side", *words, "-f", "-", stdin=yaml.safe_dump_all(list(documents)))


def rendered(folder: str | Path) -> list[Json]:
    """A kustomization's documents; a RayService without what this KubeRay does not know (see kuberay.fitted)."""
    text = subprocess.check_output(
        [str(Path(sys.executable).with_name("kubectl")), "kustomize", str(ROOT / folder)], text=True, timeout=60
    )
    documents = [d for d in yaml.safe_load_all(text) if d]
    for one in documents:
        if one["kind"] == "RayService":
            kuberay.fitted(one)
    return documents


def install_kuberay(cluster: Cluster) -> None:
    """Its definitions and its Deployment, under the rights that its project gives it."""
    folder = kuberay.folder()
    if folder is None:
        raise RuntimeError(kuberay.no_kuberay())
    for file in sorted(folder.glob("ray.io_*.yaml")):
        kubectl(cluster, "apply", "--server-side", "-f", str(file))
    (role,) = yaml.safe_load_all((folder / "role.yaml").read_text(encoding="utf-8"))
    name = role["metadata"]["name"] = "kuberay-operator"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": KUBERAY}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": KUBERAY}],
    }  # fmt: skip
    labels = {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/component": "kuberay-operator"}
    probe = {"httpGet": {"path": "/metrics", "port": "http"}, "periodSeconds": 1, "failureThreshold": 30}
    container = {
        "name": name, "image": "kuberay-operator:v1.6.1", "args": ["--enable-leader-election=false"],
        "ports": [{"name": "http", "containerPort": 8080}], "securityContext": _CONFINED, "readinessProbe": probe,
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}},
    }  # fmt: skip
    spec = {
        "serviceAccountName": name, "securityContext": {"runAsNonRoot": True, "runAsUser": 65532}, "containers": [container],
        "terminationGracePeriodSeconds": 1,
    }  # fmt: skip
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": KUBERAY},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }  # fmt: skip
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KUBERAY}}
    apply(cluster, [namespace, role, account, binding, deployment])


def install_operator(cluster: Cluster) -> None:
    """As docs/how-to/install-the-operator.md says."""
    kubectl(cluster, "apply", "--server-side", "-k", "manifests/crds")
    kubectl(cluster, "create", "namespace", HOME)
    kubectl(cluster, "apply", "--server-side", "-k", "manifests/overlays/operator")


def until_available(cluster: Cluster, namespace: str, deployment: str, seconds: int = 120) -> None:
    kubectl(cluster, "rollout", "status", f"deployment/{deployment}", "-n", namespace, f"--timeout={seconds}s")


def install_serving(cluster: Cluster, namespace: str, folder: str | Path = "manifests/overlays/operated") -> None:
    """The overlay as it is, and what it wants beforehand: classes of priority, and two Secrets: the audit log's key, and settings that
    carry passwords.

    Features come from the SQLite file in the image of the bundles: the Secret that would name a Redis has another setting."""
    kubectl(cluster, "create", "namespace", namespace)
    keys = cluster.folder / "keys"
    keys.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "operators.cli.main", "audit", "key", "new", str(keys / "audit.pem")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    kubectl(cluster, "-n", namespace, "create", "secret", "generic", "vedette-audit-key", f"--from-file={keys / 'audit.pem'}")
    kubectl(
        cluster, "-n", namespace, "create", "secret", "generic", "vedette-secrets", "--from-literal=VEDETTE_LOG_LEVEL=debug"
    )
    apply(cluster, [d for d in rendered("manifests/cluster") if d["kind"] == "PriorityClass"])
    apply(cluster, rendered(folder), "-n", namespace)


def model_service(name: str, digest: str, version: str, **spec: Any) -> Json:
    return {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name},
        "spec": {"revision": {"version": version, "bundle": digest}, "backend": {"ray": {"rayService": "vedette"}}, **spec},
    }
