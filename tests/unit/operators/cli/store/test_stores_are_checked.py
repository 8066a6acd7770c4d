"""Every verb that opens a store refuses one that this version cannot use, before it does anything. The way out is `store migrate`."""

import json
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer
from click.testing import CliRunner

from lifecycle.governance.acts import ActsLog
from lifecycle.store_layout import run
from lifecycle.store_layout.migration import MIGRATIONS, Migration, MovePath
from operators.cli.main import app
from serving.audit.keys.keyring import ensure_key, pin
from serving.launch import pod, stream
from serving.loading.served_file import ServedFile
from serving.spec import ServingSpec
from serving.store_layout import FILE, JOURNAL, LAYOUT, OLDEST, StoreLayoutError, check_readable, read_layout, say_layout
from tests.fakes.audit.honest_logs import write_honest_logs
from tests.fakes.audit.packages import write_store

TRIAL = (*MIGRATIONS, Migration(1, "a trial", (MovePath("note.txt", "notes/first.txt"),)))


def verbs(command, words=()):
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from verbs(inner, (*words, name))
        if not command.invoke_without_command:
            return
    if any(option.name == "store_dir" for option in command.params):
        yield words


GROUP = typer.main.get_command(app)  # made once: it takes a tenth of a second
VERBS = [words for words in verbs(GROUP) if words != ("store", "migrate")]


LABEL = ("label", "give", "e-1", "--verdict", "attack", "--unseen", "--model", "flows")


def invoke(*words):
    return CliRunner().invoke(GROUP, [str(word) for word in words])


def everything(root):
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [root, *root.rglob("*")]
    }


@pytest.fixture
def newer(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    (store / FILE).write_text(json.dumps({"layout": LAYOUT + 1}))
    return store


@pytest.fixture
def older(tmp_path, monkeypatch):
    """A store of layout 0, for a version that has a migration with steps."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "note.txt").write_text("as it was")
    monkeypatch.setattr(run.plan_of, "__defaults__", (TRIAL,))
    monkeypatch.setattr(run.migrate, "__kwdefaults__", {**run.migrate.__kwdefaults__, "migrations": TRIAL})
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(store))
    return store


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_newer_store_is_refused_by_every_verb_and_left_alone(words, newer):
    before = everything(newer)
    # what the verb needs besides is filled in, so that nothing else is wrong
    needed = [p for p in _command(words).params if p.required]
    rest = [word for p in needed for word in ([p.opts[0], "1"] if p.param_type_name == "option" else ["1"])]
    done = invoke(*words, "--store-dir", newer, *rest)
    assert isinstance(done.exception, StoreLayoutError), done.output
    assert f"has layout {LAYOUT + 1}" in str(done.exception)
    assert everything(newer) == before


def _command(words):
    command = GROUP
    for word in words:
        command = command.commands[word]
    return command


@pytest.mark.parametrize(
    "words", [("models",), ("keys", "create", "ada", "--role", "r", "--file", "keys.yaml"), ("rollout", "get")], ids=" ".join
)
def test_the_store_of_the_settings_is_checked_too(words, newer, monkeypatch, tmp_path):
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(newer))
    monkeypatch.chdir(tmp_path)
    done = invoke(*words)
    assert isinstance(done.exception, StoreLayoutError), done.output


def test_an_older_store_with_steps_is_refused_with_the_verb_that_mends_it(older):
    with pytest.raises(StoreLayoutError, match=r"has layout 0, .* needs layout 2.*vedette store migrate --dry-run --store-dir"):
        check_readable(older, oldest=2, newest=2)
    say_layout(older, oldest=2, newest=2)
    assert not (older / FILE).exists(), "nobody says that a migration was done which was not"
    run.migrate(older, version="9", migrations=TRIAL)
    check_readable(older, oldest=2, newest=2)


def test_an_older_store_without_steps_goes_on_and_a_reader_writes_nothing(tmp_path):
    (tmp_path / "audit").mkdir()
    before = everything(tmp_path)
    assert invoke("models", "--store-dir", tmp_path).exit_code == 0
    assert everything(tmp_path) == before


def test_a_store_that_is_not_there_or_empty_is_new_and_not_old(tmp_path):
    check_readable(tmp_path / "none", oldest=2, newest=2)
    check_readable(tmp_path, oldest=2, newest=2)
    say_layout(tmp_path / "none", oldest=2, newest=2)
    assert read_layout(tmp_path / "none") == 2


def test_what_is_called_usable_as_it_is_needs_no_step():
    assert all(not each.steps for each in MIGRATIONS[OLDEST:])
    assert OLDEST == 0 or MIGRATIONS[OLDEST - 1].steps, "older ones could be used too"


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda store: ensure_key(store), id="a key"),
        pytest.param(lambda store: ServedFile(store).write(ServingSpec(models=())), id="what is served"),
        pytest.param(lambda store: invoke("risk", "top", "--store-dir", store), id="the ledger of risks"),
        pytest.param(lambda store: invoke(*LABEL, "--store-dir", store), id="a label"),
    ],
)
def test_the_first_write_says_the_layout(write, tmp_path, monkeypatch):
    monkeypatch.setenv("VEDETTE_AUDIT_KEY", str(tmp_path / "mounted.pem"))  # else the store's own key is the first write
    write(tmp_path / "store")
    assert read_layout(tmp_path / "store") == LAYOUT


def test_the_layout_is_said_once_whoever_is_first(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: say_layout(tmp_path), range(64)))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    (tmp_path / FILE).write_text('{"layout": 7}')
    say_layout(tmp_path)
    assert read_layout(tmp_path) == 7, "what is there is never replaced"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda store: (store / FILE).write_bytes(b'{"lay'), id="half-written"),
        pytest.param(lambda store: (store / FILE).mkdir(), id="a folder"),
        pytest.param(lambda store: (store.rmdir(), store.write_bytes(b"")), id="the store is a file"),
    ],
)
def test_a_layout_that_cannot_be_read_is_one_message_with_the_way_out(damage, tmp_path, caplog, monkeypatch):
    store = tmp_path / "store"
    store.mkdir()
    damage(store)
    for words in (("models",), ("store", "migrate"), ("store", "migrate", "--dry-run"), ("up",)):
        done = invoke(*words, "--store-dir", store)
        assert isinstance(done.exception, StoreLayoutError), (words, done.output)
        assert any(way in str(done.exception) for way in ("backup", "give this user the right", "names its folder"))
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(store))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for process in (pod, stream):
        monkeypatch.setattr(process, "configure_logging", lambda _: None)
        caplog.clear()
        assert process.main() == 1
        assert "cannot be read" in caplog.text


def test_a_dry_run_changes_nothing(older):
    before = everything(older)
    planned = json.loads(invoke("store", "migrate", "--dry-run", "--json").stdout)
    assert planned["steps"] == ["move note.txt to notes/first.txt"]
    assert everything(older) == before


def acts(store):
    return [each.action for each in ActsLog(store / "governance", signer=lambda: None, now_us=lambda: 0).read()]


@pytest.mark.heavy
def test_a_migration_is_recorded_once_it_may_begin_and_not_where_it_is_refused(older):
    with run._alone(older):
        done = invoke("store", "migrate")
        assert "another process migrates it now" in str(done.exception)
        assert not (older / "governance").exists(), "what was refused did not happen"
    assert invoke("store", "migrate").exit_code == 0
    assert acts(older) == ["store.migrate"]
    assert (older / "notes/first.txt").read_text() == "as it was"


@pytest.mark.heavy
def test_of_two_migrations_at_once_one_is_done_and_recorded(older):
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()

    def one():
        start.wait()
        done = invoke("store", "migrate")
        results.put((done.exit_code, str(done.exception or "")))

    both = [context.Process(target=one) for _ in range(2)]
    for each in both:
        each.start()
    start.set()
    ended = [results.get(timeout=60) for _ in both]
    for each in both:
        each.join()
    assert (0, "") in ended
    assert all(code == 0 or "another process" in words for code, words in ended)
    assert acts(older) == ["store.migrate"]
    check_readable(older, newest=2)


@pytest.mark.heavy
def test_one_that_was_killed_half_way_is_finished_by_the_verb(older):
    child = os.fork()
    if child == 0:

        def reached(moment):
            if moment == "moved":
                os.kill(os.getpid(), 9)

        try:
            run.migrate(older, version="9", migrations=TRIAL, reached=reached)
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert (older / JOURNAL).exists()
    refused = invoke("models")
    assert "a migration was not finished; run `vedette store migrate" in str(refused.exception)
    assert json.loads(invoke("store", "migrate", "--json").stdout)["resumed"]
    assert read_layout(older) == 2
    assert (older / "notes/first.txt").read_text() == "as it was"
    assert not (older / JOURNAL).exists()


def test_no_folder_of_a_store_is_made_by_a_verb_that_only_looks(tmp_path):
    invoke("models", "--store-dir", tmp_path / "none")
    assert not Path(tmp_path / "none").exists()


@pytest.fixture
def sound(tmp_path):
    """A store that can be verified, and a folder with its key."""
    store = tmp_path / "sound"
    logs = write_honest_logs(store / "audit", 300)
    pin(tmp_path / "trusted", logs.first.verifier)
    return store, tmp_path / "trusted"


@pytest.mark.heavy
def test_a_log_of_another_store_is_verified_whatever_the_store_of_the_settings_is(sound, newer, monkeypatch):
    store, keys = sound
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(newer))
    for folder in (store, store / "audit"):
        assert invoke("audit", "verify", folder, "--keys", keys).exit_code == 0


def test_where_the_keys_of_a_newer_store_would_count_the_way_out_is_said(sound, newer, monkeypatch):
    store, _ = sound
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(newer))
    done = invoke("audit", "verify", store)
    assert isinstance(done.exception, StoreLayoutError)
    assert "--keys names a folder of others" in str(done.exception)


def test_a_newer_store_that_is_named_as_a_folder_is_refused_too(sound, newer, tmp_path):
    (newer / "audit").mkdir()
    done = invoke("audit", "verify", newer, "--keys", sound[1])
    assert isinstance(done.exception, StoreLayoutError), done.output


def test_a_proof_is_checked_whatever_the_store_of_the_settings_is(newer, monkeypatch, tmp_path):
    written = write_store(tmp_path / "other")
    pin(tmp_path / "trusted", written.logs.first.verifier)
    pin(tmp_path / "other" / "keys" / "trusted", written.logs.first.verifier)
    path = next((tmp_path / "other" / "audit").glob("segment-*-alpha-000003.jsonl"))
    receipt, proof = json.loads(path.read_bytes().splitlines()[2])["receipt"], tmp_path / "proof.json"
    assert invoke("audit", "receipt", receipt, "--out", proof, "--store-dir", tmp_path / "other").exit_code == 0
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(newer))
    assert invoke("audit", "receipt", "--check", proof, "--keys", tmp_path / "trusted").exit_code == 0
    assert isinstance(invoke("audit", "receipt", "--check", proof).exception, StoreLayoutError)


def test_the_tail_of_a_folder_is_shown_whatever_the_store_of_the_settings_is(sound, newer, monkeypatch):
    monkeypatch.setenv("VEDETTE_STORE_DIR", str(newer))
    assert invoke("audit", "tail", sound[0] / "audit", "--no-follow").exit_code == 0
