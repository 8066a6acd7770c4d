"""The definitions of KubeRay and KServe, whose resources the operator reads and changes, are served as they publish them.

On servers of this module's own: other tests have smaller ones of the same names, and to delete these takes longer than to end it."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.api_server.api_server_kind import eventually
from tests.fakes.apiserver import ApiServer, Handle
from tests.fakes.apiserver.answering.texts import read_all
from tests.fakes.apiserver.real import RealApiServer, real_api_server, unavailable

Json = dict[str, Any]
GROUPS = {"ray.io", "serving.kserve.io"}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("servers with foreign kinds")]


@pytest.fixture(scope="module", params=["fake", "real"])
def api_server(request: pytest.FixtureRequest, definitions: list[Json]) -> Iterator[Handle]:
    if request.param == "real" and (why := unavailable()):
        pytest.skip(why)
    with ApiServer() if request.param == "fake" else real_api_server() as server:
        yield server


@pytest.fixture(scope="module")
def definitions(all_definitions: list[Json]) -> list[Json]:
    """Those that the operator acts on."""
    return [body for body in all_definitions if body["spec"]["group"] in GROUPS]


@pytest.fixture(scope="module")
def all_definitions() -> list[Json]:
    """Every definition of other projects that is here."""
    folder = os.environ.get("VEDETTE_DATA_DIR")
    if not folder:
        pytest.skip("VEDETTE_DATA_DIR is not set: the definitions of other projects are not here")
    with tarfile.open(Path(folder) / "crds" / "crds.tar.xz") as archive:
        texts = [archive.extractfile(one).read() for one in archive if one.name.endswith(".yaml")]  # type: ignore[union-attr]
    found = [body for text in texts for body in read_all(text)]
    return [body for body in found if body and body.get("kind") == "CustomResourceDefinition"]


@pytest.fixture(scope="module")
def http(api_server: Handle, definitions: list[Json]):
    """A client of a server that has all of them, made one after the other: a busy server gives each a minute."""
    with api_server.http() as client:
        client.timeout = 120
        for body in definitions:
            body["spec"].pop("conversion", None)  # their conversion webhooks are not here
        answers = [client.post(DEFINITIONS, json=body) for body in definitions]
        refused = [answer.json()["message"][:300] for answer in answers if answer.status_code != 201]
        assert refused == []
        yield client
        if not isinstance(api_server, ApiServer | RealApiServer):  # a cluster that was given is left as it was
            for body in definitions:
                client.delete(f"{DEFINITIONS}/{body['metadata']['name']}")


def test_all_are_established_and_list(http, definitions):
    assert {body["spec"]["group"] for body in definitions} == GROUPS
    _list_each(http, definitions)


@pytest.mark.soak
def test_every_definition_of_another_project_is_established_and_lists(http, all_definitions):
    others = [body for body in all_definitions if body["spec"]["group"] not in GROUPS]
    assert len(all_definitions) >= 40
    for body in others:
        body["spec"].pop("conversion", None)
        answer = http.post(DEFINITIONS, json=body)
        assert answer.status_code == 201, answer.text[:300]
    _list_each(http, all_definitions)


def _list_each(http, definitions):
    for body in definitions:
        spec = body["spec"]
        served = next(version["name"] for version in spec["versions"] if version["served"])
        path = f"/apis/{spec['group']}/{served}/{spec['names']['plural']}"
        eventually(lambda path=path: http.get(path).status_code == 200)  # type: ignore[misc]


def test_a_ray_service_is_taken_and_a_bad_one_refused(http, namespace):
    at = f"/apis/ray.io/v1/namespaces/{namespace}/rayservices"
    group = {
        "groupName": "w",
        "replicas": 1,
        "rayStartParams": {},
        "template": {"spec": {"containers": [{"name": "ray", "image": "r"}]}},
    }
    head = {"rayStartParams": {}, "template": {"spec": {"containers": [{"name": "ray", "image": "r"}]}}}
    config = {"headGroupSpec": head, "workerGroupSpecs": [group]}
    body = {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": {"name": "s"}, "spec": {"rayClusterConfig": config}}
    assert http.post(at, json=body).status_code == 201
    answer = http.patch(
        f"{at}/s",
        json={"spec": {"rayClusterConfig": {"rayVersion": 7}}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.status_code == 422
    assert "rayVersion" in answer.json()["message"]


def test_an_inference_service_moves_its_canary(http, namespace):
    at = f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"
    model = {"modelFormat": {"name": "vedette"}, "runtime": "vedette", "storageUri": "s3://bundles/a"}
    spec = {"predictor": {"minReplicas": 1, "canaryTrafficPercent": 5, "model": model}}
    body = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "s"}, "spec": spec}
    answer = http.post(at, json=body)
    assert answer.status_code == 201, answer.text[:500]
    moved = http.patch(
        f"{at}/s",
        json={"spec": {"predictor": {"canaryTrafficPercent": 25}}},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert (moved.json()["spec"]["predictor"]["canaryTrafficPercent"], moved.json()["metadata"]["generation"]) == (25, 2)
