"""What is admitted, and that a request must carry the name of its user."""

import json
import ssl

import aiohttp
import pytest

from operators.api.service_intent import CHANGED_BY
from operators.api.types import FINALIZER, REQUESTS_ANNOTATION
from operators.handlers.admission import judge
from operators.handlers.webhook import Certificate, CertificateMissing, application, listen
from tests.fakes.certificates import write_certificate
from tests.fakes.operator.rollouts import A, B

ALICE = {"username": "alice", "groups": ["sre", "system:authenticated"]}
OURS = "system:serviceaccount:vedette:vedette-operator"
OPERATOR = {"username": OURS, "groups": []}


def service(annotations=None, **spec):
    revision = A.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {
        "apiVersion": "vedette.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "ids", "namespace": "soc", "annotations": annotations or {}},
        "spec": {"revision": revision, **spec},
    }


def said(*requests):
    entries = [{"at": "2026-01-05T08:00:00Z", "verb": "promote", **r} for r in requests]
    return {REQUESTS_ANNOTATION: json.dumps(entries)}


def asked(new, old=None, user=ALICE, operation=None):
    return {
        "uid": "u1",
        "operation": operation or ("UPDATE" if old else "CREATE"),
        "object": new,
        "oldObject": old,
        "userInfo": user,
    }


BY_ALICE, BY_BOB = {"id": "1", "by": "alice"}, {"id": "2", "by": "bob"}
CAREFUL = {"rollout": {"policy": {"steps": [{"approval": {}}, {"setWeight": 100}]}}}
BY_POLICY = {"rollout": {"policyRef": {"name": "careful"}}}
OTHER = {"revision": B.model_dump(mode="json", by_alias=True, exclude_defaults=True)}
MINE, BOBS = {CHANGED_BY: "alice"}, {CHANGED_BY: "bob"}
BAD = {"rollout": {"policy": {"steps": [{"setWeight": 50}, {"setWeight": 5}]}}}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(asked(service()), None, id="a good resource"),
        pytest.param(asked(service(**BAD)), "steps", id="weights that fall"),
        pytest.param(asked(service(said(BY_ALICE)), service()), None, id="a verb of one's own"),
        pytest.param(asked(service(said(BY_BOB)), service()), "you are 'alice'", id="a verb in another's name"),
        pytest.param(asked(service(said(BY_BOB, BY_ALICE)), service(said(BY_BOB))), None, id="another's verb stays as it was"),
        pytest.param(
            asked(service(said({**BY_BOB, "verb": "abort"})), service(said(BY_BOB))),
            "you are 'alice'",
            id="another's verb edited",
        ),
        pytest.param(asked(service(), service(said(BY_BOB))), "is removed by", id="another's verb taken away"),
        pytest.param(asked(service(), service(said(BY_BOB)), OPERATOR), None, id="the operator prunes"),
        pytest.param(
            asked(service(said({**BY_ALICE, "verb": "approve", "args": {"groups": "sre"}})), service()), None, id="own groups"
        ),
        pytest.param(
            asked(service(said({**BY_ALICE, "verb": "approve", "args": {"groups": "sre,board"}})), service()),
            "claims the groups board",
            id="groups one is not in",
        ),
        pytest.param(asked(service({REQUESTS_ANNOTATION: "promote!"}), service()), "not a JSON list", id="no list of verbs"),
        pytest.param(asked(service({CHANGED_BY: "bob"}), service()), "says 'bob'", id="a change in another's name"),
        pytest.param(
            asked(service({**said(BY_ALICE), "x": "y"}, **BAD), service({"x": "y"}, **BAD)),
            None,
            id="a resource that became invalid can still be spoken to",
        ),
        pytest.param(asked(service(**BAD), operation="DELETE"), None, id="a deletion"),
        pytest.param({"operation": "UPDATE", "object": None}, None, id="nothing of ours"),
    ],
)
def test_let_in(request_, expected):
    answer = judge(request_, OURS)
    assert answer.is_allowed is (expected is None), answer.message
    assert (expected or "") in answer.message


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        pytest.param(service(BOBS, **CAREFUL, **OTHER), service(BOBS, **CAREFUL), "says 'bob'", id="a name of last week"),
        pytest.param(service(None, **CAREFUL, **OTHER), service(None, **CAREFUL), "is missing", id="no name"),
        pytest.param(service(None, **CAREFUL, **OTHER), service(MINE, **CAREFUL), "is missing", id="the name taken out"),
        pytest.param(
            service(MINE, **CAREFUL, **OTHER), service(BOBS, **CAREFUL), None, id="one's own name, as the command line does"
        ),
        pytest.param(service(MINE, **CAREFUL, **OTHER), service(MINE, **CAREFUL), None, id="one's own name still stands there"),
        pytest.param(service(None, **CAREFUL), service(MINE, **CAREFUL), "is missing", id="the name taken out afterwards"),
        pytest.param(service(BOBS, **CAREFUL), service(MINE, **CAREFUL), "says 'bob'", id="another name afterwards"),
        pytest.param(service(None, **CAREFUL), service(None, **BY_POLICY), "is missing", id="another policy"),
        pytest.param(service(None, **OTHER, **BY_POLICY), service(None, **BY_POLICY), "is missing", id="a policy that may ask"),
        pytest.param(service(None, **CAREFUL), None, "is missing", id="a new service that is to be approved"),
        pytest.param(service(MINE, **CAREFUL), None, None, id="a new service under one's own name"),
        pytest.param(service(None, **OTHER), service(), None, id="nothing is to be approved, no name"),
        pytest.param(service(BOBS, **OTHER), service(BOBS), "says 'bob'", id="nothing is to be approved, a false name"),
        pytest.param(service(BOBS, **CAREFUL, paused=True), service(BOBS, **CAREFUL), None, id="what starts nothing"),
    ],
)
def test_a_rollout_is_started_under_ones_own_name(new, old, expected):
    answer = judge(asked(new, old), OURS)
    assert answer.is_allowed is (expected is None), answer.message
    assert (expected or "") in answer.message
    assert expected is None or "you are 'alice'" in answer.message


def test_only_the_operator_itself_prunes_not_an_account_that_is_called_like_it():
    pruned = asked(service(), service(said(BY_BOB)), {**OPERATOR, "username": "system:serviceaccount:evil:vedette-operator"})
    assert "is removed by" in judge(pruned, OURS).message
    assert judge(asked(service(), service(said(BY_BOB)), OPERATOR), OURS).is_allowed


def test_a_finalizer_can_go_whatever_the_spec_became():
    document = service(**BAD)
    document["metadata"] |= {"deletionTimestamp": "2026-01-05T08:00:00Z", "finalizers": [FINALIZER]}
    assert judge(asked({**document, "spec": {}}, document), OURS).is_allowed


def test_hints_come_as_warnings():
    unjudged = {"rollout": {"policy": {"steps": [{"setWeight": 50}, {"setWeight": 100}]}}}
    answer = judge(asked(service(**unjudged)), OURS)
    assert answer.is_allowed
    assert any("setWeight" in w for w in answer.warnings)


async def test_the_door_speaks_tls_and_admission_review(tmp_path):
    write_certificate(tmp_path)
    certificate = Certificate(tmp_path)
    counted = []
    runner, port = await listen("127.0.0.1", 0, certificate.context, application(OURS, lambda *told: counted.append(told)))
    trusting = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
    url = f"https://localhost:{port}/validate"
    async with aiohttp.ClientSession() as session:

        async def post(body):
            async with session.post(url, json=body, ssl=trusting) as answer:
                return answer.status, await answer.json()

        kind = {"kind": {"kind": "ModelService"}}
        status, body = await post({"apiVersion": "admission.k8s.io/v1", "request": {**asked(service(**BAD)), **kind}})
        assert (status, body["response"]["uid"], body["response"]["allowed"]) == (200, "u1", False)
        assert "write them in rising order" in body["response"]["status"]["message"]
        status, body = await post({"apiVersion": "admission.k8s.io/v1", "request": {**asked(service()), **kind}})
        assert body["response"]["allowed"]
        assert (await post({"hello": 1}))[0] == 400
    await runner.cleanup()
    assert counted == [("ModelService", "refused"), ("ModelService", "allowed")]
    assert not certificate.refresh()
    write_certificate(tmp_path)
    assert certificate.refresh(), "a renewed certificate is taken up"


def test_a_missing_certificate_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(CertificateMissing, match=r"tls\.crt"):
        Certificate(tmp_path)
