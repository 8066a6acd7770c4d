"""Signing in with an API key: whose records it is for, and for how long it counts."""

import json
import os
import time

import pytest

from operators.console.sign_in import SignIn, SignInRefused
from serving.access.authentication import authenticator
from serving.access.authentication.api_keys import ApiKeyEntry, keys_text, new_key, utc


@pytest.fixture
def policy(tmp_path):
    """(the policy's file, a key of an SRE who is narrowed to models)"""
    key, identity, digest = new_key(os.urandom)
    entry = ApiKeyEntry(
        id=identity,
        sha256=digest,
        owner="sam",
        roles=("console-sre",),
        models=("dns-*",),
        created=utc(time.time()),
        expires=None,
    )
    (tmp_path / "keys.json").write_bytes(keys_text([entry]))
    path = tmp_path / "access.yaml"
    path.write_text(json.dumps({"version": 1, "roles": {"console-sre": [{"verbs": ["health"]}]}, "keys": "keys.json"}))
    for one in tmp_path.iterdir():
        one.chmod(0o600)
    return path, key


async def test_the_models_of_a_key_are_handed_over(policy):
    path, key = policy
    person, _ = await SignIn(None, path).by_credentials(key, "10.0.0.1")
    assert person.models.patterns == ("dns-*",)
    assert not person.sees_all


async def test_who_signs_in_again_has_a_whole_session(policy, monkeypatch):
    path, key = policy
    sign_in = SignIn(None, path)
    monkeypatch.setattr(authenticator, "LONGEST_S", 60.0)
    await sign_in.by_credentials(key, "10.0.0.1")
    monkeypatch.setattr(authenticator, "LONGEST_S", 3600.0)
    _, lasts_s = await sign_in.by_credentials(key, "10.0.0.1")
    assert lasts_s > 60, "not what is left of the first one"


async def test_a_wrong_key_is_refused_again_and_again(policy):
    sign_in = SignIn(None, policy[0])
    for _ in range(2):
        with pytest.raises(SignInRefused, match="not accepted"):
            await sign_in.by_credentials("vdt_wrong", "10.0.0.1")
