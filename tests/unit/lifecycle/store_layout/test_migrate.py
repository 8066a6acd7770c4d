"""Migrations of a store: killed at any moment they lose nothing, and nothing newer or half-done is ever used."""

import fcntl
import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from lifecycle.governance.acts import Act, ActsLog
from lifecycle.store_layout.migration import MIGRATIONS, Migration, MovePath, RewriteJson
from lifecycle.store_layout.run import migrate, plan_of, prepare
from operators.cli.main import app
from serving.store_layout import FILE, JOURNAL, LAYOUT, StoreLayoutError, check_readable, read_layout


def renamed(document):
    return {("digest" if name == "sha" else name): value for name, value in document.items()}


TRIAL = (
    *MIGRATIONS,
    Migration(
        1,
        "a trial",
        (
            MovePath("names", "models/names"),
            RewriteJson("models/names/*.json", renamed, "`sha` is called `digest`"),
            MovePath("note.txt", "notes/first.txt"),
        ),
    ),
    Migration(2, "another", (RewriteJson("models/names/*.json", lambda d: {**d, "seen": True}, "`seen` is there"),)),
)
"""Layouts 2 and 3 are of these tests only."""


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "store"
    (root / "names").mkdir(parents=True)
    for name in "ab":
        (root / "names" / f"{name}.json").write_text(json.dumps({"sha": name}))
    (root / "note.txt").write_text("as it was")
    ActsLog(root / "governance", signer=lambda: None, now_us=lambda: 1).record(
        Act(time_us=1, actor="ada", action="a.b", subject="c", reason="d")
    )
    return root


def contents(root):
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def migrated(store, tmp_path):
    """What a store becomes if nothing goes wrong."""
    whole = tmp_path / "whole"
    shutil.copytree(store, whole)
    migrate(whole, version="9", migrations=TRIAL)
    return contents(whole)


def killed_at(store, moment):
    """Migrate in a process that is killed at its nth moment; whether it was."""
    child = os.fork()
    if child == 0:
        seen = 0

        def reached(_):
            nonlocal seen
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            migrate(store, version="9", migrations=TRIAL, reached=reached)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.heavy
def test_killed_at_each_moment_it_goes_on_where_it_was(store, tmp_path):
    expected, log = migrated(store, tmp_path), contents(store / "governance")
    moment, deaths = 1, 0
    while True:
        copy = tmp_path / f"copy-{moment}"
        shutil.copytree(store, copy)
        if not killed_at(copy, moment):
            break
        deaths += 1
        plan = plan_of(copy, TRIAL)
        if plan.is_unfinished:
            with pytest.raises(StoreLayoutError, match="vedette store migrate"):
                check_readable(copy)
        migrate(copy, version="9", migrations=TRIAL)
        assert contents(copy) == expected, f"killed at moment {moment}"
        assert contents(copy / "governance") == log
        moment += 1
    assert deaths > 15


@pytest.mark.heavy
def test_killed_again_and_again_it_ends_all_the_same(store, tmp_path):
    expected = migrated(store, tmp_path)
    while killed_at(store, 6):  # six moments are more than one step has
        pass
    assert contents(store) == expected


def test_what_it_becomes(store):
    told = []
    plan = migrate(store, version="9", migrations=TRIAL, told=told.append)
    assert (plan.layout, plan.target, read_layout(store)) == (0, 3, 3)
    assert json.loads((store / "models/names/a.json").read_text()) == {"digest": "a", "seen": True}
    assert (store / "notes/first.txt").read_text() == "as it was"
    assert told[0] == "move names to models/names"
    assert not (store / JOURNAL).exists()
    before = contents(store)
    migrate(store, version="10", migrations=TRIAL)
    assert contents(store) == before, "a second time does nothing"


def test_a_store_from_before_layouts_is_registered_and_nothing_else_changes(store):
    before = contents(store)
    prepare(store, "0.1.0")
    after = contents(store)
    assert json.loads(after.pop(FILE)) == {"layout": LAYOUT, "written_by": "0.1.0", "kind": "vedette store"}
    assert after == before
    check_readable(store)


def test_a_new_store_has_the_newest_layout(tmp_path):
    prepare(tmp_path / "new", "0.1.0")
    assert read_layout(tmp_path / "new") == LAYOUT
    prepare(tmp_path / "later", "9", TRIAL)
    assert read_layout(tmp_path / "later") == len(TRIAL), "there is nothing to migrate"


def test_serving_a_store_that_needs_steps_says_what_to_run_and_changes_nothing(store):
    before = contents(store)
    with pytest.raises(StoreLayoutError, match=r"backup.*vedette store migrate --dry-run"):
        prepare(store, "9", TRIAL)
    assert contents(store) == before


def test_a_newer_store_is_refused_and_left_alone(store):
    (store / FILE).write_text(json.dumps({"layout": LAYOUT + 1, "written_by": "9.0", "more": [1]}))
    before = contents(store)
    for use in (check_readable, plan_of, lambda root: prepare(root, "1"), lambda root: migrate(root, version="1")):
        with pytest.raises(StoreLayoutError, match=f"has layout {LAYOUT + 1}.*newer version"):
            use(store)
    assert contents(store) == before


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StoreLayoutError, match="there is no store"):
        plan_of(tmp_path / "none")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"layout": "one"}', b'{"layout": 0}', b"[" * 100_000])
def test_a_layout_file_that_says_nothing_is_refused(store, raw):
    (store / FILE).write_bytes(raw)
    with pytest.raises(StoreLayoutError, match="backup"):
        check_readable(store)


def test_a_journal_of_another_version_or_a_damaged_one_is_refused(store):
    (store / JOURNAL).write_text('{"source": 7, "target": 8, "done": 1}')
    with pytest.raises(StoreLayoutError, match="finish it with that version"):
        plan_of(store)
    (store / JOURNAL).write_text("{")
    with pytest.raises(StoreLayoutError, match="backup"):
        plan_of(store)


def test_a_place_that_is_taken_is_said_and_mended_by_hand(store):
    (store / "models/names").mkdir(parents=True)
    with pytest.raises(StoreLayoutError, match="is there already"):
        migrate(store, version="9", migrations=TRIAL)
    (store / "models/names").rmdir()
    assert migrate(store, version="9", migrations=TRIAL).is_unfinished
    assert read_layout(store) == 3


def test_a_document_that_is_no_json_is_named(store):
    (store / "names" / "b.json").write_text("{")
    with pytest.raises(StoreLayoutError, match=r"b\.json is no JSON"):
        migrate(store, version="9", migrations=TRIAL)


@pytest.mark.parametrize("place", ["audit/x", "governance", "labels/a.json", "*/x", "../x", "/etc/x"])
def test_no_step_touches_a_chained_log_or_leaves_the_store(place):
    with pytest.raises(ValueError, match="must not touch"):
        Migration(1, "no", (MovePath("x", place),))


def test_two_do_not_migrate_at_once(store):
    with (store / ".migrating.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreLayoutError, match="another process"):
            migrate(store, version="9")


def test_a_store_that_is_served_is_not_moved(store):
    (store / "replicas").mkdir()
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    (store / "replicas/x.json").write_text(
        json.dumps({"identity": "x", "host": socket.gethostname(), "pid": os.getpid(), "started": started, "port": 1})
    )
    with pytest.raises(StoreLayoutError, match=r"stop `vedette up`"):
        migrate(store, version="9", migrations=TRIAL)
    migrate(store, version="9")
    assert read_layout(store) == LAYOUT, "to register the layout disturbs nobody"


def test_there_is_a_way_from_every_layout_to_this_versions():
    assert [each.source for each in MIGRATIONS] == list(range(LAYOUT))


def test_a_store_that_needs_nothing_is_not_written_to(store):
    from typer.testing import CliRunner

    prepare(store, "0.1.0")
    (store / ".migrating.lock").unlink()
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    done = CliRunner().invoke(app, ["store", "migrate", "--store-dir", str(store)])
    assert "nothing to do" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_the_verb_says_what_it_will_do_does_it_and_is_then_done(store):
    from typer.testing import CliRunner

    def said(*options):
        done = CliRunner().invoke(app, ["store", "migrate", "--store-dir", str(store), *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    planned = json.loads(said("--dry-run", "--json"))
    assert (planned["layout"], planned["target"], planned["done"], planned["steps"]) == (0, LAYOUT, False, [])
    assert "nothing was changed" in said("--dry-run")
    assert not (store / FILE).exists()
    assert f"has layout {LAYOUT}" in said()
    assert "nothing to do" in said()
