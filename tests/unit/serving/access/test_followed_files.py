"""The files are followed: what changes counts, what is wrong changes nothing."""

import json
import os
import resource

import pytest

from serving.access.authentication.api_keys import ApiKeyEntry, keys_text, new_key, utc
from serving.access.followed_files import AccessFiles, read_policy
from serving.access.policy_file import AccessPolicyError
from serving.access.verbs import Verb

TEXT = "version: 1\nroles: {scorer: [{verbs: [infer]}]}\nanonymous: [scorer]\nkeys: keys.json\n"


@pytest.fixture
def world(tmp_path):
    write(tmp_path / "access.yaml", TEXT)
    files = AccessFiles(tmp_path / "access.yaml")
    files.start()
    return tmp_path, files


def write(path, text):
    """As a Secret is replaced: another file under the same name."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.chmod(0o600)
    draft.replace(path)


def one_key():
    _, identity, digest = new_key(os.urandom)
    return keys_text([ApiKeyEntry(id=identity, sha256=digest, owner="o", roles=("scorer",), created=utc(1e9))]).decode()


def test_a_policy_that_changes_counts(world):
    folder, files = world
    assert not files.look()
    write(folder / "access.yaml", TEXT + "open: [health]\n")
    assert files.look()
    assert files.policy.open == {Verb.HEALTH}


@pytest.mark.parametrize("damage", ["gone", "no YAML", "writable by others", "a word that is none", "no UTF-8"])
def test_a_policy_that_cannot_be_used_keeps_the_one_before(world, damage):
    folder, files = world
    path, before = folder / "access.yaml", files.policy
    if damage == "gone":
        path.unlink()
    elif damage == "writable by others":
        path.chmod(0o666)
    elif damage == "no UTF-8":
        path.write_bytes(b"version: \xff")
    else:
        write(path, {"no YAML": "[", "a word that is none": "version: 1\nopenn: []"}[damage])
    assert not files.look()
    assert files.policy is before
    (problem,) = [line for line in files.problems() if "policy" in line]
    assert str(folder) not in problem
    write(path, TEXT)
    files.look()
    assert not [line for line in files.problems() if "policy" in line]


def test_a_policy_without_end_is_not_read_into_memory(world):
    folder, files = world
    before = files.policy
    path = folder / "huge.yaml"
    path.touch(0o600)
    os.truncate(path, 1 << 42)
    path.replace(folder / "access.yaml")
    assert not files.look()
    assert files.policy is before
    with pytest.raises(AccessPolicyError, match="larger than 1048576 bytes"):
        read_policy(folder / "access.yaml")


def test_keys_that_are_not_there_count_as_none_until_they_are(world):
    folder, files = world
    assert not files.keys.entries
    assert any("keys" in line for line in files.problems())
    write(folder / "keys.json", one_key())
    assert files.look()
    assert len(files.keys.entries) == 1
    write(folder / "keys.json", "{")
    assert not files.look()
    assert len(files.keys.entries) == 1
    values = {doc.name: values for doc, values in files.metrics()}
    assert values["vedette_access_file_failing"] == {("policy",): 0.0, ("keys",): 1.0}


def test_a_policy_that_names_other_keys_has_them_at_once(world):
    folder, files = world
    write(folder / "other.json", one_key())
    write(folder / "access.yaml", TEXT.replace("keys.json", "other.json"))
    assert files.look()
    assert len(files.keys.entries) == 1
    write(folder / "access.yaml", TEXT.replace("keys: keys.json\n", ""))
    assert files.look()
    assert not files.keys.entries


@pytest.mark.parametrize("text", [None, "", "version: 1\nroles: 7"])
def test_at_the_start_a_policy_that_cannot_be_used_is_an_error(tmp_path, text):
    path = tmp_path / "access.yaml"
    if text is not None:
        write(path, text)
    with pytest.raises(AccessPolicyError, match=r"access\.yaml"):
        AccessFiles(path).start()


def test_a_mounted_secret_is_followed_through_its_links(tmp_path):
    """Kubernetes replaces the link ..data, and never the file's name."""
    for name, text in (("one", TEXT), ("two", json.dumps({"version": 1}))):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "access.yaml", text)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "access.yaml").symlink_to("..data/access.yaml")
    files = AccessFiles(tmp_path / "access.yaml")
    files.start()
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").replace(tmp_path / "..data")
    assert files.look()
    assert not files.policy.roles


def test_keys_that_cannot_be_read_for_a_moment_are_read_at_the_next_look(world):
    """A process may be out of descriptors just when a key is revoked: the file does not change again, and the key must end all the same."""
    folder, files = world
    write(folder / "keys.json", one_key())
    files.look()
    assert len(files.keys.entries) == 1
    write(folder / "keys.json", '{"keys": []}')
    write(folder / "access.yaml", TEXT + "open: [health]\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert [files.look(), files.look()] == [False, False]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert files.look()
    assert not files.keys.entries
    assert files.policy.open == {Verb.HEALTH}
    assert files.problems() == ()
    assert files._reads["keys", "refused"] == 2, "told once, and once at the start when there were none"
