"""A desk (tests.fakes.operator.operator_desk) in a namespace of the test's own, on both API servers."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from operators.backends.kube import Kube
from operators.backends.kube_access import access
from tests import quick_yaml as yaml
from tests.contract.api_server.api_server_kind import eventually
from tests.fakes.apiserver import Handle
from tests.fakes.operator.operator_desk import Desk

CRDS = sorted((Path(__file__).parents[3] / "manifests/crds").glob("*s.yaml"))


@pytest.fixture(scope="module")
def kinds(api_server: Handle) -> Iterator[None]:
    with api_server.http() as http:
        for path in CRDS:
            document = yaml.safe_load(path.read_text())
            if document["kind"] == "CustomResourceDefinition":
                http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=document)
        for plural in ("modelservices", "rolloutpolicies"):
            eventually(lambda plural=plural: http.get(f"/apis/vedette.dev/v1alpha1/{plural}").status_code == 200)
        yield


@pytest.fixture
async def desk(api_server: Handle, namespace: str, kinds: None) -> AsyncIterator[Desk]:
    async with Kube(access(api_server.kubeconfig()), manager="vedette-operator") as kube:
        made = Desk(kube, namespace)
        yield made
        await made.leave()
