"""What a replica does not load is recorded in its chained log, and the log verifies."""

import hashlib
import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from operators.cli.main import app
from operators.labs.simple_model import build_simple
from serving.app import compose
from serving.audit.reader import read_records
from serving.models.bundle import Bundle
from serving.models.store import BundleStore
from serving.replica.host import ReplicaHost
from serving.settings import ServingSettings
from tests.fakes.serving.signed_bundles import Signers
from tests.waiting import until

pytestmark = pytest.mark.integration
ASK = {"inputs": [{"name": n, "shape": [1, 16], "datatype": "INT32", "data": list(range(16))} for n in ("INPUT0", "INPUT1")]}


class Store:
    """A store that takes signed bundles only, a replica that runs on it, and a signer that it trusts."""

    def __init__(self, root: Path) -> None:
        self.root, self.scratch = root / "store", root
        self.signers = Signers(root / "keys")
        self.signers.trust("ada")
        self.store = BundleStore(self.root)
        self.put(build_simple(root / "v1"))
        self.host = ReplicaHost(
            ServingSettings(
                http_port=0,
                grpc_port=0,
                store_dir=self.root,
                require_signed=True,
                trusted_keys=self.signers.trusted_dir,
                repository_control=True,
            ),
            compose,
        )
        self.base = f"http://127.0.0.1:{self.host.start().http}"

    def put(self, bundle: Bundle, *, is_signed: bool = True) -> str:
        """The bundle is put into the store, whatever it holds."""
        self.store.add(bundle)
        if is_signed:
            self.store.add_signature(bundle.digest, self.signers.signature(bundle, "ada"))
        return bundle.digest

    def post(self, path: str, body: object = None) -> tuple[int, str]:
        request = urllib.request.Request(f"{self.base}{path}", json.dumps(body or {}).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def load(self) -> tuple[int, str]:
        return self.post("/v2/repository/models/simple/load")

    def still_answers(self) -> bool:
        return self.post("/v2/models/simple/infer", ASK)[0] == 200

    def refusals(self) -> list[tuple[str, str, str, str]]:
        records = [one for one in read_records(self.root / "audit") if one.refusal is not None]
        assert all(one.source == "refused" and one.rows == 0 for one in records)
        return [(one.version, one.refusal.bundle, one.refusal.kind, one.refusal.reason) for one in records]


@pytest.fixture
def world(tmp_path):
    world = Store(tmp_path)
    yield world
    world.host.stop()


def with_random_op(bundle: Bundle, folder: Path) -> Bundle:
    """The same bundle with an operator that is not allowed, and digests that match."""
    shutil.copytree(bundle.folder, folder)
    noise = helper.make_node("RandomUniformLike", ["INPUT0"], ["noise"], dtype=TensorProto.INT32)
    model = onnx.load(folder / "model.onnx")
    model.graph.node.append(noise)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    manifest = json.loads((folder / "bundle.json").read_bytes())
    manifest["files"]["model.onnx"] = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
    digest = "sha256:" + hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    return Bundle(bundle.manifest.model_copy(update={"files": manifest["files"]}), digest, folder)


def verify(world: Store) -> None:
    world.host.stop()
    done = CliRunner().invoke(app, ["audit", "verify", "--store-dir", str(world.root), "--json"])
    assert done.exit_code == 0, done.output


def test_bundles_that_are_put_into_a_running_store_and_refused_are_in_the_log(world, tmp_path):
    unsigned = world.put(build_simple(tmp_path / "v2", "2"), is_signed=False)
    status, said = world.load()
    assert (status, "signature" in said) == (400, True), said
    hostile = world.put(with_random_op(build_simple(tmp_path / "v3", "3"), tmp_path / "hostile"))
    status, said = world.load()
    assert (status, "RandomUniformLike" in said) == (400, True), said
    changed = world.put(build_simple(tmp_path / "v4", "4"))
    (world.store.folder_of(changed) / "model.onnx").write_bytes(b"changed")
    status, said = world.load()
    assert (status, "the file was changed" in said) == (400, True), said

    found = until(lambda: (seen := world.refusals()) and len(seen) == 3 and seen)
    assert [(version, bundle, kind) for version, bundle, kind, _ in found] == [
        ("2", unsigned, "unsigned"),
        ("3", hostile, "refused"),
        ("4", changed, "refused"),
    ]
    assert "RandomUniformLike" in found[1][3]
    assert not any(str(tmp_path) in reason for *_, reason in found), "no path of the machine"
    assert world.still_answers()
    verify(world)


def test_a_revision_that_a_control_plane_names_and_a_retry_leave_one_record(world, tmp_path):
    unsigned = world.put(build_simple(tmp_path / "v2", "2"), is_signed=False)
    wanted = {"models": [{"name": "simple", "version": "2", "revision": {"bundle": unsigned}}]}
    for _ in range(3):
        world.host.reconfigure(wanted)
        world.host.reconfigure({})
        world.load()
    assert world.still_answers()
    world.host.stop()
    assert [(bundle, kind) for _, bundle, kind, _ in world.refusals()] == [(unsigned, "unsigned")]
    verify(world)
