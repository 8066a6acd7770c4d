"""Tokens of service accounts at guarded doors, of a real API server. In the component `access` the operator shows its own, and
replicas ask the API server for its keys with theirs."""

import os
import time
from pathlib import Path

import pytest

from serving.access.authentication.api_keys import NO_KEYS
from serving.access.credentials import Credentials
from serving.access.gate import Gate
from serving.access.policy_file import parse_policy
from serving.access.verbs import Verb
from serving.errors import Unauthenticated, Unavailable

OPERATOR, REPLICA = "vedette-operator", "vedette-replica"
POLICY = """
version: 1
open: [health]
roles: {{operator: [{{verbs: [metrics]}}]}}
issuers:
- name: cluster
  issuer: {issuer}
  audiences: [vedette]
  keys: {url}/openid/v1/jwks
  ca: {ca}
  bearer: {bearer}
  callers:
  - {{claims: {{sub: "system:serviceaccount:{namespace}:vedette-operator"}}, roles: [operator]}}
"""


@pytest.fixture
def tokens(api_server, namespace):
    """Makes tokens of service accounts."""
    if not api_server.real:
        pytest.skip("the fake API server makes no tokens")
    with api_server.http() as http:
        for name in (OPERATOR, REPLICA):
            made = http.post(f"/api/v1/namespaces/{namespace}/serviceaccounts", json={"metadata": {"name": name}})
            made.raise_for_status()

        def token(name: str, *audiences: str) -> bytes:
            asked = {"spec": {"audiences": list(audiences), "expirationSeconds": 600}}
            answer = http.post(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", json=asked)
            answer.raise_for_status()
            return answer.json()["status"]["token"].encode()

        yield token


@pytest.fixture
def gate(api_server, namespace, tokens, tmp_path):
    with api_server.http() as http:
        issuer = http.get("/.well-known/openid-configuration").json()["issuer"]
    (tmp_path / "bearer").write_bytes(tokens(REPLICA))
    text = POLICY.format(
        issuer=issuer, url=api_server.url, ca=api_server.authority, bearer=tmp_path / "bearer", namespace=namespace
    )
    return Gate(parse_policy(text, Path(tmp_path / "access.yaml")), NO_KEYS, random=os.urandom)


async def asks(gate, token, verb=Verb.METRICS):
    shown = Credentials(b"Bearer " + token)
    return gate.recall(shown, verb, None, "http") or await gate.verify(shown, verb, None, "http")


async def test_the_operator_s_token_reads_metrics_and_nobody_else_s_does(gate, tokens, namespace):
    caller = (await asks(gate, tokens(OPERATOR, "vedette"))).caller
    assert caller.name == f"token:cluster:system:serviceaccount:{namespace}:{OPERATOR}"
    with pytest.raises(Unauthenticated):
        await asks(gate, tokens(OPERATOR))  # for the API server
    with pytest.raises(Exception, match="may not do this"):
        await asks(gate, tokens(REPLICA, "vedette"))
    with pytest.raises(Exception, match="may not do this"):
        await asks(gate, tokens(OPERATOR, "vedette"), Verb.INFER)


async def test_a_replica_that_may_not_ask_for_the_keys_says_503_and_not_who_is_wrong(gate, tokens, tmp_path):
    (tmp_path / "bearer").write_text("forged")
    with pytest.raises(Unavailable):
        await asks(gate, tokens(OPERATOR, "vedette"))
    (key_set,) = gate.authenticator.key_sets.values()
    assert "401" in key_set.problem


async def test_a_token_says_when_it_ends(gate, tokens):
    known = (await asks(gate, tokens(OPERATOR, "vedette"))).caller
    assert known.method == "token"
    (remembered,) = gate.authenticator._known.values()
    assert 0 < remembered.until_s - time.time() <= 600 + 30 + 5
