"""`vedette registry`: from a store to a registry and back, promoted, signed, collected; every change with who and why."""

import errno
import getpass
import json
import os

import pytest
from typer.testing import CliRunner

from lifecycle.governance.acts import ActsLog
from lifecycle.governance.registry.errors import Damaged
from operators.cli.console import CommandError
from operators.cli.main import app
from operators.labs.simple_model import build_simple
from serving.loading.served_file import ServedFile
from serving.models.build import build_bundle
from serving.models.errors import BundleError, UntrustedBundle
from serving.models.store import BundleStore
from serving.spec import ModelSpec, RevisionSpec, ServingSpec

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    first = build_simple(folder / "1")
    model = (first.folder / "model.onnx").read_bytes()
    return [first, *(build_bundle(folder / v, model=model, name="simple", version=v) for v in "23")]


@pytest.fixture
def store(tmp_path, bundles):
    store = BundleStore(tmp_path / "store")
    for bundle in bundles:
        store.add(bundle)
    return store


@pytest.fixture
def run(tmp_path, store):
    def run(*words, store_dir=store.root, as_json=True):
        told = ["registry", *map(str, words)]
        if words[0] != "key":
            told += ["--store-dir", str(store_dir), "--registry", str(tmp_path / "registry")]
        done = CliRunner().invoke(app, [*told, *(["--json"] if as_json else [])])
        if done.exception is not None:
            raise done.exception
        return json.loads(done.stdout) if as_json else done.stdout

    return run


@pytest.fixture
def full(run):
    for version in "123":
        run("push", f"simple/{version}", "--why", "trained")
    return run


@pytest.fixture
def ada(tmp_path, run, store):
    run("key", "new", tmp_path / "ada.pem")
    trusted = store.root / "keys" / "bundles"
    trusted.mkdir(parents=True)
    (trusted / "ada.pub").write_bytes((tmp_path / "ada.pub").read_bytes())
    return tmp_path / "ada.pem"


def acts_of(store):
    return [(a.action, a.outcome, a.reason) for a in ActsLog(store.root / "governance", signer=lambda: None, now_us=int).read()]


def test_pushed_promoted_aliased_pulled_elsewhere(tmp_path, full, bundles, store):
    full("promote", "simple/2", "production", "--why", "recall on tunnels")
    full("alias", "simple/1", "fallback", "--why", "proven")
    elsewhere = tmp_path / "elsewhere"
    pulled = full("pull", "simple@production", store_dir=elsewhere)
    assert pulled["digest"] == bundles[1].digest
    assert BundleStore(elsewhere).read(bundles[1].digest).manifest.version == "2"
    listed = full("list")
    assert [(b["version"], b["stage"], b["aliases"]) for b in listed] == [
        ("1", "none", ["fallback"]),
        ("2", "production", []),
        ("3", "none", []),
    ]
    assert {b["by"] for b in listed} == {getpass.getuser()}
    assert acts_of(store)[-2:] == [
        ("registry.stage", "accepted", "recall on tunnels"),
        ("registry.alias", "accepted", "proven"),
    ]


def test_for_people(full):
    full("promote", "simple/2", "staging", "--why", "to be looked at", as_json=False)
    text = full("show", "simple@staging", as_json=False)
    assert "to be looked at" in text
    assert "not signed" in text
    assert "simple" in full("list", as_json=False)


def test_a_promotion_without_a_reason_is_not_made(full):
    with pytest.raises(CommandError, match="give the reason in a few words"):
        full("promote", "simple/2", "production", "--why", " ")
    with pytest.raises(CommandError, match="is not a stage"):
        full("promote", "simple/2", "live", "--why", "x")
    assert {b["stage"] for b in full("list")} == {"none"}


def test_signed_in_the_registry_and_verified_by_another_machine(tmp_path, full, ada, store):
    full("sign", "simple/2", "--key", ada, "--why", "reviewed")
    assert full("verify", "simple/2")["signed_by"] == "ada"
    shown = full("show", "simple/2")
    assert shown["signatures"] == [{"key": "ada", "problem": ""}]
    assert ("registry.sign", "accepted", "reviewed") in acts_of(store)
    with pytest.raises(UntrustedBundle, match="has no signature"):
        full("verify", "simple/1")


def test_a_folder_is_signed_beside_its_files_and_the_signature_goes_along(tmp_path, run, ada, bundles):
    folder = build_simple(tmp_path / "shipped").folder
    run("sign", folder, "--key", ada)
    assert (folder / "model.sig").is_file()
    assert run("verify", folder)["is_valid"]
    run("push", folder)
    assert run("verify", "simple/1")["signed_by"] == "ada"
    (folder / "golden.json").write_text("{}")
    with pytest.raises(Exception, match="the file was changed"):
        run("verify", folder)


def test_where_signatures_are_required_nothing_else_is_pulled_or_promoted(tmp_path, full, ada, store, monkeypatch):
    monkeypatch.setenv("VEDETTE_REQUIRE_SIGNED", "true")
    monkeypatch.setenv("VEDETTE_TRUSTED_KEYS", str(store.root / "keys" / "bundles"))
    with pytest.raises(UntrustedBundle):
        full("promote", "simple/1", "production", "--why", "hurry")
    with pytest.raises(UntrustedBundle):
        full("pull", "simple/1", store_dir=tmp_path / "elsewhere")
    assert acts_of(store)[-1] == ("registry.stage", "refused", "hurry")
    full("sign", "simple/1", "--key", ada)
    full("promote", "simple/1", "production", "--why", "signed")
    assert full("pull", "simple@production", store_dir=tmp_path / "elsewhere")["version"] == "1"


def test_a_bundle_that_is_refused_leaves_a_signed_act_and_is_refused_also_where_none_can_be_kept(tmp_path, full, monkeypatch):
    monkeypatch.setenv("VEDETTE_REQUIRE_SIGNED", "true")
    monkeypatch.setenv("VEDETTE_TRUSTED_KEYS", str(tmp_path / "nobody"))
    elsewhere = BundleStore(tmp_path / "elsewhere")
    with pytest.raises(UntrustedBundle, match="refused, recorded in the log of acts"):
        full("pull", "simple/1", store_dir=elsewhere.root)
    ((action, outcome, why),) = acts_of(elsewhere)
    assert (action, outcome) == ("bundle.pull", "refused")
    assert "sign" in why
    assert not elsewhere.entries()

    monkeypatch.setattr(ActsLog, "record", no_room)
    with pytest.raises(UntrustedBundle, match=r"could not be recorded: .*No space left"):
        full("pull", "simple/1", store_dir=elsewhere.root)


def test_a_bundle_that_was_changed_in_the_registry_is_refused_and_recorded(tmp_path, full, bundles):
    folder = next((tmp_path / "registry").rglob(bundles[0].digest.removeprefix("sha256:")))
    model = next(path for path in folder.rglob("model.onnx"))
    model.write_bytes(model.read_bytes() + b"x")
    elsewhere = BundleStore(tmp_path / "elsewhere")
    with pytest.raises((BundleError, Damaged), match="refused, recorded"):
        full("pull", "simple/1", store_dir=elsewhere.root)
    assert [(action, outcome) for action, outcome, _ in acts_of(elsewhere)] == [("bundle.pull", "refused")]
    assert not elsewhere.entries()


def no_room(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def kept(said):
    return {b["version"]: b["kept"] for b in said["bundles"]}


def test_what_nobody_needs_is_named_and_removed_only_when_told_so(full, store):
    full("promote", "simple/2", "production", "--why", "x")
    assert kept(full("gc")) == {"1": "changed 0 days ago", "2": "production", "3": "changed 0 days ago"}
    would = full("gc", "--keep-days", "0")
    assert (would["removed"], kept(would)) == (False, {"1": None, "2": "production", "3": None})
    assert len(full("list")) == 3
    full("gc", "--keep-days", "0", "--this-machine-only", "--yes", "--why", "space")
    assert [b["version"] for b in full("list")] == ["2"]
    assert acts_of(store)[-2:] == [("registry.remove", "accepted", "space")] * 2


def test_what_is_served_or_named_by_a_service_is_kept(full, store, bundles):
    served = ModelSpec(name="simple", version="1", revision=RevisionSpec(bundle=bundles[0].digest))
    ServedFile(store.root).write(ServingSpec(models=(served,)))
    services = store.root / "control" / "services"
    services.mkdir(parents=True)
    (services / "simple.yaml").write_text(f"spec: {{revision: {{version: '3', bundle: '{bundles[2].digest}'}}}}")
    assert kept(full("gc", "--keep-days", "0")) == {
        "1": "named in served.json",
        "2": None,
        "3": "named in control/services/simple.yaml",
    }


def test_what_answered_lately_is_kept_and_a_record_that_cannot_be_read_stops_it(tmp_path, full, store):
    other = tmp_path / "other-machine"
    for folder, version in ((store.root / "audit", "1"), (other, "2")):
        folder.mkdir(exist_ok=True)
        from operators.cli.registry.options import now_us

        line = json.dumps({"model": "simple", "version": version, "time_us": now_us(), "receipt": "r"})
        (folder / "segment-0000000000000001-r-000001.jsonl").write_text(f"{line}\n")
    assert kept(full("gc", "--keep-days", "0", "--log", other)) == {
        "1": "answered 0 days ago",
        "2": "answered 0 days ago",
        "3": None,
    }
    (other / "segment-0000000000000002-r-000002.jsonl").write_text("{}\n")
    with pytest.raises(CommandError, match="nothing is removed until it is repaired"):
        full("gc", "--keep-days", "0", "--log", other, "--this-machine-only", "--yes")
    with pytest.raises(CommandError, match="no such folder"):
        full("gc", "--log", tmp_path / "nowhere")
    assert len(full("list")) == 3


@pytest.mark.parametrize(
    "junk", [b"{}", b"\xff\xfe", b"[" * 100_000, b"not json"], ids=["no record", "no text", "deep", "no JSON"]
)
def test_a_junk_line_stops_it_with_its_place_and_nothing_else(full, store, junk):
    (store.root / "audit").mkdir(exist_ok=True)
    (store.root / "audit" / "segment-0000000000000001-r-000001.jsonl").write_bytes(junk + b"\n")
    with pytest.raises(
        CommandError, match=r"segment-0000000000000001-r-000001, line 1: .*nothing is removed until it is repaired"
    ):
        full("gc", "--keep-days", "0", "--this-machine-only", "--yes")


def test_of_a_registry_that_others_may_serve_from_nothing_goes_without_what_they_name(tmp_path, full, bundles):
    with pytest.raises(CommandError, match="what a cluster serves is not known here"):
        full("gc", "--keep-days", "0", "--yes")
    assert len(full("list")) == 3
    named = tmp_path / "services.json"
    named.write_text(json.dumps({"items": [{"status": {"stable": {"bundle": bundles[1].digest}}}]}), encoding="utf-8")
    found = full("gc", "--keep-days", "0", "--keep-digests", named, "--yes")
    assert kept(found) == {"1": None, "2": "named in services.json", "3": None}
    assert [b["version"] for b in full("list")] == ["2"]


def test_what_answered_lately_is_kept_where_its_records_are_archived(full, store):
    from lifecycle.governance.archive.parquet import write_segment
    from operators.cli.registry.options import now_us
    from serving.audit.encoding import encode_record
    from tests.fakes.serving.records import record

    (store.root / "archive").mkdir()
    line = encode_record(record(model="simple", version="1", time_us=now_us()))
    write_segment([line.rstrip(b"\n")], store.root / "archive" / "segment-0000000000000001-r-000001.parquet")
    assert kept(full("gc", "--keep-days", "0")) == {"1": "answered 0 days ago", "2": None, "3": None}


def test_the_files_of_an_interrupted_push_go_once_they_are_old(tmp_path, full):
    stray = tmp_path / "registry" / "bundles" / ("ab" * 32)
    stray.mkdir()
    (stray / "model.onnx").write_bytes(b"half")
    assert {b["digest"][:9]: b["kept"] for b in full("gc")["bundles"] if not b["name"]} == {
        "sha256:ab": "a push may be under way"
    }
    os.utime(stray / "model.onnx", (0, 0))
    full("gc", "--this-machine-only", "--yes")
    assert not stray.exists()
    assert len(full("list")) == 3


def test_a_rollout_names_the_digest_that_a_reference_means(tmp_path, full, bundles, monkeypatch):
    monkeypatch.setenv("VEDETTE_REGISTRY", str(tmp_path / "registry"))
    full("promote", "simple/2", "production", "--why", "x")
    elsewhere = tmp_path / "elsewhere"
    words = ["rollout", "start", "simple", "--bundle", "simple@production", "--store-dir", str(elsewhere), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exception is None, done.exception
    assert json.loads(done.stdout)["revision"] == {"version": "2", "bundle": bundles[1].digest}
    assert BundleStore(elsewhere).read(bundles[1].digest).digest == bundles[1].digest
    full("promote", "simple/3", "production", "--why", "y")
    assert bundles[1].digest in (elsewhere / "control" / "services" / "simple.yaml").read_text()
