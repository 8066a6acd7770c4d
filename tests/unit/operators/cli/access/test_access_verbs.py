"""`vedette keys` and `vedette access`, typed as the how-to says, and typed wrongly."""

import errno
import json
import os
import re
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operators.cli import acts as cli_acts
from operators.cli.access import keys, policy
from operators.cli.console import CommandError
from serving.access.authentication.api_keys import read_keys
from serving.access.policy_file import AccessPolicyError
from serving.store_layout import FILE, LAYOUT, StoreLayoutError
from tests.docs.pages import ROOT

pytestmark = pytest.mark.heavy

PAGE = (ROOT / "docs/how-to/say-who-may-ask.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """With the how-to's policy."""
    text = re.search(r"<<'EOF'\n(.*?)\n\s*EOF", PAGE, re.DOTALL)[1]
    path = tmp_path / "access.yaml"
    path.write_text("\n".join(line.removeprefix("   ") for line in text.splitlines()))
    monkeypatch.setenv("VEDETTE_ACCESS", str(path))
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(tmp_path / "store"))
    return tmp_path


def typed(app, *words):
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def acts(folder):
    lines = [
        line
        for path in sorted((folder / "store" / "governance").glob("segment-*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return [json.loads(line) for line in lines]


def test_a_key_is_made_shown_once_listed_and_revoked_and_each_act_is_recorded(folder):
    key = typed(keys.app, "create", "soar playbooks", "--role", "scorer", "--expires", "90d", "--why", "SOC-1412").split()[0]
    path = folder / "keys.json"
    entry = read_keys(path).find(key.encode())
    assert (entry.owner, entry.roles, (entry.expires - entry.created).days) == ("soar playbooks", ("scorer",), 90)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (listed,) = json.loads(typed(keys.app, "list", "--json"))
    assert (listed["id"], listed["state"]) == (entry.id, "counts")
    typed(keys.app, "revoke", entry.id, "--why", "left the project")
    assert json.loads(typed(keys.app, "list", "--json"))[0]["state"] == "revoked"
    done = [(act["action"], act["subject"], act["reason"]) for act in acts(folder)]
    assert done == [
        ("access.key.create", f"key:{entry.id}", "SOC-1412"),
        ("access.key.revoke", f"key:{entry.id}", "left the project"),
    ]
    everything = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert key.split("_", 2)[2].encode() not in everything


def test_a_key_goes_to_a_new_file_that_only_its_owner_may_read(folder):
    out = folder / "soar.key"
    assert typed(keys.app, "create", "soar", "--role", "scorer", "--out", str(out)) == ""
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert read_keys(folder / "keys.json").find(out.read_bytes().strip())
    with pytest.raises(FileExistsError):
        typed(keys.app, "create", "soar", "--role", "scorer", "--out", str(out))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "x", "--role", "nobody"], "has no role nobody"),
        (["create", "x", "--role", "scorer", "--tenant", "blue"], "has no tenant blue"),
        (["create", "x", "--role", "scorer", "--expires", "soon"], "90d"),
        (["create", "x", "--role", "scorer", "--expires", "0d"], "90d"),
        (["create", "x", "--role", "scorer", "--expires", "9000y"], "after the year 9999"),
        (["revoke", "abcdefghij"], "has no key"),
    ],
)
def test_what_is_typed_wrongly_is_said_and_changes_nothing(folder, words, said):
    with pytest.raises(CommandError, match=said):
        typed(keys.app, *words)
    assert not (folder / "keys.json").exists() or not read_keys(folder / "keys.json").entries


def test_a_file_that_others_may_write_is_not_extended(folder):
    typed(keys.app, "create", "x", "--role", "scorer")
    (folder / "keys.json").chmod(0o666)
    with pytest.raises(AccessPolicyError, match="chmod"):
        typed(keys.app, "create", "y", "--role", "scorer")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_root_extends_stays_that_of_its_owner_with_its_mode(folder):
    typed(keys.app, "create", "x", "--role", "scorer")
    path = folder / "keys.json"
    os.chown(path, 1234, 2345)
    path.chmod(0o640)
    (folder / ".keys.json.1").write_text("left by a process that was killed")
    typed(keys.app, "create", "y", "--role", "scorer")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o640)
    assert len(read_keys(path).entries) == 2


def test_a_file_whose_owner_could_not_stay_is_left_as_it_is(folder, monkeypatch):
    typed(keys.app, "create", "x", "--role", "scorer")
    path = folder / "keys.json"
    before, status = path.read_bytes(), path.stat()
    monkeypatch.setattr(os, "fchown", refused)
    of_another = os.stat_result((*status[:4], status.st_uid + 1, *status[5:]))
    monkeypatch.setattr(Path, "stat", lambda self, **how: of_another if self.name == "keys.json" else os.stat(self, **how))
    with pytest.raises(CommandError, match="run it as the file's owner"):
        typed(keys.app, "create", "y", "--role", "scorer")
    assert path.read_bytes() == before
    assert {one.name for one in folder.iterdir()} == {"access.yaml", "keys.json", ".keys.json.lock", "store"}


def test_a_link_to_the_file_stays_a_link(folder):
    (folder / "keys.json").symlink_to(folder / "of-today.json")
    typed(keys.app, "create", "x", "--role", "scorer")
    assert (folder / "keys.json").is_symlink()
    assert len(read_keys(folder / "of-today.json").entries) == 1


def test_a_draft_is_not_left_behind_when_the_disk_is_full(folder, monkeypatch):
    monkeypatch.setattr(os, "fsync", is_full)
    with pytest.raises(CommandError, match="No space left"):
        keys._change(folder / "keys.json", list)
    assert {one.name for one in folder.iterdir()} == {"access.yaml", ".keys.json.lock"}


def refused(*_):
    raise PermissionError(errno.EPERM, "Operation not permitted")


def is_full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_lint_says_that_the_policy_can_be_used_and_which_keys_are_about_nothing(folder):
    typed(keys.app, "create", "x", "--role", "scraper")
    assert "can be used" in typed(policy.app, "lint")
    path = folder / "access.yaml"
    path.write_text(path.read_text().replace("scraper:", "scrapers:"))
    (warning,) = json.loads(typed(policy.app, "lint", "--json"))["warnings"]
    assert "roles that are not there: scraper" in warning


def explained(*words):
    return {one["verb"]: (one["allowed"], one["why"]) for one in json.loads(typed(policy.app, "explain", *words, "--json"))}


def test_explain_says_what_is_allowed_and_by_which_rule(folder):
    assert explained("--role", "scorer", "--model", "flows")["infer"] == ("yes", "role scorer grants the verb for flows*")
    assert explained("--role", "scorer", "--model", "other")["infer"][0] == "no"
    assert explained()["health"] == ("yes", "the verb is open to everybody")
    assert explained()["infer"] == ("no", "no role of the caller grants the verb")
    key = json.loads(typed(keys.app, "create", "x", "--role", "deployer", "--json"))
    assert explained("--key", key["id"])["repository"][0] == "yes"


def test_explain_of_a_token_by_its_claims(folder):
    path = folder / "access.yaml"
    path.write_text(
        path.read_text()
        + "\nissuers: [{name: corp, issuer: 'https://i.test', audiences: [v], callers: [{claims: {groups: de}, roles: [deployer]}]}]\n"
    )
    assert explained("--claim", "sub=ann", "--claim", "groups=x", "--claim", "groups=de")["repository"][0] == "yes"
    assert explained("--claim", "sub=ann")["repository"][0] == "no"


def test_without_a_policy_the_verbs_say_how_to_name_one(tmp_path, monkeypatch):
    monkeypatch.delenv("VEDETTE_ACCESS", raising=False)
    for app, words in ((keys.app, ["list"]), (policy.app, ["lint"])):
        with pytest.raises(CommandError, match="VEDETTE_ACCESS"):
            typed(app, *words)


def test_a_policy_that_cannot_be_used_is_an_error_that_names_the_place(folder):
    Path(folder / "access.yaml").write_text("version: 1\nroles: {a: [{verbs: [infre]}]}")
    with pytest.raises(AccessPolicyError, match=r"roles\.a\.0\.verbs"):
        typed(policy.app, "lint")


def test_where_the_store_is_refused_no_file_with_a_key_is_left_that_no_door_knows(folder):
    (folder / "store").mkdir()
    (folder / "store" / FILE).write_text(json.dumps({"layout": LAYOUT + 1}))
    out = folder / "soar.key"
    with pytest.raises(StoreLayoutError):
        typed(keys.app, "create", "soar", "--role", "scorer", "--out", str(out))
    assert not out.exists()
    assert not (folder / "keys.json").exists()


def test_where_the_file_of_keys_cannot_be_used_no_key_is_left_and_no_act_is_recorded(folder):
    typed(keys.app, "create", "x", "--role", "scorer")
    (folder / "keys.json").chmod(0o666)
    out = folder / "soar.key"
    with pytest.raises(AccessPolicyError, match="chmod"):
        typed(keys.app, "create", "soar", "--role", "scorer", "--out", str(out))
    assert not out.exists()
    assert [act["action"] for act in acts(folder)] == ["access.key.create"]


def test_an_act_that_cannot_be_recorded_is_named_and_nothing_is_done(folder, monkeypatch):
    key = json.loads(typed(keys.app, "create", "x", "--role", "scorer", "--json"))
    before = (folder / "keys.json").read_bytes()
    monkeypatch.setattr(cli_acts, "record_act", is_full)
    out = folder / "soar.key"
    for words in (["create", "soar", "--role", "scorer", "--out", str(out)], ["revoke", key["id"]]):
        with pytest.raises(CommandError, match=r"the act cannot be recorded, so nothing was changed: .*No space left"):
            typed(keys.app, *words)
    assert not out.exists()
    assert (folder / "keys.json").read_bytes() == before


def test_what_is_told_of_a_key_says_where_it_is(folder):
    out = folder / "soar.key"
    told = " ".join(CliRunner().invoke(keys.app, ["create", "soar", "--role", "scorer", "--out", str(out)]).output.split())
    assert f"the key itself is in {out}" in told
    assert "shown this once" not in told
