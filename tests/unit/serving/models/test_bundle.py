"""A bundle is what its digest says, or it is refused."""

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from operators.labs.simple_model import build_simple
from serving.loading.served_file import newest_of_each
from serving.models.build import build_bundle
from serving.models.bundle import check_golden, check_service, check_signature, read_bundle
from serving.models.errors import BundleError, NoSuchModel, RunError
from serving.models.golden import decode_golden
from serving.models.limits.bundle_limits import ModelLimits
from serving.models.onnx import OnnxModel
from serving.models.probe import examine, probe
from serving.models.store import BundleStore
from serving.ports import FeatureInfo, FeatureServiceInfo, FieldInfo


def graph_of(nodes, inputs, outputs, initializers=(), domains=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=list(initializers))
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def tensor(name, kind=TensorProto.FLOAT, shape=(None, 2)):
    return helper.make_tensor_value_info(name, kind, list(shape))


IDENTITY = graph_of([helper.make_node("Identity", ["x"], ["y"])], [tensor("x")], [tensor("y")])


@pytest.fixture
def simple(tmp_path):
    return build_simple(tmp_path / "simple")


def test_build_is_deterministic(tmp_path, simple):
    assert build_simple(tmp_path / "again").digest == simple.digest


def test_read_gives_what_was_built(simple):
    again = read_bundle(simple.folder, simple.digest)
    assert again == simple
    assert [i.shape for i in again.manifest.inputs] == [(-1, 16), (-1, 16)]


def test_golden_outputs_reproduce_to_the_bit(simple):
    assert check_golden(simple, OnnxModel(simple.model_path)) == 1


def change_model(folder):
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")


def change_manifest(folder):
    body = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "bundle.json").write_text(json.dumps({**body, "description": "another"}))


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        pytest.param(change_model, "the file was changed", id="a changed model"),
        pytest.param(change_manifest, "expected sha256", id="a changed description"),
        pytest.param(lambda f: (f / "golden.json").unlink(), "is missing", id="a missing file"),
        pytest.param(lambda f: (f / "extra.py").write_text("1"), "does not list", id="an added file"),
        pytest.param(lambda f: (f / "rules").symlink_to("/"), "not links", id="a link out of the folder"),
        pytest.param(lambda f: (f / "bundle.json").unlink(), "cannot be read", id="no bundle.json"),
        pytest.param(lambda f: (f / "bundle.json").write_text("[]"), "expected sha256", id="another bundle.json"),
    ],
)
def test_a_changed_bundle_is_refused(simple, attack, says):
    attack(simple.folder)
    with pytest.raises(BundleError, match=says):
        read_bundle(simple.folder, simple.digest)


def test_a_path_out_of_the_folder_is_refused(simple):
    body = json.loads((simple.folder / "bundle.json").read_text(encoding="utf-8"))
    body["files"]["../outside"] = "0" * 64
    (simple.folder / "bundle.json").write_text(json.dumps(body))
    with pytest.raises(BundleError, match="outside the bundle"):
        read_bundle(simple.folder)


def test_a_wrong_golden_output_is_refused_by_the_probe(tmp_path, simple):
    golden = simple.folder / "golden.json"
    body = json.loads(golden.read_text(encoding="utf-8"))
    body["cases"][0]["outputs"]["OUTPUT0"] = body["cases"][0]["outputs"]["OUTPUT1"]
    golden.unlink()
    model = (simple.folder / "model.onnx").read_bytes()
    forged = build_bundle(
        tmp_path / "forged", model=model, files={"golden.json": json.dumps(body).encode()}, name="simple", version="1"
    )
    manifest = json.loads((forged.folder / "bundle.json").read_text(encoding="utf-8"))
    manifest["golden"] = simple.manifest.golden.model_dump()
    (forged.folder / "bundle.json").write_text(json.dumps(manifest))
    forged = read_bundle(forged.folder)
    with pytest.raises(BundleError, match="case 0 does not reproduce to the bit: output 'OUTPUT0' differs"):
        examine(forged.folder, forged.digest, ModelLimits())


def test_another_processor_family_is_given_a_tolerance(tmp_path):
    x = np.array([[0.1, 0.2]], dtype=np.float32)
    bundle = build_bundle(tmp_path / "b", model=IDENTITY.SerializeToString(), golden_inputs={"x": x}, name="m", version="1")

    class Nearly:
        def run(self, tensors, outputs=None):
            return {"y": tensors["x"] + np.float32(1e-7)}

    with pytest.raises(BundleError, match="to the bit"):
        check_golden(bundle, Nearly())
    elsewhere = bundle.manifest.model_copy(update={"golden": bundle.manifest.golden.model_copy(update={"processor": "other"})})
    assert check_golden(type(bundle)(elsewhere, bundle.digest, bundle.folder), Nearly()) == 1


def test_an_op_from_a_foreign_domain_is_refused(tmp_path):
    model = graph_of(
        [helper.make_node("Evil", ["x"], ["y"], domain="evil.org")], [tensor("x")], [tensor("y")], domains=["evil.org"]
    )
    with pytest.raises(BundleError, match=r"operator evil\.org\.Evil .* is not allowed"):
        build_bundle(tmp_path / "b", model=model.SerializeToString(), name="m", version="1")


def test_a_random_op_is_refused_even_inside_a_branch(tmp_path):
    branch = helper.make_graph([helper.make_node("RandomNormal", [], ["r"], shape=[1, 2])], "then", [], [tensor("r")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    model = graph_of([node], [tensor("c", TensorProto.BOOL, ())], [tensor("y")])
    with pytest.raises(BundleError, match=r"RandomNormal.*could not be replayed"):
        build_bundle(tmp_path / "b", model=model.SerializeToString(), name="m", version="1")


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../weights.bin", "C:\\weights"])
def test_external_data_outside_the_folder_is_refused(tmp_path, location):
    weights = numpy_helper.from_array(np.ones((2,), dtype=np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    model = graph_of([helper.make_node("Add", ["x", "w"], ["y"])], [tensor("x")], [tensor("y")], [weights])
    with pytest.raises(BundleError, match="outside the bundle's folder"):
        build_bundle(tmp_path / "b", model=model.SerializeToString(), name="m", version="1")


def test_external_data_beside_the_model_is_taken_along_and_hashed(tmp_path):
    weights = numpy_helper.from_array(np.arange(2, dtype=np.float32), "w")
    model = graph_of([helper.make_node("Add", ["x", "w"], ["y"])], [tensor("x")], [tensor("y")], [weights])
    source = tmp_path / "m.onnx"
    onnx.save(model, str(source), save_as_external_data=True, location="weights.bin", size_threshold=0)
    bundle = build_bundle(
        tmp_path / "b", model=source, golden_inputs={"x": np.zeros((1, 2), np.float32)}, name="m", version="1"
    )
    assert "weights.bin" in bundle.manifest.files
    (bundle.folder / "weights.bin").write_bytes(b"\0" * 8)
    with pytest.raises(BundleError, match="the file was changed"):
        read_bundle(bundle.folder, bundle.digest)


def test_what_is_not_onnx_is_refused(tmp_path):
    with pytest.raises(BundleError, match="not an ONNX model"):
        build_bundle(tmp_path / "b", model=b"\x80\x04pickle", name="m", version="1")
    assert list(tmp_path.iterdir()) == []


DETECTOR = {
    "name": "d",
    "version": "1",
    "entity_keys": ({"name": "host", "datatype": "BYTES"},),
    "request_fields": ({"name": "size", "datatype": "FP32"},),
    "feature_service": "s",
    "assembly": ({"tensor": "x", "columns": ("size", "v__flows")},),
}


def service(features=("v__flows",), datatype="FP32", keys=(("host", "BYTES"),), fields=("size",)):
    return FeatureServiceInfo(
        "s",
        tuple(FieldInfo(*k) for k in keys),
        tuple(FieldInfo(f, "FP32") for f in fields),
        tuple(FeatureInfo(f, datatype, "v", 0.0, 60.0) for f in features),
    )


def test_a_bundle_that_fits_its_feature_service_is_accepted(tmp_path):
    check_service(build_bundle(tmp_path / "b", model=IDENTITY.SerializeToString(), **DETECTOR).manifest, service())


@pytest.mark.parametrize(
    ("other", "says"),
    [
        pytest.param(service(features=("v__bytes",)), r"\['v__flows'\] are not in feature service", id="an input is missing"),
        pytest.param(service(datatype="BYTES"), "cannot take", id="a dtype disagrees"),
        pytest.param(service(keys=(("user", "BYTES"),)), "differ from the join keys", id="another key"),
        pytest.param(service(keys=(("host", "INT64"),)), "differ from the join keys", id="a key of another type"),
        pytest.param(service(fields=("size", "proto")), r"request fields \['proto'\]", id="a request field is missing"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(tmp_path, other, says):
    bundle = build_bundle(tmp_path / "b", model=IDENTITY.SerializeToString(), **DETECTOR)
    with pytest.raises(BundleError, match=says):
        check_service(bundle.manifest, other)


def test_a_shape_that_disagrees_with_the_graph_is_refused(simple):
    wrong = simple.manifest.model_copy(
        update={"inputs": tuple(i.model_copy(update={"shape": (-1, 8)}) for i in simple.manifest.inputs)}
    )
    with pytest.raises(BundleError, match="inputs differ from"):
        check_signature(wrong, OnnxModel(simple.model_path))


def test_a_zipmap_becomes_a_plain_tensor(tmp_path):
    nodes = [
        helper.make_node("Identity", ["x"], ["p"]),
        helper.make_node("ZipMap", ["p"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
    ]
    out = helper.make_value_info(
        "probabilities",
        helper.make_sequence_type_proto(
            helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
        ),
    )
    model = graph_of(nodes, [tensor("x")], [out], domains=["ai.onnx.ml"])
    bundle = build_bundle(tmp_path / "b", model=model.SerializeToString(), name="m", version="1")
    assert bundle.manifest.outputs[0].datatype == "FP32"


def test_the_runtime_refusing_an_input_is_an_error_with_words(simple):
    with pytest.raises(RunError, match="refused this input"):
        OnnxModel(simple.model_path).run({"INPUT0": np.zeros((1, 3), np.int32), "INPUT1": np.zeros((1, 3), np.int32)})


@pytest.mark.usefixtures("either_probe")
def test_the_probe_runs_in_another_process_and_reports(simple):
    report = probe(simple)
    assert report.golden_cases == 1
    assert report.latency_us > 0
    assert report.memory_mib > 10


@pytest.mark.usefixtures("either_probe")
def test_the_probe_refuses_what_it_cannot_load(simple):
    change_model(simple.folder)
    with pytest.raises(BundleError, match="the file was changed"):
        probe(simple)


@pytest.mark.usefixtures("either_probe")
def test_the_probe_is_bounded_in_time(simple):
    with pytest.raises(BundleError, match="did not end within"):
        probe(simple, timeout_s=1e-6)


def test_the_store_resolves_the_newest_version_by_number(tmp_path, simple):
    store = BundleStore(tmp_path / "store")
    store.add(simple)
    model = (simple.folder / "model.onnx").read_bytes()
    for version in ("2", "10"):
        store.add(build_bundle(tmp_path / version, model=model, name="simple", version=version))
    assert store.resolve("simple").manifest.version == "10"
    assert store.resolve("simple", "1").digest == simple.digest
    assert [e.version for e in store.entries()] == ["1", "2", "10"]
    assert store.next_version("simple") == "11"
    assert store.next_version("other") == "1"


def test_adding_twice_changes_nothing(tmp_path, simple):
    store = BundleStore(tmp_path / "store")
    assert store.add(simple) == store.add(simple) == simple.digest
    shutil.rmtree(simple.folder)
    assert store.resolve("simple").digest == simple.digest


@pytest.mark.parametrize(
    ("name", "version", "says"), [("nope", None, "no model 'nope'"), ("simple", "7", r"no version '7'; it has \['1'\]")]
)
def test_an_unknown_model_is_named(tmp_path, simple, name, version, says):
    store = BundleStore(tmp_path / "store")
    store.add(simple)
    with pytest.raises(NoSuchModel, match=says):
        store.resolve(name, version)


@pytest.mark.parametrize("damaged", ["{", '{"digest": "oops"}', '{"digest": "sha256:../../x"}', '{"digest": null}'])
def test_a_stray_file_or_a_damaged_pointer_hides_no_other_model(tmp_path, simple, caplog, damaged):
    store = BundleStore(tmp_path / "store")
    store.add(simple)
    folder = tmp_path / "store" / "models"
    (folder / "simple" / "notes.json").write_text("{}")
    (folder / "other").mkdir()
    (folder / "other" / "1.json").write_text(damaged)
    assert [(e.name, e.version) for e in store.entries()] == [("simple", "1")]
    assert "other/1.json: is not a version pointer" in caplog.text
    assert [m.name for m in newest_of_each(store).models] == ["simple"]
    assert store.resolve("simple").digest == simple.digest
    assert store.next_version("other") == "2"
    with pytest.raises(BundleError, match=r"other/1\.json: is not a version pointer"):
        store.resolve("other")


def test_a_golden_file_without_a_case_is_refused_as_such():
    with pytest.raises(BundleError, match=r"golden\.json holds no case"):
        decode_golden(b'{"cases": []}')
