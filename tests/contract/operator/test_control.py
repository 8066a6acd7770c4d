"""The laws of the port Control: a folder of this machine, and a cluster over the API server of the tests."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from operators.cli.kubectl import app as kubectl
from operators.control.cluster import connect
from operators.control.folder import ControlFolder
from operators.control.port import Control, ControlError, DamagedState, NoSuchService, Unreachable
from operators.rollout.status import VerbRequest
from tests import quick_yaml as yaml
from tests.fakes.apiserver import ApiServer, Handle, User

ROOT = Path(__file__).parents[3]
AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def bundle(letter: str) -> str:
    return "sha256:" + letter * 64


def document(letter: str = "a", **spec: Any) -> dict[str, Any]:
    revision = {"version": str("abcdef".index(letter) + 1), "bundle": bundle(letter)}
    return {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "ids"},
        "spec": {"revision": revision, **spec},
    }


def said(id: str, verb: str = "pause", by: str = "ana") -> VerbRequest:
    return VerbRequest(id=id, verb=verb, by=by, why="because", at=AT)  # type: ignore[arg-type]


@dataclass
class Plane:
    """A control plane. person: one more view of it, as another process has. policy: puts a RolloutPolicy there."""

    control: Control
    person: Callable[[], Control]
    policy: Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def api() -> Iterator[ApiServer]:
    with ApiServer() as server, server.http() as http:
        for path in sorted((ROOT / "manifests/crds").glob("*.yaml")):
            for crd in yaml.safe_load_all(path.read_text()):
                if crd and crd.get("kind") == "CustomResourceDefinition":
                    answer = http.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=crd)
                    assert answer.status_code < 300, answer.text
        yield server


def cluster_plane(api: ApiServer, namespace: str) -> Plane:
    with api.http() as http:
        http.post("/api/v1/namespaces", json={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})

    def person() -> Control:
        return connect(kubeconfig=api.kubeconfig(), namespace=namespace)

    def policy(body: dict[str, Any]) -> None:
        with api.http() as http:
            answer = http.post(f"/apis/vedette.dev/v1alpha1/namespaces/{namespace}/rolloutpolicies", json=body)
            assert answer.status_code < 300, answer.text

    return Plane(person(), person, policy)


def folder_plane(store_dir: Path) -> Plane:
    def policy(body: dict[str, Any]) -> None:
        path = store_dir / "control" / "policies" / f"{body['metadata']['name']}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(body))

    return Plane(ControlFolder(store_dir), lambda: ControlFolder(store_dir), policy)


@pytest.fixture(params=["folder", "cluster"])
def plane(request: pytest.FixtureRequest, tmp_path: Path) -> Plane:
    if request.param == "folder":
        return folder_plane(tmp_path)
    return cluster_plane(request.getfixturevalue("api"), f"t{uuid.uuid4().hex[:8]}")


def test_what_is_written_is_read(plane: Plane):
    plane.control.change("ids", lambda _: document("b", paused=True))
    record = plane.person().read("ids")
    assert plane.control.names() == ("ids",)
    assert record.service.spec.revision.bundle == bundle("b")
    assert record.service.spec.paused
    assert record.ref.model == "ids"
    assert not record.is_observed


def test_replicas_that_are_not_there_are_a_page_with_a_problem(plane: Plane):
    (page,) = plane.control.replica_pages()
    assert page.text is None
    assert "no replica" in (page.problem or "")


def test_a_name_that_is_not_there_is_told_with_those_that_are(plane: Plane):
    plane.control.change("ids", lambda _: document())
    with pytest.raises(NoSuchService, match="ids"):
        plane.control.read("nobody")
    with pytest.raises(NoSuchService):
        plane.control.ask("nobody", said("1"))


def test_a_change_keeps_what_it_does_not_name(plane: Plane):
    plane.control.change("ids", lambda _: document("a", model="intrusions"))
    plane.control.change("ids", lambda d: {**d, "spec": {**d["spec"], "paused": True}})
    record = plane.control.read("ids")
    assert (record.ref.model, record.service.spec.paused) == ("intrusions", True)


def test_a_document_that_does_not_hold_is_refused_and_changes_nothing(plane: Plane):
    plane.control.change("ids", lambda _: document())
    with pytest.raises(ControlError, match="bundle"):
        plane.control.change("ids", lambda d: {**d, "spec": {"revision": {"version": "1", "bundle": "flows:latest"}}})
    assert plane.control.read("ids").service.spec.revision.bundle == bundle("a")


def test_every_change_of_the_spec_is_a_new_generation_and_a_verb_is_none(plane: Plane):
    plane.control.change("ids", lambda _: document())
    first = plane.control.read("ids").service.metadata.generation
    plane.control.ask("ids", said("1"))
    assert plane.control.read("ids").service.metadata.generation == first
    plane.control.change("ids", lambda d: {**d, "spec": {**d["spec"], "paused": True}})
    assert plane.control.read("ids").service.metadata.generation == first + 1


def test_a_stamp_is_another_one_after_anything_of_a_service_was_written(plane: Plane):
    plane.control.change("ids", lambda _: document())
    stamps = [plane.control.stamps()["ids"]]
    assert plane.person().stamps() == {"ids": stamps[0]}
    plane.control.ask("ids", said("1"))
    stamps.append(plane.control.stamps()["ids"])
    plane.control.change("ids", lambda d: {**d, "spec": {**d["spec"], "paused": True}})
    stamps.append(plane.control.stamps()["ids"])
    assert len(set(stamps)) == 3


def test_verbs_wait_in_the_order_they_were_said_each_once(plane: Plane):
    plane.control.change("ids", lambda _: document())
    plane.control.ask("ids", said("1"))
    plane.person().ask("ids", said("2", "abort", "bob"))
    plane.control.ask("ids", said("1"))
    assert sorted((r.id, r.verb, r.by) for r in plane.control.read("ids").waiting) == [
        ("1", "pause", "ana"),
        ("2", "abort", "bob"),
    ]


def test_of_people_who_speak_at_once_everybody_is_heard(plane: Plane):
    plane.control.change("ids", lambda _: document())
    people = [plane.person() for _ in range(6)]
    threads = [threading.Thread(target=person.ask, args=("ids", said(f"{i}", by=f"p{i}"))) for i, person in enumerate(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {r.by for r in plane.control.read("ids").waiting} == {f"p{i}" for i in range(6)}


def test_a_policy_that_is_named_gives_the_steps_and_one_that_is_missing_is_told(plane: Plane):
    plane.control.change("ids", lambda _: document())
    policy = {"apiVersion": "vedette.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "slow"}}
    plane.policy({**policy, "spec": {"steps": [{"setWeight": 1}, {"setWeight": 100}]}})
    plane.control.change("ids", lambda d: {**d, "spec": {**d["spec"], "rollout": {"policyRef": {"name": "slow"}}}})
    assert [s.set_weight for s in plane.control.read("ids").rollout.steps] == [1, 100]


def test_who_is_somebody(plane: Plane):
    assert plane.control.who()
    assert all(isinstance(g, str) for g in plane.control.groups())


def test_in_a_cluster_who_is_the_user_the_server_knows(api: ApiServer):
    token = api.access.issue(User("bob", ("soc-leads", "system:authenticated")))
    bob = connect(kubeconfig=api.kubeconfig(token, "bob"), namespace="default")
    assert bob.who() == "bob"
    assert "soc-leads" in bob.groups()


def test_in_a_cluster_a_person_s_token_alone_says_who_acts(api: ApiServer):
    token = api.access.issue(User("bob", ("soc-leads", "system:authenticated")))
    bob = connect(kubeconfig=api.kubeconfig(), namespace="default").as_bearer(token)
    assert bob.who() == "bob"
    with pytest.raises(ControlError, match="forbidden"):
        bob.names()


def test_a_token_that_is_wrong_is_not_made_good_by_the_certificate_or_token_of_the_kubeconfig(
    api_server: Handle, namespace: str
):
    control = connect(kubeconfig=api_server.kubeconfig(namespace=namespace))
    with pytest.raises(ControlError):
        control.as_bearer("wrong").who()


def test_in_a_cluster_what_somebody_may_not_is_refused_in_the_server_s_words(api: ApiServer):
    token = api.access.issue(User("eve", ()))
    with pytest.raises(ControlError, match="forbidden"):
        connect(kubeconfig=api.kubeconfig(token, "eve"), namespace="default").names()


def test_a_control_is_who_its_kubeconfig_says_on_each_server(api_server: Handle, namespace: str, kinds: None):
    """The real server's administrator has a client certificate, the other's a token."""
    control = connect(kubeconfig=api_server.kubeconfig(namespace=namespace))

    control.change("ids", lambda _: document())
    control.change("ids", lambda d: {**d, "spec": {**d["spec"], "paused": True}})
    control.ask("ids", said("1"))

    record = control.read("ids")
    assert (control.names(), record.service.spec.paused, [r.id for r in record.waiting]) == (("ids",), True, ["1"])
    assert (control.who(), "system:masters" in control.groups()) == (user_of(api_server), True)
    with pytest.raises(NoSuchService, match=f"no ModelService 'nobody' in namespace {namespace}"):
        control.read("nobody")


def user_of(api_server: Handle) -> str:
    """The name that the server has for who asks."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    with api_server.http() as http:
        answer = http.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review)
    return str(answer.json()["status"]["userInfo"]["username"])


def test_the_name_of_the_certificate_is_the_one_that_the_kubeconfig_gives(api: ApiServer, tmp_path: Path):
    whole = yaml.safe_load(api.kubeconfig().read_text())
    for name, is_right in (("localhost", True), ("elsewhere.example", False)):
        whole["clusters"][0]["cluster"]["tls-server-name"] = name
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(whole))
        control = connect(kubeconfig=tmp_path / "kubeconfig")
        if is_right:
            assert control.who()
        else:
            with pytest.raises(Unreachable, match="is the context the right one"):
                control.who()


def test_a_cluster_that_does_not_answer_is_told(api: ApiServer, tmp_path: Path):
    whole = yaml.safe_load(api.kubeconfig().read_text())
    whole["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(whole))
    with pytest.raises(Unreachable, match=r"did not answer.*is the context the right one"):
        connect(kubeconfig=tmp_path / "kubeconfig").names()


def test_a_conflict_is_read_again_and_written_again(api: ApiServer):
    plane = cluster_plane(api, "conflicts")
    plane.control.change("ids", lambda _: document())
    met = []

    def edit(before: dict[str, Any] | None) -> dict[str, Any]:
        assert before is not None
        met.append(before["metadata"]["resourceVersion"])
        if len(met) == 1:
            plane.person().ask("ids", said("1"))
        return {**before, "spec": {**before["spec"], "paused": True}}

    plane.control.change("ids", edit)
    record = plane.control.read("ids")
    assert len(set(met)) == 2
    assert record.service.spec.paused
    assert [r.id for r in record.waiting] == ["1"], "the other's verb is still there"


def test_kubectl_vedette_speaks_to_the_cluster_of_the_kubeconfig(api: ApiServer, monkeypatch: pytest.MonkeyPatch):
    plane = cluster_plane(api, "plugin")
    plane.control.change("ids", lambda _: document())
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(api.kubeconfig()))
    runner = CliRunner()
    shown = runner.invoke(kubectl, ["get", "--namespace", "plugin"])
    assert "ids" in shown.stdout, shown.output
    bare = runner.invoke(kubectl, ["get", "--json"])
    assert bare.stdout.strip() == "[]", "without options: the current context's namespace"


def test_kubectl_vedette_speaks_to_the_cluster_also_where_a_store_is_at_hand(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    cluster_plane(api, "beside").control.change("ids", lambda _: document())
    ControlFolder(tmp_path).change("of-this-machine", lambda _: {**document(), "metadata": {"name": "of-this-machine"}})
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(tmp_path))
    path = str(api.kubeconfig(name="beside", namespace="beside"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", path)
    shown = CliRunner().invoke(kubectl, ["get", "--json"])
    assert [one["name"] for one in json.loads(shown.stdout)] == ["ids"], shown.output
    shown = CliRunner().invoke(kubectl, ["get", "--json", "--store-dir", str(tmp_path)])
    assert [one["name"] for one in json.loads(shown.stdout)] == ["of-this-machine"], "a folder that is named wins"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("-n soc get ids --json", id="before the verb"),
        pytest.param("get -n soc ids --json", id="after the verb"),
        pytest.param("get ids --json -n soc", id="at the end"),
        pytest.param("rollout -n soc get ids --json", id="after the group"),
        pytest.param("-n soc rollout get ids --json", id="before the group"),
        pytest.param("-n elsewhere get -n soc ids --json", id="said twice, the last counts"),
        pytest.param("experiment --namespace=soc get ids --json", id="of an experiment"),
        pytest.param("-n soc scale get ids --json", id="of a scale"),
    ],
)
def test_options_of_the_cluster_are_taken_before_and_after_the_verb(api: ApiServer, line: str):
    namespace = f"soc-{uuid.uuid4().hex[:8]}"
    cluster_plane(api, namespace).control.change("ids", lambda _: document())
    line = line.replace("soc", namespace)
    kubeconfig = str(api.kubeconfig())
    for words in (["--kubeconfig", kubeconfig, *line.split()], [*line.split(), "--kubeconfig", kubeconfig]):
        shown = CliRunner().invoke(kubectl, words)
        assert shown.exit_code == 0, (shown.output, shown.exception)


def test_a_cluster_said_before_the_verb_and_a_store_after_it_are_one_too_many(api: ApiServer, tmp_path: Path):
    done = CliRunner().invoke(kubectl, ["-n", "soc", "get", "ids", "--store-dir", str(tmp_path)])
    assert "not both" in str(done.exception)


def test_a_damaged_annotation_is_told_with_the_way_out(api: ApiServer):
    plane = cluster_plane(api, "damaged")
    broken = {"annotations": {"vedette.dev/requests": "{"}}
    plane.control.change("ids", lambda _: {**document(), "metadata": {"name": "ids", **broken}})
    with pytest.raises(DamagedState, match="remove it"):
        plane.control.read("ids")


def test_a_rollout_whose_policy_is_gone_is_shown_and_can_be_aborted(api: ApiServer):
    plane = cluster_plane(api, "gone")
    plane.control.change("ids", lambda _: document(rollout={"policyRef": {"name": "careful"}}))
    with pytest.raises(DamagedState, match="no such RolloutPolicy"):
        plane.control.read("ids")  # nobody has looked at it: there is nothing else to go by
    kept = {"phase": "Progressing", "policy": {"steps": [{"setWeight": 30}, {"setWeight": 100}]}}
    path = "/apis/vedette.dev/v1alpha1/namespaces/gone/modelservices/ids/status"
    with api.http() as http:
        merge = {"Content-Type": "application/merge-patch+json"}
        http.patch(path, json={"status": {"rollout": kept}}, headers=merge).raise_for_status()

    record = plane.control.read("ids")

    assert record.status.phase == "Progressing"
    assert [s.set_weight for s in record.rollout.steps] == [30, 100], "the policy that it started with"
    assert record.problem is not None
    assert "no such RolloutPolicy" in record.problem
    shown = CliRunner().invoke(kubectl, ["-n", "gone", "get", "ids", "--kubeconfig", str(api.kubeconfig())])
    assert "cannot be followed" in shown.output
    plane.control.ask("ids", said("1", "abort"))
    assert [r.verb for r in plane.control.read("ids").waiting] == ["abort"]


def test_one_service_that_cannot_be_read_hides_no_other(api: ApiServer):
    plane = cluster_plane(api, "several")
    plane.control.change("good", lambda _: {**document(), "metadata": {"name": "good"}})
    plane.control.change("bad", lambda _: {**document(rollout={"policyRef": {"name": "none"}}), "metadata": {"name": "bad"}})
    line = ["-n", "several", "get", "--kubeconfig", str(api.kubeconfig())]

    shown, listed = CliRunner().invoke(kubectl, line), CliRunner().invoke(kubectl, [*line, "--json"])

    assert "good" in shown.output
    assert "bad" in shown.output
    assert "no such RolloutPolicy" in shown.output.replace("\n", " ")
    assert [(s["name"], s["problem"] is None) for s in json.loads(listed.stdout)] == [("bad", False), ("good", True)]
