"""The registry on every kind of store: what was pushed is pulled to the same digest, and stages and aliases mean one bundle."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from lifecycle.governance.registry.errors import Damaged, NoSuchBundle, Refused, RegistryError
from lifecycle.governance.registry.object_store import ObjectStore
from lifecycle.governance.registry.registry import Registry
from operators.labs.simple_model import build_simple
from serving.models.build import build_bundle
from serving.models.errors import BundleError, UntrustedBundle
from serving.models.store import BundleStore
from tests.contract.registry.conftest import FOLDER_AND_S3
from tests.fakes.acts import MemoryActs
from tests.fakes.serving.signed_bundles import Signers

pytestmark = pytest.mark.parametrize("url", FOLDER_AND_S3, indirect=True)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Three versions of `simple`."""
    folder = tmp_path_factory.mktemp("bundles")
    first = build_simple(folder / "1")
    model = (first.folder / "model.onnx").read_bytes()
    return [first, *(build_bundle(folder / v, model=model, name="simple", version=v) for v in "23")]


class Desk:
    def __init__(self, url, folder):
        self.url, self.acts, self.store = url, MemoryActs(), BundleStore(folder / "store")
        self.clock, self.objects = itertools.count(1_000_000), ObjectStore(url)

    def registry(self, actor="ada", **options):
        return Registry(self.objects, acts=self.acts, actor=actor, now_us=lambda: next(self.clock), **options)


@pytest.fixture
def desk(url, tmp_path):
    return Desk(url, tmp_path)


@pytest.fixture
def registry(desk):
    return desk.registry()


@pytest.fixture
def full(registry, bundles):
    for bundle in bundles:
        registry.push(bundle, [], "trained")
    return registry


def test_a_bundle_comes_back_to_the_same_digest(desk, registry, bundles):
    made = registry.push(bundles[0], [], "trained on Monday")
    assert (made.version, made.stage, made.by, made.reason) == ("1", "none", "ada", "trained on Monday")
    assert registry.pull("simple", desk.store).digest == bundles[0].digest
    assert desk.store.resolve("simple", "1").digest == bundles[0].digest
    assert not [p for p in desk.store.root.iterdir() if p.name.startswith(".pulling")]


def test_pushing_and_pulling_twice_changes_nothing(desk, registry, bundles):
    for _ in range(2):
        registry.push(bundles[0], [], "again")
        registry.pull(bundles[0].digest, desk.store)
    assert len(registry.history("simple").entries) == 1
    assert desk.acts.told() == [("registry.push", "accepted")]


def test_references_of_every_kind(full, bundles):
    one, two, three = (b.digest for b in bundles)
    full.set_stage("simple/2", "production", "passed")
    full.set_alias("simple/1", "night-shift", "proven")
    found = {text: full.resolve(text) for text in ("simple", "simple/1", "simple@production", "simple:night-shift", two)}
    assert found == {"simple": three, "simple/1": one, "simple@production": two, "simple:night-shift": one, two: two}


NOTHING = [
    ("simple@staging", "no bundle has stage staging; the registry has 1 .none., 2"),
    ("simple:nobody", "no bundle has alias nobody"),
    ("simple/9", "no bundle has version 9"),
    ("other", "has no model 'other'; it has simple"),
    ("simple@archived", "does not name a single bundle"),
    ("../etc", "names no bundle"),
    ("sha256:zz", "names no bundle"),
    (f"sha256:{'0' * 64}", "has no bundle"),
]


def test_what_means_nothing_says_what_there_is(full):
    for text, says in NOTHING:
        with pytest.raises(RegistryError, match=says):
            full.resolve(text)


def test_who_takes_a_stage_sends_the_one_before_into_the_archive(full):
    full.set_stage("simple/1", "production", "first")
    after = full.set_stage("simple/2", "production", "better recall")
    assert (after.stage, after.by, after.reason) == ("production", "ada", "better recall")
    assert [(b.version, b.stage) for b in full.bundles()] == [("1", "archived"), ("2", "production"), ("3", "none")]


def test_an_alias_means_one_bundle_and_goes_when_it_is_told(full):
    full.set_alias("simple/1", "blue", "x")
    full.set_alias("simple/2", "blue", "x")
    assert [b.aliases for b in full.bundles()] == [(), ("blue",), ()]
    full.drop_alias("simple", "blue", "x")
    assert [b.aliases for b in full.bundles()] == [(), (), ()]
    with pytest.raises(NoSuchBundle):
        full.drop_alias("simple", "blue", "x")


def test_every_change_is_recorded_before_it_takes_effect(desk, full):
    desk.acts.is_full = True
    with pytest.raises(OSError, match="No space"):
        full.set_stage("simple/1", "production", "x")
    with pytest.raises(OSError, match="No space"):
        full.set_alias("simple/1", "blue", "x")
    assert {(b.stage, b.aliases) for b in full.bundles()} == {("none", ())}
    desk.acts.is_full = False
    full.set_stage("simple/1", "production", "why not")
    act = desk.acts.acts[-1]
    assert (act.actor, act.action, act.reason) == ("ada", "registry.stage", "why not")
    assert act.subject == f"bundle/{full.resolve('simple/1')}"
    assert act.evidence["stage"] == "production"
    assert full.history("simple").entries[-1].checkpoint == f"checkpoint {len(desk.acts.acts)}"


def test_what_changes_nothing_is_no_act(desk, full):
    full.set_stage("simple/1", "staging", "x")
    before = len(desk.acts.acts)
    full.set_stage("simple/1", "staging", "again")
    assert len(desk.acts.acts) == before


def test_a_version_that_would_become_another_bundle(desk, tmp_path, full, bundles):
    other = build_bundle(tmp_path / "o", model=(bundles[0].folder / "model.onnx").read_bytes(), name="simple", version="2")
    assert other.digest == bundles[1].digest
    changed = build_bundle(
        tmp_path / "c", model=(bundles[0].folder / "model.onnx").read_bytes(), name="simple", version="2", description="other"
    )
    with pytest.raises(Refused, match="build this bundle as another version"):
        full.push(changed, [], "x")
    assert full.resolve("simple/2") == bundles[1].digest


def test_an_interrupted_push_is_not_there_and_the_next_one_completes_it(desk, registry, bundles, monkeypatch):
    upload, sent = ObjectStore.upload, []

    def breaks(self, path, source):
        if len(sent) == 1:
            raise ConnectionResetError("cable")
        sent.append(path)
        upload(self, path, source)

    monkeypatch.setattr(ObjectStore, "upload", breaks)
    with pytest.raises(ConnectionResetError):
        registry.push(bundles[0], [], "x")
    with pytest.raises(RegistryError):
        registry.resolve("simple")
    with pytest.raises(NoSuchBundle):
        registry.pull(bundles[0].digest, desk.store)
    monkeypatch.undo()
    registry.push(bundles[0], [], "x")
    assert registry.pull("simple", desk.store).digest == bundles[0].digest


def test_what_was_changed_in_the_registry_is_not_taken(desk, registry, bundles):
    registry.push(bundles[0], [], "x")
    path = f"bundles/{bundles[0].digest[7:]}/model.onnx"
    good = registry.objects.read(path)
    registry.objects.write(path, good[:-1] + b"\x00" if good[-1] else good[:-1] + b"\x01")
    with pytest.raises(BundleError, match="the file was changed"):
        registry.pull("simple", desk.store)
    assert not desk.store.folder_of(bundles[0].digest).exists()
    registry.push(bundles[0], [], "mended", again=True)
    assert registry.pull("simple", desk.store).digest == bundles[0].digest


def test_a_missing_file_and_another_bundle_json(desk, registry, bundles):
    registry.push(bundles[0], [], "x")
    folder = f"bundles/{bundles[0].digest[7:]}"
    registry.objects.remove(f"{folder}/golden.json")
    with pytest.raises(Damaged, match=r"golden\.json: is missing"):
        registry.pull("simple", desk.store)
    registry.objects.write(f"{folder}/bundle.json", (bundles[1].folder / "bundle.json").read_bytes())
    with pytest.raises(Damaged, match="does not match its digest"):
        registry.pull("simple", desk.store)


def test_an_entry_of_the_history_that_was_changed_or_taken_out(full):
    full.set_stage("simple/1", "production", "x")
    path = "models/simple/history/000000002.json"
    good = full.objects.read(path)
    full.objects.write(path, good.replace(b"ada", b"eve"))
    with pytest.raises(Damaged, match="does not follow"):
        full.bundles()
    full.objects.remove(path)
    with pytest.raises(Damaged, match="has a gap"):
        full.bundles()


def test_people_who_change_a_model_at_once_lose_nothing(desk, full):
    def stages(who):
        registry = desk.registry(who)
        for version in "12":
            registry.set_stage(f"simple/{version}", "production", f"{who} wants it")
        registry.set_alias("simple/3", f"of-{who}", "x")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(stages, ["ada", "bob", "eve"]))
    assert [b.stage for b in full.bundles()].count("production") == 1
    assert full.history("simple").bundle(full.resolve("simple/3")).aliases == ("of-ada", "of-bob", "of-eve")


def test_a_bundle_in_use_is_not_removed_and_one_that_is_not_is_gone(desk, full):
    full.set_stage("simple/1", "production", "x")
    one, two, _ = full.bundles()
    with pytest.raises(Refused, match="is in use"):
        full.remove(one, "space", {})
    full.remove(two, "space", {})
    assert [b.version for b in full.bundles()] == ["1", "3"]
    assert full.objects.sizes(f"bundles/{two.digest[7:]}") == {}
    assert desk.acts.told()[-2:] == [("registry.remove", "refused"), ("registry.remove", "accepted")]


def test_a_removed_bundle_comes_back_as_what_it_was_only(desk, full, bundles, tmp_path):
    two = full.bundles()[1]
    full.remove(two, "space", {})
    changed = build_bundle(
        tmp_path / "c", model=(bundles[0].folder / "model.onnx").read_bytes(), name="simple", version="2", description="other"
    )
    with pytest.raises(Refused, match="cannot change"):
        full.push(changed, [], "x")
    full.push(bundles[1], [], "needed after all")
    assert full.resolve("simple/2") == two.digest
    assert full.pull("simple/2", desk.store).digest == two.digest


def test_signatures_travel_and_a_store_that_requires_them_takes_nothing_else(desk, registry, bundles, tmp_path):
    signers = Signers(tmp_path / "keys")
    signers.trust("ada")
    strict = BundleStore(tmp_path / "strict", signers.trusted)
    registry.push(bundles[0], [("model.sig", signers.signature(bundles[0], "eve"))], "x")
    with pytest.raises(UntrustedBundle, match="is not trusted"):
        registry.pull("simple", strict)
    assert not strict.folder_of(bundles[0].digest).exists()
    registry.add_signature(bundles[0].digest, signers.signature(bundles[0], "ada"), "reviewed", {"key": "ada"})
    assert registry.pull("simple", strict).digest == bundles[0].digest
    assert len(strict.signatures_of(bundles[0].digest)) == 2


def test_an_unsigned_bundle_is_not_promoted_where_signatures_are_required_and_that_is_recorded(desk, full, bundles, tmp_path):
    signers = Signers(tmp_path / "keys")
    signers.trust("ada")
    strict = desk.registry(trusted=signers.trusted)
    with pytest.raises(UntrustedBundle, match="has no signature"):
        strict.set_stage("simple/1", "production", "hurry")
    assert desk.acts.told()[-1] == ("registry.stage", "refused")
    strict.set_stage("simple/1", "archived", "not needed")  # nothing is served from there
    strict.add_signature(bundles[0].digest, signers.signature(bundles[0], "ada"), "reviewed", {})
    strict.set_stage("simple/1", "production", "signed now")
    assert desk.acts.acts[-1].evidence["signed_by"] == "ada"


def test_a_list_of_files_that_leaves_the_folder_writes_nothing_there(desk, registry, bundles, tmp_path):
    """Whoever may write to the registry can put any bundle.json there; its digest is then right."""
    import hashlib
    import json

    document = json.loads((bundles[0].folder / "bundle.json").read_bytes())
    document["files"]["../../escaped.txt"] = "0" * 64
    body = json.dumps(document).encode()
    digest = hashlib.sha256(body).hexdigest()
    registry.objects.write(f"bundles/{digest}/bundle.json", body)
    with pytest.raises(Damaged, match="outside the bundle's folder"):
        registry.pull(f"sha256:{digest}", desk.store)
    assert not list(desk.store.root.rglob("escaped.txt"))
