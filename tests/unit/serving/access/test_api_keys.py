"""API keys: their text, the file, and what a file must not be."""

import json
import os

import pytest

from serving.access.authentication.api_keys import ApiKeyEntry, ApiKeys, keys_text, new_key, read_keys, utc
from serving.access.policy_file import AccessPolicyError

NOW = 1_800_000_000.0


def entry(digest, identity="abcdefghij", **more):
    return ApiKeyEntry(id=identity, sha256=digest, owner="soar", roles=("scorer",), created=utc(NOW), **more)


def made(**more):
    key, identity, digest = new_key(os.urandom)
    return key, entry(digest, identity, **more)


def written(path, entries, mode=0o600):
    path.write_bytes(keys_text(entries))
    path.chmod(mode)
    return path


def test_a_key_is_found_by_its_whole_text_only(tmp_path):
    key, one = made()
    _, other = made()
    keys = read_keys(written(tmp_path / "keys.json", [one, other]))
    assert keys.find(key.encode()) == one
    changed, borrowed = key[:-1] + ("A" if key[-1] != "A" else "B"), f"vdk_{other.id}_{key.split('_', 2)[2]}"
    for wrong in (changed, borrowed, key + "A", key.upper(), "", "vdk__"):
        assert keys.find(wrong.encode()) is None


def test_the_file_holds_no_key(tmp_path):
    key, one = made()
    assert key.split("_", 2)[2] not in written(tmp_path / "keys.json", [one]).read_text()


def test_keys_are_never_alike():
    assert len({new_key(os.urandom)[0] for _ in range(1000)}) == 1000


def test_a_key_ends_when_it_expires_or_is_revoked():
    _, one = made()
    assert one.until_s() == float("inf")
    assert one.model_copy(update={"expires": utc(NOW + 5)}).until_s() == NOW + 5
    assert one.model_copy(update={"revoked": utc(NOW)}).until_s() == 0.0


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(tmp_path, mode):
    with pytest.raises(AccessPolicyError, match="chmod go-w"):
        read_keys(written(tmp_path / "keys.json", [made()[1]], mode))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o440])
def test_a_file_that_others_may_read_is_not_because_digests_help_nobody(tmp_path, mode):
    assert len(read_keys(written(tmp_path / "keys.json", [made()[1]], mode)).entries) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a file of keys"),
        ("[]", "not a file of keys"),
        ('{"keys": 7}', "not a file of keys"),
        ("[" * 100_000, "not a file of keys"),
        ('{"keys": [{"id": "abcdefghij"}]}', "sha256"),
        (json.dumps({"keys": [entry("0" * 64).model_dump(mode="json")] * 2}), "same id"),
        (json.dumps({"keys": [entry("0" * 64).model_dump(mode="json") | {"key": "vdk_x"}]}), "key"),
    ],
)
def test_a_file_is_refused_that_says(tmp_path, text, said):
    path = tmp_path / "keys.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(AccessPolicyError, match=said):
        read_keys(path)


def test_a_file_that_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(AccessPolicyError, match="vedette keys create"):
        read_keys(tmp_path / "keys.json")


def test_a_key_that_is_no_text_is_no_key():
    assert ApiKeys({}).find(b"\xff\xfe") is None
